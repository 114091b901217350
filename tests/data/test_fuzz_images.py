"""Damaged image files: pixels, or a refusal by name. Never a crash, a hang or a memory blow-up."""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from senet.data import Preprocess

PREPROCESS = Preprocess.timm(size=16)
KINDS = [
    ("PNG", "RGB", {}),
    ("PNG", "P", {}),
    ("PNG", "I;16", {}),
    ("JPEG", "RGB", {}),
    ("JPEG", "CMYK", {}),
    ("JPEG", "RGB", {"progressive": True}),
    ("GIF", "P", {}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("BMP", "P", {}),
    ("PPM", "RGB", {}),
    ("PPM", "1", {}),
]
MOST_MEMORY = 1 << 20  # kB: Pillow's limit lets a damaged header claim 89 million pixels, 360 MB, and copies


def encoded(format: str, mode: str, options: dict) -> bytes:
    """A small picture with all that a format likes to hold, EXIF with an orientation too."""
    small = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    image = Image.fromarray(np.kron(small, np.ones((4, 4, 1), np.uint8)))
    image = (
        Image.fromarray(np.asarray(image.convert("L")) * np.uint16(257))
        if mode == "I;16"
        else image.convert(mode)
    )
    image.save(stream, format, exif=exif, **options)
    return stream.getvalue()


FILES = [encoded(*kind) for kind in KINDS]

places = st.one_of(st.integers(0, 63), st.integers(0, 2**16))  # the header, or anywhere
edits = st.tuples(
    st.sampled_from(["set", "cut out", "put in", "cut off"]),
    places,
    st.one_of(
        st.sampled_from([b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff"]), st.binary(min_size=1, max_size=6)
    ),
)


def damage(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    data = bytearray(content)
    for kind, place, value in changes:
        place %= max(1, len(data))
        if kind == "set":
            data[place : place + len(value)] = value
        elif kind == "put in":
            data[place:place] = value
        else:
            del data[place : len(data) if kind == "cut off" else place + len(value)]
    return bytes(data)


def peak_memory() -> int:
    """Of this process, in kB."""
    resource = pytest.importorskip("resource")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def check(content: bytes, folder: Path) -> None:
    path = folder / "damaged.jpg"
    path.write_bytes(content)
    try:
        pixels = PREPROCESS.image(path)
    except ValueError as error:
        assert str(error).startswith(f"{path} cannot be read as an image: ")  # noqa: PT017
        assert len(str(error)) > len(f"{path} cannot be read as an image: .")  # noqa: PT017
    else:
        assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.float32)
        assert np.isfinite(pixels).all()


RUNS = settings(
    max_examples=400, deadline=10_000, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damage it reads around
@RUNS
@given(st.sampled_from(FILES), st.lists(edits, min_size=1, max_size=6))
def test_damaged_files_give_pixels_or_a_refusal_by_name(content, changes):
    before = peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        check(damage(content, changes), Path(folder))
    assert peak_memory() - before < MOST_MEMORY


@pytest.mark.filterwarnings("ignore")
@RUNS
@given(
    st.sampled_from(
        [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\x00", b"RIFF\x00\x00\x00\x00WEBP"]
    ),
    st.binary(max_size=200),
)
def test_any_bytes_give_pixels_or_a_refusal_by_name(magic, content):
    with tempfile.TemporaryDirectory() as folder:
        check(magic + content, Path(folder))


@pytest.mark.parametrize(("content", "kind"), zip(FILES, KINDS, strict=True))
def test_the_undamaged_files_are_read(tmp_path, content, kind):
    (tmp_path / "image").write_bytes(content)
    assert PREPROCESS.image(tmp_path / "image").shape == (16, 16, 3), kind
