import io

import numpy as np
import pytest
from PIL import Image

from senet.data import Preprocess
from senet.data.crop import resize_box
from senet.data.decode import cut_centre, cut_window, decode_whole


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Smooth colours: what JPEG is for."""
    down, across = np.mgrid[:height, :width]
    waves = [np.sin(across / 17 + phase) + np.cos(down / (11 + phase)) for phase in range(3)]
    return Image.fromarray((127 + 60 * np.stack(waves, -1)).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **settings) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def by_pillow(data: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize(("mode", "settings"), [("RGB", {}), ("L", {}), ("RGB", {"progressive": True})])
def test_plain_jpeg_files_give_the_pixels_of_pillow(mode, settings, subsampling):
    data = encoded(photograph(121, 83, mode), subsampling=subsampling, **settings)
    np.testing.assert_array_equal(decode_whole(data), by_pillow(data))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "P"), ("PNG", "L"), ("JPEG", "CMYK"), ("WEBP", "RGB"), ("GIF", "P")],
)
def test_other_kinds_go_through_pillow(kind, mode):
    data = encoded(photograph(40, 30, mode), kind)
    np.testing.assert_array_equal(decode_whole(data), by_pillow(data))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_orientation_is_obeyed(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    image = photograph(60, 40)
    data = encoded(image, exif=exif.tobytes(), quality=95)
    flips = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    flips |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    expected = np.asarray(image.transpose(Image.Transpose[flips[orientation]]), int)
    assert np.abs(decode_whole(data) - expected).mean() < 2
    seen = []
    cut_window(data, lambda size: seen.append(size) or (0, 0, 8, 8), 8, "bilinear")
    assert seen == [(40, 60) if orientation >= 5 else (60, 40)]


class TestWindow:
    @pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
    def test_it_is_the_crop_and_then_the_resize(self, filter):
        data, box = encoded(photograph(121, 83)), (10, 5, 90, 75)
        expected = (
            Image.fromarray(by_pillow(data)).crop(box).resize((48, 48), Image.Resampling[filter.upper()])
        )
        np.testing.assert_array_equal(cut_window(data, lambda size: box, 48, filter), np.asarray(expected))

    @pytest.mark.parametrize("side", [16, 32, 48])
    def test_a_large_window_is_decoded_smaller_and_looks_the_same(self, side):
        data, box = encoded(photograph(640, 480)), (20, 30, 600, 450)
        expected = Image.fromarray(by_pillow(data)).crop(box).resize((side, side), Image.Resampling.BILINEAR)
        result = cut_window(data, lambda size: box, side, "bilinear")
        difference = np.abs(result - np.asarray(expected, int))
        assert 0 < difference.mean() < 2

    @pytest.mark.parametrize(
        ("box", "side"), [((10, 5, 90, 75), 48), ((10, 5, 40, 35), 48), ((3, 3, 4, 4), 8)]
    )
    def test_area_takes_means(self, box, side):
        data = encoded(photograph(121, 83))
        window = Image.fromarray(by_pillow(data)).crop(box)
        expected = np.asarray(window.resize((side, side), Image.Resampling.BILINEAR), int)
        assert np.abs(cut_window(data, lambda size: box, side, "area") - expected).mean() < 1

    def test_halving_by_area_is_the_mean_of_four(self):
        pixels = by_pillow(encoded(photograph(96, 64), "PNG"))
        expected = pixels.reshape(32, 2, 48, 2, 3).mean((1, 3))
        result = resize_box(pixels, (0, 0, 96, 64), (48, 32), "area")
        np.testing.assert_allclose(result, expected, atol=0.5)

    def test_what_is_decoded_next_does_not_change_it(self):
        first, second = (encoded(photograph(50, 40).rotate(angle)) for angle in (0, 90))
        whole = decode_whole(first)
        kept = whole.copy()
        decode_whole(second)
        np.testing.assert_array_equal(whole, kept)

    def test_a_file_that_is_cut_short_is_refused(self):
        data = encoded(photograph(120, 80))
        with pytest.raises(ValueError, match="cut short"):
            cut_window(data[: len(data) // 2], lambda size: (0, 0, 9, 9), 9, "bilinear")

    @pytest.mark.parametrize(
        ("data", "words"), [(b"", "empty"), (b"<html>", "HTML"), (b"\xff\xd8\xff", "none of")]
    )
    def test_what_is_no_image_is_named(self, data, words):
        with pytest.raises(ValueError, match=words):
            cut_window(data, lambda size: (0, 0, 9, 9), 9, "bilinear")


def test_the_centre_is_that_of_prediction(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(encoded(photograph(200, 130)))
    preprocess = Preprocess(mean=(0, 0, 0), std=(1, 1, 1), resize=64, crop=56, filter="bicubic")
    np.testing.assert_array_equal(cut_centre(path.read_bytes(), 64, 56, "bicubic"), preprocess.pixels(path))
