"""The grouped convolution against a direct computation in NumPy, on every path it may take."""

import functools
import os
import platform
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senet.layers import grouped_conv
from senet.layers.grouped_conv import GroupedConv2D
from tests.models.step import to_numpy, train_one_step, unmoved

ENGINE = keras.backend.backend()
TF, JAX = ENGINE == "tensorflow", ENGINE == "jax"
MODES = {"tensorflow": ("eager", "graph", "jit"), "jax": ("eager", "jit"), "torch": ("eager",)}[ENGINE]

# size, channels in, filters, groups, kernel, stride, padding, dilation
CASES = [
    ((9, 7), 8, 8, 2, 3, 1, "same", 1),
    ((9, 8), 32, 32, 32, 3, 1, "valid", 1),  # depthwise
    ((8, 9), 8, 16, 8, 3, 2, "same", 1),  # depthwise, two outputs a channel
    ((9, 7), 64, 64, 16, 3, 2, "same", 1),
    ((8, 8), 64, 64, 16, 3, 2, "valid", 1),  # no window reaches the last row and column
    ((7, 10), 48, 96, 6, 5, 2, "valid", 1),
    ((5, 6), 12, 18, 3, 1, 1, "same", 1),
    ((6, 5), 40, 20, 20, 3, 1, "same", 1),  # two inputs, one output a group
    ((7, 7), 64, 64, 2, 3, 1, "same", 1),  # each group wide enough for a slice
    ((9, 9), 64, 128, 32, 3, 1, "same", 2),
    ((4, 4), 6, 9, 1, 3, 1, "same", 1),
    ((8, 9), 24, 24, 4, (1, 3), (2, 1), "same", 1),
]


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def taps(x, kernel, groups, strides, padding, dilation):
    """For each tap of the kernel: its place, and the pixels it meets, as a slice of the padded image."""
    before, steps = [], []
    for size, length, stride, apart in zip(x.shape[1:3], kernel.shape[:2], strides, dilation, strict=True):
        span = (length - 1) * apart + 1
        count = -(-size // stride) if padding == "same" else (size - span) // stride + 1
        steps.append(count)
        before.append(max(0, (count - 1) * stride + span - size) // 2 if padding == "same" else 0)
    for row, column in np.ndindex(*kernel.shape[:2]):
        at = [tap * apart for tap, apart in zip((row, column), dilation, strict=True)]
        yield (
            (row, column),
            tuple(slice(a, a + n * s, s) for a, n, s in zip(at, steps, strides, strict=True)),
            before,
            steps,
        )


def direct(x, kernel, upstream, groups, strides, padding, dilation):
    """Output, gradient of the input and of the kernel, in float64, tap by tap as the definition has it."""
    rows, columns, depth, filters = kernel.shape
    x, kernel = x.astype("float64"), kernel.astype("float64")
    margin = 2 * (max(rows, columns) * max(dilation) + max(strides))
    grouped_kernel = kernel.reshape(rows, columns, depth, groups, -1)
    y = slopes = slope_padded = None
    for (row, column), (down, right), before, steps in taps(x, kernel, groups, strides, padding, dilation):
        if y is None:
            padded = np.pad(x, ((0, 0), (before[0], margin), (before[1], margin), (0, 0)))
            padded = padded.reshape(*padded.shape[:3], groups, depth)
            y = np.zeros((x.shape[0], *steps, groups, filters // groups))
            up = np.zeros_like(y) if upstream is None else upstream.astype("float64").reshape(y.shape)
            slope_padded, slopes = np.zeros_like(padded), np.zeros_like(grouped_kernel)
        weights = grouped_kernel[row, column]
        y += np.einsum("nhwgi,igo->nhwgo", padded[:, down, right], weights)
        slope_padded[:, down, right] += np.einsum("nhwgo,igo->nhwgi", up, weights)
        slopes[row, column] = np.einsum("nhwgi,nhwgo->igo", padded[:, down, right], up)
    height, width = x.shape[1:3]
    slope = slope_padded[:, before[0] : before[0] + height, before[1] : before[1] + width]
    return y.reshape(*y.shape[:3], filters), slope.reshape(x.shape), slopes.reshape(kernel.shape)


def evaluate(layer, x, upstream, mode):
    """Output and both gradients of a built layer, on the engine at hand."""
    if TF:
        import tensorflow as tf

        def run(x, upstream):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
            return y, *tape.gradient(y, [x, layer.kernel.value], upstream)

        run = run if mode == "eager" else tf.function(run, jit_compile=mode == "jit")
        return [to_numpy(value) for value in run(tf.constant(x), tf.constant(upstream))]
    if JAX:
        import jax

        def run(x, kernel, upstream):
            y, back = jax.vjp(lambda x, k: layer.stateless_call([k], [], x)[0], x, kernel)
            return y, *back(upstream)

        run = jax.jit(run) if mode == "jit" else run
        return [to_numpy(value) for value in run(x, layer.kernel.value, upstream)]
    import torch

    x = torch.tensor(x, requires_grad=True)
    y = layer(x)
    slopes = torch.autograd.grad(y, (x, layer.kernel.value), torch.tensor(upstream))
    return [to_numpy(value.detach()) for value in (y, *slopes)]


def check(case, mode, batch=2, seed=0):
    """A layer of random numbers equals the direct computation to 1e-5 of the largest value."""
    size, channels, filters, groups, kernel, stride, padding, dilation = case
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, *size, channels)).astype("float32")
    values = rng.normal(size=(*pair(kernel), channels // groups, filters)).astype("float32")
    layer = GroupedConv2D(
        filters, kernel, stride, padding, groups=groups, dilation_rate=dilation, use_bias=False
    )
    layer.build(x.shape)
    layer.kernel.assign(values)
    options = (groups, pair(stride), padding, pair(dilation))
    shape = direct(x, values, None, *options)[0].shape
    upstream = rng.normal(size=shape).astype("float32")
    assert layer.compute_output_shape(x.shape) == shape
    for found, expected in zip(
        evaluate(layer, x, upstream, mode), direct(x, values, upstream, *options), strict=True
    ):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.engine
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer_equals_the_definition(case):
    check(case, MODES[1] if len(MODES) > 1 else "eager")


@pytest.mark.engine
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", [CASES[3], CASES[5]], ids=str)
def test_every_way_of_running_gives_the_same(case, mode):
    check(case, mode)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_shape_equals_the_definition(data):
    groups = data.draw(st.sampled_from([2, 3, 4, 8]), "groups")
    kernel = data.draw(st.sampled_from([1, 2, 3, 5]), "kernel")
    case = (
        (data.draw(st.integers(kernel, 9), "rows"), data.draw(st.integers(kernel, 9), "columns")),
        groups * data.draw(st.integers(1, 6), "inputs a group"),
        groups * data.draw(st.integers(1, 6), "filters a group"),
        groups,
        kernel,
        data.draw(st.integers(1, 3), "stride"),
        data.draw(st.sampled_from(["same", "valid"]), "padding"),
        1,
    )
    check(case, "eager", batch=data.draw(st.integers(1, 3), "batch"))


@pytest.mark.skipif(not TF, reason="TensorFlow chooses between formulations inside the graph")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("native", [True, False])
def test_tensorflow_outside_and_inside_xla(monkeypatch, native, mode):
    import tensorflow as tf

    there = grouped_conv._tensorflow_native_gradients("float32")
    monkeypatch.setattr(grouped_conv, "_tensorflow_native_gradients", lambda dtype: native)
    if native and not there and mode != "jit":
        with pytest.raises(tf.errors.OpError, match=r"group|filter_size"):  # as the trial found
            check(CASES[3], mode)
    else:
        check(CASES[3], mode)


@pytest.mark.skipif(not TF, reason="oneDNN is TensorFlow's")
def test_onednn_has_the_native_gradients():
    """In a process of its own: TensorFlow reads the switch when it is imported."""
    program = (
        "from tests.layers import test_grouped_conv as t\n"
        "assert t.grouped_conv._tensorflow_native_gradients('float32') == (SWITCH == '1'), 'no oneDNN'\n"
        "for mode in ('eager', 'graph', 'jit'):\n"
        "    for case in (t.CASES[0], t.CASES[3], t.CASES[5]):\n"
        "        t.check(case, mode)\n"
    )
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the switch is for TensorFlow on Linux, x86-64")
    env = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"SWITCH = '1'\n{program}"], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.engine
@pytest.mark.parametrize("path", MODES[:2])
def test_second_derivatives_follow(path):
    """The derivative, by the kernel, of <v, the input's gradient> is the kernel's gradient for the input v:
    the convolution is linear in each."""
    case = ((6, 5), 32, 32, 8, 3, 2, "same", 1)
    size, channels, filters, groups, kernel, stride, padding, _ = case
    rng = np.random.default_rng(0)
    x, v = (rng.normal(size=(2, *size, channels)).astype("float32") for _ in range(2))
    upstream = rng.normal(size=(2, 3, 3, filters)).astype("float32")
    layer = GroupedConv2D(filters, kernel, stride, padding, groups=groups, use_bias=False)
    layer.build(x.shape)
    expected = direct(v, to_numpy(layer.kernel), upstream, groups, (2, 2), padding, (1, 1))[2]
    if TF:
        import tensorflow as tf

        def run(x, v):
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = layer(x)
                inner_product = tf.reduce_sum(inner.gradient(y, x, tf.constant(upstream)) * v)
            return outer.gradient(inner_product, layer.kernel.value)

        found = (run if path == "eager" else tf.function(run))(tf.constant(x), tf.constant(v))
    elif JAX:
        import jax

        def product(kernel):
            back = jax.vjp(lambda x: layer.stateless_call([kernel], [], x)[0], x)[1]
            return (back(upstream)[0] * v).sum()

        found = jax.grad(product)(layer.kernel.value)
    else:
        import torch

        start = torch.tensor(x, requires_grad=True)
        (slope,) = torch.autograd.grad(layer(start), start, torch.tensor(upstream), create_graph=True)
        (found,) = torch.autograd.grad((slope * torch.tensor(v)).sum(), layer.kernel.value)
        found = found.detach()
    np.testing.assert_allclose(to_numpy(found), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.engine
def test_height_and_width_may_be_unknown():
    inputs = keras.Input((None, None, 32))
    model = keras.Model(inputs, GroupedConv2D(64, 3, 2, "same", groups=8, name="conv")(inputs))
    assert model.output_shape == (None, None, None, 64)
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 3, 4, 64)), rng.normal(size=64)
    model.set_weights([kernel, bias])
    for size in ((8, 8), (7, 5)):
        x = rng.normal(size=(2, *size, 32)).astype("float32")
        expected = direct(x, kernel, None, 8, (2, 2), "same", (1, 1))[0] + bias
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not TF, reason="the fusions are TensorFlow's")
@pytest.mark.parametrize("follow", ["bias", "batch norm"])
def test_what_follows_is_not_fused_into_the_convolution(follow):
    """Without oneDNN the fused kernel raises on groups, in a graph only."""
    inputs = keras.Input((None, None, 32))
    features = GroupedConv2D(32, 3, padding="same", groups=8, use_bias=follow == "bias")(inputs)
    if follow == "batch norm":
        features = keras.layers.BatchNormalization()(features)
    model = keras.Model(inputs, keras.layers.ReLU()(features))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 32)).astype("float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), to_numpy(model(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.engine
def test_a_training_step_moves_both_weights():
    inputs = keras.Input((8, 8, 32))
    features = GroupedConv2D(32, 3, padding="same", groups=8, kernel_regularizer="l2")(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(features))
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(4, 8, 8, 32)).astype("float32"), rng.normal(size=(4, 32)).astype("float32")
    loss, moves = train_one_step(model, x, target, "mse")
    assert np.isfinite(loss)
    assert len(moves) == 2
    assert unmoved(moves) == []


