"""The folder that a run leaves: config, environment, metrics, checkpoints, result, curves, model."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import yaml

from senet.files import read_json, write_json, write_text
from senet.training.config import ConfigError, TrainConfig, make_config

METRICS = (
    "epoch",  # from 1
    "loss",  # mean cross-entropy over the epoch's training batches, as the weights change
    "accuracy",  # the same batches, share in [0, 1]
    "val_loss",  # mean cross-entropy, without smoothing, whatever the loss is
    "val_accuracy",
    "ema_val_loss",  # of the averaged weights
    "ema_val_accuracy",
    "learning_rate",  # of the epoch's last step
    "seconds",  # training alone, without validation
    "images_per_second",
)


MODEL_FILES = {"last": "model", "averaged": "averaged", "best": "best"}  # properties of RunFolder


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths and files of one run; every file is written aside and renamed."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def preprocess(self) -> Path:
        return self.path / "preprocess.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def model(self) -> Path:
        return self.path / "model.keras"

    @property
    def averaged(self) -> Path:
        return self.path / "model_ema.keras"

    @property
    def best(self) -> Path:
        return self.path / "model_best.keras"

    def model_of(self, which: str) -> Path:
        """The file of a finished run's network: "last", "averaged" (EMA) or "best", by validation.

        Without a file of its own the best epoch was the last one. ValueError for another word, or where the
        run kept no averaged weights; FileNotFoundError for a run that is not finished.
        """
        if which not in MODEL_FILES:
            raise ValueError(
                f"`which` must be one of {', '.join(map(repr, MODEL_FILES))}. Received: which={which!r}."
            )
        if not self.model.exists():
            raise FileNotFoundError(f"The run in {self.path} is not finished: it has no {self.model.name}.")
        path: Path = getattr(self, MODEL_FILES[which])
        if path.exists():
            return path
        if which == "averaged":
            raise ValueError(
                f"The run in {self.path} kept no averaged weights. Train with `ema`, or ask for 'last'."
            )
        return self.model

    def claim(self, config: TrainConfig, environment: dict[str, Any]) -> None:
        """Write the resolved config and the environment first, so that a crash leaves its recipe.

        Raises ConfigError where the folder holds a run of another config, and OSError where it cannot be
        written, before any work is done.
        """
        values = config.model_dump(mode="json")
        if self.config.exists():
            self.refuse_other(values)
        elif self.path.is_dir() and list(self.path.iterdir()):
            raise ConfigError(
                f"The run folder {self.path} holds other files and no run; choose an empty or a new folder."
            )
        write_text(self.config, yaml.safe_dump(values, sort_keys=False))
        write_json(self.environment, environment)

    def refuse_other(self, values: dict[str, Any]) -> None:
        """ConfigError where the config in the folder differs from `values`; it names what differs."""
        values, here = experiment(values), experiment(self.read_config().model_dump(mode="json"))
        differing = sorted(key for key in values if values[key] != here[key])
        if differing:
            rows = (f"{key} is {here[key]!r} there, {values[key]!r} here" for key in differing)
            raise ConfigError(
                f"The run folder {self.path} belongs to another config: {'; '.join(rows)}. "
                "Choose another folder, or give the same config to resume that run."
            )

    def read_config(self) -> TrainConfig:
        """The config the folder belongs to."""
        try:
            return make_config(yaml.safe_load(self.config.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ConfigError(f"{self.path} is not a run folder: it has no {self.config.name}.") from None

    def read_metrics(self) -> list[dict[str, float]]:
        """One row an epoch: those of `METRICS` that it has. Empty before the first epoch is done."""
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="", encoding="utf-8") as file:
            return [
                {key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)
            ]

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replace metrics.csv by `rows`."""
        lines = [",".join(METRICS)]
        lines += [",".join(format_value(key, row.get(key)) for key in METRICS) for row in rows]
        write_text(self.metrics, "\n".join(lines) + "\n")

    def read_result(self) -> dict[str, Any] | None:
        """result.json, or None while the run is not finished."""
        return read_json(self.result) if self.result.exists() else None


def experiment(values: dict[str, Any]) -> dict[str, Any]:
    """A config without what belongs to the machine, and may be another when a run goes on."""
    data = {key: value for key, value in values["data"].items() if key not in ("workers", "cache")}
    return {**values, "data": data}


def format_value(key: str, value: float | None) -> str:
    """A metric as text: epochs whole, the rest with seven significant digits, nothing for None."""
    if value is None:
        return ""
    return str(int(value)) if key == "epoch" else f"{value:.7g}"
