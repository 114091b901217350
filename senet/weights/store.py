"""The cache of weights: originals as they were published, verified, and what they were converted to.

    $SENET_CACHE or ~/.cache/senet
      weights/original/SOURCE/FILE         beside each its record, FILE.json
      weights/converted/SOURCE/NAME.weights.h5

A file stands under its name only when it is whole and verified; the record holds its SHA-256, which is
compared at each use.

Environment: `SENET_OFFLINE=1` or `HF_HUB_OFFLINE=1` forbids the internet. `SENET_MIRROR`, a folder or an
address, holds every file as SOURCE/FILE: a release under its own name (a `.zip` stays one), a set of the hub
as NAME.safetensors with its record beside it, as both lie in the cache. `HF_ENDPOINT` is another hub.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import importlib.metadata
import logging
import os
import shutil
import urllib.parse
import urllib.request
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from senet.data.cache import cache_folder
from senet.files import digest, explain, read_json, write_json
from senet.weights.catalogue import WeightsEntry
from senet.weights.download import (
    DISK_FULL,
    DownloadError,
    download,
    find_on_hub,
    forget,
    offline,
)

log = logging.getLogger(__name__)

# To be raised when a conversion writes other layer names, shapes or values: older files are then made again.
CONVERSION_FORMAT = 1
_BLOCK = 1 << 20
_NOT_WRITABLE = (*DISK_FULL, errno.EROFS, errno.EACCES)


def fetch(entry: WeightsEntry, *, progress: bool = True) -> Path:
    """The original file of `entry` in the cache, downloaded and verified if it is not there.

    Raises ValueError for a set without a published or downloadable file and for a file that is not the
    published one; DownloadError without network; OSError where it cannot be written. None of them leaves
    anything under the file's name.
    """
    if not entry.published:
        raise ValueError(
            f"No weights of {entry.tag!r} were ever published, only the architecture. Build it with "
            "weights=None, or choose another set of `senet list --weights`."
        )
    target = _place("original", entry, entry.file_name)
    if _intact(target):
        return target
    with _alone(target):
        if _intact(target):  # another process was first
            return target
        if target.exists():
            warnings.warn(f"{target} is damaged and will be downloaded again.", stacklevel=2)
        part = target.with_name(f"{target.name}.part")
        where, expected = _obtain(entry, part, progress)
        try:
            _compare(entry, part, expected, where)
            _put(part, target, {"tag": entry.tag, "url": where, "sha256": digest(part, "sha256")})
        finally:
            forget(part)
    return target


def converted(entry: WeightsEntry, convert: Callable[[Path, Path], None], *, progress: bool = True) -> Path:
    """The Keras weights file of `entry` in the cache; needs no network once it is there.

    `convert(original, aside)` reads the published file and writes a `*.weights.h5`. It is called when there
    is none yet, when the one there is damaged (with a warning), or when it is of an older format.
    Raises what `fetch` and `convert` raise.
    """
    name = entry.tag.partition("/")[2]
    target = _place("converted", entry, f"{name}.weights.h5")
    if _intact(target, CONVERSION_FORMAT):
        return target
    original = fetch(entry, progress=progress)
    with _alone(target):
        if _intact(target, CONVERSION_FORMAT):
            return target
        if target.exists() and _record(target).get("format") == CONVERSION_FORMAT:
            warnings.warn(f"{target} is damaged and will be converted again.", stacklevel=2)
        part = target.with_name(f"{name}.part.weights.h5")
        try:
            convert(original, part)
            record = {
                "tag": entry.tag,
                "format": CONVERSION_FORMAT,
                "senet": importlib.metadata.version("senet"),
                "original_sha256": _record(original)["sha256"],
                "sha256": digest(part, "sha256"),
            }
            _put(part, target, record)
        finally:
            part.unlink(missing_ok=True)
    return target


def verify(entry: WeightsEntry, path: Path) -> None:
    """ValueError unless the file at `path` has the hash that was published for `entry`.

    Sets without a published hash (the hub's and the Caffe models) cannot be told apart here.
    """
    if entry.hash and not entry.hf_repo:
        _compare(entry, path, entry.hash, str(path))


def _obtain(entry: WeightsEntry, part: Path, progress: bool) -> tuple[str, str]:
    """Bring the file to `part`; where it came from and the hash it must have."""
    part.parent.mkdir(parents=True, exist_ok=True)
    mirror = os.environ.get("SENET_MIRROR", "")
    where = _address(entry, mirror)
    try:
        if offline() and not _local(where):
            raise DownloadError("SENET_OFFLINE or HF_HUB_OFFLINE forbids it, and it is not in the cache")
        if mirror:
            expected = _pinned(entry) or _stated_by_mirror(entry, mirror, part)
            _bring(where, part, title=entry.tag, progress=progress)
        elif entry.hf_repo:
            file = find_on_hub(entry.hf_repo)
            expected = f"sha256:{file.sha256}"
            _bring(file.url, part, title=entry.tag, progress=progress, headers=file.headers)
        else:
            expected = str(entry.hash)
            _bring(where, part, title=entry.tag, progress=progress)
    except DownloadError as error:
        raise DownloadError(f"Could not get {entry.tag!r} from {where}: {error}. {_advice(entry)}") from error
    except ValueError as error:
        raise _refused(entry, where, str(error)) from error
    return where, expected


def _address(entry: WeightsEntry, mirror: str) -> str:
    if mirror:
        return f"{mirror.rstrip('/')}/{entry.source}/{entry.download_name}"
    if entry.hf_repo:
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        return f"{endpoint.rstrip('/')}/{entry.hf_repo}"
    if entry.url:
        return entry.url
    raise ValueError(
        f"{entry.tag!r} has no address that a program can download from. Get {entry.file_name} by hand "
        f"from {entry.page} (linked at {entry.origin}), then use "
        f'senet.from_checkpoint("{entry.file_name}", "{entry.tag}").'
    )


def _pinned(entry: WeightsEntry) -> str | None:
    """The published hash of the very file that is fetched: on the hub that is another one than at `url`."""
    return None if entry.hf_repo else entry.hash


def _stated_by_mirror(entry: WeightsEntry, mirror: str, part: Path) -> str:
    """The SHA-256 in the record that this store wrote beside a file without a published hash."""
    record = part.with_name(f"{part.name}.record")
    where = f"{mirror.rstrip('/')}/{entry.source}/{entry.file_name}.json"
    try:
        _bring(where, record, title=record.name, progress=False)
        return f"sha256:{read_json(record)['sha256']}"
    except (DownloadError, ValueError, KeyError, TypeError) as error:
        raise DownloadError(
            f"no hash of it is published, and the mirror has no {where} that states its SHA-256 ({error}); "
            "copy both from the cache of a machine that downloaded it"
        ) from error
    finally:
        forget(record)


def _local(where: str) -> Path | None:
    """The path that a mirror on a disk means, None for a web address."""
    if where.startswith("file://"):
        return Path(urllib.request.url2pathname(urllib.parse.urlparse(where).path))
    return None if "://" in where else Path(where).expanduser()


def _bring(
    where: str, part: Path, *, title: str, progress: bool, headers: Mapping[str, str] | None = None
) -> None:
    """Have the file at a path or address at `part`, unpacked if it is a `.zip`."""
    brought = part.with_name(f"{part.name}.zip") if where.endswith(".zip") else part
    try:
        if path := _local(where):
            if not (path.is_file() and os.access(path, os.R_OK)):
                raise DownloadError("there is no such file that may be read")
            forget(brought)
            shutil.copyfile(path, brought)
        else:
            download(where, brought, title=title, progress=progress, headers=headers)
        if brought != part:
            _unzip(brought, part)
            forget(brought)
    except OSError as error:
        if error.errno in DISK_FULL:
            forget(brought)
            forget(part)
        raise
    except ValueError:
        forget(brought)
        forget(part)
        raise


def _unzip(archive: Path, part: Path) -> None:
    """Write the one file that `archive` is for to `part`; ValueError for an archive that is anything else.

    Its name must be the wanted one, without a folder, so no entry can lead elsewhere.
    """
    wanted = part.name.removesuffix(".part")
    limit = 20 * archive.stat().st_size + _BLOCK  # weights are noise, and shrink by a tenth
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [info.filename for info in opened.infolist()]
            if names.count(wanted) != 1:
                raise ValueError(
                    f"the archive must hold one {wanted}. It holds: {', '.join(names[:4]) or 'nothing'}"
                )
            if opened.getinfo(wanted).file_size > limit:
                raise ValueError(f"{wanted} in the archive would be more than {limit:,} bytes")
            with opened.open(wanted) as source, part.open("wb") as file:
                shutil.copyfileobj(source, file, _BLOCK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"the archive is damaged or of a kind that cannot be read ({error})") from error


def _compare(entry: WeightsEntry, path: Path, expected: str, where: str) -> None:
    kind, _, digits = expected.partition(":")
    found = digest(path, kind)
    if not found.startswith(digits):
        size = path.stat().st_size
        raise _refused(entry, where, f"its {kind} must begin with {digits}, and is {found} ({size:,} bytes)")


def _refused(entry: WeightsEntry, where: str, why: str) -> ValueError:
    return ValueError(
        f"The file of {entry.tag!r} from {where} is not the published one: {why}. Nothing of it was kept. "
        "Likely it was cut short or changed on its way: try again, from another network or mirror."
    )


def _advice(entry: WeightsEntry) -> str:
    release = f" The release {entry.url} has the same weights." if entry.hf_repo and entry.url else ""
    return (
        f"For a machine without internet, copy {cache_folder() / 'weights'} from another one, or set "
        f"SENET_MIRROR to a folder or address that holds {entry.source}/{entry.download_name}. A file got by "
        f'hand is read by senet.from_checkpoint(path, "{entry.source}/{entry.architecture}").{release}'
    )


def _place(kind: str, entry: WeightsEntry, name: str) -> Path:
    return cache_folder() / "weights" / kind / entry.source / name


def _intact(target: Path, made_by: int | None = None) -> bool:
    """Whether `target` is there as its record says, and of that format."""
    record = _record(target)
    return (
        target.is_file()
        and record.get("format") == made_by
        and record.get("size") == target.stat().st_size
        and record.get("sha256") == digest(target, "sha256")
    )


def _record(target: Path) -> dict[str, Any]:
    """What was noted when `target` was made; empty where that is missing or damaged."""
    try:
        record = read_json(target.with_name(f"{target.name}.json"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _put(part: Path, target: Path, record: dict[str, Any]) -> None:
    """Give a whole file its name. The record comes first: alone it stands for nothing."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    now = datetime.datetime.now(datetime.timezone.utc)
    facts = {"size": part.stat().st_size, "date": now.isoformat(timespec="seconds")}
    write_json(target.with_name(f"{target.name}.json"), {**record, **facts})
    part.replace(target)


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One process at a time; OSError says which file could not be written and what would help."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{target}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("Waiting for another process that is making %s", target)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            raise explain(error, target) from error
        raise
