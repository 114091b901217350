"""Image files of every odd kind: read as Pillow has it, or refused with the reason."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from senet.data import Preprocess
from senet.data.reading import SUFFIXES, find_images

WHOLE = Preprocess(mean=(0,) * 3, std=(1,) * 3)  # pixels as they are
GREY = Preprocess(mean=(0,), std=(1,))


def ramp(width: int = 16, height: int = 8) -> Image.Image:
    """Red from left to right, green from top to bottom, blue 50."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 50)], -1).astype(np.uint8))


def test_grey_of_every_kind_becomes_rgb(tmp_path):
    grey = ramp().convert("L")
    for mode in ("1", "L", "LA"):
        image = grey.convert(mode)
        image.save(tmp_path / f"{mode}.png")
        expected = np.asarray(image.convert("RGB"))
        assert expected.shape == (8, 16, 3)
        np.testing.assert_array_equal(WHOLE.pixels(tmp_path / f"{mode}.png"), expected)
    np.testing.assert_array_equal(GREY.pixels(tmp_path / "L.png")[..., 0], np.asarray(grey))


def test_palettes_are_looked_up_with_and_without_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    colours = [(0, 0, 0), (10, 20, 30), (200, 100, 50)]
    image.putpalette([value for colour in colours for value in colour])
    expected = np.array([[colours[0], colours[1]], [colours[2], colours[1]]])
    for name, kind in (
        ("plain", {}),
        ("one", {"transparency": 1}),
        ("bytes", {"transparency": bytes([0, 99])}),
    ):
        image.save(tmp_path / f"{name}.png", **kind)
        np.testing.assert_array_equal(WHOLE.pixels(tmp_path / f"{name}.png"), expected)


def test_transparency_is_dropped_and_what_lies_under_it_shows(tmp_path):
    image = ramp()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    for suffix in ("png", "tiff", "webp"):
        image.save(
            tmp_path / f"image.{suffix}", **({"lossless": True, "exact": True} if suffix == "webp" else {})
        )
        np.testing.assert_array_equal(WHOLE.pixels(tmp_path / f"image.{suffix}"), np.asarray(ramp()))


def test_a_transparent_colour_stays_itself(tmp_path):
    ramp().save(tmp_path / "rgb.png", transparency=(0, 0, 50))
    np.testing.assert_array_equal(WHOLE.pixels(tmp_path / "rgb.png"), np.asarray(ramp()))
    ramp().convert("L").save(tmp_path / "grey.png", transparency=7)
    expected = np.asarray(ramp().convert("L").convert("RGB"))
    np.testing.assert_array_equal(WHOLE.pixels(tmp_path / "grey.png"), expected)


@pytest.mark.parametrize(("suffix", "tolerance"), [("tiff", 0), ("jpg", 8)])
def test_cmyk(tmp_path, suffix, tolerance):
    """A JPEG by Pillow carries Adobe's marker and is inverted, as Photoshop's are."""
    Image.new("CMYK", (16, 16), (255, 0, 0, 51)).save(tmp_path / f"image.{suffix}")
    expected = np.broadcast_to([0, 204, 204], (16, 16, 3))
    np.testing.assert_allclose(
        WHOLE.pixels(tmp_path / f"image.{suffix}").astype(int), expected, atol=tolerance
    )


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_grey_of_16_bits_is_scaled_not_cut_off(tmp_path, suffix):
    values = np.array([[0, 1, 128, 129, 256, 257, 32_768, 65_406, 65_407, 65_535]], np.uint16)
    if suffix == "pgm":  # Netpbm's 16 bits, the higher byte first
        header = f"P5 {values.size} 1 65535\n".encode()
        (tmp_path / "deep.pgm").write_bytes(header + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    scaled = [0, 0, 0, 1, 1, 1, 128, 254, 255, 255]  # to the nearest 1/257
    np.testing.assert_array_equal(
        WHOLE.pixels(tmp_path / f"deep.{suffix}"), np.repeat([scaled], 3, 0).T[None]
    )
    assert GREY.pixels(tmp_path / f"deep.{suffix}")[0, :, 0].tolist() == scaled


@pytest.mark.parametrize(("dtype", "words"), [(np.int32, "32-bit numbers"), (np.float32, "floating-point")])
def test_numbers_without_a_known_white_are_refused(tmp_path, dtype, words):
    Image.fromarray(np.full((4, 4), 300, dtype)).save(tmp_path / "deep.tiff")
    with pytest.raises(ValueError, match=rf"deep\.tiff cannot be read as an image: .*{words}.*8 or 16 bits"):
        WHOLE.image(tmp_path / "deep.tiff")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_the_orientation_of_exif_is_obeyed(tmp_path, orientation, suffix):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = ramp().transpose(undo[orientation]) if orientation in undo else ramp()
    stored.save(tmp_path / f"turned.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(WHOLE.pixels(tmp_path / f"turned.{suffix}"), np.asarray(ramp()))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\x00\x00MM\x00*\x00\x00\xff\xff", b"Exif\x00\x00junk", b"Exif\x00\x00"]
)
def test_damaged_exif_does_not_hide_the_picture(tmp_path, exif):
    ramp().save(tmp_path / "image.jpg", exif=exif)
    assert WHOLE.pixels(tmp_path / "image.jpg").shape == (8, 16, 3)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    ramp().save(tmp_path / "image.png", exif=exif)
    np.testing.assert_array_equal(WHOLE.pixels(tmp_path / "image.png"), np.asarray(ramp()))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(WHOLE.image(tmp_path / f"a.{suffix}")[4, 4], (255, 0, 0), atol=2)


