"""What was found of the role of excitation, as pictures, tables and one page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from senet.explain.gates import CLOSED, OPEN, BlockGates, Gates
from senet.explain.plots import (
    MOST_CHANNELS,
    draw_depth,
    draw_gate_rows,
    draw_profiles,
    draw_removal,
    draw_spread,
    shown,
)
from senet.explain.removal import MEAN, ONE, Cost, Removal
from senet.explain.tables import write_csv
from senet.page import Cell, Picture, Section, Table, write_page

SPREAD_CLASSES = 2  # of the paper's Figure 7
MOST_ROWS = 120  # classes up to which the picture of all classes is drawn
BLOCK_COLUMNS = (
    *("block", "stage", "channels", "constant", "open", "closed"),
    *("between_classes", "chance", "specificity", "spread_between", "spread_within"),
)
COST_COLUMNS = tuple(field.name for field in dataclasses.fields(Cost) if field.name != "stage")
REMOVAL_COLUMNS = tuple(field.name for field in dataclasses.fields(Removal))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Excitation:
    """What was found of a network's gates, and the files it was written to, the page first."""

    model: str
    weights: str  # where the network is from: a tag or a run folder
    data: str
    names: Sequence[str]  # of all classes of the data
    chosen: tuple[int, ...]  # classes that are drawn apart
    gates: Gates
    costs: Sequence[Cost]
    removals: Sequence[Removal]  # empty where it was not asked for
    files: tuple[Path, ...] = ()

    @property
    def top1(self) -> float:
        """Share of the images that the whole network gets right."""
        return self.gates.right / self.gates.images

    @property
    def title(self) -> str:
        return f"{self.model} on {self.data}, {self.gates.images:,} images"


def write_excitation(found: Excitation, out: Path) -> tuple[Path, ...]:
    """Draw the pictures and write the tables and index.html into `out`; the files, the page first."""
    pictures = draw(found, out)
    tables = write_tables(found, out)
    page = out / "index.html"
    write_page(page, f"The role of excitation: {found.model}", sections(found, pictures), text=summary(found))
    return (page, *(out / name for name in pictures), *tables)


def draw(found: Excitation, out: Path) -> dict[str, Picture]:
    """The pictures by their file's name."""
    gates, chosen, names = found.gates, found.chosen, found.names
    alts = {
        "excitation.png": "Lines of the mean gate of each channel, one for each class, a panel a block.",
        "spread.png": "Lines with bands of one standard deviation: gates over the images of two classes.",
        "depth.png": "Lines over the blocks from first to last: class share of variance, spread, saturation.",
    }
    draw_profiles(gates, chosen, names, out / "excitation.png", title=f"Gates by class: {found.title}")
    two = chosen[:SPREAD_CLASSES]
    draw_spread(gates, two, names, out / "spread.png", title=f"Gates within a class: {found.title}")
    draw_depth(gates, out / "depth.png", title=f"Gates by depth: {found.title}")
    if np.sum(gates.blocks[0].images > 0) <= MOST_ROWS:
        alts["classes.png"] = (
            "Colours for the mean gate of each channel, a row for each class, a panel a stage."
        )
        title = f"Gates of every class, last block of each stage: {found.title}"
        draw_gate_rows(gates.last_of_stages, names, out / "classes.png", title=title)
    if found.removals:
        alts["removal.png"] = "Bars for each stage: accuracy lost with its gates held, and the cost of SE."
        draw_removal(
            found.removals, found.costs, out / "removal.png", title=f"Without SE in a stage: {found.title}"
        )
    return {name: Picture(source=out / name, alt=alt) for name, alt in alts.items()}


# Tables


def write_tables(found: Excitation, out: Path) -> list[Path]:
    """gates.csv, blocks.csv, costs.csv and, where it was asked for, removal.csv."""
    gates = found.gates
    write_csv(
        out / "gates.csv",
        ("block", "channel", "class", "mean", "std"),
        (
            (block.name, channel, label, float(mean), float(std))
            for block in gates.blocks
            for label, means, stds in profiles(block, found)
            for channel, (mean, std) in enumerate(zip(means, stds, strict=True))
        ),
    )
    write_csv(out / "blocks.csv", BLOCK_COLUMNS, block_rows(gates))
    rows = [[cost.stage, *(getattr(cost, field) for field in COST_COLUMNS)] for cost in found.costs]
    write_csv(out / "costs.csv", ("stage", *COST_COLUMNS), rows)
    tables = [out / "gates.csv", out / "blocks.csv", out / "costs.csv"]
    if found.removals:
        rows = [[getattr(row, field) for field in REMOVAL_COLUMNS] for row in found.removals]
        write_csv(out / "removal.csv", REMOVAL_COLUMNS, rows)
        tables.append(out / "removal.csv")
    return tables


