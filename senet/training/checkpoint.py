"""Checkpoints: the whole state of a run between two epochs, written aside, synced and renamed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from senet.files import written_aside


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: `epoch_0007.npz` holds the state after seven epochs.

    A file holds every variable of the model (weights, BatchNorm statistics, random states of layers) and of
    the optimiser (slots, step counter), in their order, with the metrics so far. The last `keep` are kept.
    """

    folder: Path
    keep: int = 2

    def save(self, model: keras.Model, epoch: int, metrics: list[dict[str, float]]) -> None:
        """Write the state after `epoch` epochs, then drop the ones that are too old."""
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in state(model).items()}
        for key in metrics[0] if metrics else ():
            arrays[f"metrics/{key}"] = np.asarray([row.get(key, np.nan) for row in metrics], float)
        with written_aside(self.folder / f"epoch_{epoch:04d}.npz") as aside, aside.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        for old in self.files()[: -self.keep]:
            old.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(
            path for path in self.folder.glob("epoch_*.npz") if re.fullmatch(r"epoch_\d+", path.stem)
        )

    def restore(self, model: keras.Model) -> tuple[int, list[dict[str, float]]]:
        """Fill `model` (compiled, its optimiser built) from the newest checkpoint.

        Returns the number of epochs done, 0 where there is none, and the metrics of those epochs. Raises
        ValueError for a checkpoint of another network.
        """
        files = self.files()
        if not files:
            return 0, []
        with np.load(files[-1]) as stored:
            arrays = dict(stored)
        columns = {
            k.removeprefix("metrics/"): arrays.pop(k) for k in list(arrays) if k.startswith("metrics/")
        }
        variables = state(model)
        if arrays.keys() != variables.keys() or any(
            arrays[key].shape != tuple(variables[key].shape) for key in variables
        ):
            raise ValueError(f"The checkpoint {files[-1]} belongs to another network or optimiser.")
        for key, variable in variables.items():
            variable.assign(arrays[key])
        count = len(next(iter(columns.values()), ()))
        rows = [{key: float(values[i]) for key, values in columns.items()} for i in range(count)]
        return int(files[-1].stem.removeprefix("epoch_")), rows


def state(model: keras.Model) -> dict[str, Any]:
    """Every variable that a step can change, by a key that is unique and stable for one network."""
    optimizer: Any = model.optimizer
    # Paths of optimisers and random states carry counters that differ from process to process; their
    # order does not.
    return {
        f"{owner}/{index:04d}/{variable.name}": variable
        for owner, variables in (("model", model.variables), ("optimizer", optimizer.variables))
        for index, variable in enumerate(variables)
    }
