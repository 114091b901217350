"""Tables for the terminal."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from senet.ablations import NETWORK, SIDE, Counted
from senet.bench.cifar import read_records, summarize_notes
from senet.bench.report import COLUMNS, cells, differences
from senet.bench.statistics import compare, summarize
from senet.complexity import counted
from senet.diagram import StageRow
from senet.errors import did_you_mean
from senet.zoo import list_models


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table on stdout; every column but the first is set right."""
    grid = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        grid.add_column(column, justify="right" if index else "left", overflow="fold", no_wrap=not index)
    for row in rows:
        grid.add_row(*row)
    # Where there is no terminal there is no width to fit: lines must not be folded for the next program.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(grid)


def model_rows(pattern: str) -> list[dict[str, Any]]:
    """Name and counts of the networks that match; ValueError where none does."""
    names = list_models(pattern)
    if not names:
        raise ValueError(f"No network matches {pattern!r}.{did_you_mean(pattern, list_models())}")
    table = counted()
    return [{"model": name, **dataclasses.asdict(table[name])} for name in names]


def print_models(rows: Sequence[dict[str, Any]]) -> None:
    """The table of `senet list`."""
    print_table(
        ("Network", "Image", "Parameters", "Multiply-adds", "Activations"),
        [
            (
                row["model"],
                "×".join(map(str, row["image_shape"])),
                f"{row['trainable_parameters']:,}",
                f"{row['multiply_adds'] / 1e9:.3f} G",
                f"{row['activations'] / 1e6:.2f} M",
            )
            for row in rows
        ],
    )


def print_stages(model: str, rows: Sequence[StageRow]) -> None:
    """The table of `senet info`."""
    total_parameters, total = sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)
    body = [
        (
            row.name,
            row.what,
            "×".join(map(str, row.output_shape)),
            f"{row.parameters:,}",
            f"{row.multiply_adds / 1e6:,.1f} M",
            f"{row.multiply_adds / total:.1%}",
        )
        for row in rows
    ]
    body.append(("total", "", "", f"{total_parameters:,}", f"{total / 1e6:,.1f} M", ""))
    columns = ("Part", "What", "Output", "Parameters", "Multiply-adds", "Share")
    print_table(columns, body, title=f"{model} (parameters with BatchNorm's moving statistics)")


def print_ablations(rows: Sequence[Counted]) -> None:
    """The table of `senet info --ablations`."""
    body = [
        (
            f"{row.ablation.table}",
            row.ablation.variant,
            f"{row.parameters / 1e6:.2f} M",
            shown(row.ablation.millions, ".1f", " M"),
            f"{row.multiply_adds / 1e9:.3f} G",
            shown(row.ablation.giga, ".2f", " G"),
            f"{row.ablation.top1_error:.2f} / {row.ablation.top5_error:.2f}",
            ", ".join(row.differs),
        )
        for row in rows
    ]
    columns = (
        "Table",
        "Variant",
        "Parameters",
        "Paper",
        "Multiply-adds",
        "Paper",
        "Paper's error",
        "Differs",
    )
    title = f"The paper's ablations of {NETWORK}, counted at {SIDE}×{SIDE}"
    print_table(columns, body, title=title)
    print(
        "Parameters with BatchNorm's moving statistics, as the paper's figures have them; SE without biases. "
        "Errors are the paper's (top-1 / top-5, %): nothing was trained here.\n"
        "Differs: rounded as the paper prints it, ours is another number. The parameters of r = 8 fit with "
        "biases in the two layers; the multiply-adds of Tables 13 and 15 fit where the additions of the "
        "squeeze are not counted, which Table 2's fit with."
    )


def shown(value: float | None, form: str, unit: str) -> str:
    """A figure of the paper, or nothing."""
    return "" if value is None else f"{value:{form}}{unit}"


def print_report(out: Path) -> None:
    """The table of a benchmark."""
    records = read_records(out)
    print_table(COLUMNS, [cells(row) for row in summarize(records)])
    print(f"{summarize_notes(records)}.")
    print("\n".join(line.replace("**", "") for line in differences(compare(records)) if line))
