"""A converted checkpoint answers what its source's own runtime answered, at every size of the fixture."""

import pytest

import senet
from tests.parity import fixtures

# On every engine: small, and every kind of block, stem, pool, shortcut and source among them.
ESSENTIAL = (
    "caffe_SE-BN-Inception",
    "pytorchcv_mobilenet_w1",
    "pytorchcv_sepreresnet20_cifar10",
    "pytorchcv_seresnet20_cifar10",
    "pytorchcv_shakeshakeresnet26_2x32d_cifar10",
    "pytorchcv_shufflenet_g3_w1",
    "timm_legacy_seresnet18",
    "timm_seresnext26d_32x4d",
)
LARGE = (  # a hundred layers and more, or half a gigabyte of weights
    "caffe_SENet-154",
    "pytorchcv_bn_vgg16",
    "pytorchcv_inceptionresnetv2",
    "pytorchcv_seresnet164bn_cifar10",
    "pytorchcv_preresnet110_cifar10",
    "timm_legacy_senet154",
    "timm_seresnet152d",
    "timm_seresnext101_32x8d",
)


def marked(source: str):
    marks = [pytest.mark.engine] * (source in ESSENTIAL) + [pytest.mark.slow] * (source in LARGE)
    return pytest.param(source, marks=marks)


@pytest.mark.parametrize("source", map(marked, fixtures.SOURCES))
def test_logits_are_those_of_the_source(source, tmp_path):
    path = fixtures.write_checkpoint(source, tmp_path)
    network = senet.from_checkpoint(path, fixtures.architecture(source))
    errors = fixtures.errors(network, source)
    assert max(errors.values()) <= fixtures.TOLERANCE, errors


def test_the_fixtures_are_all_here():
    assert set(ESSENTIAL) | set(LARGE) < set(fixtures.SOURCES)
    assert len(fixtures.SOURCES) == 25
