"""A source of streamed images as tar shards."""

from dataclasses import dataclass
from pathlib import Path

from senet.data.records import Listed
from senet.data.shards import write_classes, write_shards


@dataclass(frozen=True)
class Packed:
    """What `pack` wrote: images and shards of each part."""

    train_images: int
    test_images: int
    train_shards: tuple[str, ...]
    test_shards: tuple[str, ...]


def pack(listed: Listed, out: Path, *, size: int, seed: int | None) -> Packed:
    """Write train-000000.tar, …, test-000000.tar, …, classes.txt into `out`, a new or empty folder.

    `size` is the most bytes of images in a shard; `seed` shuffles (None: the order of the source). Images
    are copied byte by byte, readable or not; the same call gives the same files.
    """
    if size < 1:
        raise ValueError(f"A shard must hold at least 1 byte of images. Received: {size=}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"Shards need a new or empty folder. Received: {out}, which is not.")
    train = write_shards(listed.train, out / "train", size=size, seed=seed)
    test = write_shards(listed.test, out / "test", size=size, seed=seed)
    write_classes(out, listed.class_names)
    names = [tuple(path.name for path in paths) for paths in (train, test)]
    return Packed(len(listed.train), len(listed.test), *names)
