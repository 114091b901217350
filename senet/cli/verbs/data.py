"""Data sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import AsJson, Overrides, data_app, emit, say


@data_app.command("pack")
def data_pack(
    source: Annotated[str, typer.Argument(help="Class folders, an archive of them, or tfds:NAME.")],
    out: Annotated[Path, typer.Argument(help="New folder for the shards.")],
    size: Annotated[float, typer.Option(help="Most megabytes of images in a shard.")] = 256,
    shuffle: Annotated[bool, typer.Option(help="Mix the classes, in an order drawn from the seed.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of that order.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write tar shards, which are read as fast as folders and copied far faster."""
    from senet.cli.data import run_pack

    result = dataclasses.asdict(run_pack(source, out, size, shuffle, seed))
    text = "{train_images:,} training and {test_images:,} test images"
    emit(result, as_json, lambda: say(f"{text.format(**result)}: senet train RECIPE --data {out}"))


@data_app.command("check")
def data_check(
    source: Annotated[str, typer.Argument(help="Class folders, shards, an archive, or tfds:NAME.")],
    as_json: AsJson = False,
) -> None:
    """Count images, and find unreadable, doubled and missing ones (exit code 1)."""
    from senet.cli.data import print_report, run_check

    report = run_check(source)
    emit(dataclasses.asdict(report), as_json, lambda: print_report(report))
    if report.wrong:
        raise typer.Exit(1)


@data_app.command("preview")
def data_preview(
    recipe: Annotated[str, typer.Option(help="A recipe's name, or the path of a .yaml file.")],
    out: Annotated[Path, typer.Option(help="PNG to draw.")],
    source: Annotated[str | None, typer.Argument(help="In place of the recipe's data.")] = None,
    overrides: Overrides = None,
) -> None:
    """Draw the first training images of a recipe as the network will see them."""
    from senet.cli.data import run_preview

    run_preview(source, recipe, out, overrides)
    say(f"Picture: {out}")