FORMATS = [("jpg", {}), ("jpg", {"progressive": True}), ("png", {}), ("gif", {}), ("webp", {}), ("bmp", {})]
FORMATS += [("ppm", {}), ("tiff", {}), ("tiff", {"compression": "tiff_deflate"})]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")
@pytest.mark.parametrize(("suffix", "options"), FORMATS)
def test_files_that_are_cut_short_are_refused_not_filled_with_grey(tmp_path, suffix, options):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"whole.{suffix}", **options)
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    assert WHOLE.pixels(tmp_path / f"whole.{suffix}").shape == (64, 64, 3)
    for share in (0.3, 0.6, 0.95):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(
            ValueError, match=rf"cut\.{suffix} cannot be read as an image: .*(damaged|cut short)"
        ):
            WHOLE.pixels(cut)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML"),
        (b"\n<html><head></head></html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "git lfs pull"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 4\n", "none of BMP, GIF, JPEG"),
        (b"\x00" * 1000, "none of BMP, GIF, JPEG"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(tmp_path, content, words):
    (tmp_path / "cat.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=rf"cat\.jpg cannot be read as an image: .*{words}"):
        WHOLE.image(tmp_path / "cat.jpg")


def test_a_file_is_what_its_content_says(tmp_path):
    ramp().save(tmp_path / "really_a.png")
    (tmp_path / "really_a.png").rename(tmp_path / "cat.jpg")
    np.testing.assert_array_equal(WHOLE.pixels(tmp_path / "cat.jpg"), np.asarray(ramp()))


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    with pytest.raises(ValueError, match=r"typo\.jpg .*no such file"):
        WHOLE.image(tmp_path / "typo.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would block until somebody writes
    with pytest.raises(ValueError, match=r"pipe\.jpg .*not a regular file"):
        WHOLE.image(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="not a regular file"):
        WHOLE.image(tmp_path)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 50_000])  # Pillow alone would only warn of the first
def test_decompression_bombs_are_refused_before_they_go_off(tmp_path, side):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(ValueError, match=r"bomb\.png .*decompression bomb.*MAX_IMAGE_PIXELS"):
        WHOLE.image(bomb)


def test_a_tile_far_larger_than_its_image_is_refused(tmp_path):
    """A file of 1 kB whose one tile would take a gigabyte."""
    data = zlib.compress(bytes(1000))
    short, long = 3, 4
    tags = [(256, long, 64), (257, long, 64), (258, short, 8), (259, short, 8), (262, short, 1)]
    tags += [
        (277, short, 1),
        (322, long, 32_768),
        (323, long, 32_768),
        (324, long, 8),
        (325, long, len(data)),
    ]
    data += b"\x00" * (len(data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    (tmp_path / "tile.tiff").write_bytes(
        b"II*\x00"
        + struct.pack("<I", 8 + len(data))
        + data
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )
    with pytest.raises(ValueError, match="32768x32768 are more than"):
        WHOLE.image(tmp_path / "tile.tiff")


def test_images_in_memory_are_treated_like_files(tmp_path):
    lazy = tmp_path / "cut.jpg"
    ramp(64, 64).save(lazy)
    lazy.write_bytes(lazy.read_bytes()[:700])
    with Image.open(lazy) as image, pytest.raises(ValueError, match=r"cut\.jpg .*cut short"):
        WHOLE.image(image)
    before = ramp().convert("P")
    kept = before.copy()
    WHOLE.image(before)
    assert before == kept
    with pytest.raises(ValueError, match="The image cannot be read"):
        WHOLE.image(Image.new("F", (4, 4)))


def test_large_images_are_read_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("senet.data.reading._LARGE", 10)
    ramp().save(tmp_path / "image.png")
    for _ in range(2):  # the lock is given back, also after an error
        assert WHOLE.pixels(tmp_path / "image.png").shape == (8, 16, 3)
        with pytest.raises(ValueError, match="floating-point"):
            WHOLE.pixels(Image.new("F", (8, 8)))


def test_truncated_files_are_refused_because_pillow_is_left_as_it_is():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_folders_are_listed_in_order_at_any_depth(tmp_path):
    for name in (
        "b.JPG",
        "a/z.png",
        "a/b/c.tif",
        "notes.txt",
        ".hidden.png",
        ".git/x.png",
        "__MACOSX/._b.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")  # to be named as unreadable
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/b/c.tif", "a/z.png", "b.JPG", "gone.png"]
    assert {".jpeg", ".webp", ".bmp"} <= SUFFIXES


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match="must hold image files"):
        find_images(tmp_path)
    with pytest.raises(FileNotFoundError):
        find_images(Path(tmp_path / "none"))
