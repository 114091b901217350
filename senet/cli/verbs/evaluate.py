"""Scores of trained networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import AsJson, Data, app, emit


@app.command()
def evaluate(
    targets: Annotated[list[str], typer.Argument(help="Folders of finished runs, tags, or networks.")],
    data: Data = None,
    weights: Annotated[str | None, typer.Option(help="Weights of a network: a tag, or imagenet.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Add a row for each target to this CSV.")] = None,
    ten_crop: Annotated[bool, typer.Option("--ten-crop", help="Average ten crops of each image.")] = False,
    confusion: Annotated[Path | None, typer.Option(help="Draw what is taken for what into this PNG.")] = None,
    per_class: Annotated[Path | None, typer.Option(help="Write a row for each class into this CSV.")] = None,
    which: Annotated[str, typer.Option(help="Network of a run: last, averaged or best.")] = "last",
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 64,
    as_json: AsJson = False,
) -> None:
    """Score runs or published weights on test images; published ones with their own preprocessing."""
    from senet.cli.evaluate import check_files, print_records, record, run_evaluation, write_files

    check_files(targets, confusion, per_class)
    records = []
    for outcome in run_evaluation(targets, weights, data, batch=batch_size, ten_crop=ten_crop, which=which):
        write_files(outcome, csv, confusion, per_class)
        records.append(record(outcome))
    emit(records if len(records) > 1 else records[0], as_json, lambda: print_records(records))
