"""BN-Inception, VGG, Inception-ResNet-v2, MobileNet and ShuffleNet, plain and with SE."""

import functools

import keras
import numpy as np
import pytest

import senet
from senet.layers import SESpec, SqueezeExcite
from senet.models.bn_inception import pool_branch
from tests.layers import reference
from tests.models.graph import consumers, producers
from tests.models.step import to_numpy, train_one_step, unmoved

BASES = ("bn_inception", "vgg_16", "inception_resnet_v2", "mobilenet", "shufflenet_g3")
# A few blocks of each, narrow where the rows have a width. BN-Inception has none.
SMALL = {
    "bn_inception": {},
    "vgg_16": {"blocks": (1, 2), "widths": (16, 24)},
    "inception_resnet_v2": {"blocks": (1, 1, 2)},
    "mobilenet": {"blocks": (1, 2), "widths": (16, 24), "stem_width": 8},
    "shufflenet_g3": {"blocks": (1, 2), "widths": (36, 72), "stem_width": 12},
}
build = functools.cache(lambda name, **changes: senet.create_model(name, **changes))
count = functools.cache(lambda name, **changes: senet.complexity(build(name, **changes), image_size(name)))


def image_size(name):
    return senet.zoo.get_spec(name).image_size


def fresh(base, **changes):
    """A small network with SE, from the row `base`."""
    return senet.create_model(f"se_{base}", **{**SMALL[base], **changes})


def small(base, **changes):
    """The same, built once: only to look at."""
    return build(f"se_{base}", **{**SMALL[base], **changes})


def layers_of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


LARGE = ("vgg_16", "inception_resnet_v2")


def slow_where_large(rows):
    """These two have so many weights that drawing them takes seconds."""
    return [pytest.param(*row, marks=[pytest.mark.slow] * row[0].endswith(LARGE)) for row in rows]


@pytest.mark.parametrize(
    ("name", "changes", "trainable"),
    [  # imgclsmob (pytorchcv), which counts without BatchNorm's moving statistics
        pytest.param("vgg_16", {}, 138_361_768, marks=pytest.mark.slow),
        pytest.param("inception_resnet_v2", {}, 55_843_464, marks=pytest.mark.slow),
        ("bn_inception", {"conv_bias": True}, 11_295_240),
        ("mobilenet", {}, 4_231_976),
        ("shufflenet_g3", {}, 1_865_728),
    ],
)
def test_trainable_parameters_as_published(name, changes, trainable):
    assert count(name, **changes).trainable_parameters == trainable


@pytest.mark.parametrize(
    ("base", "weights"),
    [
        ("mobilenet", 479_744),  # the paper's Table 3: 4.2 M to 4.7 M
        ("shufflenet_g3", 610_416),  # 1.8 M to 2.4 M
    ],
)
def test_weights_that_se_adds(base, weights):
    with_se = count(f"se_{base}", se=SESpec(bias=False)).trainable_parameters
    assert with_se - count(base).trainable_parameters == weights


@pytest.mark.parametrize(
    ("name", "giga"),
    slow_where_large(
        [  # the paper's Tables 2 and 3
            ("vgg_16", 15.47),
            ("se_vgg_16", 15.48),
            ("bn_inception", 2.03),
            ("se_bn_inception", 2.034),  # the paper prints 2.04
            ("mobilenet", 0.569),
            ("se_mobilenet", 0.572),
            ("shufflenet_g3", 0.139),  # the paper prints 140 M, and 142 M with SE
            ("se_shufflenet_g3", 0.141),
            ("inception_resnet_v2", 13.17),  # the paper prints 11.75, and 11.76 with SE
            ("se_inception_resnet_v2", 13.19),
        ]
    ),
)
def test_multiply_adds(name, giga):
    digits = len(str(giga).partition(".")[2])
    assert round(count(name).multiply_adds / 1e9, digits) == giga


