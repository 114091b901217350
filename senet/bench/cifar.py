"""The experiment of this project: one residual network with and without SE, same budget, several seeds."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from senet.files import read_json, write_json, written_aside
from senet.training.config import ConfigError, TrainConfig
from senet.training.run_folder import RunFolder
from senet.zoo import get_spec

Runner = Callable[[TrainConfig, Path], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Every model with every seed, all else equal.

    `out` holds one JSON file a finished run (config, environment, metrics of every epoch, result) and the
    report; the run folders, with checkpoints and models, lie in `out`/runs.
    """

    config: TrainConfig  # model and seed are replaced
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    out: Path
    note: str = ""  # what a reader must know about the data, printed in the report

    def __post_init__(self) -> None:
        for name in self.models:
            get_spec(name)
        for field, values in (("models", self.models), ("seeds", self.seeds)):
            if not values or len(set(values)) != len(values):
                raise ConfigError(f"`{field}` must be one or more different ones. Received: {values}.")

    @property
    def runs(self) -> Iterator[TrainConfig]:
        """The configs, seed by seed, so that an unfinished grid still holds whole pairs."""
        for seed in self.seeds:
            for model in self.models:
                yield self.config.model_copy(update={"model": model, "seed": seed})


def run_grid(grid: Grid, runner: Runner) -> list[dict[str, Any]]:
    """Train what is not trained yet; the records of all runs.

    A grid that was killed goes on where it was: finished runs are kept, the broken one resumes after its
    last epoch. Raises ConfigError where `out` holds results of another config.
    """
    write_json(grid.out / "grid.json", {"models": grid.models, "seeds": grid.seeds, "note": grid.note})
    for config in grid.runs:
        record = grid.out / f"{config.model}-seed{config.seed}.json"
        if record.exists():
            refuse_other(record, config)
            continue
        folder = RunFolder(grid.out / "runs" / record.stem)
        runner(config, folder.path)
        write_json(record, make_record(folder))
    return read_records(grid.out)


def refuse_other(record: Path, config: TrainConfig) -> None:
    """ConfigError where the run in `record` was made with another config."""
    there, here = read_json(record)["config"], config.model_copy(update={"data": config.data.resolved()})
    differing = [key for key, value in here.model_dump(mode="json").items() if there.get(key) != value]
    if differing:
        raise ConfigError(
            f"{record} holds a run that differs in {', '.join(differing)}. "
            "Choose another folder with --out, or give the same options to go on with that grid."
        )


def make_record(folder: RunFolder) -> dict[str, Any]:
    """All there is to know about a finished run, in one value."""
    result = folder.read_result()
    if result is None:
        raise RuntimeError(f"The run in {folder.path} ended without a result; its messages are above.")
    result.pop("run_dir")  # a path of this machine
    return {
        "result": result,
        "config": folder.read_config().model_dump(mode="json"),
        "environment": read_json(folder.environment),
        "metrics": folder.read_metrics(),
    }


def read_records(out: Path) -> list[dict[str, Any]]:
    """The records in a folder, in the order of its grid; ConfigError where there are none."""
    grid = read_json(out / "grid.json") if (out / "grid.json").exists() else None
    if grid is None:
        raise ConfigError(f"{out} holds no benchmark: it has no grid.json.")
    paths = (out / f"{model}-seed{seed}.json" for model in grid["models"] for seed in grid["seeds"])
    records = [read_json(path) for path in paths if path.exists()]
    if not records:
        raise ConfigError(f"{out} holds no finished run yet.")
    return records


def run_in_process(config: TrainConfig, folder: Path) -> None:
    """Train here: quickest to start, but the peak memory is that of all runs so far."""
    from senet.training.fit import train

    train(config, folder)


def run_in_own_process(config: TrainConfig, folder: Path) -> None:
    """Train in a fresh process, so that its peak memory and its compiled graphs are its own."""
    recipe = folder.with_name(f"{folder.name}.yaml")
    with written_aside(recipe) as aside:
        aside.write_text(json.dumps(config.model_dump(mode="json")))  # JSON is YAML
    command = [sys.executable, "-m", "senet_command", "train", str(recipe), "--run-dir", str(folder)]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise ConfigError(
            f"Training {config.model}, seed {config.seed}, ended with exit code {code}; see above."
        )


def summarize_notes(records: Sequence[dict[str, Any]]) -> str:
    """One line about the data and the budget that all runs share."""
    config, result = records[0]["config"], records[0]["result"]
    data = config["data"]
    return (
        f"{result['train_images']:,} training images, {data['validation']:,} for validation, "
        f"{result['test_images']:,} for the final test; {config['epochs']} epochs of batch "
        f"{config['batch']}, {config['optimizer']['name']} with peak learning rate "
        f"{config['optimizer']['lr']:g}, {config['schedule']['name']} schedule"
    )
