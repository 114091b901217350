"""Tar archives, unpacked once and safely."""

import contextlib
import errno
import gzip
import logging
import lzma
import sys
import tarfile
import zlib
from functools import partial
from pathlib import Path, PureWindowsPath

from senet.data.cache import make_once
from senet.files import digest

log = logging.getLogger(__name__)

_BLOCK = 4096  # bytes: what a file system hands out at least, so a small file costs one
_DAMAGE = (tarfile.ReadError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unpack(archive: Path, cache: Path) -> Path:
    """The folder below `cache` that holds what is in `archive`, unpacked if it was not yet.

    The folder's name is the SHA-256 of the file, so an archive that was renamed is not unpacked again and
    one that was changed is. Raises ValueError for a file that is no tar archive, that is truncated or
    damaged, or that has an entry pointing outside; OSError where it cannot be written. Neither leaves
    anything behind.
    """
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError(
            "Unpacking needs Python 3.10.12, 3.11.4 or newer, which can refuse unsafe archives. "
            f"Received: {sys.version.split()[0]}. Unpack {archive} yourself and give the folder."
        )
    target = cache / "unpacked" / digest(archive)[:32]
    try:
        make_once(target, partial(_extract, archive))
    except tarfile.FilterError as error:
        raise ValueError(
            f"{archive} is refused: its entry {error.tarinfo.name!r} is no plain file, or is or "
            f"points outside the folder it is unpacked to ({error}). Get the archive from its original place."
        ) from error
    except _DAMAGE as error:
        raise ValueError(
            f"{archive} is truncated or damaged: {error}. Download or copy it again and compare its checksum."
        ) from error
    except OSError as error:
        if error.errno in _FULL:
            raise _disk_full(archive, cache, error) from error
        if error.errno is None:  # bz2 says "Invalid data stream" in this way
            raise ValueError(f"{archive} is damaged: {error}. Download or copy it again.") from error
        raise
    return target


def _extract(archive: Path, folder: Path) -> None:
    log.info("Unpacking %s, once", archive)
    try:
        tar = tarfile.open(archive)  # noqa: SIM115
    except tarfile.ReadError as error:
        raise ValueError(
            f"A data file must be a tar archive (.tar, .tar.gz, .tgz, .tar.xz). Received: {archive}, which "
            "is none or is cut short at its beginning. Unpack other kinds yourself and give the folder."
        ) from error
    with tar:
        folder.mkdir()
        tar.extractall(folder, filter=_inside)
        check_end(tar)
        if not any(member.isfile() for member in tar.getmembers()):
            raise ValueError(
                f"An archive must hold class folders or CIFAR batches. Received: {archive}, empty."
            )


def _inside(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Python's own filter, but refuse absolute names, which it would move into `folder`."""
    if member.name.startswith("/") or PureWindowsPath(member.name).is_absolute():
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)


def check_end(tar: tarfile.TarFile) -> None:
    """ReadError unless a tar file that was read to its end has the mark of one."""
    # tarfile takes a file cut between two entries for a whole one; only the closing zeros tell them apart.
    if tar.fileobj is not None:
        tar.fileobj.seek(tar.offset)
        if len(tar.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends without the mark that closes a tar archive")
        while tar.fileobj.read(1 << 20):  # the checksum of a compressed stream is at its very end
            pass


def _disk_full(archive: Path, cache: Path, cause: OSError) -> OSError:
    needed = 0
    with contextlib.suppress(*_DAMAGE), tarfile.open(archive) as tar:
        for member in tar:
            needed += -(-member.size // _BLOCK) * _BLOCK
    return OSError(
        cause.errno,
        f"No room to unpack {archive}: it needs about {needed / 1e6:.1f} MB in {cache} ({cause.strerror}). "
        "Nothing was left there. Free some space, or set `cache` (or SENET_CACHE) to a larger disk",
    )
