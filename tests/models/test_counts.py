"""Parameters and multiply-adds against published numbers and against the golden table.

"Paper" is arXiv:1709.01507v4. Its GFLOPs are multiply-adds for one 224×224 image.
"""

import functools

import keras
import pytest

import senet
from senet.complexity import counted
from senet.layers import SESpec
from senet.zoo import get_spec

count_cached = functools.cache(lambda name, **changes: senet.complexity(senet.create_model(name, **changes)))


def slow_where_deep(rows):
    """The networks of a hundred layers and more take seconds to build, and so do those with large kernels."""
    return [pytest.param(*row, marks=[pytest.mark.slow] if is_deep(row[0]) else []) for row in rows]


def is_deep(name):
    large = name.endswith(("vgg_16", "inception_resnet_v2"))
    return large or sum(getattr(get_spec(name), "blocks", (0,))) > 20


@pytest.mark.parametrize("name", slow_where_deep((name,) for name in senet.list_models()))
def test_counts_equal_the_golden_table(name):
    """A number that should move is written anew by `python tests/golden/update.py`."""
    assert count_cached(name) == counted()[name]


def test_golden_table_names_every_network():
    assert list(counted()) == senet.list_models()


@pytest.mark.parametrize(
    ("name", "trainable"),
    slow_where_deep(
        [  # imgclsmob (pytorchcv), which counts without BatchNorm's moving statistics
            ("resnet_50", 25_557_032),
            ("se_resnet_18", 11_778_592),
            ("se_resnet_50", 28_088_024),
            ("se_resnet_50b", 28_088_024),
            ("se_resnet_101", 49_326_872),
            ("se_resnet_152", 66_821_848),
            ("resnet_20_cifar", 272_474),
            ("resnet_56_cifar", 855_770),
            ("resnet_110_cifar", 1_730_714),
            ("resnet_164_cifar", 1_704_154),
            ("se_resnet_20_cifar", 274_847),
            ("se_resnet_56_cifar", 862_889),
            ("se_resnet_110_cifar", 1_744_952),
            ("se_resnet_164_cifar", 1_906_258),
        ]
    ),
)
def test_trainable_parameters_as_published(name, trainable):
    assert count_cached(name).trainable_parameters == trainable


def test_moving_statistics_are_in_the_total():
    counts = count_cached("resnet_50")
    assert counts.total_parameters - counts.trainable_parameters == 53_120  # two for each BatchNorm channel


@pytest.mark.parametrize(
    ("name", "giga"),
    slow_where_deep(
        [
            ("resnet_50", 3.86),
            ("se_resnet_50", 3.87),
            ("resnet_101", 7.58),
            ("se_resnet_101", 7.59),  # the paper prints 7.60; we count 7.593
            ("resnet_152", 11.30),
            ("se_resnet_152", 11.32),
            ("resnext_50_32x4d", 4.24),
            ("se_resnext_50_32x4d", 4.24),  # the paper prints 4.25; we count 4.244
            ("resnext_101_32x4d", 7.98),  # 7.99; 7.979
            ("se_resnext_101_32x4d", 7.99),  # 8.00; 7.993
            ("vgg_16", 15.47),
            ("se_vgg_16", 15.48),
            ("bn_inception", 2.03),
            ("se_bn_inception", 2.03),  # the paper prints 2.04; we count 2.034
        ]
    ),
)
def test_multiply_adds_of_paper_table_2(name, giga):
    assert round(count_cached(name).multiply_adds / 1e9, 2) == giga


@pytest.mark.parametrize(
    ("table", "change", "millions"),
    [  # the ablations of the paper leave the biases out
        ("table 10, r = 2", {"ratio": 2}, 45.677),
        ("table 10, r = 4", {"ratio": 4}, 35.617),
        ("table 10, r = 8", {"ratio": 8}, 30.587),
        ("table 10, r = 16", {}, 28.072),
        ("table 10, r = 32", {"ratio": 32}, 26.815),
        ("table 13, stage 2", {"stages": (1,)}, 25.582),
        ("table 13, stage 3", {"stages": (2,)}, 25.688),
        ("table 13, stage 4", {"stages": (3,)}, 26.343),
        ("table 15, 3×3", {"position": "3x3"}, 25.714),
    ],
)
def test_trainable_parameters_of_the_ablations(table, change, millions):
    counts = count_cached("se_resnet_50", se=SESpec(bias=False, **change))
    assert round(counts.trainable_parameters / 1e6, 3) == millions, table


def test_trainable_parameters_without_bias():
    assert count_cached("se_resnet_50", se=SESpec(bias=False)).trainable_parameters == 28_071_976


def test_multiply_adds_without_squeeze():
    """Table 16, NoSqueeze: the two layers run at every position."""
    counts = count_cached("se_resnet_50", se=SESpec(bias=False, squeeze="none"))
    assert round(counts.multiply_adds / 1e9, 2) == 4.27


@pytest.mark.parametrize("name", ["se_resnet_50", "se_resnet_20_cifar"])
def test_without_se_it_is_the_plain_twin(name):
    network = senet.create_model(name, se=None)
    plain = senet.create_model(name.removeprefix("se_"))
    assert [layer.name for layer in network.layers] == [layer.name for layer in plain.layers]
    assert senet.complexity(network) == senet.complexity(plain)
    assert not any(isinstance(layer, senet.layers.SqueezeExcite) for layer in network.layers)
    assert (
        keras.saving.serialize_keras_object(network)["config"]["layers"]
        == (keras.saving.serialize_keras_object(plain)["config"]["layers"])
    )
