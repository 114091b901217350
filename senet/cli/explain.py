"""What `senet explain` opens and prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from senet.cli.evaluate import check_target, open_target
from senet.cli.predict import Opened, open_network, open_run
from senet.cli.tables import print_table
from senet.evaluate import Subject
from senet.explain.excitation_report import BLOCK_COLUMNS, Excitation, block_rows
from senet.explain.heatmaps import Heatmap
from senet.explain.mistakes import Mistakes
from senet.explain.plots import shown
from senet.explain.removal import ALL, MEAN, ONE
from senet.weights import catalogue

SHOWN_PAIRS = 12


def open_subject(target: str, weights: str | None, source: str | None) -> Subject:
    """The network of a run or a tag with the images to explain it on; ValueError for another target."""
    check_target(target, weights)
    return open_target(target, weights, source)


def open_classifier(target: str, weights: str | None = None) -> Opened:
    """The network of a run, a tag or a name with what prepares images for it, and its labels."""
    check_target(target, weights)
    if weights is not None:
        return open_network(weights, target, None)
    if target in catalogue.entries():
        return open_network(target, None, None)
    return open_run(Path(target))


# Excitation


def excitation_record(found: Excitation) -> dict[str, Any]:
    """What was found as plain data, without the gates of single channels."""
    return {
        "model": found.model,
        "weights": found.weights,
        "data": found.data,
        "images": found.gates.images,
        "top1": found.top1,
        "classes": [found.names[index] for index in found.chosen],
        "blocks": [plain(zip(BLOCK_COLUMNS, row, strict=True)) for row in block_rows(found.gates)],
        "costs": [plain(vars(cost).items()) for cost in found.costs],
        "removals": [plain(vars(row).items()) for row in found.removals],
        "files": [str(path) for path in found.files],
    }


def plain(items: Any) -> dict[str, Any]:
    """Without nan, which JSON does not know."""
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in items}


def print_excitation(found: Excitation) -> None:
    """The blocks, then what is lost without each stage."""
    print_table(
        ("Block", "Class-specific", "Std of class means", "Std within a class", "Open", "Closed"),
        [
            (
                *(block.name, shown(block.specificity, 3), f"{block.spread_between:.4f}"),
                *(f"{block.spread_within:.4f}", f"{block.open:.1%}", f"{block.closed:.1%}"),
            )
            for block in found.gates.blocks
        ],
        title=f"{found.model} on {found.gates.images:,} images of {found.data}, {found.top1:.2%} right",
    )
    if found.removals:
        lost = {(row.stage, row.instead): row for row in found.removals}
        print_table(
            ("Stage", "Parameters", "Multiply-adds", *(f"Top-1 lost, {instead}" for instead in (MEAN, ONE))),
            [
                (
                    "all stages" if cost.stage == ALL else cost.stage,
                    f"{cost.parameters:,} ({cost.parameters_share:.2%})",
                    f"{cost.multiply_adds:,} ({cost.multiply_adds_share:.3%})",
                    *(lost[cost.stage, instead].points_lost for instead in (MEAN, ONE)),
                )
                for cost in found.costs
            ],
            title="Without SE in a stage: percentage points",
        )


# Heatmaps and mistakes


def heatmap_records(found: Sequence[Heatmap], files: Sequence[Path]) -> dict[str, Any]:
    """The maps as plain data."""
    images = [
        {
            "file": each.file,
            "class": each.label,
            "probability": each.probability,
            "layer": each.layer,
            "way": each.way,
            "map": each.map.tolist(),
        }
        for each in found
    ]
    return {"images": images, "files": [str(path) for path in files]}


def print_heatmaps(found: Sequence[Heatmap]) -> None:
    """Each image with its class and where that is seen."""
    print_table(
        ("Image", "Class", "Probability", "Highest at row, column"),
        [
            (
                *(each.file, each.label, f"{each.probability:.1%}"),
                f"{each.peak[0] + 1}, {each.peak[1] + 1} of {each.map.shape[0]} × {each.map.shape[1]}",
            )
            for each in found
        ],
        title=f"Grad-CAM at {found[0].layer} ({found[0].way})",
    )


def mistake_record(found: Mistakes, files: Sequence[Path]) -> dict[str, Any]:
    """The mistakes as plain data, without their pixels."""
    worst = [{key: value for key, value in vars(row).items() if key != "pixels"} for row in found.worst]
    return {
        "images": found.images,
        "wrong": found.wrong,
        "mistakes": worst,
        "pairs": [vars(pair) for pair in found.pairs],
        "files": [str(path) for path in files],
    }


def print_mistakes(found: Mistakes) -> None:
    """The most frequent confusions."""
    print_table(
        ("True class", "Answer", "Images", "Share of the class", "The other way"),
        [
            (row.truth, row.answer, str(row.images), f"{row.share:.1%}", str(row.other_way))
            for row in found.pairs[:SHOWN_PAIRS]
        ],
        title=f"{found.wrong:,} of {found.images:,} images wrong",
    )
