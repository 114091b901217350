"""Checkpoints: the whole state of a run between two steps; written aside, synced, hashed and renamed."""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from senet.files import digest, written_aside

PATTERN = re.compile(r"step_(\d+)-([0-9a-f]{16})\.npz")
PROGRESS = "progress"  # the key of the JSON text beside the variables

Variables = Mapping[str, Any]


class DamagedCheckpointError(ValueError):
    """No checkpoint of a run can be read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    step: int = 0  # steps done, over all epochs
    rows: list[dict[str, float]] = dataclasses.field(default_factory=list)  # metrics of the finished epochs
    seconds: float = 0.0  # of training spent on the epoch that has begun
    best: int | None = None  # the step after the epoch of the best validation


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: `step_00001251-8c0f….npz` holds the state after 1,251 steps.

    The name ends in the first 16 digits of the file's SHA-256, so that a file of half its bytes, or of other
    ones, is known. The last `keep` are kept, and that of the best epoch.
    """

    folder: Path
    keep: int = 2

    def save(self, values: Mapping[str, np.ndarray], progress: Progress) -> None:
        """Write the arrays in `values`, then drop the files that are too old."""
        arrays = {**values, PROGRESS: np.array(json.dumps(dataclasses.asdict(progress)))}
        name = f"step_{progress.step:08d}"

        def hashed(file: Path) -> str:
            return f"{name}-{digest(file)[:16]}.npz"

        with (
            written_aside(self.folder / f"{name}.npz", named=hashed) as aside,
            aside.open("wb") as file,
        ):
            np.savez(file, allow_pickle=False, **arrays)
        for old in self.files()[: -self.keep]:
            if step_of(old) != progress.best:
                old.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what a killed process left half written."""
        for path in self.folder.glob(".step_*"):
            path.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step_*.npz") if PATTERN.fullmatch(path.name))

    def newest(self) -> Saved | None:
        """The newest file that is whole, None where there is none at all.

        A damaged one is reported by a warning, and the one before is taken. Raises DamagedCheckpointError
        where all are damaged.
        """
        files = self.files()
        for path in reversed(files):
            if saved := read(path):
                return saved
            warnings.warn(
                f"The checkpoint {path} is damaged: its content is not what was written. The one before "
                "it is used.",
                stacklevel=2,
            )
        if files:
            raise DamagedCheckpointError(
                f"All checkpoints in {self.folder} are damaged. Delete the folder to start the run again."
            )
        return None

    def of_step(self, step: int) -> Saved | None:
        """The checkpoint after `step` steps, None where it is not there or damaged."""
        return next((read(path) for path in self.files() if step_of(path) == step), None)


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint in memory."""

    path: Path
    arrays: dict[str, np.ndarray]
    progress: Progress

    def fill(self, variables: Variables, owner: str) -> None:
        """Give those of `variables` whose keys begin with `owner`, such as "model/", their values.

        Raises ValueError where they are not those that were saved.
        """
        arrays = {key: value for key, value in self.arrays.items() if key.startswith(owner)}
        variables = {key: value for key, value in variables.items() if key.startswith(owner)}
        if arrays.keys() != variables.keys() or any(
            arrays[key].shape != tuple(variables[key].shape) for key in variables
        ):
            raise ValueError(
                f"The checkpoint {self.path} belongs to another network, optimiser or version of this "
                "package. Choose another folder for this run, or delete that one."
            )
        for key, variable in variables.items():
            variable.assign(arrays[key])


def read(path: Path) -> Saved | None:
    """The checkpoint in a file, None where the file is not what was written."""
    match = PATTERN.fullmatch(path.name)
    if match is None or not digest(path).startswith(match[2]):
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        progress = Progress(**json.loads(str(arrays.pop(PROGRESS))))
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return Saved(path, arrays, progress)


def step_of(path: Path) -> int:
    """The steps done in a checkpoint, by its name."""
    return int(path.name[len("step_") :].partition("-")[0])


def numbered(**owners: list[Any]) -> Iterator[tuple[str, Any]]:
    """Each variable by a key that is unique and stable for one network.

    Paths of optimisers and random states carry counters that differ from process to process; their order
    does not.
    """
    for owner, variables in owners.items():
        for index, variable in enumerate(variables):
            yield f"{owner}/{index:04d}/{variable.name}", variable
