"""Training: a run, the demonstration, grids of runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import AsJson, Data, Overrides, app, benchmark_app, data_override, emit, say


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the path of a .yaml file.")],
    model: Annotated[str | None, typer.Option(help="Network, in place of the recipe's.")] = None,
    data: Data = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, in place of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, in place of the recipe's.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/MODEL-SEED.")] = None,
    devices: Annotated[str, typer.Option(help="one, all, or a number.")] = "one",
    coordinator: Annotated[str | None, typer.Option(help="HOST:PORT of process 0, with several.")] = None,
    process_id: Annotated[int | None, typer.Option(help="This process, from 0.")] = None,
    process_count: Annotated[int | None, typer.Option(help="All processes.")] = None,
    wandb: Annotated[str | None, typer.Option(help="Project of Weights & Biases.", metavar="NAME")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train a network; the same command on the same folder resumes.

    On several machines (JAX) start it on each, under srun or mpirun, or with --coordinator, --process-id and
    --process-count.
    """
    from senet.training.config import load_config
    from senet.training.distribute import join
    from senet.training.fit import train as run

    join(coordinator, process_id, process_count)
    config = load_config(recipe, data_override(overrides, data), model=model, epochs=epochs, seed=seed)
    wanted = int(devices) if devices.isdigit() else devices
    result = dataclasses.asdict(run(config, run_dir, devices=wanted, wandb=wandb))
    accuracy, folder = result["test_accuracy"], result["run_dir"]
    emit(result, as_json, lambda: say(f"Test accuracy {accuracy:.2%}. Curves, model and metrics: {folder}"))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    epochs: Annotated[int | None, typer.Option(help="Epochs of training, in place of the recipe's.")] = None,
) -> None:
    """See SE at work: train ResNet-20 with and without it on handwritten digits, in about three minutes."""
    from senet.bench.demo import run_demo
    from senet.cli.tables import print_report

    files = run_demo(out, epochs)
    print_report(out)
    say("Open: " + ", ".join(map(str, files)))


@benchmark_app.callback()
def benchmark() -> None:
    """Compare networks."""


@benchmark_app.command("cifar10")
def benchmark_cifar10(
    models: Annotated[list[str] | None, typer.Option(help="Networks to compare.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="Seeds of the runs.")] = None,
    recipe: Annotated[str, typer.Option(help="Recipe of every run.")] = "cifar_short",
    epochs: Annotated[int | None, typer.Option(help="Epochs, in place of the recipe's.")] = None,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Folder for results and report.")] = Path("runs/cifar10"),
    note: Annotated[str, typer.Option(help="A sentence on the data, printed in the report.")] = "",
    title: Annotated[str, typer.Option(help="Title of the report.")] = "CIFAR-10 with and without SE",
    redraw: Annotated[bool, typer.Option("--redraw", help="Only write the report again.")] = False,
    overrides: Overrides = None,
) -> None:
    """Train the same networks with and without SE, over several seeds, and write a report."""
    from senet.bench.cifar import Grid, run_grid, run_in_own_process
    from senet.bench.report import write_report
    from senet.cli.tables import print_report
    from senet.training.config import load_config

    if not redraw:
        config = load_config(recipe, data_override(overrides, data), epochs=epochs)
        names = tuple(models or ("resnet_20_cifar", "se_resnet_20_cifar"))
        grid = Grid(config=config, models=names, seeds=tuple(seeds or (0, 1, 2)), out=out, note=note)
        run_grid(grid, run_in_own_process)
    files = write_report(out, title)
    print_report(out)
    say("Report: " + ", ".join(map(str, files)))