@pytest.mark.parametrize(
    ("name", "changes", "widths"),
    [
        # models/SE-BN-Inception.prototxt
        ("se_bn_inception", {}, [16, 20, 36, 36, 36, 38, 38, 66, 64, 64]),
        ("se_mobilenet", {}, [4, 8, 8, 16, 16, 32, 32, 32, 32, 32, 32, 64, 64]),
        ("se_mobilenet", SMALL["mobilenet"] | {"se": SESpec(stages=(2,), ratio=3)}, [8, 8]),
        ("se_shufflenet_g3", {}, [13, 15, 15, 15, 15, *[30] * 7, 30, 60, 60, 60]),
        ("se_shufflenet_g3", SMALL["shufflenet_g3"] | {"se": SESpec(stages=(1,), divisor=8)}, [8]),
        ("se_vgg_16", SMALL["vgg_16"] | {"se": SESpec(ratio=4)}, [4, 6, 6]),
        ("se_inception_resnet_v2", SMALL["inception_resnet_v2"], [20, 20, 68, 68, 130, 130, 130]),
    ],
)
def test_hidden_widths(name, changes, widths):
    found = layers_of(build(name, **changes), SqueezeExcite)
    assert [layer.reduce.units for layer in found] == widths


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("se_vgg_16", [4] * 2 + [8] * 2 + [16] * 3 + [32] * 6),
        ("se_inception_resnet_v2", [20] * 11 + [68] * 21 + [130] * 11),
    ],
)
def test_hidden_widths_of_the_large_networks(name, widths):
    assert [layer.reduce.units for layer in layers_of(build(name), SqueezeExcite)] == widths


@pytest.mark.parametrize(
    ("base", "read", "by"),
    [
        (
            "bn_inception",
            ["stage3a_concat", "stage3b_concat", "stage3c_concat", "stage4a_concat", "stage4b_concat"]
            + ["stage4c_concat", "stage4d_concat", "stage4e_concat", "stage5a_concat", "stage5b_concat"],
            {"pool"},
        ),
        (
            "vgg_16",
            ["stage1_block1_spatial_act", "stage2_block1_spatial_act", "stage2_block2_spatial_act"],
            {"stage2_pool"},
        ),
        (
            "inception_resnet_v2",
            ["stage1_block1_concat", "stage1_block2_expand_conv", "stage2_block1_concat"]
            + ["stage2_block2_expand_conv", "stage3_block1_concat", "stage3_block2_expand_conv"]
            + ["stage3_block3_expand_conv"],
            {"stage3_block3_add"},
        ),
        (
            "mobilenet",
            ["stage1_block1_pointwise_act", "stage2_block1_pointwise_act", "stage2_block2_pointwise_act"],
            {"pool"},
        ),
        (
            "shufflenet_g3",
            ["stage1_block1_expand_bn", "stage2_block1_expand_bn", "stage2_block2_expand_bn"],
            {"stage2_block2_add"},
        ),
    ],
)
def test_where_the_se_blocks_sit(base, read, by):
    """What each of them reads, and what reads the last one."""
    model = small(base)
    blocks = [layer.name for layer in layers_of(model, SqueezeExcite)]
    assert sorted(producers(model)[name][0] for name in blocks) == sorted(read)
    assert consumers(model, blocks[-1]) == by


def test_branches_are_scaled_after_se_but_for_the_last():
    model = small("inception_resnet_v2")
    scales = layers_of(model, keras.layers.Rescaling)
    assert {layer.name: layer.scale for layer in scales} == {
        "stage1_block2_scale": 0.17,
        "stage2_block2_scale": 0.1,
        "stage3_block2_scale": 0.2,
    }
    assert {producers(model)[layer.name][0] for layer in scales} == {
        layer.name.replace("_scale", "_se") for layer in scales
    }
    # The last block of all has no activation either.
    assert consumers(model, "stage3_block3_add") == {"head_conv"}


