"""Networks as files of other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import AsJson, app, emit


@app.command()
def export(
    target: Annotated[str, typer.Argument(help="A network, a tag, a finished run's folder, or FILE.keras.")],
    out: Annotated[Path, typer.Argument(help="*.onnx, *.xml, *.tflite, or a folder (SavedModel).")],
    format: Annotated[str | None, typer.Option(help="onnx, openvino, litert, tf_saved_model.")] = None,
    precision: Annotated[str, typer.Option(help="float32, float16, int8.")] = "float32",
    calibration: Annotated[Path | None, typer.Option(help="Folder of images, for int8.")] = None,
    samples: Annotated[Path | None, typer.Option(help="Folder of images to compare on.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a call. Default: any.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels. Default: the network's.")] = None,
    bake: Annotated[bool, typer.Option("--bake-preprocess", help="The file takes pixels, 0 to 255.")] = False,
    weights: Annotated[str, typer.Option(help="Of a network: a tag, a file, or imagenet.")] = "imagenet",
    optimize: Annotated[bool, typer.Option(help="Export the network as optimised for inference.")] = True,
    as_json: AsJson = False,
) -> None:
    """Write a network for another runtime, run it there, and compare (exit code 1: it answers otherwise)."""
    from senet.cli.export import print_export, run_export

    report = run_export(
        target,
        out,
        weights,
        format=format,
        precision=precision,
        calibration=calibration,
        samples=samples,
        batch=batch,
        image_size=image_size,
        bake_preprocess=bake,
        optimize=optimize,
    )
    emit(report, as_json, lambda: print_export(report))
