"""From a `DataConfig` to images and labels in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from senet.data.archive import unpack
from senet.data.batches import Batches as Batches
from senet.data.cache import cache_folder
from senet.data.cifar import batches_source, keras_source
from senet.data.config import DIGITS, NAMED_SOURCES, DataConfig
from senet.data.digits import digits_source
from senet.data.folder import folder_source
from senet.data.images import resize
from senet.data.preprocess import Preprocess
from senet.data.splits import Read, Skipped, Source, Split, hold_out
from senet.errors import did_you_mean


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and validation images in memory, test images on demand.

    `validation` may be empty. `preprocess` holds the statistics of `train`, and of nothing else. `report`
    lists the files that were left out, those of the test part once it was read.
    """

    name: str
    train: Split
    validation: Split
    class_names: tuple[str, ...]
    preprocess: Preprocess
    read_test: Callable[[], Read] = field(repr=False)
    report: list[Skipped] = field(default_factory=list)

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)"""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    def test(self) -> Split:
        """The test images, read on the first call: once, when a run has made all its choices."""
        return self._test

    @cached_property
    def _test(self) -> Split:
        split, skipped = self.read_test()
        if split.images.shape[1:] != self.image_shape:
            raise ValueError(
                f"Test images must have the shape of training images, {self.image_shape}. "
                f"Received: {split.images.shape[1:]}."
            )
        self.report.extend(skipped)
        return split


def load_data(config: DataConfig) -> Dataset:
    """Read what `config` names. Raises ValueError or OSError, saying what to change."""
    source = find_source(config)
    split, skipped = source.read_train()
    train, validation = hold_out(split, config)
    return Dataset(
        name=source.name,
        train=train,
        validation=validation,
        class_names=source.class_names,
        preprocess=Preprocess.of(train.images),
        read_test=source.read_test,
        report=list(skipped),
    )


def find_source(config: DataConfig) -> Source:
    """The source that `config.source` names, its archive unpacked, its images not yet decoded."""
    if config.source in NAMED_SOURCES:
        source = digits_source() if config.source == DIGITS else keras_source(config.source)
        return _resized(source, config.image_size)
    path = Path(config.source).expanduser()
    if not path.exists():
        raise _missing(config.source, path)
    cache = cache_folder(config.cache)
    name = path.resolve().name if path.is_dir() else path.name.split(".tar")[0].removesuffix(".tgz")
    folder = unpack(path, cache) if path.is_file() else path
    if batches := batches_source(folder, name=name):
        return _resized(batches, config.image_size)
    return folder_source(folder, name=name, image_size=config.image_size, strict=config.strict, cache=cache)


def _resized(source: Source, image_size: int | None) -> Source:
    if image_size is None:
        return source

    def read(part: Callable[[], Read]) -> Read:
        split, skipped = part()
        return Read(Split(resize(split.images, image_size), split.labels), skipped)

    return replace(
        source, read_train=lambda: read(source.read_train), read_test=lambda: read(source.read_test)
    )


def _missing(source: str, path: Path) -> Exception:
    """ValueError for what may be a misspelt name, FileNotFoundError for what can only be a path."""
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    if len(path.parts) == 1 and not path.suffix and not source.startswith((".", "~")):
        return ValueError(
            f"`source` must be one of {', '.join(NAMED_SOURCES)}, or an existing path. "
            f"Received: {source!r}.{did_you_mean(source, [*NAMED_SOURCES, *siblings])}"
        )
    return FileNotFoundError(
        f"The data source must exist. Received: {source!r}, not found in {path.parent.resolve()}."
        f"{did_you_mean(path.name, siblings)}"
    )
