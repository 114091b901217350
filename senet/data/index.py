"""The index of class folders: names and labels of a million files in one file, instead of a walk."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from senet.data.cache import keep_arrays, load_arrays
from senet.data.folder import Listing, list_folder
from senet.data.records import FileRecords, Listed, Part

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


def folder_listed(root: Path, name: str, cache: Path, *, empty_classes: bool = False) -> Listed:
    """Class folders at `root`: see `list_folder`. The index is made again when a folder below has changed.

    With `empty_classes`, which no run may have, no index is kept.
    """
    key = hashlib.sha256(f"1 {root.resolve()}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    if empty_classes:
        arrays = _walk(root, empty_classes=True)
    else:
        arrays = kept_index(cache / "index" / f"{key}.npz", lambda: _walk(root), _is_current)
    parts = {}
    for part in ("train", "test"):
        place = Path(os.fsdecode(arrays[f"{part}_root"].item()))
        records = FileRecords(place, arrays[f"{part}_files"], arrays[f"{part}_labels"])
        parts[part] = Part(records, np.arange(len(records.labels)))
    names = tuple(os.fsdecode(name) for name in arrays["class_names"])
    return Listed(name, names, parts["train"], parts["test"], digest_of(arrays))


def kept_index(target: Path, make: Callable[[], Arrays], is_current: Callable[[Arrays], bool]) -> Arrays:
    """The arrays in `target` where they are current; else made, and kept there."""
    arrays = load_arrays(target)
    if arrays is not None and is_current(arrays):
        return arrays
    target.unlink(missing_ok=True)
    arrays = make()
    keep_arrays(target, arrays)
    return arrays


def digest_of(arrays: Arrays) -> str:
    """A hash of all that an index holds."""
    found = hashlib.sha256()
    for key in sorted(arrays):
        found.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        found.update(arrays[key].tobytes())
    return found.hexdigest()[:32]


def _walk(root: Path, *, empty_classes: bool = False) -> Arrays:
    log.info("Listing the images below %s, once", root)
    found = list_folder(root, empty_classes=empty_classes)
    arrays = {"class_names": _bytes(found.class_names)}
    folders: set[Path] = set()
    for part, listing in (("train", found.train), ("test", found.test)):
        arrays[f"{part}_root"] = _bytes([str(listing.root.absolute())])
        arrays[f"{part}_files"] = _bytes(listing.files)
        arrays[f"{part}_labels"] = listing.labels
        folders |= _folders(listing)
    # A folder's time changes when a file or folder in it comes or goes.
    stamped = sorted(str(folder.absolute()) for folder in {*folders, root})
    arrays["folders"] = _bytes(stamped)
    arrays["times"] = np.array([Path(folder).stat().st_mtime_ns for folder in stamped], np.int64)
    return arrays


def _folders(listing: Listing) -> set[Path]:
    """Every folder between the root of a listing and its files, both ends included."""
    inner = {parent for file in listing.files for parent in Path(file).parents}
    return {listing.root / folder for folder in inner} | {listing.root}


def _is_current(arrays: Arrays) -> bool:
    try:
        times = [Path(os.fsdecode(folder)).stat().st_mtime_ns for folder in arrays["folders"]]
    except OSError:
        return False
    return bool(np.array_equal(times, arrays["times"]))


def _bytes(names: tuple[str, ...] | list[str]) -> np.ndarray:
    """Names as an array of bytes: a tenth of the room of texts, and kept without pickling."""
    return np.array([os.fsencode(name) for name in names])
