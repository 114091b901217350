"""The adaptive mean pool against its definition."""

import keras
import numpy as np
import pytest

from senet.layers.adaptive_pool import AdaptiveMeanPool
from tests.models.step import to_numpy


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def cells(size, side):
    """First and one past the last index of each cell."""
    return [(int(np.floor(i * size / side)), int(np.ceil((i + 1) * size / side))) for i in range(side)]


def pool(x, side):
    rows = [
        [x[:, a:b, c:d].mean((1, 2)) for c, d in cells(x.shape[2], side)] for a, b in cells(x.shape[1], side)
    ]
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, AdaptiveMeanPool(7, name="pool")(inputs))


@pytest.mark.engine
@pytest.mark.parametrize("size", [(7, 7), (14, 14), (8, 6), (1, 1), (2, 10), (23, 7)])
def test_cells_are_those_of_the_definition(model, size):
    x = images(2, *size, 3)
    expected = pool(x.astype("float64"), 7)
    assert expected.shape == (2, 7, 7, 3) == tuple(model(x).shape)
    np.testing.assert_allclose(to_numpy(model(x)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_an_input_of_the_right_size_is_returned():
    x = images(2, 7, 7, 3)
    np.testing.assert_array_equal(to_numpy(AdaptiveMeanPool(7)(x)), x)


@pytest.mark.parametrize("side", [0, 2.5, True, None])
def test_side_is_a_positive_integer(side):
    with pytest.raises(ValueError, match=r"`side` must be an integer of at least 1\. Received: side="):
        AdaptiveMeanPool(side)


def test_configuration_survives():
    assert AdaptiveMeanPool.from_config(AdaptiveMeanPool(3, name="p").get_config()).side == 3
