"""The `senet` command: one verb a capability, human text on stderr, `--json` results on stdout.

Exit codes: 0 done, 1 a check failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from senet.files import write_json

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
benchmark_app = typer.Typer(help="Compare networks.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(benchmark_app, name="benchmark")
data_app = typer.Typer(help="Pack, check and look at data.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
runs_app = typer.Typer(help="List, compare and draw runs.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(runs_app, name="runs")

TOLERANCE = 1e-4  # relative difference of the logits that a conversion may show, in float32
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a key of the recipe: --set optimizer.lr=0.05. Repeatable."),
]
Data = Annotated[
    str | None,
    typer.Option("--data", help="digits, cifar10, cifar100, or a path (folder or tar).", metavar="SOURCE"),
]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.")]
RunArguments = Annotated[list[Path], typer.Argument(help="Folders of runs.")]


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(help='Shell pattern, such as "se_*".')] = "*",
    weights: Annotated[bool, typer.Option("--weights", help="List the published weight sets.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the networks with their parameters and multiply-adds, or the weight sets with their errors."""
    from senet.cli_tables import model_rows, print_models
    from senet.cli_weights import print_weights, weight_rows

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
    from senet.cli_tables import print_ablations, print_stages
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
    from senet.cli_weights import print_conversion, run_conversion

    result = run_conversion(file, architecture, out, compare=compare)
    if report:
        write_json(report, result)
    emit(result, as_json, lambda: print_conversion(result, out))
    if result["difference"] and result["difference"].get("relative_difference", 0) > TOLERANCE:
        say(f"senet: the networks differ by more than {TOLERANCE}.")
        sys.exit(1)


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
def evaluate(
    targets: Annotated[list[str], typer.Argument(help="Folders of finished runs, tags, or networks.")],
    data: Data = None,
    weights: Annotated[str | None, typer.Option(help="Weights of a network: a tag, or imagenet.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Add a row for each target to this CSV.")] = None,
    ten_crop: Annotated[bool, typer.Option("--ten-crop", help="Average ten crops of each image.")] = False,
    confusion: Annotated[Path | None, typer.Option(help="Draw what is taken for what into this PNG.")] = None,
    per_class: Annotated[Path | None, typer.Option(help="Write a row for each class into this CSV.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 64,
    as_json: AsJson = False,
) -> None:
    """Score runs or published weights on test images; published ones with their own preprocessing."""
    from senet.cli_evaluate import check_files, print_records, record, run_evaluation, write_files

    check_files(targets, confusion, per_class)
    records = []
    for outcome in run_evaluation(targets, weights, data, batch=batch_size, ten_crop=ten_crop):
        write_files(outcome, csv, confusion, per_class)
        records.append(record(outcome))
    emit(records if len(records) > 1 else records[0], as_json, lambda: print_records(records))


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
    from senet.cli_predict import name_errors, open_network, records, show
    from senet.predict import predict as classify

    network, preprocess, labels = open_network(weights, model, run)
    results = classify(
        network, images, top, preprocess=preprocess, labels=labels, batch_size=batch_size, progress=True
    )
    emit(records(results), as_json, lambda: show(results, as_csv))
    if name_errors(results):
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    epochs: Annotated[int | None, typer.Option(help="Epochs of training, in place of the recipe's.")] = None,
) -> None:
    """See SE at work: train ResNet-20 with and without it on handwritten digits, in about three minutes."""
    from senet.bench.demo import run_demo
    from senet.cli_tables import print_report

    files = run_demo(out, epochs)
    print_report(out)
    say("Open: " + ", ".join(map(str, files)))


@app.command()
def doctor(
    target: Annotated[str | None, typer.Argument(help="A recipe or a network; neither: the machine.")] = None,
    data: Data = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Find the usual mistakes in a recipe with its data and network (exit code 1), or in an installation."""
    from senet.cli_doctor import any_wrong, diagnose, print_findings

    findings = diagnose(target, data_override(overrides, data))
    emit([dataclasses.asdict(finding) for finding in findings], as_json, lambda: print_findings(findings))
    if any_wrong(findings):
        raise typer.Exit(1)


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
    from senet.cli_tables import print_report
    from senet.training.config import load_config

    if not redraw:
        config = load_config(recipe, data_override(overrides, data), epochs=epochs)
        names = tuple(models or ("resnet_20_cifar", "se_resnet_20_cifar"))
        grid = Grid(config=config, models=names, seeds=tuple(seeds or (0, 1, 2)), out=out, note=note)
        run_grid(grid, run_in_own_process)
    files = write_report(out, title)
    print_report(out)
    say("Report: " + ", ".join(map(str, files)))


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
    from senet.cli_data import run_pack

    result = dataclasses.asdict(run_pack(source, out, size, shuffle, seed))
    text = "{train_images:,} training and {test_images:,} test images"
    emit(result, as_json, lambda: say(f"{text.format(**result)}: senet train RECIPE --data {out}"))


@data_app.command("check")
def data_check(
    source: Annotated[str, typer.Argument(help="Class folders, shards, an archive, or tfds:NAME.")],
    as_json: AsJson = False,
) -> None:
    """Count images, and find unreadable, doubled and missing ones (exit code 1)."""
    from senet.cli_data import print_report, run_check

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
    from senet.cli_data import run_preview

    run_preview(source, recipe, out, overrides)
    say(f"Picture: {out}")


@runs_app.command("list")
def runs_list(
    folders: Annotated[list[Path] | None, typer.Argument(help="Where to look. Default: runs")] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs at and below folders, also those that are not finished."""
    from senet.cli_runs import print_list
    from senet.runs import find_runs

    runs, problems = find_runs(folders or [Path("runs")])
    emit([run.to_json() for run in runs], as_json, lambda: print_list(runs))
    for problem in problems:
        say(f"senet: not read: {problem}")


@runs_app.command("show")
def runs_show(run: RunArgument, as_json: AsJson = False) -> None:
    """Sum up one run: network, data, best and last epoch, results, files."""
    from senet.cli_runs import print_run
    from senet.runs import read_run

    found = read_run(run)
    emit(found.to_json(), as_json, lambda: print_run(found))


@runs_app.command("compare")
def runs_compare(runs: RunArguments, as_json: AsJson = False) -> None:
    """Show in what runs differ, and their metrics and results side by side."""
    from senet.cli_runs import comparison, print_comparison
    from senet.runs import read_run

    found = [read_run(run) for run in runs]
    emit(comparison(found), as_json, lambda: print_comparison(found))


@runs_app.command("plot")
def runs_plot(runs: RunArguments, out: Annotated[Path, typer.Option(help="PNG to draw.")]) -> None:
    """Draw the curves of runs; those that differ only in their seed are one line with a band."""
    from senet.runs import plot, read_run

    for run in plot([read_run(run) for run in runs], out):
        say(f"senet: left out, no epoch is done: {run.folder}")
    say(f"Picture: {out}")


def data_override(overrides: list[str] | None, data: str | None) -> list[str]:
    """The overrides, with `--data SOURCE` as one of them."""
    return [*(overrides or []), *([f"data.source={json.dumps(data)}"] if data else [])]


def say(text: str) -> None:
    """Text for people: stderr."""
    print(text, file=sys.stderr)


def emit(result: Any, as_json: bool, human: Callable[[], None]) -> None:
    """The result as JSON, or as `human` prints it."""
    if as_json:
        print(json.dumps(result, indent=2, default=str))
    else:
        human()


def main() -> None:
    """Run the command line; a user's mistake is one clear message, never a traceback."""
    try:
        app(args=spread(sys.argv[1:]), prog_name="senet", standalone_mode=True)
    except (ValueError, ImportError, OSError, ArithmeticError) as error:
        if os.environ.get("SENET_TRACEBACK"):
            raise
        # An OSError of our own carries its whole message there; str() would put a number before it.
        own = isinstance(error, OSError) and error.filename is None and error.strerror
        say(f"senet: {own or error}")
        sys.exit(2 if isinstance(error, USAGE_ERRORS) else 1)
    except KeyboardInterrupt:
        say("senet: interrupted. The same command goes on where it was.")
        sys.exit(130)


SPREAD = ("--models", "--seeds")
USAGE_ERRORS = (ValueError, ImportError, FileNotFoundError, NotADirectoryError, IsADirectoryError)


def spread(arguments: list[str]) -> list[str]:
    """`--seeds 0 1 2` as `--seeds 0 --seeds 1 --seeds 2`: what people type, and what Typer reads."""
    out: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in SPREAD else None
        elif option is not None and out[-1] != option:
            out.append(option)
        out.append(argument)
    return out
