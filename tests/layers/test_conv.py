"""Padding, pool rules and BatchNorm against NumPy."""

import keras
import numpy as np
import pytest

from senet.layers.conv import conv_bn, max_pool, require_channels_last
from tests.layers import reference
from tests.models.step import to_numpy

SIZES = [(8, 8), (7, 7), (9, 12), (1, 2)]


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.engine
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_pads_as_pytorch_does(size, kernel, stride):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, conv_bn(inputs, 4, kernel, stride=stride, act=None, name="unit"))
    rng = np.random.default_rng(1)
    kernel_values = rng.normal(size=(kernel, kernel, 3, 4))
    statistics = [rng.uniform(0.5, 1.5, 4), rng.normal(size=4), rng.normal(size=4), rng.uniform(0.5, 1.5, 4)]
    model.set_weights([kernel_values, *statistics])

    x = images(2, *size, 3)
    expected = reference.normalize(reference.convolve(x, kernel_values, stride), *statistics)
    assert expected.shape == (2, -(-size[0] // stride), -(-size[1] // stride), 4)
    np.testing.assert_allclose(to_numpy(model(x)), expected, rtol=1e-4, atol=1e-4)


def test_convolution_ends_in_its_activation():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, conv_bn(inputs, 4, 3, act="relu", name="unit"))
    linear = keras.Model(inputs, model.get_layer("unit_bn").output)
    x = images(1, 8, 8, 3)
    assert to_numpy(linear(x)).min() < 0
    np.testing.assert_array_equal(to_numpy(model(x)), np.maximum(to_numpy(linear(x)), 0))


def test_convolution_has_no_bias_and_the_given_batch_norm():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, conv_bn(inputs, 4, 3, epsilon=1e-3, decay=0.5, name="unit"))
    assert not model.get_layer("unit_conv").use_bias
    norm = model.get_layer("unit_bn")
    assert (norm.epsilon, norm.momentum) == (1e-3, 0.5)


def test_batch_norm_keeps_the_given_share_of_its_statistics():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, conv_bn(inputs, 4, 1, decay=0.75, name="unit"))
    norm, x = model.get_layer("unit_bn"), images(2, 8, 8, 3)
    batch_mean = to_numpy(model.get_layer("unit_conv")(x)).mean(axis=(0, 1, 2))
    model(x, training=True)
    np.testing.assert_allclose(to_numpy(norm.moving_mean), 0.25 * batch_mean, rtol=1e-4, atol=1e-6)


@pytest.mark.engine
@pytest.mark.parametrize("size", [*SIZES[:3], (57, 33)])
@pytest.mark.parametrize(
    ("rule", "expected", "rows"),
    [
        ("ceil", reference.pool_ceil, lambda side: side // 2),
        ("pad", reference.pool_pad, lambda side: -(-side // 2)),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_max_pool_follows_its_rule(signed, rule, expected, rows, size):
    # After a ReLU; or all negative, where zeros at the border would win.
    x = -np.abs(images(2, *size, 3)) if signed else np.abs(images(2, *size, 3))
    inputs = keras.Input((None, None, 3))
    y = to_numpy(keras.Model(inputs, max_pool(inputs, rule, signed=signed, name="pool"))(x))
    assert y.shape[1:3] == (rows(size[0]), rows(size[1]))
    np.testing.assert_array_equal(y, expected(x).astype("float32"))


def test_max_pool_refuses_another_rule():
    with pytest.raises(ValueError, match=r"`rule` must be one of 'ceil', 'pad'\. Received: rule='same'"):
        max_pool(keras.Input((8, 8, 3)), "same", name="pool")


def test_channels_first_is_refused():
    require_channels_last()
    keras.config.set_image_data_format("channels_first")
    with pytest.raises(ValueError, match=r"channels-last networks only.*'channels_first'"):
        require_channels_last()
