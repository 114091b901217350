"""Things worth keeping between runs: made once, whole or not at all, whoever else is making them."""

import contextlib
import logging
import os
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

log = logging.getLogger(__name__)


def cache_folder(chosen: Path | None = None) -> Path:
    """`chosen`, else `$SENET_CACHE`, else `$XDG_CACHE_HOME/senet`, else `~/.cache/senet`. Need not exist."""
    if chosen is not None:
        return chosen.expanduser()
    if own := os.environ.get("SENET_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "senet"
    return Path.home() / ".cache" / "senet"


def make_once(target: Path, make: Callable[[Path], None]) -> None:
    """Have `make(aside)` write a file or folder beside `target`, then rename it; nothing if `target` exists.

    One process at a time; what a killed one left aside is removed by the next.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.part")
    with FileLock(f"{target}.lock"):
        if target.exists():
            return
        _remove(aside)
        try:
            make(aside)
            aside.rename(target)
        except BaseException:
            _remove(aside)
            raise


def load_arrays(target: Path) -> dict[str, np.ndarray] | None:
    """The arrays kept in `target`; `None` when there are none or the file is damaged."""
    try:
        with target.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        log.info("%s is damaged (%s) and will be made again", target, error)
        with contextlib.suppress(OSError):
            target.unlink()
        return None


def keep_arrays(target: Path, arrays: dict[str, Any]) -> None:
    """Keep `arrays` in `target`, an .npz file; only warn when that fails, since it costs but time."""

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.savez(file, **arrays)

    try:
        make_once(target, write)
    except OSError as error:
        warnings.warn(f"Decoded images cannot be kept in {target.parent}: {error}", stacklevel=2)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
