"""Small real files to read, in folders of their own."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]

# Runs senet.data without the rest of the package, whose import costs seconds.
_ALONE = """
import sys, types
package = types.ModuleType("senet")
package.__path__ = [{package!r}]
sys.modules["senet"] = package
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own: nothing is read from or left in the home folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SENET_CACHE", str(folder))
    return folder


@pytest.fixture
def folders(tmp_path) -> Callable[..., Path]:
    """`folders({"train/cat": 3, ...}, size=(W, H))` writes so many PNG files of noise and gives the root."""

    def make(layout: dict[str, int], *, name: str = "pets", size: tuple[int, int] = (8, 8)) -> Path:
        rng = np.random.default_rng(0)
        for place, count in layout.items():
            folder = tmp_path / name / place
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index:03}.png")
        return tmp_path / name

    return make


@pytest.fixture
def tar(tmp_path) -> Callable[..., Path]:
    """`tar(folder, "x.tar.gz")` packs a folder; entries as (TarInfo, bytes) may be added."""

    def make(folder: Path | None, name: str, *, extra: list[tuple[tarfile.TarInfo, bytes]] = ()) -> Path:
        path = tmp_path / name
        suffix = path.suffix.lstrip(".").replace("tgz", "gz").replace("tar", "")
        with tarfile.open(path, f"w:{suffix}") as archive:
            if folder is not None:
                archive.add(folder, folder.name)
            for info, content in extra:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    return make


@pytest.fixture
def alone() -> Callable[[str], subprocess.Popen]:
    """Start a Python process that has `senet.data` without the rest of `senet`."""

    def start(script: str) -> subprocess.Popen:
        prelude = _ALONE.format(package=str(REPOSITORY / "senet"))
        return subprocess.Popen(
            [sys.executable, "-c", prelude + script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
