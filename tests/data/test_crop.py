"""Resize and crop: equal to what timm and torchvision do, and numbers worked out by hand."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from senet.data import Preprocess
from senet.data.crop import RefusedImage, centre, resize_and_crop, resize_window, resized_size

FIXTURES = Path(__file__).parents[1] / "parity" / "preprocess"


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def photographs() -> dict[str, Image.Image]:
    from sklearn.datasets import load_sample_images

    found = load_sample_images()
    images = {
        Path(name).name: Image.fromarray(i) for name, i in zip(found.filenames, found.images, strict=True)
    }
    return {**images, "flower.jpg rotated": images["flower.jpg"].transpose(Image.Transpose.ROTATE_90)}


@pytest.mark.parametrize("name", ["235_bicubic_224", "256_bilinear_224", "288_bicubic_288"])
def test_crops_equal_those_of_timm(photographs, name):
    """At most one grey level off on at most 0.1 % of the values; with Pillow 10.3 to 13.0 none is off."""
    short, filter, crop = name.split("_")
    preprocess = Preprocess(mean=(0,) * 3, std=(1,) * 3, resize=int(short), crop=int(crop), filter=filter)
    with np.load(FIXTURES / f"{name}.npz") as expected:
        assert set(expected) == set(photographs)
        for key, pixels in expected.items():
            difference = np.abs(preprocess.pixels(photographs[key]).astype(int) - pixels)
            assert difference.max() <= 1
            assert np.mean(difference > 0) <= 0.001


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((640, 427), 256, (383, 256)),  # 383.7: down
        ((427, 640), 256, (256, 383)),
        ((640, 427), 235, (352, 235)),  # 352.2
        ((500, 500), 288, (288, 288)),
        ((1, 3), 256, (256, 768)),
        ((256, 300), 256, (256, 300)),
    ],
)
def test_the_longer_side_is_rounded_down(size, short, expected):
    assert resized_size(*size, short) == expected


@pytest.mark.parametrize(
    ("length", "crop", "first"), [(256, 224, 16), (235, 224, 6), (383, 224, 80), (229, 224, 2), (224, 224, 0)]
)
def test_half_pixels_of_the_crop_go_to_the_even_neighbour(length, crop, first):
    assert centre(length, crop) == first  # 5.5 to 6, 79.5 to 80, 2.5 to 2


def test_an_image_of_the_right_size_keeps_its_pixels():
    image = noise(40, 32)
    expected = np.asarray(image)[:, 4:36]
    np.testing.assert_array_equal(np.asarray(resize_and_crop(image, 32, 32)), expected)
    np.testing.assert_array_equal(np.asarray(resize_and_crop(image, None, 32)), expected)
    np.testing.assert_array_equal(np.asarray(resize_and_crop(image, None, None)), np.asarray(image))


def test_small_images_are_enlarged_and_one_pixel_fills_the_crop():
    assert resize_and_crop(noise(5, 9), 32, 28, "bilinear").size == (28, 28)
    pixel = resize_and_crop(Image.new("RGB", (1, 1), (10, 20, 30)), 32, 28)
    assert (np.asarray(pixel) == (10, 20, 30)).all()


@pytest.mark.parametrize("size", [(7, 900), (900, 7), (30, 3000)])
@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
def test_a_window_equals_its_part_of_the_whole(size, filter):
    # Of middle contrast: where a filter overshoots 0 or 255, the order of the two axes shows, which Pillow
    # chooses by the sizes.
    image = noise(*size).point(lambda value: 64 + value // 2)
    target = resized_size(*size, 32)
    whole = image.resize(target, Image.Resampling[filter.upper()])
    left, top = centre(target[0], 28), centre(target[1], 28)
    for window in (
        (left, top, left + 28, top + 28),
        (0, 0, 28, 28),
        (target[0] - 28, target[1] - 28, *target),
    ):
        part = resize_window(image, target, window, filter)
        difference = np.abs(np.asarray(part).astype(int) - np.asarray(whole.crop(window)))
        assert difference.max() <= 2


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1), (2, 30_001)])
def test_long_thin_images_need_no_more_memory_than_the_crop(size):
    """In full a strip of 1 × 30,000 at a short side of 256 would have 256 × 7,680,000 pixels: 8 GB."""
    ramp = np.linspace(0, 255, max(size)).round().astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(ramp[None, :, None], (min(size), max(size), 3)).copy())
    image = image if size[0] > size[1] else image.transpose(Image.Transpose.TRANSPOSE)
    assert image.size == size
    crop = np.asarray(resize_and_crop(image, 256, 224))
    assert crop.shape == (224, 224, 3)
    assert np.abs(crop.astype(int) - 127.5).max() <= 1  # the middle of the ramp


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(RefusedImage, match="20x40 is smaller than the crop of 28x28"):
        resize_and_crop(noise(20, 40), None, 28)
    with pytest.raises(RefusedImage, match="256x7680000 after the resize"):
        resize_and_crop(Image.new("RGB", (1, 30_000)), 256, None)


@pytest.mark.parametrize(
    ("size", "crop_pct", "resize"),
    [
        (224, 0.875, 256),
        (224, 0.95, 235),
        (288, 1.0, 288),
        (256, 0.9, 284),
        (160, 0.95, 168),
        (320, 0.95, 336),
    ],
)
def test_the_fields_of_timm(size, crop_pct, resize):
    preprocess = Preprocess.timm(size, crop_pct, "bilinear")
    assert (preprocess.resize, preprocess.crop, preprocess.filter) == (resize, size, "bilinear")
    np.testing.assert_allclose(preprocess.mean, (123.675, 116.28, 103.53))
    np.testing.assert_allclose(preprocess.std, (58.395, 57.12, 57.375))


def test_a_grey_image_by_hand():
    preprocess = Preprocess.timm(size=8, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.5))
    result = preprocess.image(Image.new("L", (20, 10), 204))  # 0.8
    assert (result.shape, result.dtype) == ((8, 8, 3), np.float32)
    np.testing.assert_allclose(result, np.broadcast_to([3.0, 2.0, 1.0], (8, 8, 3)), rtol=1e-6)


def test_paths_images_and_arrays_give_the_same_batch(tmp_path):
    preprocess = Preprocess.timm(size=16)
    noise(40, 30).save(tmp_path / "image.png")
    kinds = [tmp_path / "image.png", str(tmp_path / "image.png"), noise(40, 30), np.asarray(noise(40, 30))]
    batch = preprocess.batch(kinds)
    assert (batch.shape, batch.dtype) == ((4, 16, 16, 3), np.float32)
    for image in batch:
        np.testing.assert_array_equal(image, batch[0])
    np.testing.assert_array_equal(preprocess.image(kinds[0]), batch[0])
    np.testing.assert_array_equal(preprocess(preprocess.pixels(kinds[0])), batch[0])


def test_networks_of_one_channel_read_grey():
    preprocess = Preprocess(mean=(100.0,), std=(2.0,), resize=8, crop=8)
    image = Image.new("RGB", (9, 8), (255, 0, 0))  # ITU-R 601: 0.299 of 255 is 76
    np.testing.assert_array_equal(preprocess.image(image), np.full((8, 8, 1), -12, np.float32))
    np.testing.assert_array_equal(preprocess.pixels(np.full((8, 8, 1), 7, np.uint8)), np.full((8, 8, 1), 7))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resize": 0}, "from 1"),
        ({"crop": 2.5}, "from 1"),
        ({"crop": True}, "from 1"),
        ({"resize": 224, "crop": 256}, "must not exceed"),
        ({"filter": "lanczos"}, "'bicubic'"),
    ],
)
def test_impossible_geometry_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Preprocess(mean=(0,) * 3, std=(1,) * 3, **change)


@pytest.mark.parametrize("crop_pct", [0, 1.1, -1])
def test_impossible_shares_are_refused(crop_pct):
    with pytest.raises(ValueError, match="crop_pct"):
        Preprocess.timm(crop_pct=crop_pct)


@pytest.mark.parametrize(
    "array",
    [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)]
    + [np.zeros((0, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ValueError, match=r"uint8 of shape \(H, W, 3\)"):
        Preprocess.timm(size=8).image(array)


def test_json_gives_the_geometry_back():
    preprocess = Preprocess.timm(size=64, crop_pct=0.9, interpolation="bilinear")
    assert Preprocess(**json.loads(json.dumps(dataclasses.asdict(preprocess)))) == preprocess