@pytest.mark.parametrize("base", BASES)
def test_batch_norm_constants(base):
    norms = layers_of(small(base), keras.layers.BatchNormalization)
    epsilon = 1e-3 if base == "inception_resnet_v2" else 1e-5
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(epsilon, 0.9)}
    convolutions = layers_of(small(base), (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
    biased = {layer.name for layer in convolutions if layer.use_bias}
    assert biased == {
        "vgg_16": {"fc1"},
        "inception_resnet_v2": {
            f"{block}_expand_conv"
            for block in ("stage1_block2", "stage2_block2", "stage3_block2", "stage3_block3")
        },
    }.get(base, set())
    assert len(norms) == len(convolutions) - len(biased)


@pytest.mark.parametrize("base", BASES)
def test_batch_norm_and_activation_are_spec_changes(base):
    model = fresh(base, bn_epsilon=0.01, bn_momentum=0.5, act="silu", se=None)
    norms = layers_of(model, keras.layers.BatchNormalization)
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(0.01, 0.5)}
    acts = {layer.name: layer.activation.__name__ for layer in layers_of(model, keras.layers.Activation)}
    head = {"fc1_act", "fc2_act", "predictions"}
    assert {act for name, act in acts.items() if name not in head} == {"silu"}


@pytest.mark.parametrize(
    ("base", "changes", "shapes"),
    [  # of an image of 104×129
        ("bn_inception", {}, {4: (26, 32, 192), 8: (13, 16, 320), 16: (7, 8, 608), 32: (4, 4, 1024)}),
        (
            "vgg_16",
            {"blocks": (1, 1, 1, 1, 1), "widths": (8, 8, 16, 24, 32)},
            {4: (26, 32, 16), 8: (13, 16, 24), 16: (6, 8, 32), 32: (3, 4, 32)},
        ),
        (
            "inception_resnet_v2",
            SMALL["inception_resnet_v2"],
            {4: (22, 28, 192), 8: (10, 13, 320), 16: (4, 6, 1088), 32: (1, 2, 1536)},
        ),
        ("mobilenet", {}, {4: (26, 33, 128), 8: (13, 17, 256), 16: (7, 9, 512), 32: (4, 5, 1024)}),
        ("shufflenet_g3", {}, {4: (26, 33, 24), 8: (13, 17, 240), 16: (7, 9, 480), 32: (4, 5, 960)}),
    ],
)
def test_feature_maps(base, changes, shapes):
    """Caffe refuses a side of 104 for BN-Inception: of 13 rows its convolutions make 7, its pool 6."""
    model = senet.create_model(f"se_{base}", input_shape=(104, 129, 3), features_only=True, **changes)
    assert {name: output.shape[1:] for name, output in model.output.items()} == {
        f"stride_{stride}": shape for stride, shape in shapes.items()
    }
    assert senet.zoo.get_spec(base).stride == 32


SIDES = {"vgg_16": 4, "inception_resnet_v2": 75, "mobilenet": 4, "shufflenet_g3": 16, "bn_inception": 32}


@pytest.mark.parametrize("base", BASES)
def test_any_size_from_the_smallest_on(base):
    side, model = SIDES[base], fresh(base, classes=5, input_shape=(None, None, 1))
    for height, width in ((side, side), (side + 1, side + 23)):
        image = np.random.default_rng(0).normal(size=(2, height, width, 1)).astype("float32")
        answers = to_numpy(model(image))
        assert answers.shape == (2, 5)
        np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match=f"at least {side} pixels"):
        fresh(base, input_shape=(side, side - 1, 3))


@pytest.mark.engine
@pytest.mark.parametrize("shape", [(1, 12, 8, 2), (1, 9, 12, 2), (2, 5, 5, 2)])
def test_halving_pool_of_bn_inception(shape):
    """Caffe's windows where a side is even; centred as the convolutions beside it where it is odd."""
    x = np.random.default_rng(0).normal(size=shape).astype("float32") - 3.0  # mostly negative
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, pool_branch(inputs, "halve", name="pool"))
    # Each axis by its own rule: the columns of the one, then the rows of the other.
    rules = [reference.pool_ceil if side % 2 == 0 else reference.pool_pad for side in shape[1:3]]
    if rules[0] is rules[1]:
        expected = rules[0](x)
    else:
        wide = np.pad(x, ((0, 0), (1, 1), (0, 1), (0, 0)), constant_values=-np.inf)
        expected = reference.windows(wide, 3, 2).max(axis=(4, 5))
    np.testing.assert_array_equal(to_numpy(model(x)), expected.astype("float32"))
    assert expected.shape[1:3] == tuple(-(-side // 2) for side in shape[1:3])


def test_vgg_drops_after_both_hidden_layers():
    dropped = layers_of(small("vgg_16"), keras.layers.Dropout)
    assert [(layer.name, layer.rate) for layer in dropped] == [("fc1_dropout", 0.5), ("dropout", 0.5)]
    assert layers_of(fresh("vgg_16", dropout=0.0), keras.layers.Dropout) == []


@pytest.mark.parametrize(
    ("base", "rate"), [("inception_resnet_v2", 0.2), ("bn_inception", 0), ("mobilenet", 0), ("vgg_16", 0.5)]
)
def test_dropout_of_the_rows(base, rate):
    assert senet.zoo.get_spec(f"se_{base}").dropout == rate


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("se", "message"),
    [
        (SESpec(position="pre"), r"`position` names a place in a block of a ResNet.* position='pre'"),
        (SESpec(stages=(1, 6)), r"`stages` must lie in 1\.\.[235] here\. Received: \[6\]"),
    ],
)
def test_se_that_does_not_fit_is_refused(base, se, message):
    with pytest.raises(ValueError, match=message):
        fresh(base, se=se)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mobilenet", {"blocks": (1, 2)}, r"must name the same stages.*blocks=\(1, 2\), widths=\(64, "),
        ("vgg_16", {"blocks": (1, 2, 2, 2, 0)}, r"in numbers from 1.*blocks=\(1, 2, 2, 2, 0\)"),
        ("inception_resnet_v2", {"blocks": (10, 20)}, r"must be three numbers from 1.*\(10, 20\)"),
        ("shufflenet_g3", {"groups": 7}, r"`groups` must divide a quarter of every width.*groups=7"),
        ("shufflenet_g3", {"stem_width": 25}, r"what each stage adds .* stem_width=25"),
        ("shufflenet_g3", {"widths": (240, 480, 480)}, r"Received: groups=3.*widths=\(240, 480, 480\)"),
        ("bn_inception", {"blocks": (1, 1, 1)}, r"'blocks' is not an option of BNInceptionSpec"),
    ],
)
def test_rows_that_do_not_fit_are_refused(name, changes, message):
    with pytest.raises(ValueError, match=message):
        senet.create_model(name, **changes)


