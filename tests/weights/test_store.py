"""The store against real servers on loopback, with a file built from the fixtures."""

import dataclasses
import errno
import hashlib
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from senet.weights import download, store
from senet.weights.catalogue import find
from senet.weights.download import DownloadError
from senet.weights.store import converted, fetch, verify
from tests.parity.reference_weights import load_manifest, write_safetensors
from tests.weights.server import Answer, FileServer, serving

REPOSITORY = Path(__file__).parents[2]
HUB = "timm/seresnet50.ra2_in1k"
ZIPPED = "pytorchcv/seresnet20_cifar10"
PIECE = 4096
SLEEP, BACKOFF = time.sleep, download.BACKOFF  # as they are where no test changed them

# Another process with the store but without the rest of the package, whose import costs seconds.
ALONE = """
import sys, types, pathlib, dataclasses
package = types.ModuleType("senet")
package.__path__ = [{package!r}]
sys.modules["senet"] = package
from senet.weights import download, store
from senet.weights.catalogue import find
download.CHUNK, download.BACKOFF = 4096, (0.0,)
entry = dataclasses.replace(find({tag!r}), **{changes!r})
"""


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """A real checkpoint, of about 1.1 MB."""
    path = tmp_path_factory.mktemp("fixture") / "seresnet20.safetensors"
    write_safetensors(path, load_manifest("pytorchcv_seresnet20_cifar10"))
    return path.read_bytes()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own, no proxies or mirrors of the machine, and no waiting."""
    for name in ("SENET_OFFLINE", "HF_HUB_OFFLINE", "SENET_MIRROR", "HF_ENDPOINT", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("SENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "TIMEOUT", (2.0, 0.5))
    monkeypatch.setattr(download, "BACKOFF", (0.0, 0.0, 0.0))
    monkeypatch.setattr(download, "CHUNK", PIECE)
    return tmp_path / "cache" / "weights"


@pytest.fixture
def server():
    with serving() as found:
        yield found


@pytest.fixture
def release(server, content):
    """A set at a release address, its hash in its name; `release.url` ends in PATH."""
    server.files[PATH] = content
    digits = hashlib.sha256(content).hexdigest()[:8]
    return dataclasses.replace(
        find("timm/legacy_seresnet50.in1k"), url=server.url + PATH, hash=f"sha256:{digits}"
    )


PATH = "/releases/v0.1/se_resnet50-ce0d4300.pth"


def left(cache: Path) -> list[str]:
    """Whatever lies in the cache but locks and records."""
    files = (path for path in cache.rglob("*") if path.is_file())
    return sorted(path.name for path in files if path.suffix not in (".lock", ".json"))


def record(path: Path) -> dict:
    return json.loads(Path(f"{path}.json").read_text())


def script(entry, body: str) -> str:
    changes = {"url": entry.url, "hash": entry.hash}
    prelude = ALONE.format(package=str(REPOSITORY / "senet"), tag=entry.tag, changes=changes)
    return prelude + body


def start(entry, body: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", script(entry, body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        SLEEP(0.025)
    raise AssertionError("it never happened")


def kill_when(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    try:
        wait_until(condition)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL


# ---- releases


def test_a_release_is_downloaded_verified_and_recorded(server, release, cache, content):
    path = fetch(release)
    assert path == cache / "original" / "timm" / "se_resnet50-ce0d4300.pth"
    assert path.read_bytes() == content
    assert left(cache) == [path.name]
    found = record(path)
    assert found.pop("date")[:2] == "20"
    assert found == {
        "tag": "timm/legacy_seresnet50.in1k",
        "url": release.url,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
    }
    assert fetch(release) == path
    assert server.gets(PATH) == [None]


@pytest.mark.parametrize("claim", [{}, {"ETag": None, "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
def test_a_dropped_connection_is_resumed_where_it_broke(server, release, content, claim):
    server.script[PATH] = [
        Answer(drop_after=100 * PIECE, headers=claim),
        Answer(drop_after=50 * PIECE, headers=claim),
        Answer(headers=claim),
    ]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH) == [None, f"bytes={100 * PIECE}-", f"bytes={150 * PIECE}-"]
    wanted = claim.get("Last-Modified") or f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    assert [request.if_range for request in server.requests] == [None, wanted, wanted]


def test_progress_earns_more_tries(server, release, content):
    server.script[PATH] = [Answer(drop_after=20 * PIECE) for _ in range(10)]
    assert fetch(release).read_bytes() == content
    assert len(server.requests) == 11 > len(download.BACKOFF) + 1


def test_a_server_without_ranges_starts_over(server, release, content):
    server.script[PATH] = [Answer(drop_after=100 * PIECE), Answer(ranges=False)]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH) == [None, f"bytes={100 * PIECE}-"]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_strong_validator_it_starts_over(server, release, content, tag):
    headers = {"ETag": tag}
    server.script[PATH] = [Answer(drop_after=100 * PIECE, headers=headers), Answer(headers=headers)]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH) == [None, None]


def test_a_file_that_changed_in_between_starts_over(server, release, content):
    server.script[PATH] = [Answer(body=bytes(len(content)), drop_after=100 * PIECE)]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH) == [None, f"bytes={100 * PIECE}-"]  # answered with 200: If-Range did not hold


def part_of(content: bytes, start: int, end: int, **headers: str) -> Answer:
    """A server's free choice of what to answer to a range."""
    reach = f"bytes {start}-{end - 1}/{len(content)}"
    return Answer(
        status=206, body=content[start:end], headers={"Content-Range": reach, "ETag": '"one"'} | headers
    )


