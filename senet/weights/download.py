"""Bringing one file here over HTTP, resumed after a break, and where the Hugging Face hub has it.

Nothing here knows what the file is for. What comes is verified by the caller.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import NewConnectionError

from senet.files import read_json, write_json

TIMEOUT = (10.0, 30.0)  # seconds to connect, and to wait for the next bytes
BACKOFF = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each further try that brought nothing new
CHUNK = 1 << 16  # bytes; what a broken connection can lose
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HUB_FILE = "model.safetensors"

_FINAL = (
    requests.exceptions.SSLError,
    requests.exceptions.ProxyError,
    requests.exceptions.TooManyRedirects,
    ValueError,  # an address that is none
)
Report = Callable[[int, int | None], None]


class DownloadError(OSError):
    """A file could not be brought here; the message says from where, why, and what to do."""


class _BrokenOffError(Exception):
    """A try that may go better the next time."""


def offline() -> bool:
    """Whether the environment forbids the internet: SENET_OFFLINE or HF_HUB_OFFLINE is 1, true, yes or on."""
    values = (os.environ.get(name, "") for name in ("SENET_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.strip().lower() in ("1", "true", "yes", "on") for value in values)


def download(
    url: str, part: Path, *, title: str, progress: bool = True, headers: Mapping[str, str] | None = None
) -> None:
    """Bring the file at `url` to `part`, going on where an earlier try or process stopped.

    A beginning is only used if the server says by ETag or date that its file is still the same. Raises
    DownloadError when all tries failed, and then keeps what came; OSError where it cannot be written.
    """
    failures, best = 0, _size(part)
    with _bar(title, progress) as report:
        while broken := _broken(url, part, report, headers or {}):
            # A try that came further than all before it is a slow network, not a dead one.
            failures = 1 if _size(part) > best else failures + 1
            best = max(best, _size(part))
            if failures > len(BACKOFF):
                raise DownloadError(f"{broken}, and {failures - 1} more tries brought no more")
            time.sleep(BACKOFF[failures - 1])


def forget(part: Path) -> None:
    """Remove a beginning, and the note on where it came from."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _broken(url: str, part: Path, report: Report, headers: Mapping[str, str]) -> str | None:
    """Try once; why it broke off, or None when the file is whole."""
    try:
        _attempt(url, part, report, headers)
    except _BrokenOffError as error:
        return str(error)
    return None


