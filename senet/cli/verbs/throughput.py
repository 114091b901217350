"""Speed, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import benchmark_app

Names = list[str] | None


@benchmark_app.command("throughput")
def benchmark_throughput(
    models: Annotated[Names, typer.Option(help="Networks; a plain twin shows what SE costs.")] = None,
    engines: Annotated[Names, typer.Option(help="Of Keras: tensorflow, jax, torch.")] = None,
    runtimes: Annotated[Names, typer.Option(help="keras, onnxruntime, openvino, litert.")] = None,
    batch_sizes: Annotated[list[int] | None, typer.Option(help="Images a step. Default: 1 8.")] = None,
    precisions: Annotated[Names, typer.Option(help="float32, bfloat16, float16, int8.")] = None,
    variants: Annotated[Names, typer.Option(help="original, optimized. Default: both.")] = None,
    train: Annotated[bool, typer.Option("--train", help="Time whole training steps, on Keras.")] = False,
    rounds: Annotated[int, typer.Option(help="Turns of each subject.")] = 10,
    burst: Annotated[float, typer.Option(help="Seconds of a turn, about.")] = 1.0,
    threads: Annotated[int | None, typer.Option(help="Of every subject. Default: the cores.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels. Default: the network's.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Folder of images for int8.")] = None,
    memory: Annotated[float | None, typer.Option(help="MiB a subject may allocate (Linux).")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/throughput"),
    redraw: Annotated[bool, typer.Option("--redraw", help="Only make the page and charts again.")] = False,
) -> None:
    """Time networks on engines and runtimes in turns: speed, latency, memory, and what SE costs."""
    from senet.cli.throughput import finish, grid_of, measure, settings_of

    lists = (models, engines, runtimes, batch_sizes, precisions, variants)
    if not redraw:
        grid = grid_of(*lists, train=train)
        chosen = settings_of(rounds, burst, threads, image_size, calibration, memory)
        measure(grid, chosen, out)
    finish(out)
