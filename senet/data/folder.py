"""Class folders: ROOT/train/CLASS/* and ROOT/test/CLASS/*, or ROOT/CLASS/*."""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from senet.data.cache import keep_arrays, load_arrays
from senet.data.config import DataConfig
from senet.data.images import announce, check_headers, decode, refuse_many
from senet.data.splits import Read, Skipped, Source, Split, split_off_test
from senet.errors import did_you_mean

log = logging.getLogger(__name__)

TEST_NAMES = ("test", "val", "validation")  # the first of these that exists holds the test images
_LAYOUT = "Expected images in ROOT/train/CLASS and ROOT/test/CLASS (or `val`, `validation`), or in ROOT/CLASS"


@dataclass(frozen=True, eq=False)
class Listing:
    """Files of one part below `root`, with for each its class index, (N,) int32, and (N, 2) size and time."""

    root: Path
    files: tuple[str, ...]
    labels: np.ndarray
    facts: np.ndarray

    @property
    def paths(self) -> list[Path]:
        return [self.root / file for file in self.files]

    def take(self, indices: np.ndarray) -> "Listing":
        files = tuple(self.files[index] for index in indices)
        return Listing(self.root, files, self.labels[indices], self.facts[indices])


@dataclass(frozen=True, eq=False)
class FolderReader:
    """Reads listed files; `cache` keeps what it decoded until a file, the resize or Pillow changes."""

    train: Listing
    test: Listing
    class_names: tuple[str, ...]
    config: DataConfig
    cache: Path

    def read_train(self) -> Read:
        read = self._read(self.train)
        present = np.isin(np.arange(len(self.class_names)), read.split.labels)
        if not present.all():
            names = [name for name, seen in zip(self.class_names, present, strict=True) if not seen]
            raise ValueError(f"Every class needs a readable training image. Received: none for {names}.")
        if not self._kept(self.test).exists():
            height, width = read.split.images.shape[1:3]
            unreadable = check_headers(self.test.paths, (width, height), self.config.image_size)
            refuse_many(unreadable, len(self.test.files), self.config.max_unreadable)
        return read

    def read_test(self) -> Read:
        return self._read(self.test)

    def _read(self, listing: Listing) -> Read:
        target = self._kept(listing)
        arrays = load_arrays(target)
        if arrays is None:
            log.info("Decoding %d images below %s, once", len(listing.files), listing.root)
            images, kept, lost = decode(listing.paths, self.config.image_size, self.config.filter)
            relative = [(Path(path).relative_to(listing.root).as_posix(), reason) for path, reason in lost]
            arrays = {"images": images, "kept": kept, "skipped": np.array(json.dumps(relative))}
            keep_arrays(target, arrays)
        found = json.loads(str(arrays["skipped"]))
        skipped = tuple(Skipped(str(listing.root / path), reason) for path, reason in found)
        announce(skipped, len(listing.files), self.config.max_unreadable)
        return Read(Split(arrays["images"], listing.labels[arrays["kept"]]), skipped)

    def _kept(self, listing: Listing) -> Path:
        """Where the decoded `listing` is kept: named by its folder and its files' names, sizes and times."""
        digest = hashlib.sha256(
            f"2 {self.config.image_size} {self.config.filter} {version('pillow')}".encode()
        )
        # The folder too: reproducible archives give all files one time, and bitmaps all have one size.
        names = "\0".join((str(listing.root.resolve()), *listing.files))
        digest.update(names.encode("utf-8", "surrogateescape"))
        digest.update(listing.facts.tobytes())
        return self.cache / "decoded" / f"{digest.hexdigest()[:32]}.npz"


@dataclass(frozen=True, eq=False)
class Folder:
    """Class folders, listed: the classes are numbered by name."""

    class_names: tuple[str, ...]
    train: Listing
    test: Listing