@pytest.mark.engine
@pytest.mark.parametrize("groups", [1, 4, 16])
def test_weights_and_configuration_are_those_of_the_keras_layer(groups):
    inputs = keras.Input((6, 6, 16))
    ours = GroupedConv2D(32, 3, 2, "same", groups=groups, activation="relu", name="conv")
    theirs = keras.layers.Conv2D.from_config(ours.get_config())
    assert theirs.get_config() == ours.get_config()
    assert ours(inputs).shape == theirs(inputs).shape
    rng = np.random.default_rng(0)
    for source, target in ((ours, theirs), (theirs, ours)):
        source.set_weights([rng.normal(size=weight.shape) for weight in source.get_weights()])
        target.set_weights(source.get_weights())
    assert [weight.path for weight in ours.weights] == [weight.path for weight in theirs.weights]
    x = rng.normal(size=(2, 6, 6, 16)).astype("float32")
    np.testing.assert_allclose(to_numpy(ours(x)), to_numpy(theirs(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.engine
def test_a_saved_model_is_the_same_again(tmp_path):
    inputs = keras.Input((None, None, 32))
    layer = GroupedConv2D(32, 3, 2, "same", groups=8, kernel_regularizer="l2", kernel_initializer="he_normal")
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.layers[-1], GroupedConv2D)
    assert again.layers[-1].get_config() == layer.get_config()
    x = np.random.default_rng(0).normal(size=(1, 7, 7, 32)).astype("float32")
    np.testing.assert_array_equal(to_numpy(again(x)), to_numpy(model(x)))


@pytest.mark.engine
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 7, 32)).astype("float32")
    layer = GroupedConv2D(32, 3, 2, "same", groups=8, use_bias=False, dtype=policy)
    layer.build(x.shape)
    dtype = policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(layer(x).dtype) == dtype
    assert layer.kernel.dtype == "float32"
    upstream = rng.normal(size=(2, 4, 4, 32)).astype("float32")
    expected = direct(x, to_numpy(layer.kernel), upstream, 8, (2, 2), "same", (1, 1))
    cast = functools.partial(keras.ops.cast, dtype=dtype)
    if TF:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            y = layer(x)
        slope = tape.gradient(y, layer.kernel.value, cast(upstream))
    elif JAX:
        import jax

        model = keras.Sequential(
            [keras.Input(x.shape[1:]), layer]
        )  # a layer's own stateless_call does not cast
        y, back = jax.vjp(lambda k: model.stateless_call([k], [], x)[0], layer.kernel.value)
        slope = back(cast(upstream))[0]
    else:
        import torch

        y = layer(x)
        slope = torch.autograd.grad(y, layer.kernel.value, cast(upstream))[0]
    assert keras.backend.standardize_dtype(slope.dtype) == "float32"
    for found, value in ((y, expected[0]), (slope, expected[2])):
        found = to_numpy(keras.ops.cast(keras.ops.stop_gradient(found), "float32"))
        # bfloat16 keeps 8 bits of each of the many summands.
        np.testing.assert_allclose(found, value, rtol=0, atol=0.03 * np.abs(value).max())


