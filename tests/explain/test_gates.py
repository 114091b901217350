"""Gates: their statistics against plain arithmetic, and what is left of a network without them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import senet
from senet.data.batches import InOrder
from senet.explain.copies import copied
from senet.explain.gates import Sums, place, read_gates, se_layers
from senet.explain.removal import ALL, MEAN, ONE, remove_stages, se_costs
from senet.layers.squeeze_excite import SESpec, SqueezeExcite
from senet.scores import softmax
from tests.explain.subjects import CLASSES, PREPROCESS, images, network
from tests.models.step import to_numpy

SPLIT = images()
ORDER = np.arange(len(CLASSES))


def batches(split=SPLIT, batch=7):
    return InOrder(split, PREPROCESS, batch)  # the last batch is filled up


def block_of(gates, labels):
    sums = Sums(int(labels.max()) + 1, gates.shape[1])
    sums.add(gates, labels)
    return sums.statistics("stage1_block1", "stage1")


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def read(model):
    return read_gates(model, batches(), ORDER)


@pytest.fixture(scope="module")
def removals(model, read):
    """By stage and by what the gates were held at."""
    rows = remove_stages(model, batches(), ORDER, read)
    return {(row.stage, row.instead): row for row in rows}


# Statistics


def test_statistics_are_those_of_all_gates_at_once():
    rng = np.random.default_rng(0)
    gates, labels = rng.uniform(size=(60, 5)).astype(np.float32), rng.integers(0, 4, 60)
    sums = Sums(4, 5)
    for start in range(0, 60, 13):
        sums.add(gates[start : start + 13], labels[start : start + 13])
    found = sums.statistics("a", "a")
    np.testing.assert_allclose(found.mean, gates.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.std, gates.std(axis=0), atol=1e-6)
    for label in range(4):
        np.testing.assert_allclose(found.class_mean[label], gates[labels == label].mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(found.class_std[label], gates[labels == label].std(axis=0), atol=1e-6)
    assert found.open == np.mean(gates > 0.9)
    assert found.closed == np.mean(gates < 0.1)


def test_gates_that_the_class_decides_are_fully_specific():
    labels = np.repeat(np.arange(3), 10)
    found = block_of(np.array([[0.1, 0.9], [0.5, 0.2], [0.8, 0.4]])[labels], labels)
    assert found.between == pytest.approx(1)
    assert found.specificity == pytest.approx(1)
    assert found.spread_within == pytest.approx(0, abs=1e-7)


def test_chance_is_the_mean_over_shuffled_labels():
    rng = np.random.default_rng(1)
    gates = rng.beta(0.5, 0.5, size=(40, 6)) * np.linspace(0.1, 1, 40)[:, None]
    labels = np.repeat(np.arange(5), (2, 5, 8, 10, 15))
    shuffled = [block_of(gates, rng.permutation(labels)).between for _ in range(400)]
    found = block_of(gates, labels)
    assert found.chance == pytest.approx(4 / 39)
    assert np.mean(shuffled) == pytest.approx(found.chance, abs=4 * np.std(shuffled) / 20)
    assert found.between > 2 * found.chance  # these gates follow the label a little
    assert found.specificity == pytest.approx((found.between - 4 / 39) / (35 / 39))


def test_between_is_the_analysis_of_variance_of_a_case_done_by_hand():
    # Class means 0.2 and 0.6 around 0.4: between 4 × 0.04; within 4 × 0.01.
    gates = np.array([[0.1], [0.3], [0.5], [0.7]])
    assert block_of(gates, np.array([0, 0, 1, 1])).between == pytest.approx(0.16 / 0.20)


def test_constant_gates_are_left_out_and_counted():
    labels = np.array([0, 0, 1, 1])
    moving = np.array([[0.1], [0.3], [0.5], [0.7]])
    found = block_of(np.hstack([moving, np.full((4, 2), 0.95)]), labels)
    assert found.constant == 2
    assert found.between == pytest.approx(0.8)
    alone = block_of(np.full((4, 2), 0.95), labels)
    assert np.isnan(alone.between)
    assert np.isnan(alone.specificity)


def test_a_class_without_images_changes_nothing():
    gates, labels = np.random.default_rng(0).uniform(size=(8, 3)), np.array([0, 0, 0, 0, 2, 2, 2, 2])
    found, packed = block_of(gates, labels), block_of(gates, labels // 2)
    assert (found.between, found.chance) == (packed.between, packed.chance)
    assert np.isnan(found.class_mean[1]).all()


# A network


@pytest.mark.engine
def test_the_gates_of_a_network_are_what_its_layers_give(read):
    model = network()  # one that may get traces
    x = PREPROCESS(SPLIT.images)
    assert [block.name for block in read.blocks] == [
        "stage1_block1",
        *("stage2_block1", "stage2_block2"),
        *("stage3_block1", "stage3_block2"),
    ]
    for layer, block in zip(se_layers(model), read.blocks, strict=True):
        inside = keras.Model(model.inputs[0], layer.input)
        gates = to_numpy(layer.gates(inside(x, training=False)))[:, 0, 0]
        np.testing.assert_allclose(block.mean, gates.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(block.class_mean[1], gates[SPLIT.labels == 1].mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(block.class_std[1], gates[SPLIT.labels == 1].std(axis=0), atol=1e-5)
        assert block.images.tolist() == [8, 8, 8]
        assert np.ptp(gates, axis=0).max() > 0.01  # else any images would do
    answers = to_numpy(model(x, training=False)).argmax(axis=1)
    assert (read.images, read.right) == (24, int(np.sum(answers == SPLIT.labels)))


def test_the_blocks_of_the_papers_figure(read):
    shown = [block.name for block in read.shown]
    assert shown == ["stage1_block1", "stage2_block2", "stage3_block1", "stage3_block2"]
    assert [block.name for block in read.last_of_stages] == [
        "stage1_block1",
        "stage2_block2",
        "stage3_block2",
    ]
    assert read.stages == ("stage1", "stage2", "stage3")


def test_the_classes_of_the_answer_may_be_others(model):
    answers = to_numpy(model(PREPROCESS(SPLIT.images), training=False)).argmax(axis=1)
    classes = np.array([2, 0, 1])
    assert read_gates(model, batches(), classes).right == int(np.sum(answers == classes[SPLIT.labels]))


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        pytest.param(SESpec(squeeze="none", ratio=4), {}, marks=pytest.mark.slow),
        pytest.param(SESpec(gate="tanh", bias=False, ratio=4), {}, marks=pytest.mark.slow),
        (SESpec(position="3x3", stages=(2, 3), ratio=4), {}),
    ],
    ids=["no squeeze", "tanh without bias", "3x3 in two stages"],
)
def test_every_kind_of_block_can_be_watched_and_held(spec, options):
    model = network(se=spec, **options)
    read = read_gates(model, batches(), ORDER)
    assert len(read.blocks) == len(se_layers(model))
    whole, *rest = remove_stages(model, batches(), ORDER, read)
    assert whole.top1 == pytest.approx(read.right / read.images)
    assert len(rest) == 2 * (len(read.stages) + 1)
    assert any(row.loss != pytest.approx(whole.loss) for row in rest)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stage2_block3_se", ("stage2_block3", "stage2")),
        ("stage3a_se", ("stage3a", "stage3")),
        ("stage1_block2_branch1_se", ("stage1_block2_branch1", "stage1")),
        ("attention", ("attention", "attention")),
    ],
)
def test_layers_are_placed_by_their_names(name, expected):
    assert place(SqueezeExcite(name=name)) == expected


def test_a_network_without_se_is_refused():
    with pytest.raises(ValueError, match=r"must have SE blocks. Received: resnet_20_cifar, which has none"):
        read_gates(network("resnet_20_cifar"), batches(), ORDER)


# Copies and removal


@pytest.mark.engine
def test_a_copy_answers_the_same_and_leaves_no_trace(model, removals):
    layer = se_layers(model)[0]
    before = to_numpy(model(PREPROCESS(SPLIT.images), training=False))
    copy = copied(model)
    np.testing.assert_array_equal(to_numpy(copy(PREPROCESS(SPLIT.images), training=False)), before)
    assert layer.input is layer.input  # Keras refuses this where a layer was called again
    copy.get_layer(layer.name).reduce.kernel.assign(0 * copy.get_layer(layer.name).reduce.kernel)
    np.testing.assert_array_equal(to_numpy(model(PREPROCESS(SPLIT.images), training=False)), before)


class Held(SqueezeExcite):
    """Gates that are what they are told to be."""

    values = None

    def gates(self, x):
        return keras.ops.convert_to_tensor(self.values.reshape(1, 1, 1, -1)) + 0 * super().gates(x)


@pytest.mark.engine
@pytest.mark.parametrize("stage", ["stage2", ALL])
@pytest.mark.parametrize("instead", [MEAN, ONE])
def test_removal_is_the_network_with_constant_gates(model, read, removals, stage, instead):
    constants = {block.name: block.mean.astype(np.float32) for block in read.blocks}

    def change(layer):
        if not isinstance(layer, SqueezeExcite) or stage not in (ALL, place(layer)[1]):
            return None
        held = Held.from_config(layer.get_config())
        constant = constants[place(layer)[0]]
        held.values = constant if instead == MEAN else np.ones_like(constant)
        return held

    logits = to_numpy(copied(model, change)(PREPROCESS(SPLIT.images), training=False))
    whole = to_numpy(model(PREPROCESS(SPLIT.images), training=False))
    found, place_of = removals[stage, instead], np.arange(len(SPLIT))
    right = logits.argmax(axis=1) == SPLIT.labels
    right_whole = whole.argmax(axis=1) == SPLIT.labels
    assert found.top1 == pytest.approx(right.mean())
    assert found.loss == pytest.approx(-np.log(softmax(logits)[place_of, SPLIT.labels]).mean(), rel=1e-4)
    assert found.top1_change == pytest.approx(right.mean() - right_whole.mean())
    spread = np.std(right.astype(float) - right_whole, ddof=1)
    assert found.top1_error == pytest.approx(spread / np.sqrt(len(SPLIT)))
    assert found.answers_changed == pytest.approx(np.mean(logits.argmax(1) != whole.argmax(1)))
    assert np.abs(logits - whole).max() > 1e-3
    assert removals["", ""].top1_change == removals["", ""].loss_change == 0


def test_costs_add_up_and_are_those_of_the_paper():
    costs = se_costs(senet.create_model("se_resnet_50"), (224, 224, 3))
    *stages, whole = costs
    assert whole.stage == ALL
    assert whole.parameters == sum(cost.parameters for cost in stages)
    assert whole.multiply_adds == sum(cost.multiply_adds for cost in stages)
    # (2 / r) Σ N C² (eq. 5) and the biases; the paper: most of them in the last stage, which is the one
    # that it says can go.
    widths = {"stage1": (256, 3), "stage2": (512, 4), "stage3": (1024, 6), "stage4": (2048, 3)}
    for cost in stages:
        channels, blocks = widths[cost.stage]
        hidden = channels // 16
        assert cost.parameters == blocks * (2 * channels * hidden + hidden + channels)
    assert 0.5 < stages[-1].parameters / whole.parameters < 0.7
    assert whole.parameters_share == pytest.approx(whole.parameters / 28_141_144, rel=0.01)
