"""The graph itself: strides, pools, SE widths and positions, BatchNorm, names."""

import re

import keras
import numpy as np
import pytest

import senet
from senet.layers import BatchNorm, SESpec, SqueezeExcite
from senet.zoo import get_spec
from tests.layers import reference
from tests.models.graph import consumers, producers
from tests.models.step import to_numpy

SMALL = {"blocks": (2, 2, 2), "widths": (8, 16, 24), "stem_width": 8}
BASIC, BOTTLENECK = "se_resnet_20_cifar", "se_resnet_164_cifar"


@pytest.fixture(scope="module")
def networks():
    return {
        name: senet.create_model(name) for name in ("se_resnet_18", "se_resnet_50", "se_resnet_50b", BASIC)
    }


def layers_of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


FIRST_BLOCKS = ("stage2_block1", "stage3_block1", "stage4_block1")


@pytest.mark.parametrize(
    ("name", "carrier", "stem"),
    [
        ("se_resnet_18", "spatial1", {"stem_conv"}),
        ("se_resnet_50", "reduce", {"stem_conv"}),
        ("se_resnet_50b", "spatial", {"stem_conv"}),
        (BASIC, "spatial1", set()),
    ],
)
def test_stride_sits_where_the_spec_says(networks, name, carrier, stem):
    convolutions = layers_of(networks[name], keras.layers.Conv2D)
    blocks = FIRST_BLOCKS[: 2 if name == BASIC else 3]
    expected = stem | {f"{block}_{part}_conv" for block in blocks for part in (carrier, "shortcut")}
    assert {layer.name for layer in convolutions if layer.strides == (2, 2)} == expected
    assert {layer.strides for layer in convolutions} == {(1, 1), (2, 2)}


def test_stem_is_7_by_7_and_pooled(networks):
    model = networks["se_resnet_50"]
    stem = model.get_layer("stem_conv")
    assert (stem.kernel_size, stem.filters) == ((7, 7), 64)
    assert producers(model)["stem_pool_pad"] == ["stem_act"]
    assert consumers(model, "stem_pool") == {"stage1_block1_reduce_conv", "stage1_block1_shortcut_conv"}


def test_cifar_stem_is_3_by_3_without_pool(networks):
    stem = networks[BASIC].get_layer("stem_conv")
    assert (stem.kernel_size, stem.filters, stem.strides) == ((3, 3), 16, (1, 1))
    assert not layers_of(networks[BASIC], keras.layers.MaxPooling2D)


@pytest.mark.parametrize("size", [(97, 129), (64, 70), (34, 33)])
@pytest.mark.parametrize(
    ("name", "pool"), [("se_resnet_50", reference.pool_ceil), ("se_resnet_50b", reference.pool_pad)]
)
def test_pool_rule_of_the_row(networks, name, pool, size):
    """The authors' rows pool as Caffe does, the `b` rows as PyTorch does."""
    model = networks[name]
    stem = keras.Model(model.input, [model.get_layer("stem_act").output, model.get_layer("stem_pool").output])
    before, after = map(to_numpy, stem(np.random.default_rng(0).normal(size=(1, *size, 3)).astype("float32")))
    np.testing.assert_array_equal(after, pool(before).astype("float32"))


def test_pool_rule_is_a_spec_change():
    model = senet.create_model("se_resnet_18", input_shape=(97, 129, 3), stem_pool="pad")
    assert model.get_layer("stem_pool").output.shape == (None, 25, 33, 64)
    assert senet.create_model("se_resnet_18", input_shape=(97, 129, 3)).get_layer(
        "stem_pool"
    ).output.shape == (
        None,
        24,
        32,
        64,
    )


@pytest.mark.parametrize("name", ["se_resnet_18", "se_resnet_50", "se_resnet_50b", BASIC])
def test_batch_norm_constants(networks, name):
    norms = layers_of(networks[name], keras.layers.BatchNormalization)
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-5, 0.9)}
    assert len(norms) == len(layers_of(networks[name], keras.layers.Conv2D))


def test_batch_norm_constants_are_spec_changes():
    model = senet.create_model(BOTTLENECK, **SMALL, bn_epsilon=1e-3, bn_momentum=0.99)
    norms = layers_of(model, keras.layers.BatchNormalization)
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-3, 0.99)}


