import dataclasses
import json

import numpy as np
import pytest

from senet.data import Preprocess


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def test_statistics_are_those_of_numpy_in_double_precision():
    images = noise(5000, 4, 4, 3)  # more than one chunk
    measured = Preprocess.of(images)
    np.testing.assert_allclose(measured.mean, images.mean(axis=(0, 1, 2), dtype=np.float64), rtol=1e-14)
    np.testing.assert_allclose(measured.std, images.std(axis=(0, 1, 2), dtype=np.float64), rtol=1e-13)


def test_a_constant_channel_is_only_centred():
    images = np.full((2, 3, 3, 1), 7, np.uint8)
    assert Preprocess.of(images) == Preprocess(mean=(7.0,), std=(1.0,))


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (5, 4, 3), (4, 3), (3,), (0, 8, 8, 3), (2, 0, 4, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_every_shape_and_type_is_normalised(shape, dtype):
    preprocess = Preprocess(mean=(120.0, 110.5, 100.0), std=(60.0, 61.0, 62.5))
    images = noise(*shape).astype(dtype)
    before = images.copy()
    result = preprocess(images)
    assert (result.dtype, result.shape) == (np.float32, shape)
    expected = (before.astype(np.float64) - preprocess.mean) / preprocess.std
    np.testing.assert_allclose(result, expected, atol=1e-5)
    np.testing.assert_array_equal(images, before)


def test_a_view_is_normalised_like_a_copy():
    preprocess = Preprocess(mean=(120.0, 110.5, 100.0), std=(60.0, 61.0, 62.5))
    images = noise(6, 8, 8, 3)
    np.testing.assert_array_equal(preprocess(images[::2, ::-1]), preprocess(images[::2, ::-1].copy()))


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match=r"3 channels.*\(2, 8, 8, 1\)"):
        Preprocess(mean=(0, 0, 0), std=(1, 1, 1))(noise(2, 8, 8, 1))


@pytest.mark.parametrize(
    ("mean", "std"),
    [((), ()), ((1.0,), (1.0, 1.0)), ((1.0,), (0.0,)), ((float("nan"),), (1.0,)), ((1.0,), (-1.0,))],
)
def test_impossible_numbers_are_refused(mean, std):
    with pytest.raises(ValueError, match="Received"):
        Preprocess(mean=mean, std=std)


@pytest.mark.parametrize("images", [noise(0, 4, 4, 3), noise(4, 4, 3), noise(2, 4, 4, 3).astype(np.float32)])
def test_statistics_need_pixels(images):
    with pytest.raises(ValueError, match="at least one"):
        Preprocess.of(images)


def test_json_gives_it_back():
    preprocess = Preprocess(mean=(1.5, 2.0), std=(3.0, 4.0))
    assert Preprocess(**json.loads(json.dumps(dataclasses.asdict(preprocess)))) == preprocess