@pytest.mark.parametrize(
    ("place", "headers"),
    [(110, {}), (90, {}), (100, {"Content-Range": "nonsense"}), (100, {"ETag": '"other"'})],
    ids=["further on", "before", "no place", "another file"],
)
def test_a_wrong_part_is_not_appended(server, release, content, place, headers):
    server.script[PATH] = [
        Answer(drop_after=100 * PIECE, headers={"ETag": '"one"'}),
        part_of(content, place * PIECE, len(content), **headers),
    ]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH) == [None, f"bytes={100 * PIECE}-", None]


def test_a_part_smaller_than_asked_for_is_a_step(server, release, content):
    headers = {"ETag": '"one"'}
    server.script[PATH] = [
        Answer(drop_after=100 * PIECE, headers=headers),
        part_of(content, 100 * PIECE, 150 * PIECE),
        Answer(headers=headers),
    ]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH) == [None, f"bytes={100 * PIECE}-", f"bytes={150 * PIECE}-"]


def test_a_silent_server_is_given_up_on_and_resumed(server, release, content):
    server.script[PATH] = [Answer(stall_after=100 * PIECE)]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH) == [None, f"bytes={100 * PIECE}-"]


def test_a_slow_server_is_waited_for(server, release):
    body = os.urandom(30_000)
    server.script[PATH] = [Answer(body=body, pause=0.03)]  # 0.9 s in all, no silence near the 0.5 s allowed
    digest = hashlib.sha256(body).hexdigest()
    assert fetch(dataclasses.replace(release, hash=f"sha256:{digest}")).read_bytes() == body
    assert server.gets(PATH) == [None]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda content: Answer(body=content[:-1] + b"?"),
        lambda content: Answer(body=content[:1000]),
        lambda content: Answer(body=content[:1000], headers={"Content-Length": None}),
        lambda content: Answer(body=content + b"more"),
        lambda content: Answer(body=b""),
        lambda content: Answer(body=b"<html>Blocked</html>", headers={"Content-Type": "text/plain"}),
    ],
    ids=["a byte changed", "cut", "cut, length unknown", "longer", "empty", "page as text"],
)
def test_a_wrong_body_is_refused_and_not_kept(server, release, cache, content, wrong):
    server.script[PATH] = [wrong(content)]
    expected = release.hash.partition(":")[2]
    with pytest.raises(
        ValueError, match=f"is not the published one: its sha256 must begin with {expected}, and"
    ) as caught:
        fetch(release)
    assert release.url in str(caught.value)
    assert left(cache) == []
    assert list(cache.rglob("*.json")) == []
    assert fetch(release).read_bytes() == content


def test_a_body_shorter_than_announced_is_kept_for_the_next_time(server, release, cache, content):
    server.script[PATH] = [Answer(drop_after=100 * PIECE)] + [Answer(drop_after=0)] * 4
    message = rf"ended after {100 * PIECE:,} of {len(content):,} bytes|Connection broken"
    with pytest.raises(DownloadError, match=message):
        fetch(release)
    assert left(cache) == ["se_resnet50-ce0d4300.pth.part"]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH)[-1] == f"bytes={100 * PIECE}-"
    assert left(cache) == ["se_resnet50-ce0d4300.pth"]


