"""Update rules, schedules and the loss, each against its formula."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from senet.training.config import Optimizer, Schedule
from senet.training.optim import (
    Accuracy,
    BinaryCrossentropy,
    Crossentropy,
    LearningRate,
    MeanCrossentropy,
    layer_factors,
    make_optimizer,
)
from senet.zoo import create_model

STEPS, EPOCHS = 10, 20


def rates(peak: float = 1.0, **schedule: object) -> np.ndarray:
    """The learning rate at every step of a run of 20 epochs of 10 steps."""
    rate = LearningRate(peak, Schedule(**schedule).model_dump(mode="json"), STEPS, EPOCHS)
    return np.array([float(keras.ops.convert_to_numpy(rate(step))) for step in range(STEPS * EPOCHS)])


def test_constant():
    np.testing.assert_allclose(rates(0.3, name="constant"), 0.3)


def test_step_drops_at_half_and_three_quarters():
    got = rates(0.1, name="step")
    np.testing.assert_allclose(got[:100], 0.1, rtol=1e-6)
    np.testing.assert_allclose(got[100:150], 0.01, rtol=1e-6)
    np.testing.assert_allclose(got[150:], 0.001, rtol=1e-6)


def test_step_takes_epochs_and_a_factor_for_each():
    got = rates(name="step", at=[8, 12], factor=[0.1, 0.5])
    np.testing.assert_allclose(got[[0, 79, 80, 119, 120, 199]], [1, 1, 0.1, 0.1, 0.05, 0.05], rtol=1e-6)


def test_cosine_after_a_linear_warm_up():
    got = rates(name="cosine", warmup_epochs=2, final=0.1)
    np.testing.assert_allclose(got[:20], (np.arange(20) + 1) / 20, rtol=1e-6)
    share = (np.arange(20, 200) - 20) / (199 - 20)
    np.testing.assert_allclose(got[20:], 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * share)), rtol=1e-5)
    assert got[-1] == pytest.approx(0.1)


def test_cosine_without_a_warm_up_begins_at_the_peak():
    got = rates(0.2, name="cosine")
    assert got[0] == pytest.approx(0.2)
    assert got[-1] == pytest.approx(0, abs=1e-8)


def test_one_cycle_rises_then_falls():
    got = rates(name="one_cycle", rise=0.3)
    np.testing.assert_allclose(got[:60], (np.arange(60) + 1) / 60, rtol=1e-6)
    assert np.all(np.diff(got[60:]) < 0)
    assert got[60] == pytest.approx(1)
    assert got[-1] == pytest.approx(0, abs=1e-7)


def weights() -> list[keras.Variable]:
    """A kernel and the four kinds of variable that must not decay, all ones."""
    names = ("kernel", "bias", "gamma", "beta")
    return [keras.Variable(np.ones((2, 2), "float32"), name=name) for name in names]


def updated(optimizer: keras.Optimizer, gradients: list[float]) -> dict[str, list[float]]:
    """The first element of each variable after each of some steps with constant gradients."""
    variables = weights()
    optimizer.build(variables)
    seen: dict[str, list[float]] = {v.name: [] for v in variables}
    for gradient in gradients:
        optimizer.apply([keras.ops.full((2, 2), gradient) for _ in variables], variables)
        for v in variables:
            seen[v.name].append(float(keras.ops.convert_to_numpy(v)[0, 0]))
    return seen


def flat(**fields: object) -> keras.Optimizer:
    return make_optimizer(Optimizer(**fields), Schedule(name="constant"), steps=1, epochs=10)


@pytest.mark.engine
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_l2_decay_by_hand(nesterov):
    lr, m, wd, gradients = 0.1, 0.9, 0.01, [0.5, -0.2, 0.3]
    got = updated(flat(lr=lr, momentum=m, nesterov=nesterov, weight_decay=wd), gradients)
    for name in got:
        w, v, expected = 1.0, 0.0, []
        for g in gradients:
            g = g + (wd * w if name == "kernel" else 0)
            v = m * v - lr * g
            w += m * v - lr * g if nesterov else v
            expected.append(w)
        np.testing.assert_allclose(got[name], expected, rtol=1e-5, err_msg=name)


@pytest.mark.engine
@pytest.mark.parametrize("decay", ["l2", "decoupled"])
def test_adam_decay_by_hand(decay):
    lr, b1, b2, eps, wd, gradients = 0.1, 0.9, 0.999, 1e-8, 0.01, [0.5, -0.2, 0.3]
    got = updated(flat(name="adam", lr=lr, weight_decay=wd, decay=decay), gradients)
    for name in got:
        w, m, v, expected = 1.0, 0.0, 0.0, []
        decays = wd if name == "kernel" else 0.0
        for t, g in enumerate(gradients, start=1):
            if decay == "decoupled":
                w -= lr * decays * w
            else:
                g = g + decays * w
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            w -= lr * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
            expected.append(w)
        np.testing.assert_allclose(got[name], expected, rtol=1e-4, err_msg=name)


@pytest.mark.engine
@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("decay", ["l2", "decoupled"])
def test_only_the_kernels_of_a_network_decay(name, decay):
    model = create_model("se_resnet_20_cifar", blocks=(1, 1, 1))
    before = {v.path: keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables}
    optimizer = flat(name=name, lr=0.1, weight_decay=0.1, decay=decay)
    optimizer.build(model.trainable_variables)
    zeros = [keras.ops.zeros(v.shape) for v in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    for v in model.trainable_variables:
        moved = np.any(keras.ops.convert_to_numpy(v) != before[v.path])
        assert moved == v.path.endswith("kernel"), v.path


def test_sgd_with_decoupled_decay_by_hand():
    lr, wd = 0.1, 0.01
    got = updated(flat(lr=lr, momentum=0.0, weight_decay=wd, decay="decoupled"), [0.5])
    assert got["kernel"][0] == pytest.approx(1 - lr * wd - lr * 0.5, rel=1e-5)
    assert got["gamma"][0] == got["bias"][0] == pytest.approx(1 - lr * 0.5, rel=1e-5)


def test_the_optimiser_survives_serialisation():
    first = flat(lr=0.1, weight_decay=0.02)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(first))
    assert updated(again, [0.3, 0.1]) == updated(flat(lr=0.1, weight_decay=0.02), [0.3, 0.1])


@pytest.mark.engine
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_keras_own_on_one_hot_labels(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(16, 7)).astype("float32") * 5, rng.integers(0, 7, 16)
    reference = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    expected = float(reference(np.eye(7, dtype="float32")[labels], logits))
    assert float(Crossentropy(smoothing)(labels, logits)) == pytest.approx(expected, rel=1e-5)
    assert float(Crossentropy(smoothing)(labels[:, None], logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.engine
def test_lamb_trusts_the_layers_norm_by_hand():
    lr, wd, gradient = 0.1, 0.01, 0.5
    got = updated(flat(name="lamb", lr=lr, weight_decay=wd, decay="decoupled"), [gradient])
    step = gradient / (abs(gradient) + 1e-8)  # bias-corrected m / sqrt(v) of a first step
    for name, values in got.items():
        w = 1 - lr * wd if name == "kernel" else 1.0
        norm_w, norm_step = w * 2, step * 2  # of 2 × 2 equal elements
        assert values[0] == pytest.approx(w - lr * norm_w / norm_step * step, rel=1e-4), name


@pytest.mark.engine
def test_accumulated_steps_make_one_update_of_their_mean():
    lr, gradients = 0.1, [0.4, 0.2, -0.2, 0.6]
    got = updated(flat(lr=lr, momentum=0.0, weight_decay=0.0, accumulate=2), gradients)
    for values in got.values():
        np.testing.assert_allclose(values, [1, 1 - lr * 0.3, 1 - lr * 0.3, 1 - lr * 0.5], rtol=1e-5)


@pytest.mark.engine
def test_gradients_are_clipped_together():
    lr, limit = 0.1, 0.5
    got = updated(flat(lr=lr, momentum=0.0, weight_decay=0.0, clip_norm=limit), [3.0])
    norm = math.sqrt(4 * 4 * 3.0**2)  # four variables of 2 × 2
    for values in got.values():
        assert values[0] == pytest.approx(1 - lr * 3.0 * limit / norm, rel=1e-5)


def test_the_learning_rate_follows_the_batch():
    rule = Optimizer(lr=0.1, lr_batch=256)
    assert rule.peak(256) == pytest.approx(0.1)
    assert rule.peak(1024) == pytest.approx(0.4)
    assert Optimizer(lr=0.1, lr_batch=256, accumulate=4).peak(256) == pytest.approx(0.4)
    assert Optimizer(lr=0.1).peak(1024) == 0.1


@pytest.mark.engine
def test_factors_multiply_the_learning_rate():
    factors = [1.0, 0.5, 0.25, 0.0]
    optimizer = make_optimizer(
        Optimizer(lr=0.1, momentum=0.0, weight_decay=0.0),
        Schedule(name="constant"),
        steps=1,
        epochs=10,
        factors=factors,
    )
    got = updated(optimizer, [1.0])
    assert [values[0] for values in got.values()] == pytest.approx([1 - 0.1 * f for f in factors])


def test_factors_for_other_variables_are_refused():
    optimizer = make_optimizer(Optimizer(), Schedule(name="constant"), steps=1, epochs=1, factors=[1.0, 1.0])
    with pytest.raises(ValueError, match="one for each of 4 variables"):
        optimizer.build(weights())


def test_factors_fall_from_the_head_to_the_stem():
    model = create_model("se_resnet_18", classes=5)
    found = dict(zip((v.path for v in model.trainable_variables), layer_factors(model, 0.5), strict=True))
    assert layer_factors(model, 1.0) is None
    assert found["classifier/kernel"] == found["classifier/bias"] == 1
    assert found["stage4_block2_spatial2_conv/kernel"] == 0.5
    assert found["stage4_block1_shortcut_conv/kernel"] == found["stage4_block1_spatial1_bn/gamma"] == 0.25
    assert found["stem_conv/kernel"] == found["stem_bn/beta"] == 0.5**9


@pytest.mark.engine
def test_the_average_follows_by_its_formula():
    optimizer = make_optimizer(
        Optimizer(lr=0.1, momentum=0.0, weight_decay=0.0),
        Schedule(name="constant"),
        steps=1,
        epochs=9,
        ema=0.5,
    )
    variables = weights()
    optimizer.build(variables)
    w = average = 1.0
    for t, gradient in enumerate([1.0, 2.0, -1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]):
        optimizer.apply([keras.ops.full((2, 2), gradient) for _ in variables], variables)
        w -= 0.1 * gradient
        keep = min(0.5, (1 + t) / (10 + t))
        average = keep * average + (1 - keep) * w
        for found in optimizer.averages:
            assert float(keras.ops.convert_to_numpy(found)[0, 0]) == pytest.approx(average, rel=1e-5)
    optimizer.finalize_variable_values(variables)
    assert float(keras.ops.convert_to_numpy(variables[0])[0, 0]) == pytest.approx(w, rel=1e-5)


@pytest.mark.engine
@pytest.mark.parametrize("loss", [Crossentropy, BinaryCrossentropy])
def test_labels_are_indices_or_shares(loss):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(16, 7)).astype("float32") * 5, rng.integers(0, 7, 16)
    one_hot = np.eye(7, dtype="float32")[labels]
    assert float(loss(0.1)(labels, logits)) == pytest.approx(float(loss(0.1)(one_hot, logits)), rel=1e-6)


@pytest.mark.engine
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_crossentropy_is_keras_own(smoothing):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(16, 7)).astype("float32") * 5
    shares = rng.dirichlet(np.ones(7), 16).astype("float32")  # as mixing makes them
    reference = keras.losses.BinaryCrossentropy(from_logits=True)
    target = (1 - smoothing) * shares + smoothing / 7
    expected = float(reference(target, logits))
    assert float(BinaryCrossentropy(smoothing)(shares, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.engine
def test_metrics_leave_out_images_without_weight():
    logits = np.array([[2.0, 0, 0], [0, 0, 3.0], [0, 1.0, 0], [9.0, 0, 0]], "float32")
    labels, weights_ = np.array([0, 1, 1, 2]), np.array([1, 1, 1, 0], "float32")
    accuracy, crossentropy = Accuracy(), MeanCrossentropy()
    accuracy.update_state(labels, logits, weights_)
    crossentropy.update_state(labels, logits, weights_)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert float(accuracy.result()) == pytest.approx(2 / 3)
    assert float(crossentropy.result()) == pytest.approx(-log_p[[0, 1, 2], [0, 1, 1]].mean(), rel=1e-5)
    shares = np.array([[0.6, 0.4, 0.0]], "float32")
    again = Accuracy()
    again.update_state(shares, logits[:1])
    assert float(again.result()) == 1
