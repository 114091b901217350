"""The layers that an optimised network ends its blocks in."""

import keras
import numpy as np
import pytest
from keras import layers

from senet.layers.fused import ScaledSum, ScaleShift
from tests.models.step import to_numpy


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.engine
@pytest.mark.parametrize("activation", [None, "relu", "silu"])
def test_scaled_sum(activation):
    x, gates, shortcut = numbers(2, 3, 5, 4), numbers(2, 1, 1, 4, seed=1), numbers(2, 3, 5, 4, seed=2)
    want = shortcut + gates * x
    want = {None: want, "relu": np.maximum(want, 0), "silu": want / (1 + np.exp(-want))}[activation]
    np.testing.assert_allclose(to_numpy(ScaledSum(activation)([x, gates, shortcut])), want, atol=1e-6)


@pytest.mark.engine
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 4)])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_scale_shift(shape, activation):
    layer, x = ScaleShift(activation), numbers(*shape)
    layer.build(shape)
    scale, shift = numbers(4, seed=1), 10 * numbers(4, seed=2)
    layer.set_weights([scale, shift])
    want = x * scale + shift
    want = want if activation is None else np.maximum(want, 0)
    np.testing.assert_allclose(to_numpy(layer(x)), want, rtol=1e-6, atol=1e-6)


def test_scale_shift_has_half_precision_outputs_and_float32_weights():
    layer = ScaleShift("relu", dtype="mixed_float16")
    result = layer(numbers(1, 2, 2, 3).astype(np.float16))
    assert keras.backend.standardize_dtype(result.dtype) == "float16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}


@pytest.mark.parametrize("kind", [ScaledSum, ScaleShift])
def test_a_configuration_makes_the_same_layer(kind):
    layer = kind("gelu", name="end")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is kind
    assert again.get_config() == layer.get_config()
    assert again.activation is keras.activations.gelu


def test_sizes_may_be_unknown():
    x = keras.Input((None, None, 4))
    gates = keras.Input((1, 1, 4))
    assert ScaleShift()(x).shape == (None, None, None, 4)
    assert ScaledSum()([x, gates, x]).shape == (None, None, None, 4)


@pytest.mark.parametrize("shapes", [[(3, 3, 4)] * 2, [(3, 3, 4), (1, 1, 5), (3, 3, 4)], [(4,)] * 3])
def test_scaled_sum_says_what_it_takes(shapes):
    with pytest.raises(ValueError, match=r"must be \[x, gates, shortcut\]"):
        ScaledSum(name="sum")([layers.Input(shape) for shape in shapes])


def test_scale_shift_wants_known_channels():
    with pytest.raises(ValueError, match="channels must be known"):
        ScaleShift(name="norm")(keras.Input((3, 3, None)))
