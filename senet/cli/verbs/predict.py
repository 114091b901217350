"""What is in images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import AsJson, app, emit


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    weights: Annotated[str | None, typer.Option(help="Tag: see `senet list --weights`.")] = None,
    model: Annotated[str | None, typer.Option(help="Network, where the tag is only `imagenet`.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of a finished run, in place of weights.")] = None,
    top: Annotated[int, typer.Option(help="Classes an image.")] = 5,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 32,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV on stdout.")] = False,
    as_json: AsJson = False,
) -> None:
    """Name what is in images. A file that cannot be read is named and stops nothing (exit code 1)."""
    from senet.cli.predict import name_errors, open_network, records, show
    from senet.predict import predict as classify

    network, preprocess, labels = open_network(weights, model, run)
    results = classify(
        network, images, top, preprocess=preprocess, labels=labels, batch_size=batch_size, progress=True
    )
    emit(records(results), as_json, lambda: show(results, as_csv))
    if name_errors(results):
        raise typer.Exit(1)
