"""What `senet data pack`, `check` and `preview` do and print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from senet.cli.tables import print_table
from senet.data.check import PartReport, Report, check
from senet.data.config import NAMED_SOURCES, DataConfig
from senet.data.pack import Packed, pack
from senet.data.pipeline import find_listed, load_data
from senet.data.preview import draw_preview
from senet.training.config import load_config

MEGABYTE = 10**6
_EQUAL = 3  # files of one content that are named
_NAMED = 10  # files and classes of a kind that are printed; --json has all


def run_pack(source: str, out: Path, size: float, shuffle: bool, seed: int) -> Packed:
    """Write the images of `source` as shards of at most `size` megabytes."""
    listed = find_listed(on_disk(source))
    return pack(listed, out, size=round(size * MEGABYTE), seed=seed if shuffle else None)


def run_check(source: str) -> Report:
    """Look at every image of `source`."""
    return check(find_listed(on_disk(source), empty_classes=True))


def run_preview(source: str | None, recipe: str, out: Path, overrides: list[str] | None) -> None:
    """Draw the first training images of `recipe`, of `source` in place of the recipe's."""
    config = load_config(recipe, overrides)
    data = config.data.model_copy(update={"workers": 0, **({"source": source} if source else {})})
    draw_preview(load_data(data), config.seed, out)


def on_disk(source: str) -> DataConfig:
    """The config of a source of files; ValueError for one that has none."""
    if source in NAMED_SOURCES:
        raise ValueError(
            f"Only files can be packed and checked: a folder, shards, an archive or tfds:NAME. "
            f"Received: {source!r}."
        )
    return DataConfig(source=source)


def print_report(report: Report) -> None:
    """A table of the parts, then what is wrong."""
    parts = {"training": report.train, "test": report.test}
    rows = [part_row(name, part) for name, part in parts.items()]
    print_table(("part", "images", "classes", "fewest", "median", "most"), rows, title=report.source)
    for name, values in (("mean", report.mean), ("std", report.std)):
        print(f"{name} of the training pixels, 0..255: {', '.join(f'{value:.2f}' for value in values)}")
    unreadable = [f"{path}: {reason}" for path, reason in report.unreadable]
    print_list("files cannot be read", unreadable)
    print_list("of them are empty", report.empty)
    print_list("images are there more than once", [joined(names) for names in report.duplicates])
    print_list("classes have no training image", report.empty_classes)
    print_list("classes have no test image", report.missing_in_test)
    print("Something is wrong: see above." if report.wrong else "Nothing is wrong.")


def part_row(name: str, part: PartReport) -> tuple[str, ...]:
    """Images, classes that have some, and the fewest, the median and the most images of those."""
    counts = sorted(count for count in part.per_class.values() if count) or [0]
    numbers = (part.images, len(counts), counts[0], counts[len(counts) // 2], counts[-1])
    return (name, *(f"{number:,}" for number in numbers))


def joined(names: list[str]) -> str:
    """Names of equal files, the first three."""
    more = f" and {len(names) - _EQUAL:,} more" if len(names) > _EQUAL else ""
    return " = ".join(names[:_EQUAL]) + more


def print_list(what: str, items: list[Any]) -> None:
    """So many of something, and the first of them; nothing where there are none."""
    if not items:
        return
    print(f"{len(items):,} {what}:")
    for item in items[:_NAMED]:
        print(f"  {item}")
    if len(items) > _NAMED:
        print(f"  and {len(items) - _NAMED:,} more")
