"""The further convolution units against NumPy: padding, oblong kernels, bias, depthwise, counted mean."""

import keras
import numpy as np
import pytest

from senet.layers.conv_units import conv_unit, counted_mean_pool, depthwise_unit
from tests.layers import reference
from tests.models.step import to_numpy

SIZES = [(8, 8), (7, 9)]


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def convolve(x, kernel, border, stride):
    """A convolution by its definition; `border` is (rows, columns) of zeros on each side."""
    (rows, columns), (down, right) = kernel.shape[:2], border
    x = np.pad(x.astype("float64"), ((0, 0), (down, down), (right, right), (0, 0)))
    found = np.lib.stride_tricks.sliding_window_view(x, (rows, columns), axis=(1, 2))
    return np.einsum("nhwcij,ijco->nhwo", found[:, ::stride, ::stride], kernel)


@pytest.mark.engine
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("kernel", "stride", "padded", "border"),
    [
        (3, 2, True, (1, 1)),
        (3, 2, False, (0, 0)),
        (3, 1, False, (0, 0)),
        (1, 2, True, (0, 0)),
        ((1, 7), 1, True, (0, 3)),
        ((7, 1), 1, True, (3, 0)),
        ((3, 1), 2, True, (1, 0)),
    ],
)
def test_convolution_unit(size, kernel, stride, padded, border):
    rng, x = np.random.default_rng(1), images(2, *size, 3)
    options = {"stride": stride, "padded": padded, "bias": True, "act": None, "epsilon": 0.0, "name": "unit"}
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, conv_unit(inputs, 4, kernel, **options))
    weights = [rng.normal(size=tuple(weight.shape)) for weight in model.weights[:2]]
    model.set_weights([*weights, np.full(4, 2.0), np.zeros(4), np.zeros(4), np.ones(4)])
    expected = 2 * (convolve(x, weights[0], border, stride) + weights[1])
    np.testing.assert_allclose(to_numpy(model(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.engine
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_unit(size, stride):
    rng, x = np.random.default_rng(1), images(2, *size, 3)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, depthwise_unit(inputs, stride=stride, epsilon=0.0, name="unit"))
    kernel = rng.normal(size=(3, 3, 3, 1))
    model.set_weights([kernel, np.ones(3), np.zeros(3), np.zeros(3), np.ones(3)])
    channels = [convolve(x[..., c : c + 1], kernel[:, :, c : c + 1], (1, 1), stride) for c in range(3)]
    expected = np.maximum(np.concatenate(channels, axis=-1), 0)
    np.testing.assert_allclose(to_numpy(model(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.engine
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
def test_mean_counts_the_border(size, stride):
    """Caffe's average pool with pad 1: a corner is the sum of four pixels over nine."""
    x = images(2, *size, 3)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, counted_mean_pool(inputs, stride=stride, name="pool"))
    padded = np.pad(x.astype("float64"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    np.testing.assert_allclose(
        to_numpy(model(x)), reference.windows(padded, 3, stride).mean((4, 5)), rtol=1e-5, atol=1e-6
    )


def test_depthwise_kernels_start_at_the_variance_of_he():
    """Nine inputs an output, whatever the number of channels."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 512))
    model = keras.Model(inputs, depthwise_unit(inputs, name="unit"))
    kernel = to_numpy(model.get_layer("unit_conv").kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / 9), rel=0.03)
