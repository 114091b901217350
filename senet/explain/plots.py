"""Pictures of gates: by class, by depth, and of what is lost without them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from senet.explain.gates import CLOSED, OPEN, BlockGates, Gates
from senet.explain.removal import ALL, MEAN, ONE, Cost, Removal
from senet.training.curves import COLOURS, new_figure, save_figure

MOST_CHANNELS = 50  # of a panel, taken evenly; the paper draws as many
MOST_TICKS = 24


def draw_profiles(
    gates: Gates, chosen: Sequence[int], names: Sequence[str], path: Path, *, title: str
) -> None:
    """Mean gate of each channel for the `chosen` classes and for all images; Figure 6 of the paper.

    A panel is a block of `gates.shown`; its channels are sorted by their mean over all images.
    """
    figure, axes = new_grid(len(gates.shown))
    for axis, block in zip(axes, gates.shown, strict=True):
        order = sampled(block)
        for index, colour in zip(chosen, COLOURS, strict=False):
            axis.plot(block.class_mean[index, order], color=colour, linewidth=1.3, label=names[index])
        axis.plot(block.mean[order], color=COLOURS[-1], linewidth=2, label="all images")
        label_panel(
            axis, block, f"class-specific: {shown(block.specificity) or 'constant gates'}", len(order)
        )
    finish_panels(figure, axes, gates, path, title)


def draw_spread(gates: Gates, chosen: Sequence[int], names: Sequence[str], path: Path, *, title: str) -> None:
    """Mean ± one deviation over the images of each `chosen` class; Figure 7 of the paper. Panels as there."""
    figure, axes = new_grid(len(gates.shown))
    for axis, block in zip(axes, gates.shown, strict=True):
        order = sampled(block)
        x = np.arange(len(order))
        for index, colour in zip(chosen, COLOURS, strict=False):
            mean, std = block.class_mean[index, order], block.class_std[index, order]
            axis.fill_between(x, mean - std, mean + std, color=colour, alpha=0.22, linewidth=0)
            axis.plot(x, mean, color=colour, linewidth=1.3, label=f"{names[index]}, mean ± std")
        label_panel(axis, block, f"within a class: ± {block.spread_within:.3f}", len(order))
    finish_panels(figure, axes, gates, path, title)


def draw_depth(gates: Gates, path: Path, *, title: str) -> None:
    """Block by block: how class-specific the gates are, how far they move, and how many are saturated."""
    figure, axes = new_grid(3)
    x = np.arange(len(gates.blocks))
    specific, spread, saturated = axes
    values = [block.between for block in gates.blocks]
    specific.plot(x, values, color=COLOURS[0], marker="o", markersize=4, label="between classes")
    specific.plot(
        x,
        [block.chance for block in gates.blocks],
        color="0.45",
        linestyle="--",
        label="with shuffled labels",
    )
    specific.set(ylabel="Share of a gate's variance", ylim=(0, 1))
    for values, label, colour in (
        ([block.spread_between for block in gates.blocks], "of class means", COLOURS[0]),
        ([block.spread_within for block in gates.blocks], "within a class", COLOURS[1]),
    ):
        spread.plot(x, values, color=colour, marker="o", markersize=4, label=label)
    spread.set(ylabel="Standard deviation of a gate")
    spread.set_ylim(bottom=0)
    for values, label, colour in (
        ([block.open for block in gates.blocks], f"open, above {OPEN}", COLOURS[2]),
        ([block.closed for block in gates.blocks], f"closed, below {CLOSED}", COLOURS[3]),
    ):
        saturated.plot(x, values, color=colour, marker="o", markersize=4, label=label)
    saturated.set(ylabel="Share of gates", ylim=(0, 1))
    for axis, heading in zip(axes, ("Class-specific", "Spread over images", "Saturated"), strict=True):
        axis.set_title(heading, fontsize=11)
        axis.legend(frameon=False, fontsize=9)
        label_blocks(axis, gates)
    save_figure(figure, path, title)


def draw_removal(removals: Sequence[Removal], costs: Sequence[Cost], path: Path, *, title: str) -> None:
    """Stage by stage, what is lost where the gates are held, and what SE costs there."""
    figure, axes = new_grid(3)
    stages = [cost.stage for cost in costs]
    x = np.arange(len(stages))
    for axis, instead, colour in zip(axes, (MEAN, ONE), COLOURS, strict=False):
        found = {row.stage: row for row in removals if row.instead == instead}
        lost = [-100 * found[stage].top1_change for stage in stages]
        errors = [100 * found[stage].top1_error for stage in stages]
        axis.bar(x, lost, yerr=errors, capsize=3, width=0.6, color=colour, error_kw={"linewidth": 1})
        axis.axhline(0, color="0.4", linewidth=0.8)
        axis.set(title=f"Top-1 lost with {instead}", ylabel="Percentage points (± standard error)")
    for offset, values, label, colour in (
        (-0.2, [cost.parameters_share for cost in costs], "parameters", "0.45"),
        (0.2, [cost.multiply_adds_share for cost in costs], "multiply-adds", COLOURS[2]),
    ):
        axes[2].bar(x + offset, 100 * np.array(values), width=0.38, color=colour, label=label)
    axes[2].set(title="Cost of SE", ylabel="% of the whole network")
    axes[2].legend(frameon=False, fontsize=9)
    for axis in axes:
        axis.title.set_fontsize(11)
        axis.set_xticks(x, [words(stage) if stage != ALL else "all stages" for stage in stages])
    save_figure(figure, path, title)


def draw_gate_rows(blocks: Sequence[BlockGates], names: Sequence[str], path: Path, *, title: str) -> None:
    """Mean gate of every channel for the images of each class: a row a class, a panel a block.

    Rows that look alike: the block treats all classes the same; rows that differ: it has come to know them.
    Classes without images are left out.
    """
    present = np.flatnonzero(blocks[0].images)
    figure, axes = new_figure(len(blocks))
    figure.set_size_inches(4 * len(blocks), 1.8 + 0.2 * min(len(present), 60))
    for axis, block in zip(axes, blocks, strict=True):
        means = block.class_mean[present]
        image = axis.imshow(means, aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
        step = -(-len(present) // 60)
        axis.set(title=f"{words(block.stage)}: {means.shape[1]} channels", xlabel="Channel")
        axis.set_yticks(range(0, len(present), step), [names[i] for i in present[::step]])
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(visible=False)
    for axis in axes[1:]:
        axis.tick_params(labelleft=False)
    axes[0].set_ylabel("Class of the image")
    figure.colorbar(image, ax=axes, label="Mean gate")
    save_figure(figure, path, title)


# Panels


def new_grid(panels: int, columns: int = 3) -> tuple[Any, list[Any]]:
    """A figure with `panels` axes in rows of `columns`, in the house style."""
    figure, (first,) = new_figure(1)
    first.remove()
    rows, columns = -(-panels // columns), min(panels, columns)
    figure.set_size_inches(3.9 * columns, 3.1 * rows + 0.7)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axis in axes[panels:]:
        axis.remove()
    for axis in axes[:panels]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, linewidth=0.6)
    return figure, axes[:panels]


def sampled(block: BlockGates) -> np.ndarray:
    """Up to MOST_CHANNELS channels, evenly taken from all, in the order of their mean gate."""
    order = np.argsort(block.mean, kind="stable")
    count = min(MOST_CHANNELS, len(order))
    return order[np.linspace(0, len(order) - 1, count).round().astype(int)]


def label_panel(axis: Any, block: BlockGates, note: str, count: int) -> None:
    """The block's name, its channels, and a number of it."""
    axis.set_title(f"{words(block.name)}\n{note}", fontsize=10)
    of = f"{count} of " if count < len(block.mean) else ""
    axis.set_xlabel(f"{of}{len(block.mean)} channels, by mean gate", fontsize=9)
    axis.set_xticks([])


