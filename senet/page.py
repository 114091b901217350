"""One HTML file that holds all it shows: a report to open from the file system, with no network."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TypeAlias

from senet.files import write_text

Cell: TypeAlias = str | int | float | None

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
LEAST = 0.48  # of a picture's pixels, on a telephone: what keeps the text of a figure at 150 dpi readable
NUMBER = re.compile(r"([-+−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?)(?![\w.-])", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture to embed: a PNG, JPEG, WebP or GIF file or its bytes. `alt` says what it shows."""

    source: Path | str | bytes
    alt: str
    caption: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under `columns`; the reader sorts them by a click on a column's heading.

    Numbers are written with thousands separators or four digits; None is an empty cell. A column whose cells
    all begin with a number ("1.25 ± 0.02", "3,871") is set right and sorted by that number. ValueError for a
    row of another length.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Every row of a table must have {len(self.columns)} cells, one for each column. "
                    f"Received: {len(row)}, in {list(row)}."
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, paragraphs (a blank line parts them), lines of code, a table, pictures; in that order."""

    heading: str
    text: str = ""
    code: str = ""
    table: Table | None = None
    pictures: Sequence[Picture] = ()


def write_page(path: str | Path, title: str, sections: Sequence[Section], *, text: str = "") -> None:
    """Write a self-contained HTML file, whole or not at all; `text` stands below the title.

    It fits a telephone (390 pixels) and a desktop, follows the reader's light or dark setting, and asks no
    network for anything: its own policy forbids it. ValueError for a picture that is none.
    """
    if not title.strip() or any(not section.heading.strip() for section in sections):
        raise ValueError("A page and each of its sections must have a heading. Received: an empty one.")
    body = [f"<header>\n<h1>{escape(title)}</h1>", *paragraphs(text)]
    if len(sections) > 2:
        links = "".join(
            f'<li><a href="#s{number}">{escape(section.heading)}</a></li>'
            for number, section in enumerate(sections, start=1)
        )
        body.append(f'<nav aria-label="Sections"><ul>{links}</ul></nav>')
    body.append("</header>\n<main>")
    for number, section in enumerate(sections, start=1):
        body += section_html(section, number)
    body.append("</main>")
    write_text(path, PAGE.format(title=escape(title), style=STYLE, body="\n".join(body), script=SCRIPT))


def section_html(section: Section, number: int) -> list[str]:
    """The lines of one section."""
    lines = [f'<section id="s{number}">', f"<h2>{escape(section.heading)}</h2>", *paragraphs(section.text)]
    if section.code:
        lines.append(f"<pre><code>{escape(section.code)}</code></pre>")
    if section.table is not None:
        lines += table_html(section.table, f"Table of: {section.heading}")
    for picture in section.pictures:
        lines += picture_html(picture)
    return [*lines, "</section>"]


def paragraphs(text: str) -> list[str]:
    """Text with blank lines between its paragraphs."""
    return [f"<p>{escape(part.strip())}</p>" for part in re.split(r"\n\s*\n", text) if part.strip()]


# Tables


def table_html(table: Table, label: str) -> list[str]:
    """A table in a frame that scrolls by itself where the page is narrow."""
    numeric = [
        all(number_of(row[column]) is not None for row in table.rows if row[column] not in (None, ""))
        for column in range(len(table.columns))
    ]
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    heads = "".join(
        f'<th scope="col"{right(number)}><button type="button">{escape(column)}</button></th>'
        for column, number in zip(table.columns, numeric, strict=True)
    )
    lines = [
        f'<div class="frame" tabindex="0" role="region" aria-label="{escape(table.caption or label)}">',
        f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>",
    ]
    for row in table.rows:
        cells = [cell_html(cell, number) for cell, number in zip(row, numeric, strict=True)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return [*lines, "</tbody></table></div>"]


def cell_html(cell: Cell, numeric: bool) -> str:
    """One cell, with the number that it is sorted by."""
    number = number_of(cell) if numeric else None
    value = "" if number is None else f' data-value="{number!r}"'
    return f"<td{right(numeric)}{value}>{escape(shown(cell))}</td>"


def right(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def number_of(cell: Cell) -> float | None:
    """The number that a cell is or begins with; None where it is or has none."""
    if cell is None or isinstance(cell, (int, float)):
        return None if cell is None or cell != cell else float(cell)
    found = NUMBER.match(cell.strip())
    return float(found[1].replace(",", "").replace("−", "-")) if found else None


def shown(cell: Cell) -> str:
    """A cell as text; nothing for None and nan."""
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1e4 else f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


# Pictures


def picture_html(picture: Picture) -> list[str]:
    """A picture as wide as the page; a click shows it in its own size, in a frame that scrolls.

    On a telephone it is wider than the page where its text could not be read otherwise.
    """
    from PIL import Image, UnidentifiedImageError

    source = picture.source
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind, (width, height) = KINDS.get(str(image.format)), image.size
    except UnidentifiedImageError:
        kind, width, height = None, 0, 0
    if kind is None:
        name = "bytes" if isinstance(source, bytes) else source
        raise ValueError(f"A picture must be one of {', '.join(KINDS)}. Received: {name}, which is none.")
    if not picture.alt.strip():
        raise ValueError("A picture must say what it shows, for those who cannot see it. Received: alt=''.")
    data = base64.b64encode(content).decode("ascii")
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return [
        '<figure><div class="frame"><button type="button" class="zoom" aria-pressed="false">',
        f'<img src="data:{kind};base64,{data}" alt="{escape(picture.alt)}" width="{width}"',
        f'height="{height}" style="--least:{round(LEAST * width)}px"></button></div>{caption}</figure>',
    ]


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
{body}
<script>
{script}</script>
</body>
</html>
"""

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --back: #fff;
  --band: #f4f6f8; --link: #0060a0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #9aa5b1; --line: #39424d; --back: #14181d; --band: #1d232a;
    --link: #6cb8f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem clamp(0.9rem, 3vw, 2.5rem) 4rem; color: var(--ink);
  background: var(--back); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: clamp(1.4rem, 4.5vw, 2rem); line-height: 1.2; margin: 1rem 0 0.6rem; }
