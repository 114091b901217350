import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from senet.data.images import check_headers, decode, resize


def read(path: Path, image_size: int | None = None) -> np.ndarray:
    images, kept, skipped = decode([path], image_size)
    assert (kept.tolist(), skipped) == ([0], [])
    return images[0]


def halves(width: int = 8, height: int = 4) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tiff", "gif", "jpg", "jpeg", "webp"])
def test_formats(tmp_path, suffix):
    halves(32, 16).save(tmp_path / f"image.{suffix}")
    pixels = read(tmp_path / f"image.{suffix}")
    assert (pixels.shape, pixels.dtype) == ((16, 32, 3), np.uint8)
    np.testing.assert_allclose(pixels[4:12, 4:12].astype(int), [[(255, 0, 0)] * 8] * 8, atol=6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("image.tiff" if mode == "CMYK" else "image.png")
    Image.new("RGB", (6, 5), (255, 255, 255)).convert(mode).save(path)
    pixels = read(path)
    assert pixels.shape == (5, 6, 3)
    assert (pixels == 255).all()


def test_a_palette_with_transparency_becomes_rgb(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "image.png", transparency=bytes([255, 0]))
    assert (read(tmp_path / "image.png") == (10, 20, 30)).all()


@pytest.mark.parametrize(("suffix", "dtype"), [("png", np.uint16), ("tiff", np.int32), ("tiff", np.float32)])
def test_deeper_pixels_are_reported_not_cut_off(tmp_path, suffix, dtype):
    deep = tmp_path / f"deep.{suffix}"
    Image.fromarray(np.full((4, 4), 300, dtype)).save(deep)
    halves(4, 4).save(tmp_path / "plain.png")
    _, kept, skipped = decode([deep, tmp_path / "plain.png"], None)
    assert kept.tolist() == [1]
    assert "deeper than 8 bits" in skipped[0].reason


def test_the_exif_orientation_is_obeyed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    halves(32, 16).save(tmp_path / "image.jpg", exif=exif, quality=95)
    pixels = read(tmp_path / "image.jpg").astype(int)
    assert pixels.shape == (32, 16, 3)
    np.testing.assert_allclose(pixels[:12].mean(axis=(0, 1)), (255, 0, 0), atol=6)
    np.testing.assert_allclose(pixels[20:].mean(axis=(0, 1)), (0, 0, 255), atol=6)
    assert check_headers([tmp_path / "image.jpg"], (16, 32), None) == []


def test_resizing_takes_the_short_side_and_cuts_to_the_centre(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8))
    image.save(tmp_path / "image.png")
    expected = image.resize((20, 10), Image.Resampling.BICUBIC).crop((5, 0, 15, 10))
    np.testing.assert_array_equal(read(tmp_path / "image.png", 10), np.asarray(expected))


def test_resizing_is_antialiased(tmp_path):
    board = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(np.repeat(board[..., None], 3, 2).astype(np.uint8)).save(tmp_path / "image.png")
    assert np.abs(read(tmp_path / "image.png", 16)[2:-2, 2:-2].astype(int) - 128).max() < 8


def test_arrays_are_resized_like_files(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 12, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels[1]).save(tmp_path / "image.png")
    np.testing.assert_array_equal(resize(pixels, 6)[1], read(tmp_path / "image.png", 6))
    assert resize(pixels[..., :1], 6).shape == (2, 6, 6, 1)


def test_decompression_bombs_are_reported(tmp_path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    halves().save(tmp_path / "plain.png")
    _, kept, skipped = decode([bomb, tmp_path / "plain.png"], None)
    assert kept.tolist() == [1]
    assert "decompression bomb" in skipped[0].reason
    assert check_headers([bomb, tmp_path / "plain.png"], (8, 4), None) == skipped


def test_formats_that_start_programs_are_not_tried(tmp_path):
    (tmp_path / "image.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 4\n")
    halves().save(tmp_path / "plain.png")
    _, _, skipped = decode([tmp_path / "image.eps", tmp_path / "plain.png"], None)
    assert "cannot identify" in skipped[0].reason
