"""What a trained network does, as pictures and one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import AsJson, Data, app, emit, group, say

explain_app = group("Look into a trained network.")
app.add_typer(explain_app, name="explain")

Target = Annotated[str, typer.Argument(help="Folder of a finished run, a weight tag, or a network.")]
Out = Annotated[Path, typer.Option(help="Folder for the page, the pictures and the tables.")]
Weights = Annotated[str | None, typer.Option(help="Weights of a network: a tag, or imagenet.")]
BatchSize = Annotated[int, typer.Option(help="Images a step.", min=1)]


@explain_app.command("excitation")
def explain_excitation(
    target: Target,
    out: Out,
    data: Data = None,
    classes: Annotated[list[str] | None, typer.Option(help="Classes to draw apart, by name.")] = None,
    per_class: Annotated[int | None, typer.Option(help="At most so many images of a class.")] = None,
    removal: Annotated[bool, typer.Option(help="Score with the gates of each stage held.")] = True,
    weights: Weights = None,
    batch_size: BatchSize = 64,
    as_json: AsJson = False,
) -> None:
    """Show what the SE blocks do: gates by class and by depth, saturation, and what is lost without them."""
    from senet.cli.explain import excitation_record, open_subject, print_excitation
    from senet.explain.excitation import explain_excitation

    subject = open_subject(target, weights, data)
    found = explain_excitation(
        subject, out, classes=classes or (), per_class=per_class, removal=removal, batch=batch_size
    )
    emit(excitation_record(found), as_json, lambda: print_excitation(found))
    say(f"Page: {found.files[0]}")


@explain_app.command("gradcam")
def explain_gradcam(
    target: Target,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    out: Out,
    layer: Annotated[str, typer.Option(help="last, a stage (stage3), or a layer's name.")] = "last",
    label: Annotated[
        str | None, typer.Option("--class", help="Class to look for; default the answer.")
    ] = None,
    gradient: Annotated[
        bool, typer.Option("--gradient", help="By the gradient, also at the last map.")
    ] = False,
    weights: Weights = None,
    batch_size: BatchSize = 16,
    as_json: AsJson = False,
) -> None:
    """Show where in images a network sees a class: Grad-CAM, in closed form at the last feature map."""
    from senet.cli.explain import heatmap_records, open_classifier, print_heatmaps
    from senet.explain.grad_cam import AUTO, GRADIENT
    from senet.explain.heatmaps import heatmaps, write_heatmaps

    network, preprocess, labels = open_classifier(target, weights)
    found = heatmaps(
        network,
        images,
        preprocess=preprocess,
        labels=labels,
        label=label,
        layer=layer,
        way=GRADIENT if gradient else AUTO,
        batch=batch_size,
    )
    files = write_heatmaps(found, out, model=network.name)
    emit(heatmap_records(found, files), as_json, lambda: print_heatmaps(found))
    say(f"Page: {files[0]}")


@explain_app.command("errors")
def explain_errors(
    target: Target,
    out: Out,
    data: Data = None,
    count: Annotated[int, typer.Option(help="Mistakes on the contact sheet.", min=1)] = 30,
    weights: Weights = None,
    batch_size: BatchSize = 64,
    as_json: AsJson = False,
) -> None:
    """Show the most confident mistakes on a contact sheet, and which classes are taken for which."""
    from senet.cli.explain import mistake_record, open_subject, print_mistakes
    from senet.explain.mistakes import find_mistakes, write_mistakes

    subject = open_subject(target, weights, data)
    found = find_mistakes(subject, count=count, batch=batch_size)
    files = write_mistakes(found, subject, out)
    emit(mistake_record(found, files), as_json, lambda: print_mistakes(found))
    say(f"Page: {files[0]}")
