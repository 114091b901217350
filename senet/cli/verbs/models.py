"""Networks: what there is, and from and to other files."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import AsJson, app, emit, say
from senet.files import write_json

TOLERANCE = 1e-4  # relative difference of the logits that a conversion may show, in float32


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(help='Shell pattern, such as "se_*".')] = "*",
    weights: Annotated[bool, typer.Option("--weights", help="List the published weight sets.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the networks with their parameters and multiply-adds, or the weight sets with their errors."""
    from senet.cli.tables import model_rows, print_models
    from senet.cli.weights import print_weights, weight_rows

    rows = weight_rows(pattern) if weights else model_rows(pattern)
    emit(rows, as_json, lambda: print_weights(rows) if weights else print_models(rows))


@app.command()
def info(
    model: Annotated[str | None, typer.Argument(help="A name from `senet list`.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the image in pixels.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the network into this PNG.")] = None,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Count the paper's ablations beside its figures.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a network stage by stage: sizes, parameters, multiply-adds. Or the ablations of the paper."""
    from senet.cli.tables import print_ablations, print_stages
    from senet.diagram import draw_network, stage_rows

    if (model is None) != ablations:
        raise typer.BadParameter(
            "Give a model or --ablations: senet info se_resnet_50, senet info --ablations."
        )
    if model is None:
        from senet.ablations import count_ablations

        say("Building the ablations of SE-ResNet-50; this takes about half a minute.")
        counted = count_ablations()
        emit([row.to_json() for row in counted], as_json, lambda: print_ablations(counted))
        return
    rows = stage_rows(model, image_size)
    if picture:
        draw_network(model, rows, picture)
        say(f"Picture: {picture}")
    emit([dataclasses.asdict(row) for row in rows], as_json, lambda: print_stages(model, rows))


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help=".caffemodel, .safetensors, .pth; or a Keras weights file.")],
    architecture: Annotated[str, typer.Argument(help='The source\'s own name, "timm/seresnet50".')],
    out: Annotated[Path, typer.Argument(help="*.weights.h5 or *.keras; from Keras: .safetensors or .pth.")],
    report: Annotated[Path | None, typer.Option(help="Write the report into this JSON file.")] = None,
    compare: Annotated[bool, typer.Option(help="Measure against the source's runtime.")] = True,
    as_json: AsJson = False,
) -> None:
    """Convert a published checkpoint, and prove it: every tensor used once, the difference measured."""
    from senet.cli.weights import print_conversion, run_conversion

    result = run_conversion(file, architecture, out, compare=compare)
    if report:
        write_json(report, result)
    emit(result, as_json, lambda: print_conversion(result, out))
    if result["difference"] and result["difference"].get("relative_difference", 0) > TOLERANCE:
        say(f"senet: the networks differ by more than {TOLERANCE}.")
        sys.exit(1)
