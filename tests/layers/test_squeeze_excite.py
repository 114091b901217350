"""The SE layer against the equations of the paper, and its place in Keras."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senet.layers import SESpec, SqueezeExcite
from tests.layers import reference
from tests.models.step import to_numpy, train_one_step, unmoved

CHANNELS = 16


def images(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def with_random_weights(layer, channels=CHANNELS):
    """The layer, built, and its weights as the NumPy reference takes them (biases zero where it has none)."""
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.normal(scale=0.5, size=tuple(weight.shape)))
    values = [to_numpy(weight) for weight in layer.weights]
    return layer, values if layer.spec.bias else [values[0], 0.0, values[1], 0.0]


@pytest.mark.engine
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gate", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("squeeze", ["avg", "max", "none"])
def test_layer_is_equations_2_to_4(squeeze, gate, bias):
    layer, weights = with_random_weights(SqueezeExcite(4, squeeze=squeeze, gate=gate, bias=bias))
    x = images(2, 7, 5, CHANNELS)
    expected = x * reference.gates(x, *weights, squeeze, gate)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_weights_are_two_dense_layers(bias):
    layer = SqueezeExcite(4, bias=bias, name="stage1_se")
    layer.build((None, 8, 8, CHANNELS))
    kernels, biases = [(CHANNELS, 4), (4, CHANNELS)], [(4,), (CHANNELS,)]
    expected = [kernels[0], biases[0], kernels[1], biases[1]] if bias else kernels
    assert [tuple(weight.shape) for weight in layer.weights] == expected
    assert (layer.reduce.name, layer.expand.name) == ("stage1_se_reduce", "stage1_se_expand")


@pytest.mark.parametrize(
    ("options", "channels", "hidden"),
    [
        ({}, 256, 16),
        ({}, 2048, 128),
        ({}, 1056, 66),  # the widths of SE-BN-Inception: floor(C / 16)
        ({}, 608, 38),
        ({}, 576, 36),
        ({}, 40, 2),  # floor, not the nearest
        ({}, 8, 1),  # never none
        ({"ratio": 2}, 2048, 1024),
        ({"ratio": 32}, 256, 8),
        ({"divisor": 8}, 64, 8),  # timm: the nearest multiple, never below it
        ({"divisor": 8}, 256, 16),
        ({"divisor": 8}, 192, 16),  # 12 lies half way: up
        ({"divisor": 8}, 176, 8),  # 11: down
        ({"divisor": 8, "ratio": 4}, 160, 40),
        ({"min_width": 4}, 16, 4),
        ({"min_width": 4}, 256, 16),
        ({"min_width": 32, "divisor": 8}, 256, 32),
    ],
)
def test_hidden_width(options, channels, hidden):
    spec = SESpec(**options)
    layer = spec.layer("se")
    layer.build((None, 8, 8, channels))
    assert spec.hidden_width(channels) == hidden
    assert layer.reduce.units == hidden


@given(
    channels=st.integers(1, 4096),
    ratio=st.integers(1, 64),
    divisor=st.integers(1, 64),
    least=st.integers(1, 64),
)
def test_hidden_width_is_the_nearest_multiple(channels, ratio, divisor, least):
    width = SESpec(ratio=ratio, divisor=divisor, min_width=least).hidden_width(channels)
    assert width >= max(least, divisor)
    if width > max(least, divisor):
        assert width % divisor == 0
        assert abs(width - channels / ratio) <= (divisor / 2 if divisor > 1 else 1)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("squeeze", "shape"), [("avg", (2, 1, 1, 16)), ("max", (2, 1, 1, 16)), ("none", (2, 7, 5, 16))]
)
def test_gates_are_readable_eagerly(squeeze, shape):
    layer, weights = with_random_weights(SqueezeExcite(4, squeeze=squeeze))
    x = images(2, 7, 5, CHANNELS)
    gates = to_numpy(layer.gates(x))
    assert gates.shape == shape
    assert 0 < gates.min() < gates.max() < 1
    np.testing.assert_allclose(gates, reference.gates(x, *weights, squeeze), rtol=1e-5)


def test_gates_build_a_layer_that_has_not_run():
    layer = SqueezeExcite(4)
    assert layer.gates(keras.ops.convert_to_tensor(images(2, 7, 5, CHANNELS))).shape == (2, 1, 1, CHANNELS)


@pytest.mark.engine
def test_gates_of_several_layers_are_readable_in_one_graph():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(CHANNELS, 3)(inputs)
    for number in (1, 2, 3):
        x = SqueezeExcite(4, name=f"block{number}_se")(x)
    model = keras.Model(inputs, x)
    layers = [layer for layer in model.layers if isinstance(layer, SqueezeExcite)]
    tapped = keras.Model(model.input, {layer.name: layer.gates(layer.input) for layer in layers})

    image = images(2, 9, 9, 3)
    features = model.layers[1](image)
    answers = tapped(image)
    assert len(answers) == 3
    for layer in layers:
        np.testing.assert_allclose(to_numpy(answers[layer.name]), to_numpy(layer.gates(features)), rtol=1e-5)
        features = layer(features)


@pytest.mark.engine
@pytest.mark.parametrize("squeeze", ["avg", "max"])
@pytest.mark.parametrize(("policy", "rtol"), [("mixed_float16", 5e-3), ("mixed_bfloat16", 3e-2)])
def test_half_precision_pools_in_float32(squeeze, policy, rtol):
    """56 × 56 values near the largest of float16: their sum is far beyond it, their mean is not."""
    largest = 6e4
    layer = SqueezeExcite(2, squeeze=squeeze, dtype=policy)
    layer.build((None, 56, 56, 8))
    weights = [np.full((8, 4), 1 / largest), np.zeros(4), np.full((4, 8), -0.05), np.full(8, 0.4)]
    for weight, value in zip(layer.weights, weights, strict=True):
        weight.assign(value)
    x = np.full((1, 56, 56, 8), largest)

    squeezed = layer.squeeze(keras.ops.cast(x, layer.compute_dtype))
    assert keras.backend.standardize_dtype(squeezed.dtype) == "float32"
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    y = to_numpy(keras.ops.cast(y, "float32"))
    np.testing.assert_allclose(
        y / largest, reference.gates(x, *weights, squeeze) * np.ones_like(x), rtol=rtol
    )


@pytest.mark.engine
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float16"])
def test_output_has_the_compute_dtype(policy):
    keras.config.set_dtype_policy(policy)
    layer = SqueezeExcite(4)
    y = layer(images(1, 4, 4, CHANNELS))
    assert keras.backend.standardize_dtype(y.dtype) == keras.dtype_policies.get(policy).compute_dtype
    assert {weight.dtype for weight in layer.weights} == {keras.dtype_policies.get(policy).variable_dtype}
    symbolic = layer(keras.Input((None, None, CHANNELS)))
    assert symbolic.dtype == keras.dtype_policies.get(policy).compute_dtype


OPTIONS = [
    {},
    {"ratio": 4, "divisor": 8, "min_width": 3, "bias": False, "squeeze": "max", "gate": "tanh"},
    {"squeeze": "none", "gate": "relu"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_config_round_trip(options):
    layer = SqueezeExcite(**options, name="stage2_se", dtype="mixed_bfloat16")
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is SqueezeExcite
    assert copy.spec == layer.spec == SESpec(**options)
    assert (copy.name, copy.dtype_policy.name) == ("stage2_se", "mixed_bfloat16")


@pytest.mark.engine
@pytest.mark.parametrize("options", OPTIONS)
def test_saved_model_loads_in_safe_mode(options, tmp_path):
    inputs = keras.Input((None, None, CHANNELS))
    layer, _ = with_random_weights(SqueezeExcite(**options, name="se"))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = images(2, 6, 5, CHANNELS)
    np.testing.assert_array_equal(to_numpy(copy(x)), to_numpy(model(x)))
    assert copy.get_layer("se").spec == layer.spec


def test_height_and_width_may_be_unknown():
    inputs = keras.Input((None, None, CHANNELS))
    layer, weights = with_random_weights(SqueezeExcite(4))
    outputs = layer(inputs)
    assert outputs.shape == (None, None, None, CHANNELS)
    model = keras.Model(inputs, outputs)
    for size in ((4, 9), (1, 1)):
        x = images(1, *size, CHANNELS)
        np.testing.assert_allclose(to_numpy(model(x)), x * reference.gates(x, *weights), rtol=1e-5, atol=1e-6)


@pytest.mark.engine
@pytest.mark.parametrize("squeeze", ["avg", "max", "none"])
def test_gradients_reach_all_four_weights(squeeze):
    inputs = keras.Input((8, 8, CHANNELS))
    layer, _ = with_random_weights(SqueezeExcite(2, squeeze=squeeze))
    model = keras.Model(inputs, layer(inputs))
    _, moves = train_one_step(model, images(4, 8, 8, CHANNELS), images(4, 8, 8, CHANNELS, seed=1), "mse")
    assert len(moves) == 4
    assert not unmoved(moves)


@pytest.mark.parametrize(
    ("shape", "received"),
    [
        ((8, CHANNELS), r"\(None, 8, 16\)"),
        ((8, 8, 8, CHANNELS), r"\(None, 8, 8, 8, 16\)"),
        ((8, 8, None), r"\(None, 8, 8, None\)"),
    ],
)
def test_input_must_be_images_with_known_channels(shape, received):
    with pytest.raises(ValueError, match=rf"\(N, H, W, C\), channels last, with C known.*{received}"):
        SqueezeExcite()(keras.Input(shape))


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "16"])
@pytest.mark.parametrize("field", ["ratio", "divisor", "min_width"])
def test_widths_must_be_positive_integers(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be an integer of at least 1.*{value!r}"):
        SqueezeExcite(**{field: value})


@pytest.mark.parametrize("field", ["squeeze", "gate", "position"])
def test_choices_are_named_where_one_is_wrong(field):
    with pytest.raises(ValueError, match=f"`{field}` must be one of '.*Received: {field}='nonsense'"):
        SESpec(**{field: "nonsense"})


@pytest.mark.parametrize("stages", [(), (0,), (1, -2), ("1",), (1.0,), (True,), 2])
def test_stages_must_be_stage_numbers(stages):
    with pytest.raises(ValueError, match=r"`stages` must be None \(all\) or stage numbers from 1"):
        SESpec(stages=stages)


def test_stages_from_a_recipe_file_are_a_list():
    assert SESpec(stages=[1, 3]).stages == (1, 3)
