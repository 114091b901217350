"""Pages in a real browser: headless Chromium, at the width of a telephone and of a desktop."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
from pathlib import Path

import pytest

PHONE, DESKTOP = 390, 1280
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a browser has seen of a page at one width."""

    width: int
    errors: list[str]  # of scripts, of the console, of the page's policy
    requests: list[str]  # all but the file itself and data: URIs
    pictures: list[int]  # natural width of every picture, 0 where it did not load
    scroll: int  # pixels that the page is wider than the window
    smallest: float  # height in pixels of the smallest text
    texts: dict[str, list[str]]  # of the elements that were asked for, after the clicks


def chromium() -> str:
    """The path of Chromium. Skips the test where there is none, but in CI fails it."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    missing = "" if found else "no Chromium (apt-get install chromium)"
    if not importlib.util.find_spec("playwright"):
        missing = "no playwright (pip install 'senet[test]')"
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing}: its tests must run in CI")
    if missing or found is None:
        pytest.skip(missing)
    return found


def look(page: Path, folder: Path, *, width: int, clicks: tuple[str, ...] = (), texts=(), dark=False) -> Seen:
    """Open a file in a browser `width` pixels wide, click on the selectors in `clicks`, and look.

    `folder` is empty: the browser's profile and a picture, `screen-WIDTH.png`, are written into it.
    """
    from playwright.sync_api import sync_playwright

    executable = chromium()
    errors: list[str] = []
    requests: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            folder / f"profile-{width}",
            executable_path=executable,
            headless=True,
            args=list(FLAGS),
            offline=True,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
        )
        tab = browser.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on(
            "console", lambda line: errors.append(line.text) if line.type in ("error", "warning") else None
        )
        tab.on("request", lambda request: requests.append(request.url))
        address = page.resolve().as_uri()
        tab.goto(address, wait_until="load")
        for selector in clicks:
            tab.click(selector)
        found = tab.evaluate(MEASURE)
        said = {selector: tab.locator(selector).all_text_contents() for selector in texts}
        tab.screenshot(path=folder / f"screen-{width}.png", full_page=True)
        browser.close()
    others = [url for url in requests if url != address and not url.startswith("data:")]
    return Seen(width, errors, others, found["pictures"], found["scroll"], found["smallest"], said)


def check_page(page: Path, folder: Path) -> None:
    """A page has no script error, loads every picture, asks no network and fits both widths."""
    for width in (PHONE, DESKTOP):
        seen = look(page, folder, width=width)
        assert seen.errors == []
        assert seen.requests == []
        assert all(seen.pictures), seen.pictures
        assert seen.scroll <= 0, f"{seen.scroll} pixels too wide at {width}"
        assert seen.smallest >= 11, f"text of {seen.smallest} pixels at {width}"


MEASURE = """() => {
  const root = document.documentElement;
  const sizes = Array.from(document.querySelectorAll("body *"))
    .filter((element) => Array.from(element.childNodes).some(
      (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim()
    ) && !["SCRIPT", "STYLE"].includes(element.tagName))
    .map((element) => parseFloat(getComputedStyle(element).fontSize));
  return {
    pictures: Array.from(document.images, (image) => image.complete ? image.naturalWidth : 0),
    scroll: root.scrollWidth - root.clientWidth,
    smallest: Math.min(...sizes),
  };
}"""
