"""Shards: images in uncompressed tar files, as WebDataset has them: `KEY.jpg` with `KEY.cls`, its class.

A million files become a hundred, which copy and open fast; an index of offsets keeps every image within one
read, so that epochs are shuffled truly and not within a window.
"""

import hashlib
import io
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from senet.data.archive import check_end
from senet.data.folder import TEST_NAMES
from senet.data.index import Arrays, digest_of, kept_index
from senet.data.reading import SUFFIXES
from senet.data.records import Listed, Part, ShardRecords
from senet.data.splits import split_off_test
from senet.files import write_text, written_aside

log = logging.getLogger(__name__)

CLASSES = "classes.txt"  # beside the shards: a class name a line, in the order of the numbers
_CLASS = ".cls"


def shards_listed(folder: Path, name: str, cache: Path) -> Listed:
    """`train-*.tar` in `folder`, and the first of `test-`, `val-`, `validation-*.tar` that there is.

    Where there is none of these, a fifth of the images is the test part: see `split_off_test`. Without a
    classes.txt the classes are called by their numbers. ValueError for files of another make.
    """
    train = _records(sorted(folder.glob("train-*.tar")), cache)
    tests = [found for part in TEST_NAMES if (found := sorted(folder.glob(f"{part}-*.tar")))]
    whole = Part(train, np.arange(len(train.labels)))
    if tests:
        records = _records(tests[0], cache)
        parts = whole, Part(records, np.arange(len(records.labels)))
    else:
        kept, split = split_off_test(train.labels)
        parts = whole.take(kept), whole.take(split)
    classes = _class_names(folder, parts)
    arrays = {"classes": np.array(classes)}
    for number, part in enumerate(parts):
        arrays |= {f"labels{number}": part.labels, f"indices{number}": part.indices}
    return Listed(name, classes, *parts, digest_of(arrays))


def write_shards(part: Part, stem: Path, *, size: int, seed: int | None) -> list[Path]:
    """`part` as STEM-000000.tar, …, each of at most `size` bytes of images, or a single larger one.

    In an order drawn from `seed`, or with None in that of the part. The same call gives the same bytes.
    """
    count = len(part)
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    paths: list[Path] = []
    waiting: list[tuple[int, bytes]] = []
    held = 0

    def flush() -> None:
        paths.append(stem.with_name(f"{stem.name}-{len(paths):06}.tar"))
        with written_aside(paths[-1]) as aside, tarfile.open(aside, "w:", format=tarfile.USTAR_FORMAT) as tar:
            for index, data in waiting:
                _add(tar, part, index, data)
        waiting.clear()

    for index in order.tolist():
        data = part.records.read(int(part.indices[index]))
        if waiting and held + len(data) > size:
            flush()
            held = 0
        waiting.append((index, data))
        held += len(data)
    flush()
    return paths


def write_classes(folder: Path, names: tuple[str, ...]) -> None:
    """The names of the classes, for the shards in `folder`."""
    write_text(folder / CLASSES, "".join(f"{name}\n" for name in names))


def _add(tar: tarfile.TarFile, part: Part, index: int, data: bytes) -> None:
    suffix = PurePosixPath(part.records.name(int(part.indices[index]))).suffix.lower()
    for ending, content in ((suffix, data), (_CLASS, str(int(part.labels[index])).encode())):
        # No time, owner or name of the machine: the same images give the same bytes.
        info = tarfile.TarInfo(f"{index:08}{ending}")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def _records(shards: list[Path], cache: Path) -> ShardRecords:
    found = [_index(shard, cache) for shard in shards]
    joined = {key: np.concatenate([arrays[key] for arrays in found]) for key in found[0]}
    place = np.repeat(np.arange(len(shards), dtype=np.int32), [len(arrays["labels"]) for arrays in found])
    return ShardRecords(
        tuple(shards), place, joined["offsets"], joined["sizes"], joined["keys"], joined["labels"]
    )


def _index(shard: Path, cache: Path) -> Arrays:
    facts = shard.stat()
    key = f"1 {shard.resolve()} {facts.st_size} {facts.st_mtime_ns}".encode("utf-8", "surrogateescape")
    target = cache / "index" / f"{hashlib.sha256(key).hexdigest()[:32]}.npz"
    return kept_index(target, lambda: _read_index(shard, facts.st_size), lambda arrays: True)


def _read_index(shard: Path, size: int) -> Arrays:
    """`keys`, `offsets`, `sizes` and `labels` of the images in a tar file, from its headers and classes."""
    log.info("Indexing %s, once", shard)
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    for member, content in _members(shard):
        if member.offset_data + member.size > size:
            raise ValueError(f"{shard} is cut short: {member.name} ends after it. Copy it again.")
        path = PurePosixPath(member.name)
        key, _, ending = path.name.partition(".")
        key = str(path.with_name(key))
        if f".{ending.lower()}" in SUFFIXES:
            if key in images:
                raise ValueError(f"A key must have one image. Received: {shard} with two for {key!r}.")
            images[key] = member
        elif f".{ending}" == _CLASS:
            labels[key] = _label(content, shard, member.name)
    missing = sorted(set(images) - set(labels))
    if missing or not images:
        received = f"{shard}, {missing[0]!r} of no class" if missing else f"{shard}, with no image"
        raise ValueError(
            f"A shard must hold images (KEY.jpg) and their classes (KEY.cls). Received: {received}."
        )
    return {
        "offsets": np.array([member.offset_data for member in images.values()], np.int64),
        "sizes": np.array([member.size for member in images.values()], np.int64),
        "keys": np.array([member.name.encode("utf-8", "surrogateescape") for member in images.values()]),
        "labels": np.array([labels[key] for key in images], np.int32),
    }


def _members(shard: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The files in a shard, with the content of those that name a class."""
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.isfile():
                    file = tar.extractfile(member) if member.name.endswith(_CLASS) else None
                    yield member, file.read() if file else b""
            check_end(tar)
    except (tarfile.ReadError, EOFError) as error:
        raise ValueError(
            f"{shard} is no uncompressed tar file, or is cut short: {error}. Copy it again; decompress it, "
            "for images do not shrink."
        ) from error


def _label(content: bytes, shard: Path, name: str) -> int:
    text = content.strip()
    if not text.isdigit():
        raise ValueError(f"A class must be a number from 0. Received: {content[:20]!r} in {shard}:{name}.")
    return int(text)


def _class_names(folder: Path, parts: tuple[Part, Part]) -> tuple[str, ...]:
    path = folder / CLASSES
    highest = int(max(part.labels.max() for part in parts))
    if not path.is_file():
        return tuple(str(number) for number in range(highest + 1))
    names = tuple(path.read_text(encoding="utf-8").splitlines())
    if highest >= len(names):
        raise ValueError(f"{path} must name every class. Received: {len(names)} names, and class {highest}.")
    return names
