"""One training step: gradients reach every weight, half precision stays finite."""

import keras
import numpy as np
import pytest

import senet
from senet.layers import SESpec
from tests.models.step import to_numpy, train_one_step, unmoved

LOSS = "sparse_categorical_crossentropy"
SMALL = {"blocks": (1, 1, 1), "input_shape": (16, 16, 3)}
SMALLER = {"blocks": (1, 1), "widths": (8, 16), "stem_width": 8, "input_shape": (16, 16, 3)}


def batch(size=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(size, 16, 16, 3)).astype("float32"), rng.integers(0, 10, size)


@pytest.mark.engine
def test_gradients_reach_every_weight():
    keras.utils.set_random_seed(0)
    model = senet.create_model("se_resnet_20_cifar", **SMALL, se=SESpec(ratio=2))
    loss, moves = train_one_step(model, *batch(), LOSS)
    assert np.isfinite(loss)
    assert len(moves) == len(model.trainable_variables) == 41
    assert unmoved(moves) == []


@pytest.mark.parametrize("position", ["pre", "post", "identity", "3x3"])
def test_gradients_reach_every_weight_at_every_position(position):
    keras.utils.set_random_seed(0)
    spec = SESpec(ratio=2, position=position)
    model = senet.create_model("se_resnet_164_cifar", **SMALL, se=spec)
    _, moves = train_one_step(model, *batch(), LOSS)
    assert len([path for path in moves if "_se" in path]) == 12
    assert unmoved(moves) == []


@pytest.mark.engine
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(policy):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    model = senet.create_model("se_resnet_20_cifar", **SMALLER, se=SESpec(ratio=2))
    optimizer = keras.optimizers.SGD(0.1)
    if policy == "mixed_float16":
        # A low scale, so that the very first step is not one of those that are skipped to find it.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=128.0)
    images, labels = batch()
    loss, moves = train_one_step(model, images, labels, LOSS, optimizer)
    assert np.isfinite(loss)
    assert unmoved(moves) == []
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert model.get_layer("stage1_block1_se").compute_dtype == policy.removeprefix("mixed_")

    predictions = model(images)
    assert keras.backend.standardize_dtype(predictions.dtype) == "float32"
    predictions = to_numpy(predictions)
    np.testing.assert_allclose(predictions.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_predicts_as_float32_does(policy):
    keras.utils.set_random_seed(0)
    images, _ = batch()
    model = senet.create_model("se_resnet_20_cifar", **SMALL)
    keras.config.set_dtype_policy(policy)
    half = senet.create_model("se_resnet_20_cifar", **SMALL)
    half.set_weights(model.get_weights())
    np.testing.assert_allclose(to_numpy(half(images)), to_numpy(model(images)), atol=0.02)


def test_training_moves_the_statistics_of_batch_norm():
    model = senet.create_model("se_resnet_20_cifar", **SMALL)
    train_one_step(model, *batch(), LOSS)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert np.any(to_numpy(layer.moving_mean) != 0), layer.name
            assert np.all(to_numpy(layer.moving_variance) != 1), layer.name