def test_lists_of_a_recipe_file_become_tuples():
    spec = senet.zoo.get_spec("mobilenet").change(blocks=[1, 1], widths=[8, 16], se={"stages": [2]})
    assert (spec.blocks, spec.widths, spec.se) == ((1, 1), (8, 16), SESpec(stages=(2,)))


@pytest.mark.parametrize("base", BASES)
def test_without_se_it_is_the_plain_twin(base):
    plain = build(base, **SMALL[base])
    left = [layer.name for layer in small(base).layers if not isinstance(layer, SqueezeExcite)]
    assert sorted(layer.name for layer in plain.layers) == sorted(left)


@pytest.mark.parametrize("change", [{"squeeze": "max"}, {"squeeze": "none"}, {"gate": "tanh", "bias": False}])
@pytest.mark.parametrize("base", ["vgg_16", "mobilenet", "shufflenet_g3"])
def test_se_ablations_apply(base, change):
    model = fresh(base, se=SESpec(ratio=4, **change))
    assert {layer.spec for layer in layers_of(model, SqueezeExcite)} == {SESpec(ratio=4, **change)}
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    assert np.isfinite(to_numpy(model(image))).all()


@pytest.mark.parametrize(
    ("base", "side", "variables"),
    [
        pytest.param("vgg_16", 16, 27, marks=pytest.mark.engine),
        pytest.param("mobilenet", 16, 35, marks=pytest.mark.engine),
        pytest.param("shufflenet_g3", 32, 44, marks=pytest.mark.engine),
        pytest.param("bn_inception", 64, 249, marks=pytest.mark.slow),
        pytest.param("inception_resnet_v2", 107, 164, marks=pytest.mark.slow),
    ],
)
def test_gradients_reach_every_weight(base, side, variables):
    keras.utils.set_random_seed(0)
    # As many hidden units as channels: of a few units all may be dead by chance.
    model = fresh(base, se=SESpec(ratio=1), classes=10, dropout=0.0)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(8, side, side, 3)).astype("float32")
    loss, moves = train_one_step(model, images, rng.integers(0, 10, 8), "sparse_categorical_crossentropy")
    assert np.isfinite(loss)
    assert len(moves) == variables
    assert unmoved(moves) == []


@pytest.mark.parametrize(
    ("base", "policy"), [("vgg_16", "mixed_float16"), ("shufflenet_g3", "mixed_bfloat16")]
)
def test_mixed_precision_predicts_as_float32_does(base, policy):
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).normal(size=(4, 24, 32, 3)).astype("float32")
    model = fresh(base, classes=10)
    keras.config.set_dtype_policy(policy)
    half = fresh(base, classes=10)
    half.set_weights(model.get_weights())
    np.testing.assert_allclose(to_numpy(half(images)), to_numpy(model(images)), atol=0.02)


@pytest.mark.engine
@pytest.mark.parametrize("base", ["vgg_16", "mobilenet", "shufflenet_g3"])
def test_saved_network_loads_in_safe_mode(base, tmp_path):
    images = np.random.default_rng(0).normal(size=(2, 33, 47, 3)).astype("float32")
    model = fresh(base, classes=10)
    model.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_allclose(to_numpy(loaded(images)), to_numpy(model(images)), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["bn_inception", "inception_resnet_v2"])
def test_weights_file_fills_the_network(base, tmp_path):
    images = np.random.default_rng(0).normal(size=(1, 90, 75, 3)).astype("float32")
    model = small(base)
    model.save_weights(tmp_path / "network.weights.h5")
    filled = fresh(base, weights=tmp_path / "network.weights.h5")
    np.testing.assert_allclose(to_numpy(filled(images)), to_numpy(model(images)), rtol=1e-6, atol=1e-7)