def test_a_part_that_was_whole_already_is_used(server, release, content):
    body = content[: 200 * PIECE]
    server.files[PATH] = body
    server.script[PATH] = [Answer(drop_after=len(body), headers={"Content-Length": str(len(body) + 1)})]
    digest = hashlib.sha256(body).hexdigest()
    assert fetch(dataclasses.replace(release, hash=f"sha256:{digest}")).read_bytes() == body
    assert server.gets(PATH) == [None, f"bytes={len(body)}-"]  # answered with 416


def test_a_part_longer_than_the_file_is_thrown_away(server, release, cache, content):
    server.script[PATH] = [
        Answer(drop_after=PIECE),
        Answer(status=416, headers={"Content-Range": "bytes */9"}),
    ]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH) == [None, f"bytes={PIECE}-", None]


@pytest.mark.parametrize("status", [404, 403, 401, 410])
def test_a_refusal_is_final(server, release, cache, status):
    server.script[PATH] = [Answer(status=status)]
    with pytest.raises(
        DownloadError, match=f"{re.escape(release.url)}: the server answered {status} "
    ) as error:
        fetch(release)
    for help_ in ("SENET_MIRROR", "timm/se_resnet50-ce0d4300.pth", str(cache), "senet.from_checkpoint"):
        assert help_ in str(error.value)
    assert len(server.requests) == 1
    assert left(cache) == []


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_server_is_tried_again(server, release, content, status):
    server.script[PATH] = [Answer(status=status)] * 2
    assert fetch(release).read_bytes() == content
    assert len(server.requests) == 3


def test_a_broken_server_is_not_tried_for_ever(server, release, cache):
    server.script[PATH] = [Answer(status=500)] * 9
    with pytest.raises(DownloadError, match="answered 500 Internal Server Error, and 3 more tries"):
        fetch(release)
    assert len(server.requests) == 4
    assert left(cache) == []


def test_tries_come_later_and_later(server, release, monkeypatch):
    waits = []
    monkeypatch.setattr(download, "BACKOFF", BACKOFF)
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=waits.append))
    server.script[PATH] = [Answer(status=500)] * 9
    with pytest.raises(DownloadError, match="and 5 more tries"):
        fetch(release)
    assert waits == [1, 2, 4, 8, 16]


def test_a_log_in_page_is_recognised(server, release, cache):
    page = Answer(body=b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})
    server.script[PATH] = [page]
    with pytest.raises(DownloadError, match="a web page, not a file"):
        fetch(release)
    assert left(cache) == []


def test_redirects_are_followed_also_when_resuming(server, release, content):
    server.files["/storage/1"] = content
    server.script[PATH] = [Answer(status=302, headers={"Location": f"{server.url}/storage/1"})] * 2
    server.script["/storage/1"] = [Answer(drop_after=100 * PIECE)]
    assert fetch(release).read_bytes() == content
    assert server.gets("/storage/1") == [None, f"bytes={100 * PIECE}-"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/a-12345678.pth", "Connection refused"),
        ("http://weights.invalid/a-12345678.pth", "Failed to resolve 'weights.invalid'"),
        ("ftp://127.0.0.1/a-12345678.pth", "No connection adapters"),
    ],
)
def test_without_a_connection_it_gives_up_at_once(release, cache, monkeypatch, url, reason):
    sleep = SimpleNamespace(sleep=lambda seconds: pytest.fail("it waited"))
    monkeypatch.setattr(download, "time", sleep)
    with pytest.raises(
        DownloadError, match=f"Could not get 'timm/legacy_seresnet50.in1k' from {url}: .*{reason}"
    ):
        fetch(dataclasses.replace(release, url=url))
    assert left(cache) == []


def test_a_false_certificate_is_final(release, server):
    with pytest.raises(DownloadError, match="SSL"):
        fetch(dataclasses.replace(release, url=release.url.replace("http:", "https:")))