def _attempt(url: str, part: Path, report: Report, headers: Mapping[str, str]) -> None:
    have, validator = _size(part), _validator_of(url, part)
    asked = {**headers, "Accept-Encoding": "identity"}  # sizes and ranges are those of the file itself
    if have and validator:
        asked |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        with requests.get(url, headers=asked, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416 and have:
                _end_of_range(answer, part, have)
                return
            _check_status(answer)
            start = _start(answer, part, have, validator)
            total = _total(answer)
            if start == 0:
                _remember(url, part, answer)
            _write(answer, part, start, total, report)
    except _FINAL as error:
        raise DownloadError(_reason(error)) from error
    except requests.RequestException as error:
        if not have and not _size(part) and _never_connected(error):
            raise DownloadError(_reason(error)) from error  # no network at all: waiting would not bring it
        raise _BrokenOffError(_reason(error)) from error
    size = _size(part)
    if total is not None and size != total:
        if size > total:
            forget(part)
        raise _BrokenOffError(f"the connection ended after {size:,} of {total:,} bytes")


def _check_status(answer: requests.Response) -> None:
    status, kind = answer.status_code, answer.headers.get("Content-Type", "")
    said = f"the server answered {status} {answer.reason or ''}".strip()
    if _may_pass(status):
        raise _BrokenOffError(said)
    if status not in (200, 206):
        raise DownloadError(said)
    if kind.startswith("text/html"):
        raise DownloadError(
            "the server answered with a web page, not a file (often the log-in or blocking page of a network)"
        )


def _start(answer: requests.Response, part: Path, have: int, validator: str | None) -> int:
    """The place in the file at which the body of this answer begins."""
    if answer.status_code == 200:
        return 0
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    same = answer.headers.get("ETag") in (None, validator) or validator == answer.headers.get("Last-Modified")
    if found and int(found[1]) == have and same:
        return have
    forget(part)  # other bytes than asked for, or of another file
    raise _BrokenOffError("the server resumed with another part than was asked for")


def _end_of_range(answer: requests.Response, part: Path, have: int) -> None:
    """After "416 Range Not Satisfiable": whether nothing is missing or what is here is of no use."""
    if answer.headers.get("Content-Range") == f"bytes */{have}":
        return
    forget(part)
    raise _BrokenOffError("the server's file is shorter than what came before")


def _total(answer: requests.Response) -> int | None:
    """Size of the whole file in bytes, None where the server does not say."""
    if answer.status_code == 206:
        found = re.search(r"/(\d+)$", answer.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _write(answer: requests.Response, part: Path, start: int, total: int | None, report: Report) -> None:
    # Unbuffered, so that a killed process leaves all that came.
    with part.open("ab" if start else "wb", buffering=0) as file:
        report(start, total)
        for chunk in answer.iter_content(CHUNK):
            file.write(chunk)
            start += len(chunk)
            report(start, total)


def _remember(url: str, part: Path, answer: requests.Response) -> None:
    """Note which state of the file `part` is a beginning of. A weak ETag, W/"…", promises too little."""
    tag = answer.headers.get("ETag", "")
    validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified")
    forget(part)
    write_json(_note(part), {"url": url, "validator": validator})


def _validator_of(url: str, part: Path) -> str | None:
    try:
        note = read_json(_note(part))
    except (OSError, ValueError):
        return None
    return note.get("validator") if isinstance(note, dict) and note.get("url") == url else None


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _never_connected(error: requests.RequestException) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def _reason(error: Exception) -> str:
    """What lies at the bottom of the errors that the HTTP libraries wrap around each other."""
    inner = error
    while inner.args and isinstance(deeper := getattr(inner, "reason", inner.args[0]), Exception):
        inner = deeper
    text = inner.args[0] if inner.args and isinstance(inner.args[0], str) else str(inner)
    return re.sub(r"^<[^>]*>:\s*|^\w*(Connection|Pool)\([^)]*\):\s*", "", text).rstrip(".")


@contextlib.contextmanager
def _bar(title: str, progress: bool) -> Iterator[Report]:
    """A live line on stderr: share, speed, time left; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        Speed(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (progress and console.is_terminal)) as live:
        task = live.add_task(title, total=None)
        yield lambda done, total: live.update(task, completed=done, total=total)


@dataclass(frozen=True)
class HubFile:
    """A file on the hub: its address (of a fixed commit), SHA-256, and the headers of a signed-in user."""

    url: str
    sha256: str
    headers: Mapping[str, str]


def find_on_hub(repo: str) -> HubFile:
    """Ask the hub, by its own client, for `model.safetensors` of a repository.

    `HF_ENDPOINT` names another server than huggingface.co. The client's own download is not used: it
    forgets what came when its process ends. Raises DownloadError.
    """
    import huggingface_hub as hub
    from huggingface_hub.utils import build_hf_headers

    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        facts = _facts(hub, hub.hf_hub_url(repo, HUB_FILE, endpoint=endpoint))
        headers = build_hf_headers()
    except Exception as error:  # the client's HTTP library, and so its errors, vary with its version
        raise DownloadError(str(error).strip().partition("\n")[0].rstrip(".")) from error
    if not re.fullmatch(r"[0-9a-f]{64}", facts.etag or ""):
        raise DownloadError(f"the server states no SHA-256 for {HUB_FILE}, so it could not be verified")
    url = hub.hf_hub_url(repo, HUB_FILE, revision=facts.commit_hash, endpoint=endpoint)
    return HubFile(url, str(facts.etag), headers)


def _facts(hub: Any, url: str) -> Any:
    for wait in BACKOFF:
        try:
            return hub.get_hf_file_metadata(url)
        except Exception as error:
            if not _may_pass(getattr(getattr(error, "response", None), "status_code", 0)):
                raise
        time.sleep(wait)
    return hub.get_hf_file_metadata(url)


def _may_pass(status: int) -> bool:
    """Whether a server that answered so may answer otherwise a little later."""
    return status in (408, 425, 429) or status >= 500
