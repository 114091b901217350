"""What is in images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import AsJson, app, emit


@app.command()
def predict(
    images: Annotated[list[Path] | None, typer.Argument(help="Image files, or folders of them.")] = None,
    weights: Annotated[str | None, typer.Option(help="Tag: see `senet list --weights`.")] = None,
    model: Annotated[str | None, typer.Option(help="Network, where the tag is only `imagenet`.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of a finished run, in place of weights.")] = None,
    exported: Annotated[Path | None, typer.Option(help="What `senet export` wrote, instead.")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="keras, onnxruntime, openvino, litert. Default: the file's ")
    ] = None,
    stdin: Annotated[
        str | None, typer.Option(help="Read paths (one a line) or frames (length, then JPEG) from stdin.")
    ] = None,
    top: Annotated[int, typer.Option(help="Classes an image.")] = 5,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 32,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV on stdout.")] = False,
    as_json: AsJson = False,
) -> None:
    """Name what is in images. A file that cannot be read is named and stops nothing (exit code 1)."""
    from senet.cli.predict import check_inputs, follow, name_errors, open_subject, records, show
    from senet.predict import predict as classify

    check_inputs(images, stdin, as_csv or as_json)
    network, preprocess, labels = opened = open_subject(weights, model, run, exported, runtime)
    if stdin is not None:
        follow(opened, stdin, top)
        return
    results = classify(
        network, images or [], top, preprocess=preprocess, labels=labels, batch_size=batch_size, progress=True
    )
    emit(records(results), as_json, lambda: show(results, as_csv))
    if name_errors(results):
        raise typer.Exit(1)
