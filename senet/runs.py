"""Run folders beside one another: what each holds, what differs, and their curves."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from senet.files import read_json
from senet.training.config import TrainConfig
from senet.training.curves import Group, Rows, draw_curves
from senet.training.run_folder import RunFolder

SEED = "seed"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """What a run folder holds so far; `result` is None while the run is not finished."""

    folder: Path
    config: TrainConfig
    metrics: Rows
    environment: Mapping[str, Any]
    result: Mapping[str, Any] | None
    updated: datetime.datetime  # UTC, when metrics or config were last written

    @property
    def finished(self) -> bool:
        return self.result is not None

    @property
    def best(self) -> dict[str, float] | None:
        """The metrics of the epoch with the highest validation accuracy, the first of equals."""
        validated = [row for row in self.metrics if "val_accuracy" in row]
        return max(validated, key=lambda row: row["val_accuracy"], default=None)

    @property
    def last(self) -> dict[str, float] | None:
        """The metrics of the last whole epoch."""
        return self.metrics[-1] if self.metrics else None

    def to_json(self) -> dict[str, Any]:
        """Plain data for programs."""
        return {
            "folder": str(self.folder),
            "finished": self.finished,
            "updated": self.updated.isoformat(timespec="seconds"),
            "epochs_done": len(self.metrics),
            "best": self.best,
            "last": self.last,
            "result": self.result,
            "config": self.config.model_dump(mode="json"),
        }


def read_run(folder: Path) -> Run:
    """What is in a run folder, finished or not; ConfigError for a folder that holds no run."""
    files = RunFolder(folder)
    config = files.read_config()
    newest = max(path.stat().st_mtime for path in (files.config, files.metrics) if path.exists())
    return Run(
        folder=folder,
        config=config,
        metrics=files.read_metrics(),
        environment=read_json(files.environment) if files.environment.exists() else {},
        result=files.read_result(),
        updated=datetime.datetime.fromtimestamp(newest, datetime.timezone.utc),
    )


def find_runs(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """(the runs at or below each folder, by path, why others cannot be read).

    Another program's config.yaml, or a half-copied run, hides none of the rest. FileNotFoundError for a
    folder that does not exist, ValueError where there is no run at all.
    """
    found: dict[Path, Run | str] = {}
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no such folder: {folder}. Runs are in `runs` by default.")
        for config in sorted(folder.rglob(RunFolder(folder).config.name)):
            found[config.parent] = read_or_reason(config.parent)
    runs = [run for run in found.values() if isinstance(run, Run)]
    problems = [reason for reason in found.values() if isinstance(reason, str)]
    if not runs:
        reasons = "".join(f"\n  {problem}" for problem in problems)
        raise ValueError(f"There is no run in {', '.join(map(str, folders))}.{reasons}")
    return runs, problems


def read_or_reason(folder: Path) -> Run | str:
    """The run in a folder, or in a line why it cannot be read."""
    try:
        return read_run(folder)
    except (ValueError, OSError) as error:
        return f"{folder}: {str(error).splitlines()[0]}"


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The keys of the config that differ, such as "optimizer.lr", with each run's value, None for absent."""
    flat = [flattened(run.config.model_dump(mode="json")) for run in runs]
    keys = dict.fromkeys(key for values in flat for key in values)
    rows = {key: [values.get(key) for values in flat] for key in keys}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def short_names(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its path without the folders that all share."""
    parts = [run.folder.resolve().parts for run in runs]
    shared = 0
    while all(len(each) > shared + 1 and each[shared] == parts[0][shared] for each in parts):
        shared += 1
    return ["/".join(each[shared:]) for each in parts]


def same_but_seed(runs: Sequence[Run]) -> list[list[Run]]:
    """Groups of runs that differ in nothing but their seed, in the order of their first runs."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        values = run.config.model_dump(mode="json", exclude={SEED})
        groups.setdefault(json.dumps(values, sort_keys=True), []).append(run)
    return list(groups.values())


def plot(runs: Sequence[Run], path: Path) -> list[Run]:
    """Draw accuracy and loss of the runs into a PNG; those without a whole epoch are left out and returned.

    Runs that differ only in their seed are one line with a band. ValueError where no run has an epoch.
    """
    drawn = [run for run in runs if run.metrics]
    if not drawn:
        raise ValueError("None of the runs has finished an epoch yet: there is nothing to draw.")
    grouped = same_but_seed(drawn)
    labels = group_labels([group[0] for group in grouped])
    groups = [
        Group(
            label=label + (f" ({len(group)} seeds)" if len(group) > 1 else ""),
            runs=[r.metrics for r in group],
        )
        for label, group in zip(labels, grouped, strict=True)
    ]
    sources = dict.fromkeys(run.config.data.source for run in drawn)
    draw_curves(groups, path, title=", ".join(Path(source).name for source in sources))
    return [run for run in runs if not run.metrics]


def group_labels(runs: Sequence[Run]) -> list[str]:
    """What tells each run from the others: the network, and the keys in which they differ."""
    differing = {key: values for key, values in differences(runs).items() if key not in ("model", SEED)}
    models = [run.config.model for run in runs]
    named = len(set(models)) > 1 or not differing
    labels = []
    for i, model in enumerate(models):
        keys = [f"{key.rpartition('.')[2]}={shown_value(values[i])}" for key, values in differing.items()]
        labels.append(", ".join([model, *keys] if named else keys))
    return labels


def shown_value(value: Any) -> str:
    """A value of the config as text for people."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
