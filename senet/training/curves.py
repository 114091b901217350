"""Accuracy and loss curves: one run, or groups of runs with a band over their seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from senet.files import written_aside

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DECADES = 8
PANELS = (("accuracy", "Accuracy"), ("loss", "Cross-entropy loss"))

Rows = list[dict[str, float]]  # one run's metrics, a row an epoch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ in their seed only, drawn as one line with a band."""

    label: str
    runs: Sequence[Rows]


def draw_curves(groups: Sequence[Group], path: Path, *, title: str) -> None:
    """Draw accuracy and loss per epoch into a PNG: validation solid, training dashed.

    A line is the mean over a group's runs, the band reaches from the lowest to the highest of them.
    """
    figure, axes = new_figure(len(PANELS))
    for axis, (metric, label) in zip(axes, PANELS, strict=True):
        for group, colour in zip(groups, COLOURS * len(groups), strict=False):
            draw_metric(axis, group, f"val_{metric}", colour=colour, style="-", label=group.label)
            draw_metric(
                axis, group, metric, colour=colour, style=(0, (4, 2)), label=f"{group.label}, training"
            )
        axis.set(xlabel="Epoch", ylabel=label)
        if metric == "loss" and spans_decades(axis):
            axis.set_yscale("log")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend(frameon=False, fontsize=9)
    save_figure(figure, path, title)


def spans_decades(axis: Any) -> bool:
    """Whether the highest value drawn is more than DECADES times the lowest: one bad epoch hides the rest."""
    low, high = axis.dataLim.intervaly
    return bool(0 < low < high / DECADES)


def draw_metric(axis: Any, group: Group, metric: str, *, colour: str, style: Any, label: str) -> None:
    """One metric of one group; nothing where no run has it (a run without validation images)."""
    epochs = min((len(rows) for rows in group.runs), default=0)
    values = np.array([[row.get(metric, np.nan) for row in rows[:epochs]] for rows in group.runs], float)
    if not values.size or np.isnan(values).all():
        return
    x = np.arange(1, epochs + 1)
    solid = style == "-"
    axis.plot(
        x,
        values.mean(axis=0),
        linestyle=style,
        color=colour,
        label=label,
        linewidth=2 if solid else 1.2,
        marker="o" if epochs == 1 else None,
    )
    if len(values) > 1:
        axis.fill_between(
            x,
            values.min(axis=0),
            values.max(axis=0),
            color=colour,
            alpha=0.18 if solid else 0.08,
            linewidth=0,
        )


def new_figure(panels: int) -> tuple[Any, list[Any]]:
    """A figure with `panels` axes side by side in the house style; needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # No pyplot: it keeps global state and looks for a display.
    figure = Figure(figsize=(5.6 * panels, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, linewidth=0.6)
    return figure, axes


def save_figure(figure: Any, path: Path, title: str) -> None:
    """Write the figure as a PNG, whole or not at all."""
    figure.suptitle(title)
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=150, format="png")