def list_folder(root: Path, *, empty_classes: bool = False) -> Folder:
    """Class folders at `root`, or one or two levels below it while each level is a single folder.

    Where there is no test folder, a fifth of the images is the test part: see `split_off_test`. Hidden files
    and folders do not count. ValueError for a layout that is none, and for an empty class folder unless
    `empty_classes`.
    """
    train_root, test_root = _find_parts(root)
    classes = _list_classes(train_root)
    listed = _list_files(train_root, classes, classes, empty_classes)
    if test_root is None:
        train, test = (listed.take(part) for part in split_off_test(listed.labels))
    else:
        names = _list_test_classes(test_root, classes)
        train, test = listed, _list_files(test_root, names, classes, empty_classes)
    return Folder(classes, train, test)


def folder_source(root: Path, *, name: str, config: DataConfig, cache: Path) -> Source:
    """The class folders at `root`, to be decoded into memory: files are listed now and decoded later."""
    found = list_folder(root)
    reader = FolderReader(found.train, found.test, found.class_names, config, cache)
    return Source(name, found.class_names, reader.read_train, reader.read_test)


def _find_parts(root: Path) -> tuple[Path, Path | None]:
    """The folder of the training classes and that of the test classes, None where there is none."""
    for _ in range(2):
        inner = _folders(root)
        if len(inner) != 1 or inner[0].name == "train" or not _folders(inner[0]):
            break
        root = inner[0]
    # A class may well be called "train"; only a folder of folders is a part.
    parts = {folder.name: folder for folder in _folders(root) if _folders(folder)}
    tests = [parts[name] for name in TEST_NAMES if name in parts]
    if "train" not in parts:
        if tests and len(tests) == len(parts):
            raise ValueError(
                f"Training images must be in {root / 'train'}. Received: only {_names(tests)}. {_LAYOUT}."
            )
        return root, None
    test = tests[0] if tests else None
    unread = [folder for folder in _folders(root) if folder.name in TEST_NAMES and folder != test]
    if unread:
        used = f"{test} holds the test images" if test else "no class folders in it"
        warnings.warn(f"{_names(unread)} is not read: {used}.", stacklevel=2)
    return parts["train"], test


def _list_classes(root: Path) -> tuple[str, ...]:
    names = tuple(folder.name for folder in _folders(root))
    if not names:
        raise ValueError(
            f"Images must be in class folders. Received: {root}, with no folder in it. {_LAYOUT}."
        )
    if len(names) == 1:
        raise ValueError(
            f"A classifier needs at least two classes. Received: only {names[0]!r} in {root}. {_LAYOUT}."
        )
    return names


def _list_test_classes(root: Path, classes: Sequence[str]) -> tuple[str, ...]:
    names = tuple(folder.name for folder in _folders(root))
    for name in names:
        if name not in classes:
            raise ValueError(
                f"Every test class must be a training class. Received: {name!r} in {root}, not among the "
                f"{len(classes)} training classes.{did_you_mean(name, classes)}"
            )
    return names


def _list_files(root: Path, names: Sequence[str], classes: Sequence[str], empty_classes: bool) -> Listing:
    files, labels, facts = [], [], []
    for name in names:
        found = sorted(_walk(str(root / name), f"{name}/"))
        if not found and not empty_classes:
            raise ValueError(
                f"A class folder must hold image files. Received: {root / name}, which is empty."
            )
        files += [file for file, _, _ in found]
        labels += [classes.index(name)] * len(found)
        facts += [(size, time) for _, size, time in found]
    return Listing(root, tuple(files), np.array(labels, np.int32), np.array(facts, np.int64))


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, int, int]]:
    """(name after `prefix`, bytes, time in ns) of the files at any depth below `folder`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if not _visible(entry.name):
                continue
            if entry.is_dir():
                # A linked folder could lead back to itself.
                yield from () if entry.is_symlink() else _walk(entry.path, f"{name}/")
            elif entry.is_file():
                facts = entry.stat()
                yield name, facts.st_size, facts.st_mtime_ns
            elif entry.is_symlink():  # leads nowhere: to be reported with the unreadable ones
                yield name, -1, -1


def _folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and _visible(entry.name))


def _visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))


def _names(folders: Sequence[Path]) -> str:
    return ", ".join(str(folder) for folder in folders)
