"""What holds for every network: shapes, gradients, constants of its spec, saving, features."""

import itertools

import keras
import numpy as np
import pytest

from senet.layers import SqueezeExcite
from senet.models.spec import ResidualSpec
from senet.models.tables import MODELS
from tests.models import representatives as tables
from tests.models.step import to_numpy, train_one_step, unmoved

ON_EVERY_ENGINE = (
    "se_resnet_10",
    "se_resnet_33ts",
    "se_resnext_26_32x4d",
    "senet_154",
    "se_preact_resnet_164_cifar",
    "se_shake_shake_26_2x32d_cifar",
)
RESIDUAL = [name for name in tables.NAMES if isinstance(MODELS[name], ResidualSpec)]


def every(engines: bool = False):
    """The residual networks; test_other_families.py holds the others to the same."""
    for name in RESIDUAL:
        marks = [pytest.mark.slow] * (name in tables.HEAVY or not name.startswith("se"))
        marks += [pytest.mark.engine] * (engines and name in ON_EVERY_ENGINE)
        yield pytest.param(name, marks=marks)


def images(name: str, count: int) -> np.ndarray:
    shape = (count, *tables.side(name), 3)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_the_names_are_still_rows():
    assert set(ON_EVERY_ENGINE) <= set(tables.NAMES)
    assert set(tables.HEAVY) <= set(tables.NAMES)


@pytest.mark.parametrize("name", every(engines=True))
def test_a_step_moves_every_weight_and_a_file_brings_them_back(name, tmp_path):
    keras.utils.set_random_seed(0)
    network = tables.build(name, dropout=0.0)
    batch = images(name, 4)
    loss, moves = train_one_step(network, batch, np.array([0, 1, 2, 3]), "sparse_categorical_crossentropy")
    assert np.isfinite(loss)
    assert len(moves) == len(network.trainable_variables)
    assert unmoved(moves) == []

    answer = to_numpy(network(batch[:2]))
    assert answer.shape == (2, 7)
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-4)
    network.save(tmp_path / "whole.keras")
    loaded = keras.saving.load_model(tmp_path / "whole.keras", safe_mode=True)
    np.testing.assert_allclose(to_numpy(loaded(batch[:2])), answer, rtol=1e-4, atol=1e-6)
    again = tables.build(name, dropout=0.0, weights=tmp_path / "whole.keras")
    np.testing.assert_allclose(to_numpy(again(batch[:2])), answer, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", tables.NAMES)
def test_constants_are_those_of_the_spec(name):
    spec = MODELS[name].change(**tables.shallow(name))
    network = tables.build(name)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(layer.epsilon, layer.momentum) for layer in norms} == {(spec.bn_epsilon, spec.bn_momentum)}
    blocks = [layer for layer in network.layers if isinstance(layer, SqueezeExcite)]
    assert bool(blocks) == (spec.se is not None)
    for layer in blocks:
        channels = layer.input.shape[-1]
        assert layer.reduce.kernel.shape == (channels, spec.se.hidden_width(channels))
        assert layer.expand.kernel.shape == (spec.se.hidden_width(channels), channels)
        assert layer.reduce.use_bias == layer.expand.use_bias == spec.se.bias


@pytest.mark.parametrize("name", RESIDUAL)
def test_strides_groups_and_pools_are_those_of_the_spec(name):
    spec = MODELS[name].change(**tables.shallow(name))
    network = tables.build(name)
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    strided = {layer.name for layer in convolutions if layer.strides == (2, 2)}
    first = {"basic": "spatial1", "bottleneck": "reduce" if spec.stride_on == "1x1" else "spatial"}[
        spec.block
    ]
    branches = ("branch1_", "branch2_") if spec.mix else ("",)
    expected = {"stem": {"stem_conv"}, "deep": {"stem1_conv"}}.get(
        "stem" if spec.stem == "imagenet" else spec.stem, set()
    )
    expected = set(expected) | ({"stem3_conv"} if spec.stem_pool == "stride" else set())
    shortcuts = {"avg": (), "shifted": ("shortcut1", "shortcut2")}.get(spec.shortcut, ("shortcut",))
    for stage in spec.stages[1:]:
        block = f"stage{stage.number}_block1"
        expected |= {f"{block}_{branch}{first}_conv" for branch in branches if not spec.antialias}
        expected |= {f"{block}_{shortcut}_conv" for shortcut in shortcuts}
    assert strided == expected

    grouped = {
        layer.name: (layer.groups, layer.filters) for layer in convolutions if getattr(layer, "groups", 1) > 1
    }
    wanted = {
        f"stage{stage.number}_block{index + 1}_{branch}spatial_conv": (stage.groups, stage.width)
        for stage in spec.stages
        for index in range(len(stage.drop_path))
        for branch in branches
        if stage.groups > 1
    }
    assert grouped == wanted

    border = {"ceil": ((0, 1), (0, 1)), "pad": ((1, 1), (1, 1))}.get(spec.stem_pool)
    if spec.stem_stride == 4 and border and spec.act != "relu":  # zeros would not do as a border
        assert network.get_layer("stem_pool_windows").padding == "same"
        assert ("stem_pool_odd" in {layer.name for layer in network.layers}) == (spec.stem_pool == "ceil")
    elif spec.stem_stride == 4 and border:
        assert network.get_layer("stem_pool_pad").padding == border
        assert isinstance(network.get_layer("stem_pool"), keras.layers.MaxPooling2D)
    else:
        assert "stem_pool_pad" not in {layer.name for layer in network.layers}


@pytest.mark.parametrize("name", tables.NAMES)
def test_features_halve_and_end_in_the_last_map(name):
    spec = MODELS[name]
    pyramid = tables.build(name, features_only=True, classes=None)
    strides = [int(key.removeprefix("stride_")) for key in pyramid.output]
    assert strides == sorted(strides)
    assert strides[-1] == spec.stride
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(strides))
    trunk = tables.build(name, include_top=False, classes=None)
    assert pyramid.output[f"stride_{spec.stride}"].shape == trunk.output.shape


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", [name for name in tables.NAMES if MODELS[name].se is not None])
def test_half_precision_trains_without_nan(name, policy):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    network = tables.build(name, dropout=0.0)
    optimizer = keras.optimizers.SGD(0.01)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=128.0)
    batch = images(name, 4)
    eager = keras.backend.backend() == "tensorflow"  # as in step.py
    network.compile(optimizer, "sparse_categorical_crossentropy", run_eagerly=eager)
    losses = [float(network.train_on_batch(batch, np.array([0, 1, 2, 3]))) for _ in range(2)]
    assert np.isfinite(losses).all()
    answer = to_numpy(network(batch))
    assert np.isfinite(answer).all()
    assert answer.dtype == np.float32