h2 { font-size: clamp(1.15rem, 3vw, 1.4rem); line-height: 1.25; margin: 2.6rem 0 0.6rem;
  border-top: 1px solid var(--line); padding-top: 1.4rem; }
p, figcaption { max-width: 46rem; }
p { margin: 0.6rem 0; }
a { color: var(--link); }
nav ul { list-style: none; margin: 1rem 0 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: 0.35rem 1.2rem; }
pre { overflow-x: auto; background: var(--band); border-radius: 6px; padding: 0.7rem 0.9rem;
  font-size: 0.85rem; }
.frame { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; margin: 0.9rem 0; font-size: 0.9rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding-bottom: 0.4rem; }
th, td { padding: 0.3rem 0.75rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; padding: 0; }
th button { all: unset; box-sizing: border-box; width: 100%; cursor: pointer; font-weight: 600;
  padding: 0.3rem 0.75rem; }
th button:hover, th button:focus-visible { background: var(--band); }
th button:focus-visible, .zoom:focus-visible { outline: 2px solid var(--link); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td:not(.number) { min-width: 5rem; }
.number { text-align: right; white-space: nowrap; }
th.number { white-space: normal; }
tbody tr:nth-child(even) { background: var(--band); }
figure { margin: 1.1rem 0; }
figcaption { color: var(--soft); font-size: 0.9rem; margin-top: 0.3rem; }
.zoom { all: unset; display: block; cursor: zoom-in; }
.zoom img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
@media (max-width: 40rem) {
  .zoom img { max-width: none; width: max(100%, var(--least)); }
}
.zoom[aria-pressed=true] { cursor: zoom-out; }
.zoom[aria-pressed=true] img { max-width: none; width: auto; }
"""

SCRIPT = """\
"use strict";
for (const head of document.querySelectorAll("th")) {
  head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const column = head.cellIndex, body = head.closest("table").tBodies[0];
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[column];
      return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
    };
    const rows = Array.from(body.rows, (row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = typeof a === "number" && typeof b === "number" ? a - b
        : String(a).localeCompare(String(b), "en", { numeric: true });
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  });
}
for (const zoom of document.querySelectorAll(".zoom")) {
  zoom.addEventListener("click", () => {
    zoom.setAttribute("aria-pressed", zoom.getAttribute("aria-pressed") !== "true");
  });
}
"""
