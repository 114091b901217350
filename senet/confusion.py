"""The picture of what is taken for what, for ten classes or a thousand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from senet.training.curves import COLOURS, new_figure, save_figure

MOST_CELLS = 100  # a side; more classes are drawn in groups of neighbours
MOST_NUMBERS = 20  # classes up to which each cell has its number
MOST_LABELS = 50  # of groups along a side
LISTED = 16  # confusions that are written out
LONGEST = 22  # letters of a name
TICKS = (0, 0.01, 0.05, 0.2, 0.5, 1)  # of the colours


def draw_confusion(counts: np.ndarray, names: Sequence[str], path: Path, *, title: str) -> None:
    """Draw counts (K, K) or, with a last column for all other classes, (K, K + 1) into a PNG.

    A row is a true class, its cells are the shares of its images. Above MOST_CELLS classes a cell stands for
    a group of classes that follow one another. Beside more than MOST_NUMBERS classes, the most frequent
    confusions are listed.
    """
    numbered = len(names) <= MOST_NUMBERS
    figure, (axis, *beside) = new_figure(1 if numbered else 2)
    group = -(-len(names) // MOST_CELLS)
    shares = grouped(counts, group)
    draw_cells(axis, shares)
    label_axes(axis, names, group, other=counts.shape[1] > counts.shape[0])
    if numbered:
        figure.set_size_inches(3.2 + 0.5 * len(names), 2.4 + 0.5 * len(names))
        write_numbers(axis, shares)
    else:
        figure.set_size_inches(16.0, 10.4)
        axis.get_gridspec().set_width_ratios((3, 1))
        list_worst(beside[0], counts, names)
    save_figure(figure, path, title)


def grouped(counts: np.ndarray, group: int) -> np.ndarray:
    """Shares of the rows in [0, 1], `group` classes together along both axes; a last other column stays."""
    size = len(counts)
    rows = np.arange(0, size, group)
    columns = np.concatenate([rows, np.arange(size, counts.shape[1])])
    summed = np.add.reduceat(np.add.reduceat(counts, rows, axis=0), columns, axis=1)
    return summed / np.maximum(summed.sum(axis=1, keepdims=True), 1)


def draw_cells(axis: Any, shares: np.ndarray) -> None:
    """The shares as colours; a power scale, because what matters are the small ones off the diagonal."""
    from matplotlib.colors import PowerNorm

    picture = axis.imshow(shares, cmap="Blues", norm=PowerNorm(0.4, 0, 1), interpolation="nearest")
    axis.grid(visible=False)
    bar = axis.figure.colorbar(picture, ax=axis, shrink=0.6, ticks=TICKS, pad=0.02)
    bar.ax.set_yticklabels([f"{tick:.0%}" for tick in TICKS])
    bar.outline.set_visible(False)


def write_numbers(axis: Any, shares: np.ndarray) -> None:
    """Each cell that is not empty with its percentage."""
    for (row, column), share in np.ndenumerate(shares):
        if share:
            text = f"{100 * share:.0f}" if share >= 0.01 else "<1"
            colour = "white" if share > 0.3 else "black"
            axis.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)


def label_axes(axis: Any, names: Sequence[str], group: int, *, other: bool) -> None:
    """Names of the classes, or of the first class of every so many groups."""
    cells = -(-len(names) // group)
    step = 1 if group == 1 else -(-cells // MOST_LABELS)
    ticks = list(range(0, cells, step))
    texts = [shortened(names[tick * group]) for tick in ticks]
    size = 9 if cells <= MOST_NUMBERS else 8 if len(ticks) <= MOST_LABELS else 6
    along = [*ticks, cells] if other else ticks
    axis.set_yticks(ticks, texts, fontsize=size)
    axis.set_xticks(along, [*texts, "other"] if other else texts, fontsize=size, rotation=90)
    what = (
        f"{group} classes a cell, named by the first"
        if group > 1
        else "% of a row"
        if cells <= MOST_NUMBERS
        else ""
    )
    axis.set(ylabel="Class of the image", xlabel=f"What the network says{f' ({what})' if what else ''}")
    axis.tick_params(length=0)


def list_worst(axis: Any, counts: np.ndarray, names: Sequence[str]) -> None:
    """The confusions with the largest shares of their class, as text in place of a picture."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares[:, : len(counts)], 0)
    lines = []
    for place in np.argsort(-shares, axis=None, kind="stable")[:LISTED]:
        row, column = divmod(int(place), counts.shape[1])
        if shares[row, column]:
            said = shortened(names[column]) if column < len(names) else "other classes"
            count = f"{counts[row, column]} of {counts[row].sum()}"
            lines.append(f"{shares[row, column]:4.0%}  {names[row]}\n         taken for {said} ({count})")
    text = "Most frequent confusions\n\n" + "\n".join(lines or ["none"])
    axis.axis("off")
    axis.text(0, 1, text, va="top", fontsize=9, linespacing=1.35, color=COLOURS[-1])


def shortened(name: str) -> str:
    """A name that leaves the picture its room."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
