"""The self-contained page: what is in it, and how a browser takes it."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from senet.page import Picture, Section, Table, write_page
from tests.browser import DESKTOP, PHONE, check_page, look

VOID = {"meta", "link", "img", "br"}
EVIL = '<script>alert("1")</script> & "two"'


def png(width=1500, height=500) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


class Balance(HTMLParser):
    """Collects tags, and finds those that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture
def page(tmp_path):
    table = Table(
        columns=("Network", "Images a second", "Note"),
        rows=[("b", "1,200.5 ± 3", "x"), ("a", 90, EVIL), ("c", None, "y"), ("d", "−4", "z" * 60)],
        caption="Speed",
    )
    sections = [
        Section(heading=EVIL, text=f"First {EVIL}.\n\nSecond.", table=table),
        Section(heading="Pictures", pictures=[Picture(source=png(), alt=EVIL, caption=EVIL)]),
        Section(heading="Code", code="senet explain " + "very-long-word-" * 30),
    ]
    path = tmp_path / "page.html"
    write_page(path, EVIL, sections, text="About " + "w" * 300)
    return path


def test_everything_is_escaped_and_closed(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert EVIL not in text
    assert text.count("<script>") == 1
    found = Balance()
    found.feed(text)
    assert (found.open, found.wrong) == ([], [])
    ids = [attributes["id"] for _, attributes in found.attributes if "id" in attributes]
    assert len(ids) == len(set(ids)) == 3
    links = [a["href"] for tag, a in found.attributes if tag == "a"]
    assert links == [f"#{place}" for place in ids]


def test_pictures_are_embedded_with_their_size_and_words(page):
    found = Balance()
    found.feed(page.read_text(encoding="utf-8"))
    (picture,) = [attributes for tag, attributes in found.attributes if tag == "img"]
    assert picture["alt"] == EVIL
    assert (picture["width"], picture["height"]) == ("1500", "500")
    assert base64.b64decode(picture["src"].removeprefix("data:image/png;base64,")) == png()


def test_a_page_names_no_address(page):
    assert re.findall(r"https?://|//[a-z]", page.read_text(encoding="utf-8")) == []


def test_a_picture_may_be_a_file(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    write_page(
        tmp_path / "p.html",
        "T",
        [Section(heading="H", pictures=[Picture(source=tmp_path / "a.png", alt="A")])],
    )
    assert base64.b64encode(png()).decode() in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (3871526912, "3,871,526,912"),
        (0.123456, "0.1235"),
        (None, ""),
        (float("nan"), ""),
        (12345.6, "12,346"),
    ],
)
def test_numbers_are_written_to_be_read(tmp_path, cell, shown):
    table = Table(columns=("x",), rows=[(cell,)])
    write_page(tmp_path / "p.html", "T", [Section(heading="H", table=table)])
    (found,) = re.findall(r"<td[^>]*>(.*?)</td>", (tmp_path / "p.html").read_text())
    assert found == shown


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table(columns=("a", "b"), rows=[(1,)]), "2 cells, one for each column. Received: 1"),
        (lambda: Section(heading=" "), "must have a heading"),
        (lambda: Section(heading="H", pictures=[Picture(source=b"no", alt="A")]), "Received: bytes"),
        (lambda: Section(heading="H", pictures=[Picture(source=png(), alt="")]), "alt=''"),
    ],
)
def test_what_is_no_page_is_refused_and_leaves_no_file(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        write_page(tmp_path / "p.html", "T", [make()])
    assert list(tmp_path.iterdir()) == []


# In a browser


@pytest.mark.slow
def test_a_browser_shows_it_at_both_widths(page, tmp_path):
    check_page(page, tmp_path)


@pytest.mark.slow
def test_a_click_sorts_a_table_by_numbers_and_empty_cells_stay_last(page, tmp_path):
    second, cells = "th:nth-child(2) button", "td:first-child"
    up = look(page, tmp_path / "up", width=DESKTOP, clicks=(second,), texts=(cells,))
    down = look(page, tmp_path / "down", width=DESKTOP, clicks=(second, second), texts=(cells,))
    assert up.texts[cells] == ["d", "a", "b", "c"]
    assert down.texts[cells] == ["b", "a", "d", "c"]


@pytest.mark.slow
def test_a_picture_grows_in_its_own_frame(page, tmp_path):
    seen = look(page, tmp_path, width=PHONE, clicks=(".zoom",), texts=(".zoom[aria-pressed=true]",))
    assert len(seen.texts[".zoom[aria-pressed=true]"]) == 1
    assert (seen.scroll, seen.errors) == (0, [])


@pytest.mark.slow
def test_the_harness_sees_what_is_wrong(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!DOCTYPE html><title>x</title><p style='width:2000px;font-size:8px'>wide</p>"
        "<img src='missing.png' alt='x'><script>undefined_name()</script>"
    )
    seen = look(bad, tmp_path / "look", width=PHONE)
    assert any("undefined_name" in error for error in seen.errors)
    assert any(url.endswith("missing.png") for url in seen.requests)
    assert seen.pictures == [0]
    assert seen.scroll > 1000
    assert seen.smallest == 8
