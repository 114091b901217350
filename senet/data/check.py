"""What is in a source of images, and what is wrong with it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np

from senet.data.decode import decode_whole
from senet.data.records import Listed, Part
from senet.data.splits import Skipped
from senet.machine import cores

_CHUNK = 64  # images a task
_LEVELS = np.arange(256.0)


@dataclass(frozen=True)
class PartReport:
    """The images of one part, and how many of each class there are."""

    images: int
    per_class: dict[str, int]


@dataclass(frozen=True)
class Report:
    """What `check` found; `mean` and `std` are those of all readable training pixels, 0..255, by channel.

    Files of `empty` are among the `unreadable`. Each of `duplicates` is a group of equal content, from
    whatever parts and classes.
    """

    source: str
    classes: int
    train: PartReport
    test: PartReport
    unreadable: list[Skipped]
    empty: list[str]
    duplicates: list[list[str]]
    empty_classes: list[str]  # without a training image
    missing_in_test: list[str]  # with training images, and without a test image
    mean: list[float]
    std: list[float]

    @property
    def wrong(self) -> bool:
        """Whether something should be mended."""
        return any((self.unreadable, self.duplicates, self.empty_classes, self.missing_in_test))


@dataclass(frozen=True, eq=False)
class _Seen:
    """One image: a hash of its content, and how often each level occurs in each channel, (3, 256)."""

    name: str
    content: bytes
    empty: bool = False
    levels: np.ndarray | None = None
    reason: str = ""


def check(listed: Listed) -> Report:
    """Read and decode every image of `listed`, once."""
    train, test = count_classes(listed.train, listed), count_classes(listed.test, listed)
    levels = np.zeros((3, 256), np.int64)
    places: dict[bytes, list[str]] = defaultdict(list)
    unreadable, empty = [], []
    for part in (listed.train, listed.test):
        for seen in _look_at(part):
            if not seen.empty:
                places[seen.content].append(seen.name)
            else:
                empty.append(seen.name)
            if seen.levels is None:
                unreadable.append(Skipped(seen.name, seen.reason))
            elif part is listed.train:
                levels += seen.levels
    mean, std = _statistics(levels)
    return Report(
        source=listed.name,
        classes=len(listed.class_names),
        train=train,
        test=test,
        unreadable=unreadable,
        empty=empty,
        duplicates=[names for names in places.values() if len(names) > 1],
        empty_classes=[name for name, count in train.per_class.items() if not count],
        missing_in_test=[
            name for name, count in test.per_class.items() if train.per_class[name] and not count
        ],
        mean=mean,
        std=std,
    )


def count_classes(part: Part, listed: Listed) -> PartReport:
    """The images of `part`, and of each class of `listed` in it."""
    counts = np.bincount(part.labels, minlength=len(listed.class_names)).tolist()
    return PartReport(len(part), dict(zip(listed.class_names, counts, strict=True)))


def _look_at(part: Part) -> Iterator[_Seen]:
    """Each image of a part, in order, looked at in threads: decoding leaves Python's lock."""

    def look(start: int) -> list[_Seen]:
        return [_look(part, index) for index in part.indices[start : start + _CHUNK].tolist()]

    with ThreadPoolExecutor(cores()) as pool:
        yield from chain.from_iterable(pool.map(look, range(0, len(part), _CHUNK)))


def _look(part: Part, index: int) -> _Seen:
    name = part.records.name(index)
    try:
        data = part.records.read(index)
    except OSError as error:
        return _Seen(name, name.encode(), reason=error.strerror or str(error))
    content = hashlib.sha256(data).digest()
    try:
        pixels = decode_whole(data)
    except ValueError as error:
        return _Seen(name, content, empty=not data, reason=str(error))
    levels = [np.bincount(pixels[..., channel].ravel(), minlength=256) for channel in range(3)]
    return _Seen(name, content, levels=np.stack(levels))


def _statistics(levels: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel, from how often each level occurs; nan without a pixel."""
    shares = levels / np.where(levels.sum(1) > 0, levels.sum(1), np.nan)[:, None]
    mean = shares @ _LEVELS
    return mean.tolist(), np.sqrt(np.maximum(shares @ _LEVELS**2 - mean**2, 0)).tolist()