def finish_panels(figure: Any, axes: Sequence[Any], gates: Gates, path: Path, title: str) -> None:
    """One scale for all panels, one legend, the picture written."""
    values = np.concatenate([block.mean for block in gates.blocks])
    within = values.min() >= 0 and values.max() <= 1
    for place, axis in enumerate(axes):
        if within:
            axis.set_ylim(0, 1)
        if place % 3 == 0:
            axis.set_ylabel("Gate")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
    save_figure(figure, path, title)


def label_blocks(axis: Any, gates: Gates) -> None:
    """The blocks' places as ticks, with a line between stages."""
    step = -(-len(gates.blocks) // MOST_TICKS)
    places = range(0, len(gates.blocks), step)
    axis.set_xticks(places, [short(gates.blocks[place]) for place in places], rotation=90, fontsize=8)
    axis.set_xlabel("Stage.block, first to last")
    for place in range(1, len(gates.blocks)):
        if gates.blocks[place].stage != gates.blocks[place - 1].stage:
            axis.axvline(place - 0.5, color="0.75", linewidth=0.8)


def short(block: BlockGates) -> str:
    """ "1.2" of "stage1_block2", "3a" of "stage3a"."""
    return block.name.replace("stage", "").replace("_block", ".").replace("_branch", ".")


def words(name: str) -> str:
    """ "stage 1, block 2" of "stage1_block2"."""
    return name.replace("_", ", ").replace("stage", "stage ").replace("block", "block ")


def shown(value: float, digits: int = 2) -> str:
    """A share of variance; nothing where there is no variance."""
    return "" if np.isnan(value) else f"{value:.{digits}f}"
