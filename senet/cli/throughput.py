"""What `senet benchmark throughput` does and prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from senet.bench.subjects import Grid, check_installed, matmul
from senet.bench.throughput import Settings, run_comparison
from senet.bench.throughput_report import RESULT, figure, write_results, write_throughput_report
from senet.bench.throughput_statistics import gains, se_costs, summarize
from senet.cli.app import say
from senet.cli.tables import print_table
from senet.files import read_json
from senet.training import environment

Names = Sequence[str] | None
TITLE = "Images a second"
TRAIN_TITLE = "Training steps: images a second"


def grid_of(
    models: Names,
    engines: Names,
    runtimes: Names,
    batch_sizes: Sequence[int] | None,
    precisions: Names,
    variants: Names,
    *,
    train: bool,
) -> Grid:
    """The grid of the command's options; ImportError where an engine or a runtime is missing."""
    given: dict[str, Any] = {
        "models": models or ("se_resnet_50", "resnet_50"),
        "engines": engines or (environment.engine(),),
        "runtimes": runtimes,
        "batches": batch_sizes,
        "precisions": precisions,
        "variants": variants,
        "task": "train" if train else None,
    }
    grid = Grid(**{field: value for field, value in given.items() if value})
    check_installed(grid.subjects())
    return grid


def settings_of(
    rounds: int,
    burst: float,
    threads: int | None,
    image_size: int | None,
    calibration: Path | None,
    memory: float | None,
) -> Settings:
    """How to measure, from the command's options."""
    if calibration is not None and not calibration.is_dir():
        raise NotADirectoryError(f"{calibration} is not a folder of images.")
    own: dict[str, Any] = {} if threads is None else {"threads": threads}
    return Settings(
        rounds=rounds,
        burst_seconds=burst,
        image_size=image_size,
        calibration=None if calibration is None else str(calibration),
        memory_mib=memory,
        **own,
    )


def measure(grid: Grid, settings: Settings, out: Path) -> None:
    """Run the comparison with the ceilings beside it, and write its files."""
    subjects = grid.subjects()
    say(f"{len(subjects)} subjects, {settings.rounds} rounds, {settings.threads} threads each.")
    ceilings = []
    if grid.task == "infer":
        accelerator = bool(environment.accelerators())
        ceilings = [matmul(engine, accelerator=accelerator) for engine in grid.engines]
        ceilings += [] if accelerator else [matmul("numpy")]
    result = run_comparison([*ceilings, *subjects], settings, say=say)
    write_results(result, out, TRAIN_TITLE if grid.task == "train" else TITLE)


def finish(out: Path) -> None:
    """Make the page and the charts again, print the table; exit code 1 where something was not measured."""
    files = write_throughput_report(out)
    result = read_json(out / RESULT)
    print_table(
        ("Subject", "Images a second", "Quartiles", "p50, ms", "p99, ms", "Peak, MiB", "Of the ceiling"),
        [
            (
                row.label,
                figure(row.rate.median),
                f"{figure(row.rate.low)} to {figure(row.rate.high)}",
                figure(1e3 * row.p50),
                figure(1e3 * row.p99),
                f"{row.peak_mib:,.0f}",
                "" if row.ceiling is None else f"{row.ceiling.median:.2f}",
            )
            for row in summarize(result)
        ],
    )
    for cost in se_costs(result):
        say(
            f"SE costs {100 * cost.value.median:+.1f} % ({100 * cost.value.low:+.1f} to "
            f"{100 * cost.value.high:+.1f}): {cost.subject.label}"
        )
    for gain in gains(result):
        say(f"Optimising gives {gain.value.median:.2f} times the speed: {gain.subject.label}")
    say("Open: " + ", ".join(map(str, files)))
    failed = [record for record in result["subjects"] if record["error"]]
    for record in failed:
        say(f"senet: not measured: {record['label']}: {record['error']}")
    if failed:
        raise typer.Exit(1)