@pytest.mark.parametrize("variable", ["SENET_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize("tag", [None, HUB])
def test_offline_means_no_request_at_all(server, release, monkeypatch, variable, tag):
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    with pytest.raises(DownloadError, match=r"SENET_OFFLINE or HF_HUB_OFFLINE forbids it.*SENET_MIRROR"):
        fetch(find(tag) if tag else release)
    assert server.requests == []


def test_offline_uses_what_is_there(server, release, monkeypatch):
    path = fetch(release)
    monkeypatch.setenv("SENET_OFFLINE", "true")
    assert fetch(release) == path
    monkeypatch.setenv("SENET_OFFLINE", "0")
    assert not download.offline()


def test_a_killed_process_leaves_a_part_that_the_next_one_finishes(server, release, cache, content):
    server.script[PATH] = [Answer(stall_after=100 * PIECE)]
    part = cache / "original" / "timm" / "se_resnet50-ce0d4300.pth.part"
    kill_when(
        start(release, "store.fetch(entry)"), lambda: part.exists() and part.stat().st_size == 100 * PIECE
    )
    assert left(cache) == [part.name]
    assert fetch(release).read_bytes() == content
    assert server.gets(PATH) == [None, f"bytes={100 * PIECE}-"]
    assert left(cache) == [part.stem]


def test_two_processes_download_once(server, release, cache, content):
    server.script[PATH] = [Answer(pause=0.001)]  # 1.1 s, in which the second one must wait
    both = [start(release, "print(store.fetch(entry))") for _ in range(2)]
    results = [process.communicate() for process in both]
    path = cache / "original" / "timm" / "se_resnet50-ce0d4300.pth"
    assert results == [(f"{path}\n", "")] * 2
    assert path.read_bytes() == content
    assert server.gets(PATH) == [None]


def test_whoever_waits_says_so(server, release, cache, caplog):
    target = cache / "original" / "timm" / "se_resnet50-ce0d4300.pth"
    target.parent.mkdir(parents=True)
    caplog.set_level(logging.INFO, "senet")
    holder = start(
        release,
        f"""
import filelock, time
with filelock.FileLock({str(target)!r} + ".lock"):
    print("held", flush=True)
    time.sleep(0.5)
""",
    )
    assert holder.stdout.readline() == "held\n"
    assert fetch(release) == target
    holder.communicate()
    assert "Waiting for another process" in caplog.text


# ---- full disks


def small_disk(tmp_path: Path, megabytes: int) -> Path:
    """A file system of that size, or a skipped test."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    return folder


@pytest.fixture
def full_soon(tmp_path, monkeypatch, content):
    """A disk on which the cache has room for less than the file."""
    folder = small_disk(tmp_path, 2)
    try:
        (folder / "else").write_bytes(bytes(2 * 2**20 - len(content) // 2))
        monkeypatch.setenv("SENET_CACHE", str(folder / "cache"))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kind", ["release", "zip", "hub", "folder"])
def test_a_full_disk_is_named_and_left_clean(
    kind, full_soon, server, release, content, monkeypatch, tmp_path
):
    entry = release
    if kind == "hub":
        entry = find(HUB)
        server.publish(entry.hf_repo, content)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
    elif kind == "zip":
        entry = zipped(server, {ZIPPED_FILE: content})
    elif kind == "folder":
        place = tmp_path / "mirror" / "timm" / entry.file_name
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
        monkeypatch.setenv("SENET_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(OSError, match=r"Could not write .*: the disk is full") as caught:
        fetch(entry)
    assert caught.value.errno == errno.ENOSPC
    assert entry.file_name in str(caught.value)
    assert left(full_soon / "cache") == []
    (full_soon / "else").unlink()
    (full_soon / "else").write_bytes(bytes(10))
    if kind != "zip":  # archive and file together are more than the disk has
        assert fetch(entry).read_bytes() == content


def test_a_conversion_on_a_full_disk_leaves_nothing(server, release, tmp_path, monkeypatch, content):
    import h5py
    import numpy as np

    path = fetch(release)
    folder = small_disk(tmp_path, 1)
    try:
        shutil.copytree(path.parents[2], folder / "cache" / "weights", ignore=shutil.ignore_patterns("*.pth"))
        monkeypatch.setattr(store, "fetch", lambda entry, progress: path)
        monkeypatch.setenv("SENET_CACHE", str(folder / "cache"))

        def convert(original, aside):
            with h5py.File(aside, "w") as file:
                file["kernel"] = np.zeros(600_000, np.float32)

        with pytest.raises(OSError, match=r"No space left|the disk is full"):
            converted(release, convert)
        assert left(folder / "cache") == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_limit_on_file_sizes_is_an_error_of_writing(server, release, cache):
    """As where no disk can be mounted: a real write that fails in the middle."""
    body = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    store.fetch(entry)
except OSError as error:
    print(type(error).__name__, error)
"""
    out, errors = start(release, body).communicate()
    assert errors == ""
    assert re.match(r"OSError \[Errno \d+\] Could not write .*se_resnet50-ce0d4300.pth: File too large", out)
    assert left(cache) == []


# ---- zipped releases

ZIPPED_FILE = "seresnet20_cifar10-0601-935d8943.pth"


def zipped(server: FileServer, members: dict[str, bytes], sha1: str | None = None):
    """A set whose release is an archive with those members."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    server.files[f"/{ZIPPED_FILE}.zip"] = packed.getvalue()
    digest = sha1 or hashlib.sha1(next(iter(members.values()))).hexdigest()
    return dataclasses.replace(find(ZIPPED), url=f"{server.url}/{ZIPPED_FILE}.zip", hash=f"sha1:{digest}")


def test_a_zipped_release_is_unpacked(server, cache, content):
    entry = zipped(server, {ZIPPED_FILE: content})
    server.script[f"/{ZIPPED_FILE}.zip"] = [Answer(drop_after=100 * PIECE)]
    path = fetch(entry)
    assert path == cache / "original" / "pytorchcv" / ZIPPED_FILE
    assert path.read_bytes() == content
    assert left(cache) == [ZIPPED_FILE]
    assert record(path)["sha256"] == hashlib.sha256(content).hexdigest()
    assert server.gets(f"/{ZIPPED_FILE}.zip") == [None, f"bytes={100 * PIECE}-"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({f"../{ZIPPED_FILE}": b"x"}, f"must hold one {ZIPPED_FILE}. It holds: ../"),
        ({f"/tmp/{ZIPPED_FILE}": b"x"}, "must hold one"),
        ({"other.pth": b"x"}, "It holds: other.pth"),
        ({}, "It holds: nothing"),
        ({ZIPPED_FILE: bytes(60_000_000)}, "would be more than"),
    ],
    ids=["slip", "absolute", "another", "empty", "bomb"],
)
def test_a_strange_archive_is_refused(server, cache, members, reason):
    entry = zipped(server, members or {}, sha1="0" * 40)
    with pytest.raises(ValueError, match=f"{ZIPPED!r} from http.* is not the published one: .*{reason}"):
        fetch(entry)
    assert left(cache.parent.parent) == []


@pytest.mark.parametrize("damage", ["cut", "zeros", "text", "hash"])
def test_a_damaged_archive_is_refused(server, cache, content, damage):
    entry = zipped(server, {ZIPPED_FILE: content}, sha1="1" * 40 if damage == "hash" else None)
    whole = server.files[f"/{ZIPPED_FILE}.zip"]
    middle = len(whole) // 2
    server.files[f"/{ZIPPED_FILE}.zip"] = {
        "cut": whole[:middle],
        "zeros": whole[:middle] + bytes(500) + whole[middle + 500 :],
        "text": b"not an archive",
        "hash": whole,
    }[damage]
    reason = "sha1 must begin with 1111" if damage == "hash" else "the archive is damaged"
    with pytest.raises(ValueError, match=f"is not the published one: .*{reason}"):
        fetch(entry)
    assert left(cache) == []


# ---- the hub


@pytest.fixture
def hub(server, content, monkeypatch):
    """The real client, against a server that answers as the hub does; `hub` is the path of the bytes."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server.publish(HUB, content)


def test_the_hub_is_read_through_its_client(server, hub, cache, content):
    path = fetch(find(HUB))
    assert path == cache / "original" / "timm" / "seresnet50.ra2_in1k.safetensors"
    assert path.read_bytes() == content
    assert left(cache) == [path.name]
    assert record(path)["sha256"] == hashlib.sha256(content).hexdigest()
    assert record(path)["url"] == f"{server.url}/{HUB}"
    before = len(server.requests)
    assert fetch(find(HUB)) == path
    assert len(server.requests) == before


def test_a_dropped_connection_to_the_hub_is_resumed(server, hub, content):
    server.script[hub] = [Answer(drop_after=100 * PIECE)]
    assert fetch(find(HUB)).read_bytes() == content
    assert server.gets(hub) == [None, f"bytes={100 * PIECE}-"]


def test_a_process_killed_in_a_download_from_the_hub(server, hub, cache, content):
    server.script[hub] = [Answer(stall_after=100 * PIECE)]
    part = cache / "original" / "timm" / "seresnet50.ra2_in1k.safetensors.part"
    kill_when(
        start(find(HUB), "store.fetch(entry)"), lambda: part.exists() and part.stat().st_size == 100 * PIECE
    )
    assert left(cache) == [part.name]
    assert fetch(find(HUB)).read_bytes() == content
    assert server.gets(hub) == [None, f"bytes={100 * PIECE}-"]
    assert left(cache) == [part.stem]


def test_the_token_of_the_hub_stays_with_the_hub(server, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(find(HUB))
    tokens = {request.path.partition("/resolve/")[0]: request.token for request in server.requests}
    assert tokens[f"/{HUB}"] == "Bearer hf_secret"
    assert tokens[hub] is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again(server, hub, content, status):
    server.script[f"/{HUB}/resolve/main/model.safetensors"] = [Answer(status=status)] * 2
    assert fetch(find(HUB)).read_bytes() == content


def test_a_wrong_body_from_the_hub_is_refused(server, hub, cache, content):
    server.files[hub] = content[:-1] + b"?"
    with pytest.raises(
        ValueError, match=r"is not the published one: its sha256 must begin with [0-9a-f]{64}, and"
    ):
        fetch(find(HUB))
    assert left(cache) == []


def test_a_hub_that_states_no_hash_is_refused(server, hub, cache):
    path = f"/{HUB}/resolve/main/model.safetensors"
    server.script[path] = [Answer(headers={"X-Linked-Etag": '"0123"'})]
    with pytest.raises(DownloadError, match="states no SHA-256"):
        fetch(find(HUB))
    assert left(cache) == []


@pytest.mark.parametrize("status", [404, 500])
def test_errors_of_the_hub_name_the_release(server, hub, cache, status):
    server.script[f"/{HUB}/resolve/main/model.safetensors"] = [Answer(status=status)] * 9
    with pytest.raises(
        DownloadError, match=f"{status}.*The release https://.*-8efdb4bb.pth has the same weights"
    ):
        fetch(find(HUB))
    assert left(cache) == []


def test_no_connection_to_the_hub(hub, cache, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"from http://127.0.0.1:9/timm/seresnet50.ra2_in1k: .*refused"):
        fetch(find(HUB))


# ---- mirrors


def lay(folder: Path, entry, content: bytes) -> Path:
    place = folder / entry.source / entry.download_name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


@pytest.mark.parametrize("kind", ["path", "file", "http"])
def test_a_mirror_is_used_in_place_of_the_release(server, release, content, monkeypatch, tmp_path, kind):
    lay(tmp_path / "mirror", release, content)
    server.files["/mirror/timm/se_resnet50-ce0d4300.pth"] = content
    mirror = {
        "path": str(tmp_path / "mirror"),
        "file": (tmp_path / "mirror").as_uri() + "/",
        "http": f"{server.url}/mirror/",
    }[kind]
    monkeypatch.setenv("SENET_MIRROR", mirror)
    path = fetch(release)
    assert path.read_bytes() == content
    assert record(path)["url"] == f"{mirror.rstrip('/')}/timm/se_resnet50-ce0d4300.pth"
    assert server.gets(PATH) == []


def test_a_mirror_in_a_folder_is_no_network(release, content, monkeypatch, tmp_path):
    lay(tmp_path / "mirror", release, content)
    monkeypatch.setenv("SENET_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("SENET_OFFLINE", "1")
    assert fetch(release).read_bytes() == content


def test_a_mirror_on_the_web_is_network(server, release, monkeypatch):
    monkeypatch.setenv("SENET_MIRROR", server.url)
    monkeypatch.setenv("SENET_OFFLINE", "1")
    with pytest.raises(DownloadError, match="forbids it"):
        fetch(release)


def test_a_mirror_holds_archives_as_released(server, content, monkeypatch, tmp_path):
    entry = zipped(server, {ZIPPED_FILE: content})
    lay(tmp_path / "mirror", entry, server.files[f"/{ZIPPED_FILE}.zip"])
    monkeypatch.setenv("SENET_MIRROR", str(tmp_path / "mirror"))
    assert fetch(entry).read_bytes() == content
    assert server.requests == []


def test_a_mirror_is_not_trusted(release, cache, content, monkeypatch, tmp_path):
    lay(tmp_path / "mirror", release, content[::-1])
    monkeypatch.setenv("SENET_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(ValueError, match="is not the published one"):
        fetch(release)
    assert left(cache) == []


def test_a_mirror_without_the_file(release, monkeypatch, tmp_path):
    monkeypatch.setenv("SENET_MIRROR", str(tmp_path))
    with pytest.raises(
        DownloadError, match=f"from {tmp_path}/timm/se_resnet50-ce0d4300.pth: there is no such file"
    ):
        fetch(release)


@pytest.mark.parametrize("kind", ["folder", "http"])
def test_a_copy_of_a_cache_serves_sets_of_the_hub(server, hub, cache, content, monkeypatch, tmp_path, kind):
    original = fetch(find(HUB))
    copy = shutil.copytree(cache / "original", tmp_path / "copy")
    for path in copy.rglob("*.*"):
        server.files[f"/copy/timm/{path.name}"] = path.read_bytes()
    shutil.rmtree(cache)
    monkeypatch.setenv("SENET_MIRROR", str(copy) if kind == "folder" else f"{server.url}/copy")
    seen = len(server.gets(hub))
    assert fetch(find(HUB)) == original
    assert original.read_bytes() == content
    assert len(server.gets(hub)) == seen
    assert left(cache) == [original.name]


@pytest.mark.parametrize("beside", [None, "{}", "[]", "no json"])
def test_a_mirrored_set_of_the_hub_needs_its_record(cache, content, monkeypatch, tmp_path, beside):
    place = lay(tmp_path / "mirror", find(HUB), content)
    if beside is not None:
        Path(f"{place}.json").write_text(beside)
    monkeypatch.setenv("SENET_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(DownloadError, match=r"seresnet50.ra2_in1k.safetensors.json that states its SHA-256"):
        fetch(find(HUB))
    assert left(cache) == []


def test_caffe_models_can_come_from_a_mirror(content, monkeypatch, tmp_path):
    entry = find("caffe/SE-ResNet-50")
    place = lay(tmp_path / "mirror", entry, content)
    Path(f"{place}.json").write_text(json.dumps({"sha256": hashlib.sha256(content).hexdigest()}))
    monkeypatch.setenv("SENET_MIRROR", str(tmp_path / "mirror"))
    assert fetch(entry).name == "SE-ResNet-50.caffemodel"


# ---- sets that cannot be downloaded


def test_caffe_models_are_got_by_hand():
    with pytest.raises(
        ValueError, match=r"SE-ResNet-50.caffemodel by hand from https://drive.google.com/"
    ) as caught:
        fetch(find("caffe/SE-ResNet-50"))
    assert "https://github.com/hujie-frank/SENet" in str(caught.value)
    assert 'senet.from_checkpoint("SE-ResNet-50.caffemodel", "caffe/SE-ResNet-50")' in str(caught.value)


def test_architectures_without_weights(cache):
    with pytest.raises(ValueError, match="No weights of 'pytorchcv/seresnet34' were ever published"):
        fetch(find("pytorchcv/seresnet34"))
    assert not cache.exists()


# ---- converted files


class Reverse:
    """A conversion that can be checked, and counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, original: Path, aside: Path) -> None:
        self.calls += 1
        aside.write_bytes(original.read_bytes()[::-1])


def test_the_second_use_needs_no_network_and_no_conversion(cache, content, monkeypatch):
    convert = Reverse()
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.publish(HUB, content)
        path = converted(find(HUB), convert)
    assert path == cache / "converted" / "timm" / "seresnet50.ra2_in1k.weights.h5"
    assert path.read_bytes() == content[::-1]
    assert left(cache) == ["seresnet50.ra2_in1k.safetensors", path.name]
    shutil.rmtree(cache / "original")  # nor the original
    assert converted(find(HUB), convert) == path
    assert convert.calls == 1
    assert {"tag", "format", "senet", "original_sha256", "sha256", "size", "date"} == record(path).keys()
    assert record(path)["original_sha256"] == hashlib.sha256(content).hexdigest()


def test_what_is_there_is_used_without_writing(server, release, monkeypatch):
    convert = Reverse()
    path = converted(release, convert)
    monkeypatch.setattr(store, "FileLock", lambda path: pytest.fail("a read-only cache cannot be locked"))
    assert converted(release, convert) == path
    assert fetch(release).exists()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"?" + data[1:], lambda data: b""])
def test_a_damaged_converted_file_is_made_again(server, release, content, damage):
    convert = Reverse()
    path = converted(release, convert)
    path.write_bytes(damage(path.read_bytes()))
    server.files.clear()
    with pytest.warns(UserWarning, match=r"weights.h5 is damaged and will be converted again"):
        assert converted(release, convert) == path
    assert path.read_bytes() == content[::-1]
    assert convert.calls == 2


def test_a_damaged_original_is_downloaded_again(server, release, content):
    path = fetch(release)
    path.write_bytes(content[:-1] + b"?")
    with pytest.warns(UserWarning, match=r"pth is damaged and will be downloaded again"):
        assert fetch(release) == path
    assert path.read_bytes() == content
    assert len(server.gets(PATH)) == 2


def test_damage_without_network_is_an_error(server, release):
    converted(release, Reverse()).write_bytes(b"?")
    fetch(release).write_bytes(b"?")
    server.files.clear()
    with (
        pytest.warns(UserWarning, match="will be downloaded again"),
        pytest.raises(DownloadError, match="404"),
    ):
        converted(release, Reverse())


@pytest.mark.parametrize("beside", [None, "", "[]", "{}"])
def test_a_file_without_a_record_is_not_believed(server, release, content, beside):
    convert = Reverse()
    path = converted(release, convert)
    path.write_bytes(b"anything")
    Path(f"{path}.json").unlink()
    if beside is not None:
        Path(f"{path}.json").write_text(beside)
    assert converted(release, convert).read_bytes() == content[::-1]
    assert convert.calls == 2


def test_another_format_is_converted_again_without_a_word(server, release, monkeypatch):
    convert = Reverse()
    converted(release, convert)
    monkeypatch.setattr(store, "CONVERSION_FORMAT", store.CONVERSION_FORMAT + 1)
    path = converted(release, convert)
    assert convert.calls == 2
    assert record(path)["format"] == store.CONVERSION_FORMAT
    assert converted(release, convert) == path
    assert convert.calls == 2


def test_a_failed_conversion_leaves_only_the_original(server, release, cache):
    def convert(original, aside):
        aside.write_bytes(b"half")
        raise ValueError("no such layer")

    with pytest.raises(ValueError, match="no such layer"):
        converted(release, convert)
    assert left(cache) == ["se_resnet50-ce0d4300.pth"]


def test_a_conversion_that_was_killed_is_made_again(server, release, cache, content):
    body = """
def convert(original, aside):
    aside.write_bytes(b"half")
    import time
    time.sleep(30)
store.converted(entry, convert)
"""
    half = cache / "converted" / "timm" / "legacy_seresnet50.in1k.part.weights.h5"
    kill_when(start(release, body), lambda: half.exists() and half.stat().st_size == 4)
    path = converted(release, Reverse())
    assert path.read_bytes() == content[::-1]
    assert left(cache) == sorted(["se_resnet50-ce0d4300.pth", path.name])


def test_verify_knows_the_published_file(release, content, tmp_path):
    path = tmp_path / "by_hand.pth"
    path.write_bytes(content)
    verify(release, path)
    path.write_bytes(content[1:])
    with pytest.raises(ValueError, match=f"from {path} is not the published one"):
        verify(release, path)
    verify(find("caffe/SENet-154"), path)  # no hash was published
    verify(find(HUB), path)


# ---- what is seen


def test_progress_is_shown_in_a_terminal_only(server, release, cache, monkeypatch, capsys):
    fetch(release)
    assert capsys.readouterr() == ("", "")
    shutil.rmtree(cache)
    monkeypatch.setenv("FORCE_COLOR", "1")
    fetch(release)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "timm/legacy_seresnet50" in shown.err
    assert "MB" in shown.err
    shutil.rmtree(cache)
    fetch(release, progress=False)
    assert capsys.readouterr() == ("", "")
