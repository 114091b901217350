"""Gradient checkpointing changes what is kept during a step, and nothing that comes out of it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import senet
from senet.training.fit import train
from senet.training.recompute import Recomputed, block_ends, split
from tests.models import representatives as tables
from tests.models.step import to_numpy
from tests.training.test_fit import assert_same_run


def network(**changes):
    keras.utils.set_random_seed(0)
    options = {"blocks": (2, 2), "widths": (16, 32), "drop_path": 0.3, "dropout": 0.2, **changes}
    return senet.create_model("se_resnet_20_cifar", classifier_activation=None, **options)


def three_steps(model, trained) -> tuple[list[float], list[np.ndarray]]:
    """The losses of three steps, and what became of every variable."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((16, 32, 32, 3), np.float32), rng.integers(0, 10, 16)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    jit = keras.backend.backend() == "jax"
    trained.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, jit_compile=jit)
    trained.optimizer.build(model.trainable_variables)
    losses = [float(trained.train_on_batch(images, labels)) for _ in range(3)]
    return losses, [to_numpy(v).copy() for v in model.variables]


@pytest.mark.engine
def test_steps_are_those_of_the_plain_network():
    """Weights, momentum's course, BatchNorm's statistics and random states alike."""
    plain = network()
    losses, expected = three_steps(plain, plain)
    model = network()
    found_losses, found = three_steps(model, Recomputed(model))
    np.testing.assert_allclose(found_losses, losses, rtol=1e-5)
    for variable, value, wanted in zip(model.variables, found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6, err_msg=variable.path)


@pytest.mark.engine
def test_frozen_layers_stay_as_they_are():
    model = network()
    for layer in model.layers:
        layer.trainable = layer.name.startswith(("stage2", "classifier"))
    before = [to_numpy(v).copy() for v in model.variables]
    _, after = three_steps(model, Recomputed(model))
    rows = zip(model.variables, before, after, strict=True)
    moved = {v.path.split("_")[0] for v, old, new in rows if np.any(old != new)}
    assert moved - {"seed"} == {"stage2", "classifier/kernel", "classifier/bias"}


def test_it_answers_as_the_network():
    model = network()
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(to_numpy(Recomputed(model)(images)), to_numpy(model(images)))


def test_variables_keep_their_order():
    model = network()
    assert [v.path for v in Recomputed(model).variables] == [v.path for v in model.variables]


@pytest.mark.slow
@pytest.mark.parametrize("name", tables.NAMES)
def test_every_network_is_cut_at_its_blocks(name):
    model = tables.build(name, input_shape=(*tables.side(name), 3))
    parts = split(model)
    blocks = {layer.name.split("_", 2)[1] for layer in model.layers if layer.name.startswith("stage1_block")}
    assert len(parts) > len(blocks)
    held = [v.path for part in parts for v in part.variables]
    assert sorted(held) == sorted(v.path for v in model.variables)


def test_a_network_without_blocks_is_refused():
    image = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="network of blocks"):
        split(keras.Model(image, keras.layers.Conv2D(4, 3)(image)))
    assert block_ends(network())


def test_a_run_with_it_is_the_run_without(tiny, tmp_path):
    config = tiny(ema=0.9)
    train(config, tmp_path / "plain", progress=False)
    speed = {"speed": {"gradient_checkpointing": True}}
    train(tiny(ema=0.9, **speed), tmp_path / "less", progress=False)
    assert_same_run(tmp_path / "plain", tmp_path / "less")
