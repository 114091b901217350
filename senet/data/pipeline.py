"""From a `DataConfig` to a `Dataset`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from senet.data.archive import unpack
from senet.data.cache import cache_folder
from senet.data.cifar import batches_source, keras_source
from senet.data.config import DIGITS, NAMED_SOURCES, SHARD, TFDS, DataConfig
from senet.data.dataset import Dataset
from senet.data.digits import digits_source
from senet.data.folder import folder_source
from senet.data.images import resize
from senet.data.index import folder_listed
from senet.data.memory import load_memory
from senet.data.records import Listed
from senet.data.shards import shards_listed
from senet.data.splits import Read, Source, Split
from senet.data.stream import load_stream
from senet.data.tfds import tfds_listed
from senet.errors import did_you_mean


def load_data(config: DataConfig) -> Dataset:
    """What `config` names, in memory or its index. Raises ValueError or OSError, saying what to change."""
    config = config.resolved()
    if config.streaming:
        return load_stream(find_listed(config), config, cache_folder(config.cache))
    return load_memory(find_source(config), config)


def find_listed(config: DataConfig, *, empty_classes: bool = False) -> Listed:
    """The index of what `config.source`, a path or "tfds:NAME", names; made once and kept.

    ValueError for class folders that are empty, unless `empty_classes`.
    """
    cache = cache_folder(config.cache)
    if config.source.startswith(TFDS):
        return tfds_listed(config.source.removeprefix(TFDS), cache)
    folder, name = _find_folder(config.source, cache)
    if any(folder.glob(SHARD)):
        return shards_listed(folder, name, cache)
    if batches_source(folder, name=name):
        raise ValueError(
            f"CIFAR python batches are decoded in memory, not streamed. Received: {folder}. "
            "Set streaming to false."
        )
    return folder_listed(folder, name, cache, empty_classes=empty_classes)


def find_source(config: DataConfig) -> Source:
    """The source that `config.source` names, its archive unpacked, its images not yet decoded."""
    if config.source in NAMED_SOURCES:
        source = digits_source() if config.source == DIGITS else keras_source(config.source)
        return _resized(source, config)
    cache = cache_folder(config.cache)
    folder, name = _find_folder(config.source, cache)
    if batches := batches_source(folder, name=name):
        return _resized(batches, config)
    return folder_source(folder, name=name, config=config, cache=cache)


def _find_folder(source: str, cache: Path) -> tuple[Path, str]:
    """The folder that `source` is, or is unpacked to, and its name."""
    path = Path(source).expanduser()
    if not path.exists():
        raise _missing(source, path)
    if path.is_dir():
        return path, path.resolve().name
    return unpack(path, cache), path.name.split(".tar")[0].removesuffix(".tgz")


def _resized(source: Source, config: DataConfig) -> Source:
    image_size = config.image_size
    if image_size is None:
        return source

    def read(part: Callable[[], Read]) -> Read:
        split, skipped = part()
        return Read(Split(resize(split.images, image_size, config.filter), split.labels), skipped)

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