def profiles(block: BlockGates, found: Excitation) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, mean (C,), deviation (C,)) over all images, then over those of each chosen class."""
    classes = [(found.names[i], block.class_mean[i], block.class_std[i]) for i in found.chosen]
    return [("all images", block.mean, block.std), *classes]


def block_rows(gates: Gates) -> list[list[str | int | float]]:
    """A row of BLOCK_COLUMNS for each block."""
    return [
        [
            *(block.name, block.stage, len(block.mean), block.constant, block.open, block.closed),
            *(block.between, block.chance, block.specificity, block.spread_between, block.spread_within),
        ]
        for block in gates.blocks
    ]


# The page


def summary(found: Excitation) -> str:
    """The finding in a few sentences, for the top of the page."""
    text = (
        f"{found.model} ({found.weights}) on {found.gates.images:,} test images of {found.data}: "
        f"{found.top1:.2%} right."
    )
    blocks = [block for block in found.gates.blocks if not np.isnan(block.specificity)]
    if blocks:
        least, most = (pick(blocks, key=lambda block: block.specificity) for pick in (min, max))
        text += (
            f" Of {len(found.gates.blocks)} SE blocks, the gates of {most.name} follow the class of the "
            f"image most (class-specific {most.specificity:.2f} on a scale from 0, chance, to 1), those of "
            f"{least.name} least ({least.specificity:.2f})."
        )
    held = {row.stage: row for row in found.removals if row.instead == MEAN}
    if held:
        stage = min(found.gates.stages, key=lambda name: held[name].top1_change)
        text += (
            f" Held at their mean, the gates of {stage} cost the most accuracy: {held[stage].points_lost} "
            "percentage points of top-1."
        )
    return text


def sections(found: Excitation, pictures: dict[str, Picture]) -> list[Section]:
    """The page, part by part."""
    chosen = ", ".join(found.names[index] for index in found.chosen)
    parts = [
        Section(
            heading="Gates by class",
            text=f"The mean gate of up to {MOST_CHANNELS} channels for {chosen} and for all images, at the "
            "last SE block of each stage and at every block of the last stage; channels in the order of "
            "their mean. Where the lines lie on one another the block treats all classes alike. Figure 6 of "
            "the paper, which has the channels in the order of their numbers.",
            pictures=[pictures["excitation.png"]],
        ),
        Section(
            heading="Gates within a class",
            text="The same blocks: mean ± one standard deviation over the images of a class. Figure 7 of the "
            "paper.",
            pictures=[pictures["spread.png"]],
        ),
        Section(
            heading="Every block", text=HOW, table=block_table(found.gates), pictures=[pictures["depth.png"]]
        ),
    ]
    if "classes.png" in pictures:
        parts.append(Section(heading="Every class", pictures=[pictures["classes.png"]]))
    parts.append(
        Section(
            heading="Without SE in a stage",
            text=REMOVED if found.removals else "",
            table=removal_table(found),
            pictures=[pictures["removal.png"]] if "removal.png" in pictures else [],
        )
    )
    return parts


HOW = f"""\
Class-specific: the share of a gate's variance over the images that lies between classes (eta squared, mean
over channels), with what shuffled labels would give taken off: 0 is chance, 1 means that the class alone
decides. Deviations are in units of a gate, mean over channels. Open and closed are the shares of gates
above {OPEN} and below {CLOSED}.
"""
REMOVED = f"""\
The gates of one stage, then of all, are held constant, and the same images are scored again; no weight is
trained anew. With "{MEAN}" each channel keeps its mean gate over these images: what is lost is what depended
on the image. With "{ONE}" there are no gates: the layers behind see a scale that they never saw in training,
so this shows how much the network leans on them, not what one trained without SE would score. ± is the
standard error of the difference, paired over the images.
"""


def block_table(gates: Gates) -> Table:
    """The blocks' numbers."""
    columns = (
        *("Block", "Channels", "Class-specific", "Between classes", "Shuffled labels"),
        *("Std of class means", "Std within a class", "Open", "Closed", "Constant channels"),
    )
    rows = [
        (
            *(block.name, len(block.mean), shown(block.specificity, 3), shown(block.between, 3)),
            *(f"{block.chance:.3f}", f"{block.spread_between:.4f}", f"{block.spread_within:.4f}"),
            *(f"{block.open:.1%}", f"{block.closed:.1%}", block.constant),
        )
        for block in gates.blocks
    ]
    return Table(columns=columns, rows=rows)


def removal_table(found: Excitation) -> Table:
    """What SE costs in each stage, and what is lost without it."""
    columns = ["Stage", "SE parameters", "of all", "SE multiply-adds", "of all"]
    by_key = {(row.stage, row.instead): row for row in found.removals}
    if found.removals:
        columns += [f"{what}, {instead}" for instead in (MEAN, ONE) for what in ("Top-1 lost", "Loss")]
    rows = []
    for cost in found.costs:
        row: list[Cell] = [cost.stage, cost.parameters, f"{cost.parameters_share:.2%}"]
        row += [cost.multiply_adds, f"{cost.multiply_adds_share:.3%}"]
        for instead in (MEAN, ONE) if found.removals else ():
            held = by_key[cost.stage, instead]
            row += [held.points_lost, f"{held.loss_change:+.4f}"]
        rows.append(row)
    return Table(columns=columns, rows=rows)
