"""BatchNorm is Keras' own in all that it answers, learns and keeps; in training by another kernel."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from senet.layers import BatchNorm
from senet.layers import batch_norm as module
from tests.models.step import to_numpy

ENGINE = keras.backend.backend()


def pair(shape, **options):
    """Keras' layer and ours with the same weights, none of them 0 or 1."""
    rng = np.random.default_rng(0)
    layers = [
        kind(epsilon=1e-3, momentum=0.8, **options) for kind in (keras.layers.BatchNormalization, BatchNorm)
    ]
    for layer in layers:
        layer.build(shape)
    values = [rng.uniform(0.5, 1.5, w.shape).astype("float32") for w in layers[0].weights]
    for layer in layers:
        layer.set_weights(values)
    return layers


def trained(layer, x: np.ndarray, slope: np.ndarray):
    """One training call as a model's: the output, and the gradients of sum(output × slope)."""
    inputs = keras.Input(x.shape[1:], batch_size=len(x))
    scale = keras.layers.Rescaling(1.0)
    model = keras.Model(inputs, layer(scale(inputs), training=True))
    if ENGINE == "jax":
        import jax

        def loss(weights, x):
            out, states = model.stateless_call(weights, [v.value for v in model.non_trainable_variables], x)
            return (out * slope).sum(), (out, states)

        weights = [v.value for v in model.trainable_variables]
        (_, (out, states)), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(weights, x)
        for variable, value in zip(model.non_trainable_variables, states, strict=True):
            variable.assign(value)
        return np.asarray(out), [np.asarray(g) for g in (*grads[0], grads[1])]
    if ENGINE == "torch":
        import torch

        x = torch.tensor(x, requires_grad=True)
        out = model(x)
        (out * torch.tensor(slope)).sum().backward()
        return to_numpy(out.detach()), [to_numpy(v.value.grad) for v in model.trainable_variables] + [
            x.grad.numpy()
        ]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        x = tf.constant(x)
        tape.watch(x)
        out = model(x)
        loss = tf.reduce_sum(out * slope)
    found = tape.gradient(loss, [*(v.value for v in model.trainable_variables), x])
    return out.numpy(), [g.numpy() for g in found]


@pytest.mark.engine
@pytest.mark.parametrize("shape", [(4, 6, 5, 8), (2, 1, 1, 3), (1, 7, 7, 16)])
def test_a_training_step_is_that_of_keras(shape):
    rng = np.random.default_rng(1)
    x = (3 + 2 * rng.standard_normal(shape)).astype("float32")
    slope = rng.standard_normal(shape).astype("float32")
    theirs, ours = pair(shape)
    expected, expected_grads = trained(theirs, x, slope)
    found, grads = trained(ours, x, slope)
    # Keras' variance is the mean of squares less the squared mean, which loses digits: of two values, 3e-5.
    np.testing.assert_allclose(found, expected, atol=1e-4)
    for grad, wanted in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(grad, wanted, atol=2e-4, rtol=1e-4)
    for moving, wanted in zip(ours.non_trainable_weights, theirs.non_trainable_weights, strict=True):
        np.testing.assert_allclose(to_numpy(moving), to_numpy(wanted), rtol=1e-5, err_msg=moving.name)


@pytest.mark.engine
def test_the_engines_kernel_is_used(monkeypatch):
    """Unless there is none (JAX), or the layer is one that it cannot serve."""
    used = []
    for engine, kernel in module.KERNELS.items():
        monkeypatch.setitem(module.KERNELS, engine, lambda *a, kernel=kernel: used.append(1) or kernel(*a))
    x = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)

    def runs(layer, x=x, **how) -> int:
        layer.build(x.shape)
        used.clear()
        layer(x, **{"training": True, **how})
        return len(used)

    assert runs(BatchNorm()) == (ENGINE != "jax")
    frozen, synchronized = BatchNorm(), BatchNorm()
    frozen.trainable = False
    synchronized.synchronized = True  # on a layer that is not in a strategy it changes nothing else
    for layer in (frozen, BatchNorm(scale=False), BatchNorm(center=False), BatchNorm(axis=1)):
        assert runs(layer) == 0
    if ENGINE == "tensorflow":  # the others have no synchronised form
        assert runs(synchronized) == 0
    assert runs(BatchNorm(), training=False) == 0
    assert runs(BatchNorm(dtype="mixed_float16")) == 0
    assert runs(BatchNorm(), x=x[:1, :1, :1]) == 0


@pytest.mark.engine
def test_in_bfloat16_statistics_stay_in_float32():
    shape = (8, 16, 16, 4)
    x = (3 + 2 * np.random.default_rng(0).standard_normal(shape)).astype("float32")
    theirs, ours = pair(shape, dtype="mixed_bfloat16")
    expected = to_numpy(keras.ops.cast(theirs(x, training=True), "float32"))
    out = ours(x, training=True)
    assert keras.backend.standardize_dtype(out.dtype) == "bfloat16"
    np.testing.assert_allclose(to_numpy(keras.ops.cast(out, "float32")), expected, atol=0.05)
    for moving, wanted in zip(ours.non_trainable_weights, theirs.non_trainable_weights, strict=True):
        assert moving.dtype == "float32"
        np.testing.assert_allclose(to_numpy(moving), to_numpy(wanted), rtol=2e-2)


def test_it_is_saved_and_loaded(tmp_path):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, BatchNorm(name="norm")(inputs))
    model.save(tmp_path / "model.keras")
    assert type(keras.saving.load_model(tmp_path / "model.keras").get_layer("norm")) is BatchNorm
