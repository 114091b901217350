import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from senet.data import DataConfig, load_data
from senet.data.archive import unpack

PARTS = {"train/cat": 6, "train/dog": 4, "test/cat": 2, "test/dog": 3}
CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10.tar.xz"


def load(path: Path, **settings):
    return load_data(DataConfig(source=str(path), **settings))


def unpacked(cache: Path) -> list[Path]:
    """Whatever lies in the cache but locks."""
    return [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.xz", "tar.bz2"])
def test_archives_are_read_like_the_folder_they_hold(folders, tar, suffix):
    root = folders(PARTS)
    expected, found = load(root), load(tar(root, f"animals.{suffix}"))
    assert (found.name, found.class_names) == ("animals", expected.class_names)
    np.testing.assert_array_equal(found.train_split.images, expected.train_split.images)
    np.testing.assert_array_equal(found.train_split.labels, expected.train_split.labels)
    np.testing.assert_array_equal(found.test_split.images, expected.test_split.images)


def test_unpacked_once_whatever_the_name(folders, tar, cache, tmp_path):
    archive = tar(folders(PARTS), "animals.tar.gz")
    folder = unpack(archive, cache)
    stamp = folder.stat().st_mtime_ns
    renamed = shutil.copy(archive, tmp_path / "other.tar.gz")
    assert unpack(Path(renamed), cache) == folder
    assert folder.stat().st_mtime_ns == stamp
    load(archive)
    assert len(list((cache / "unpacked").glob("*[!k]"))) == 1


def test_a_changed_archive_is_unpacked_again(folders, tar, cache):
    root = folders(PARTS)
    first = unpack(tar(root, "animals.tar"), cache)
    (root / "train/cat/000.png").unlink()
    archive = tar(root, "animals.tar")
    assert unpack(archive, cache) != first
    assert load(archive).train_images == 9


@pytest.mark.parametrize(
    "wrong",
    [
        entry("/etc/evil"),
        entry("../evil"),
        entry("pets/../../evil"),
        entry("C:\\evil"),
        entry("pets/evil", tarfile.SYMTYPE, "/etc/passwd"),
        entry("pets/evil", tarfile.SYMTYPE, "../../evil"),
        entry("pets/evil", tarfile.LNKTYPE, "../evil"),
        entry("pets/evil", tarfile.CHRTYPE),
        entry("pets/evil", tarfile.BLKTYPE),
        entry("pets/evil", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name} {info.type.decode()} {info.linkname}",
)
def test_entries_that_leave_the_folder_are_refused(folders, tar, cache, wrong):
    archive = tar(folders(PARTS), "animals.tar", extra=[(wrong, b"")])
    with pytest.raises(ValueError, match=r"animals\.tar is refused: its entry .*evil"):
        load(archive)
    assert unpacked(cache) == []


def test_links_that_stay_inside_are_followed(folders, tar):
    link = entry("pets/train/cat/link.png", tarfile.SYMTYPE, "000.png")
    hard = entry("pets/train/dog/link.png", tarfile.LNKTYPE, "pets/train/dog/000.png")
    data = load(tar(folders(PARTS), "animals.tar", extra=[(link, b""), (hard, b"")]))
    np.testing.assert_array_equal(data.train_split.images[6], data.train_split.images[0])
    np.testing.assert_array_equal(data.train_split.images[11], data.train_split.images[7])


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "tar.bz2"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_archive_is_refused(folders, tar, cache, suffix, share):
    archive = tar(folders(PARTS, size=(24, 24)), f"animals.{suffix}")
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"animals.*(truncated or damaged|cut short)"):
        load(archive)
    assert unpacked(cache) == []


def test_an_archive_cut_between_two_entries_is_refused(folders, tar, cache):
    archive = tar(folders(PARTS), "animals.tar")
    with tarfile.open(archive) as opened:
        place = opened.getmembers()[-1].offset
    archive.write_bytes(archive.read_bytes()[:place])
    with pytest.raises(ValueError, match="without the mark that closes"):
        load(archive)
    assert unpacked(cache) == []


@pytest.mark.parametrize("suffix", ["tar.gz", "tar.xz", "tar.bz2"])
def test_a_damaged_archive_is_refused(folders, tar, cache, suffix):
    archive = tar(folders(PARTS, size=(24, 24)), f"animals.{suffix}")
    content = bytearray(archive.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        load(archive)
    assert unpacked(cache) == []


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 zip", bytes(3000)])
def test_other_files_are_refused(tmp_path, cache, content):
    (tmp_path / "data.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"must (be a tar archive|hold class folders).*data\.bin"):
        load(tmp_path / "data.bin")
    assert unpacked(cache) == []


def test_old_pythons_are_told_why(folders, tar, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(RuntimeError, match=r"Python 3\.10\.12"):
        load(tar(folders(PARTS), "animals.tar"))


def test_a_killed_unpack_leaves_nothing_half_made(folders, tar, cache, alone):
    archive = tar(folders(PARTS), "animals.tar")
    process = alone(f"""
import os, signal
from pathlib import Path
from senet.data import archive
seen = []
inside = archive._inside
def die(member, folder):
    seen.append(member)
    if len(seen) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return inside(member, folder)
archive._inside = die
archive.unpack(Path({str(archive)!r}), Path({str(cache)!r}))
""")
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.communicate()
    left = list((cache / "unpacked").iterdir())
    assert {path.suffix for path in left} == {".lock", ".part"}
    assert load(archive).train_images == 10
    assert {path.suffix for path in (cache / "unpacked").iterdir()} == {".lock", ""}


def test_two_processes_at_once_both_end_well(folders, tar, cache, alone):
    archive = tar(folders({"train/cat": 300, "train/dog": 300, "test/cat": 5}), "animals.tar.gz")
    script = f"""
from senet.data import DataConfig, load_data
data = load_data(DataConfig(source={str(archive)!r}, cache={str(cache)!r}))
print(data.train_images, int(data.train_split.images.sum()), data.test_images)
"""
    processes = [alone(script) for _ in range(3)]
    outcomes = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outcomes
    assert len({output for output, _ in outcomes}) == 1
    assert outcomes[0][0].startswith("600 ")
    assert not list(cache.rglob("*.part"))


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 256 kB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs Linux and root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not let root mount a small file system: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_told_with_the_room_needed(folders, tar, tiny_disk):
    archive = tar(folders({"train/cat": 100, "train/dog": 100}), "animals.tar.gz")
    with pytest.raises(
        OSError, match=r"animals\.tar\.gz: it needs about 0\.8 MB in .*disk.*SENET_CACHE"
    ) as caught:
        load(archive, cache=tiny_disk)
    assert caught.value.errno
    assert unpacked(tiny_disk) == []
    assert load(archive).train_images == 160


def test_a_file_limit_is_told_like_a_full_disk(tar, folders, cache, alone):
    pytest.importorskip("resource")
    big = (entry("pets/train/cat/big.bmp"), bytes(2_000_000))
    archive = tar(folders(PARTS), "animals.tar", extra=[big])
    process = alone(f"""
import resource
from pathlib import Path
from senet.data.archive import unpack
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
unpack(Path({str(archive)!r}), Path({str(cache)!r}))
""")
    _, errors = process.communicate(timeout=60)
    assert "No room to unpack" in errors
    assert "about 2.1 MB" in errors
    assert unpacked(cache) == []


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR.exists(), reason=f"{CIFAR.name} does not lie beside the checkout")
def test_cifar10_as_class_folders_in_an_archive():
    data = load(CIFAR, validation=5000)
    assert (data.name, data.classes, data.image_shape) == ("cifar10", 10, (32, 32, 3))
    assert data.class_names[:2] == ("airplane", "automobile")
    assert set(np.bincount(data.train_split.labels)) == {4500}
    assert set(np.bincount(data.validation_split.labels)) == {500}
    assert set(np.bincount(data.test_split.labels)) == {1000}
    assert data.report == []
    # Those of the original release, which JPEG hardly moves.
    np.testing.assert_allclose(data.preprocess.mean, (125.3, 123.0, 113.9), atol=0.5)
    np.testing.assert_allclose(data.preprocess.std, (63.0, 62.1, 66.7), atol=1.0)
    again = load(CIFAR, validation=5000)
    np.testing.assert_array_equal(again.train_split.images, data.train_split.images)