@pytest.mark.parametrize(
    ("groups", "channels", "width", "expected"),
    [(32, 128, 16, 16), (32, 256, 16, 16), (32, 1024, 16, 32), (6, 12, 16, 12), (12, 24, 5, 6)],
)
def test_slices_are_as_wide_as_asked(groups, channels, width, expected):
    """Whole groups: the fewest that reach the width, or all of them."""
    depth = channels // groups
    kernel = np.random.default_rng(0).normal(size=(3, 3, depth, channels)).astype("float32")
    together = grouped_conv._groups_together(kernel, groups, width)
    tensor = grouped_conv._block_kernel(keras.ops.convert_to_tensor(kernel), groups, together)
    again = grouped_conv._from_block_kernel(tensor, groups, together)
    np.testing.assert_array_equal(to_numpy(again), kernel)
    blocks = to_numpy(tensor)
    assert blocks.shape == (3, 3, expected, channels)
    for filter_ in range(channels):
        first = filter_ // depth * depth % expected  # where its group starts in its slice
        own = slice(first, first + depth)
        np.testing.assert_array_equal(blocks[:, :, own, filter_], kernel[..., filter_])
        rest = np.delete(blocks[..., filter_], np.arange(first, first + depth), axis=2)
        np.testing.assert_array_equal(rest, 0)


@pytest.mark.skipif(not TF, reason="Keras wraps its own grouped layer in a function on TensorFlow alone")
def test_no_call_traces_a_function(monkeypatch):
    import tensorflow as tf

    layer = GroupedConv2D(32, 3, groups=8)
    layer.build((None, 6, 6, 32))

    def traced(*args, **kwargs):
        raise AssertionError("an eager call built a tf.function")

    monkeypatch.setattr(tf, "function", traced)
    x = np.ones((1, 6, 6, 32), "float32")
    assert layer(x).shape == (1, 4, 4, 32)


def test_channels_first_is_refused():
    with pytest.raises(ValueError, match=r"must be channels last\. Received: data_format='channels_first'"):
        GroupedConv2D(8, 3, groups=2, data_format="channels_first")