@pytest.mark.parametrize(
    ("name", "changes", "widths"),
    [
        ("se_resnet_50", {}, [16] * 3 + [32] * 4 + [64] * 6 + [128] * 3),  # the paper's Table 1
        ("se_resnet_50", {"se": SESpec(position="3x3")}, [4] * 3 + [8] * 4 + [16] * 6 + [32] * 3),
        (
            "se_resnet_50",
            {"se": SESpec(position="pre")},
            [4, 16, 16] + [16, 32, 32, 32] + [32] + [64] * 6 + [128] * 2,
        ),
        ("se_resnet_18", {"se": SESpec(divisor=8)}, [8, 8, 8, 8, 16, 16, 32, 32]),  # timm's
        ("se_resnet_18", {"se": {"ratio": 4}}, [16, 16, 32, 32, 64, 64, 128, 128]),  # from a recipe file
        (BASIC, {}, [1, 1, 1, 2, 2, 2, 4, 4, 4]),
        (BASIC, {"se": SESpec(min_width=3)}, [3, 3, 3, 3, 3, 3, 4, 4, 4]),
    ],
)
def test_hidden_widths_follow_the_spec(name, changes, widths):
    found = layers_of(senet.create_model(name, **changes), SqueezeExcite)
    assert [layer.reduce.units for layer in found] == widths
    assert [layer.expand.units for layer in found] == [layer.output.shape[-1] for layer in found]


def test_se_options_reach_every_layer():
    spec = SESpec(ratio=4, divisor=2, min_width=3, bias=False, squeeze="max", gate="tanh")
    found = layers_of(senet.create_model(BASIC, **SMALL, se=spec), SqueezeExcite)
    assert len(found) == 6
    assert {layer.spec for layer in found} == {spec}


B1, B2 = "stage2_block1", "stage2_block2"  # with and without a projection on the shortcut


@pytest.mark.parametrize(
    ("name", "position", "block", "reads", "read_by", "summed"),
    [
        (BOTTLENECK, "standard", B1, f"{B1}_expand_bn", {f"{B1}_add"}, [f"{B1}_shortcut_bn", f"{B1}_se"]),
        (BOTTLENECK, "standard", B2, f"{B2}_expand_bn", {f"{B2}_add"}, [f"{B1}_act", f"{B2}_se"]),
        (
            BOTTLENECK,
            "pre",
            B1,
            "stage1_block2_act",
            {f"{B1}_reduce_conv"},
            [f"{B1}_shortcut_bn", f"{B1}_expand_bn"],
        ),
        (BOTTLENECK, "pre", B2, f"{B1}_act", {f"{B2}_reduce_conv"}, [f"{B1}_act", f"{B2}_expand_bn"]),
        (
            BOTTLENECK,
            "post",
            B1,
            f"{B1}_act",
            {f"{B2}_reduce_conv", f"{B2}_add"},
            [f"{B1}_shortcut_bn", f"{B1}_expand_bn"],
        ),
        (
            BOTTLENECK,
            "post",
            B2,
            f"{B2}_act",
            {"stage3_block1_reduce_conv", "stage3_block1_shortcut_conv"},
            [f"{B1}_se", f"{B2}_expand_bn"],
        ),
        (BOTTLENECK, "identity", B1, f"{B1}_shortcut_bn", {f"{B1}_add"}, [f"{B1}_se", f"{B1}_expand_bn"]),
        (BOTTLENECK, "identity", B2, f"{B1}_act", {f"{B2}_add"}, [f"{B2}_se", f"{B2}_expand_bn"]),
        (
            BOTTLENECK,
            "3x3",
            B1,
            f"{B1}_spatial_act",
            {f"{B1}_expand_conv"},
            [f"{B1}_shortcut_bn", f"{B1}_expand_bn"],
        ),
        (BOTTLENECK, "3x3", B2, f"{B2}_spatial_act", {f"{B2}_expand_conv"}, [f"{B1}_act", f"{B2}_expand_bn"]),
        (BASIC, "standard", B2, f"{B2}_spatial2_bn", {f"{B2}_add"}, [f"{B1}_act", f"{B2}_se"]),
        (BASIC, "pre", B2, f"{B1}_act", {f"{B2}_spatial1_conv"}, [f"{B1}_act", f"{B2}_spatial2_bn"]),
        (
            BASIC,
            "post",
            B1,
            f"{B1}_act",
            {f"{B2}_spatial1_conv", f"{B2}_add"},
            [f"{B1}_shortcut_bn", f"{B1}_spatial2_bn"],
        ),
        (BASIC, "identity", B1, f"{B1}_shortcut_bn", {f"{B1}_add"}, [f"{B1}_se", f"{B1}_spatial2_bn"]),
        (BASIC, "3x3", B2, f"{B2}_spatial1_act", {f"{B2}_spatial2_conv"}, [f"{B1}_act", f"{B2}_spatial2_bn"]),
    ],
)
def test_se_position(name, position, block, reads, read_by, summed):
    """Figure 5 of the paper, and its Table 15: what the SE layer reads, who reads it, what is summed."""
    model = senet.create_model(name, **SMALL, se=SESpec(position=position))
    assert producers(model)[f"{block}_se"] == [reads]
    assert consumers(model, f"{block}_se") == read_by
    assert producers(model)[f"{block}_add"] == summed
    assert producers(model)[f"{block}_act"] == [f"{block}_add"]
    assert len(layers_of(model, SqueezeExcite)) == 6


