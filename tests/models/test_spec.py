"""Specs refuse what they do not know, and work out their stages."""

import dataclasses

import pytest

from senet.layers import SESpec
from senet.models.spec import ResidualSpec
from senet.models.tables import MODELS, get_spec, merge, plain_twin
from senet.zoo import list_models

SPEC = ResidualSpec(block="bottleneck", blocks=(2, 3, 1), widths=(8, 16, 32), se=SESpec(stages=(2,)))


def test_stages_are_worked_out():
    rows = [(stage.number, stage.width, stage.channels, stage.stride) for stage in SPEC.stages]
    assert rows == [(1, 8, 32, 1), (2, 16, 64, 2), (3, 32, 128, 2)]
    assert [stage.se for stage in SPEC.stages] == [None, SPEC.se, None]


@pytest.mark.parametrize(("name", "stride"), [("se_resnet_50", 32), ("se_resnet_20_cifar", 4)])
def test_stride_of_the_last_feature_map(name, stride):
    assert get_spec(name).stride == stride


def test_drop_path_grows_linearly_over_all_blocks():
    rates = [rate for stage in SPEC.change(drop_path=0.5).stages for rate in stage.drop_path]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_drop_path_of_one_block_is_zero():
    assert ResidualSpec(block="basic", blocks=(1,), widths=(8,), drop_path=0.5).stages[0].drop_path == (0,)


def test_a_spec_does_not_change_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPEC.block = "basic"
    assert SPEC.change(classes=7).classes == 7
    assert SPEC.classes == 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": "wide"}, r"`block` must be one of 'basic', 'bottleneck'.*'wide'"),
        ({"stem": "deeper"}, r"`stem` must be one of 'imagenet', 'deep', 'cifar', 'conv'.*'deeper'"),
        ({"stem_pool": "same"}, r"`stem_pool` must be one of 'ceil', 'pad', 'avg', 'stride'.*'same'"),
        ({"shortcut": "2x2"}, r"`shortcut` must be one of '1x1', '3x3', 'avg', 'shifted'.*'2x2'"),
        ({"mix": "shake"}, r"`mix` must be one of 'shake_shake', 'shake_even'.*'shake'"),
        ({"groups": 3}, r"`groups` must divide every width\. Received: groups=3"),
        ({"block": "basic", "groups": 2}, r"only block='bottleneck' has `groups`"),
        ({"mix": "shake_even", "preactivation": True}, r"`mix` and `preactivation` do not go together"),
        ({"stride_on": "7x7"}, r"`stride_on` must be one of '1x1', '3x3'.*'7x7'"),
        ({"se": True}, r"`se` must be None or an SESpec\. Received: se=True"),
        (
            {"blocks": (1, 1)},
            r"must name the same stages, .* Received: blocks=\(1, 1\), widths=\(8, 16, 32\)",
        ),
        ({"blocks": (1, 0, 1)}, r"in numbers from 1\. Received: blocks=\(1, 0, 1\)"),
        ({"blocks": (), "widths": ()}, r"in numbers from 1\. Received: blocks=\(\)"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)\. Received: 1\.0"),
        ({"drop_path": -0.1}, r"`drop_path` must be in \[0, 1\)\. Received: -0\.1"),
        ({"drop_pat": 0.1}, r"'drop_pat' is not an option of ResidualSpec\. Did you mean 'drop_path'"),
        ({"se": {"rato": 8}}, r"'rato' is not an option of SESpec\. Did you mean 'ratio'"),
    ],
)
def test_wrong_values_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        SPEC.change(**change)


def test_lists_of_a_recipe_file_become_tuples():
    assert SPEC.change(blocks=[1, 1, 1]).blocks == (1, 1, 1)


def test_se_may_be_a_mapping():
    assert SPEC.change(se={"ratio": 8, "stages": [1]}).se == SESpec(ratio=8, stages=(1,))


def test_every_se_network_of_the_paper_has_its_plain_twin():
    twins = {name: plain_twin(name) for name in [*list_models("se_*"), "senet_154"]}
    with_twin = [name for name, twin in twins.items() if twin in MODELS]
    for name in with_twin:
        assert get_spec(twins[name]) == get_spec(name).change(se=None)
    assert {
        "se_resnet_50",
        "se_resnext_101_32x4d",
        "senet_154",
        "se_bn_inception",
        "se_inception_resnet_v2",
        "se_vgg_16",
        "se_mobilenet",
        "se_shufflenet_g3",
        "se_preact_resnet_110_cifar",
        "se_preact_resnet_164_cifar",
        "se_wide_resnet_16_8_cifar",
        "se_shake_shake_26_2x96d_cifar",
        "se_shake_even_29_2x4x64d_cifar",
    } < set(with_twin)
    assert plain_twin("senet_154") == "resnext_152_64x4d"
    assert plain_twin("resnet_50") == "resnet_50"


def test_a_name_in_two_tables_is_refused():
    with pytest.raises(RuntimeError, match=r"Defined twice: \['resnet_50'\]"):
        merge(MODELS, {"resnet_50": SPEC})
