"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def written_aside(path: str | Path, named: Callable[[Path], str] | None = None) -> Iterator[Path]:
    """A temporary path beside `path` to write to; at the end it is synced and renamed to `path`.

    A process that is killed, or a disk that fills, leaves the old file (or none) and never half of a new
    one. The suffix is kept, since writers choose a format by it. `named` gives the file's name once it is
    written, in place of that of `path`. OSError says which file could not be
    written, and that the disk is full where it is.
    """
    path = Path(path)
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, made = tempfile.mkstemp(
            prefix=f".{path.name.split('.')[0]}-", suffix=suffix(path), dir=path.parent
        )
        os.close(handle)
        aside = Path(made)
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.chmod(0o644)  # mkstemp gives 0600; results are for others to read
        aside.replace(path.with_name(named(aside)) if named else path)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


def suffix(path: Path) -> str:
    """The suffix that a writer goes by: `.weights.h5` is one, `run_1.5.json` ends in `.json`."""
    return ".weights.h5" if path.name.endswith(".weights.h5") else path.suffix


def explain(error: OSError, path: Path) -> OSError:
    """The same error, with the path and the likely fix in its message."""
    fixes = {
        errno.ENOSPC: "the disk is full: free some space or choose another folder",
        errno.EDQUOT: "the disk quota is used up: free some space or choose another folder",
        errno.EROFS: "the file system is read-only: choose another folder",
        errno.EACCES: "permission denied: choose a folder that you may write to",
    }
    fix = fixes.get(error.errno or 0, error.strerror or str(error))
    return type(error)(error.errno, f"Could not write {path}: {fix}")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, default=str) + "\n")


def read_json(path: str | Path) -> Any:
    """The value of a JSON file; ValueError names a file that is not one."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error


def digest(path: Path, kind: str = "sha256") -> str:
    """The hash of a file's content, in hex."""
    found = hashlib.new(kind)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