def test_projection_reads_the_block_input_without_gate():
    model = senet.create_model(BOTTLENECK, **SMALL, se=SESpec(position="pre"))
    assert producers(model)["stage2_block1_shortcut_conv"] == ["stage1_block2_act"]


@pytest.mark.parametrize("stages", [(1,), (2, 3), (1, 3), None])
def test_stages_that_carry_se(stages):
    model = senet.create_model(BASIC, **SMALL, se=SESpec(stages=stages))
    expected = [f"stage{stage}_block{block}_se" for stage in stages or (1, 2, 3) for block in (1, 2)]
    assert [layer.name for layer in layers_of(model, SqueezeExcite)] == expected


def test_stages_beyond_the_network_are_refused():
    with pytest.raises(ValueError, match=r"`stages` must lie in 1\.\.3 here\. Received: \[4\]"):
        senet.create_model(BASIC, se=SESpec(stages=(3, 4)))


def test_resnet_18_is_made_of_basic_blocks(networks):
    model = networks["se_resnet_18"]
    kernels = {layer.name: layer.kernel_size for layer in layers_of(model, keras.layers.Conv2D)}
    branch = {name: size for name, size in kernels.items() if "shortcut" not in name and name != "stem_conv"}
    assert list(branch) == [
        f"stage{stage}_block{block}_spatial{i}_conv"
        for stage in (1, 2, 3, 4)
        for block in (1, 2)
        for i in (1, 2)
    ]
    assert set(branch.values()) == {(3, 3)}
    assert model.get_layer("pool").input.shape == (None, None, None, 512)


def test_shortcuts_are_projected_only_where_the_shape_changes(networks):
    projected = {
        name: [layer.name for layer in layers_of(model, keras.layers.Conv2D) if "shortcut" in layer.name]
        for name, model in networks.items()
    }
    behind_stride = [f"{block}_shortcut_conv" for block in FIRST_BLOCKS]
    assert projected["se_resnet_18"] == behind_stride
    assert projected["se_resnet_50"] == ["stage1_block1_shortcut_conv", *behind_stride]
    assert projected[BASIC] == behind_stride[:2]


ROWS = [
    *senet.list_models("*_18"),
    *senet.list_models("*_50*"),
    *senet.list_models("*_26*"),
    *senet.list_models("*_164_cifar"),
    "se_resnet_33ts",
    "senet_154",
    "se_shake_even_29_2x4x64d_cifar",
    BASIC,
]
NAMES = re.compile(
    r"image|stem[123]?_(pad|conv|bn|act)|stem_pool(_pad|_windows|_odd)?|(last|head)_(conv|bn|act)"
    r"|pool|dropout|classifier|predictions"
    r"|stage\d_block\d+_((branch[12]_)?(reduce|spatial[12]?|expand|shortcut[12]?|preact)_(pad|conv|bn|act|pool|crop|concat)"
    r"|se|se_act|mix|drop_path|add|act)"
)


@pytest.mark.parametrize("name", ROWS)
def test_names_follow_one_scheme(name):
    blocks = (2,) * len(get_spec(name).blocks)  # deeper is more of the same
    model = senet.create_model(name, blocks=blocks, dropout=0.2, drop_path=0.1)
    names = [layer.name for layer in model.layers]
    assert [name for name in names if not NAMES.fullmatch(name)] == []
    assert len(set(names)) == len(names)
    assert model.name == name


@pytest.mark.parametrize("name", ["se_resnet_50", BASIC])
def test_layers_are_keras_own_or_of_this_package(networks, name):
    foreign = {
        type(layer) for layer in networks[name].layers if not type(layer).__module__.startswith("keras")
    }
    assert foreign == {SqueezeExcite, BatchNorm}
    assert not layers_of(networks[name], keras.layers.Lambda)


@pytest.mark.parametrize("name", ["se_resnet_50", BASIC])
def test_convolutions_have_no_bias_and_start_from_he(networks, name):
    for layer in layers_of(networks[name], keras.layers.Conv2D):
        assert not layer.use_bias
        assert isinstance(layer.kernel_initializer, keras.initializers.HeNormal)


def test_activation_is_a_spec_change():
    model = senet.create_model(BASIC, **SMALL, act="gelu")
    used = {layer.name: layer.activation for layer in layers_of(model, keras.layers.Activation)}
    assert used.pop("predictions") is keras.activations.softmax
    assert set(used.values()) == {keras.activations.gelu}
    assert {"stem_act", "stage1_block1_spatial1_act", "stage1_block1_act"} < set(used)
