"""Where the encoded images of a stream lie: an index of names, labels and places, and single reads."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from senet.data.splits import Skipped

Cut = Callable[[bytes], np.ndarray]  # encoded image to pixels; ValueError says why it cannot be read


class Records(Protocol):
    """Encoded images with their classes, any of which can be read by its number."""

    @property
    def labels(self) -> np.ndarray:
        """(N,) int32, class indices."""

    def name(self, index: int) -> str:
        """What to call a record in a message: its path, and its place in there."""

    def read(self, index: int) -> bytes:
        """The encoded image; OSError where it cannot be read."""


@dataclass(frozen=True, eq=False)
class FileRecords:
    """Image files: `files` (N,) are names below `root` as bytes, which take a tenth of the room of texts."""

    root: Path
    files: np.ndarray
    labels: np.ndarray

    def name(self, index: int) -> str:
        return str(self.root / os.fsdecode(self.files[index]))

    def read(self, index: int) -> bytes:
        return Path(self.name(index)).read_bytes()


@dataclass(frozen=True, eq=False)
class ShardRecords:
    """Members of plain tar files: record i is `sizes[i]` bytes from `offsets[i]` on of `shards[place[i]]`.

    Each read is one `pread`, so any order is as quick as any other and no archive is held open twice.
    """

    shards: tuple[Path, ...]
    place: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    keys: np.ndarray
    labels: np.ndarray
    _opened: dict[int, int] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # To a worker process go the places; it opens the files itself.
        arrays = (self.place, self.offsets, self.sizes, self.keys, self.labels)
        return ShardRecords, (self.shards, *arrays)

    def name(self, index: int) -> str:
        return f"{self.shards[self.place[index]]}:{os.fsdecode(self.keys[index])}"

    def read(self, index: int) -> bytes:
        size = int(self.sizes[index])
        data = os.pread(self._descriptor(int(self.place[index])), size, int(self.offsets[index]))
        if len(data) < size:
            raise OSError(f"the shard is shorter than it was when its index was made: {self.name(index)}")
        return data

    def _descriptor(self, shard: int) -> int:
        with self._lock:
            if shard not in self._opened:
                self._opened[shard] = os.open(self.shards[shard], os.O_RDONLY)
            return self._opened[shard]

    def __del__(self) -> None:
        for descriptor in self._opened.values():
            os.close(descriptor)


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a stream: `indices` of `records`, in order."""

    records: Records
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int32"""
        return self.records.labels[self.indices]

    def take(self, indices: np.ndarray) -> "Part":
        return Part(self.records, self.indices[indices])

    def pixels(self, index: int, cut: Cut, faults: list[Skipped]) -> np.ndarray | None:
        """`cut` of image `index` of this part; where it cannot be read, None, and `faults` grows by one."""
        record = int(self.indices[index])
        try:
            return cut(self.records.read(record))
        except (ValueError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            faults.append(Skipped(self.records.name(record), why))
            return None


@dataclass(frozen=True, eq=False)
class Listed:
    """A source of streamed images, indexed: nothing is decoded yet. `digest` is of what the index holds."""

    name: str
    class_names: tuple[str, ...]
    train: Part
    test: Part
    digest: str
