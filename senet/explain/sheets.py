"""Many images on one sheet, each with its lines of text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from senet.training.curves import new_figure, save_figure

LONGEST = 30  # letters of a line below an image
SMALLEST = 160  # pixels of a side below which an image is enlarged, pixel by pixel


@dataclasses.dataclass(frozen=True, eq=False)
class Tile:
    """An image (H, W, C) uint8, or several side by side, and up to three lines below its edge."""

    images: Sequence[np.ndarray]
    lines: Sequence[str]


def draw_sheet(tiles: Sequence[Tile], path: Path, *, title: str, columns: int = 6) -> None:
    """Draw the tiles, row by row, into a PNG."""
    wide = max(len(tile.images) for tile in tiles)
    columns = min(max(1, columns // wide), len(tiles))
    rows, lines = -(-len(tiles) // columns), max(len(tile.lines) for tile in tiles)
    figure, (first,) = new_figure(1)
    first.remove()
    figure.set_size_inches(max(5.0, 1.9 * wide * columns), 0.5 + rows * (1.9 + 0.17 * lines))
    for axis in figure.subplots(rows, columns, squeeze=False).ravel():
        axis.axis("off")
    for axis, tile in zip(figure.axes, tiles, strict=False):
        axis.imshow(joined([rgb(image) for image in tile.images]), interpolation="nearest")
        text = "\n".join(shortened(line, LONGEST * wide) for line in tile.lines)
        axis.set_title(text, fontsize=8, loc="left")
    save_figure(figure, path, title)


def rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 1) or (H, W, 3) to (H, W, 3), at least SMALLEST pixels high."""
    times = -(-SMALLEST // image.shape[0])
    image = np.repeat(np.repeat(image, times, axis=0), times, axis=1)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def joined(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images of one height side by side, with a white gap."""
    gap = np.full((images[0].shape[0], 4, 3), 255, np.uint8)
    parts = [part for image in images for part in (image, gap)]
    return np.concatenate(parts[:-1], axis=1)


def shortened(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[: most - 1]}…"
