"""Conversions: one to one or refused, mended where the source differs, and bit-equal on the way back."""

import json
import logging
import math

import keras
import numpy as np
import pytest

import senet
from senet.data.labels import imagenet_classes
from senet.weights.architectures import ARCHITECTURES, find_architecture
from senet.weights.catalogue import entries
from senet.weights.convert import COUNTER, make_plan, source_network
from senet.weights.tensors import read_tensors, write_tensors
from senet.zoo import convert
from tests.models.step import to_numpy
from tests.parity import fixtures
from tests.parity import reference_weights as peer

SMALL = "pytorchcv_seresnet20_cifar10"
ARCHITECTURE = "pytorchcv/seresnet20_cifar10"


@pytest.fixture(scope="module")
def tensors():
    return peer.state_dict(peer.load_manifest(SMALL))


@pytest.fixture
def checkpoint(tmp_path):
    return fixtures.write_checkpoint(SMALL, tmp_path)


def values_of(network) -> dict[str, np.ndarray]:
    return {variable.path: to_numpy(variable) for variable in network.weights}


def test_the_report_names_every_tensor_once(checkpoint, tensors):
    network, report = convert(checkpoint, ARCHITECTURE)
    sources = [rule.source for rule in report.rules]
    assert sorted([*sources, *report.left_out]) == sorted(tensors)
    assert [rule.variable for rule in report.rules] == [variable.path for variable in network.weights]
    assert all(name.endswith(COUNTER) for name in report.left_out)
    assert (report.architecture, report.model, report.changes) == (
        ARCHITECTURE,
        "se_resnet_20_cifar",
        {"classes": 10},
    )
    assert len(report.sha256) == 64
    assert report.mended == ()
    json.dumps(report.to_json())


def test_it_ends_in_logits_and_takes_the_arguments_of_create_model(checkpoint):
    assert (
        senet.from_checkpoint(checkpoint, ARCHITECTURE).get_layer("predictions").activation.__name__
        == "linear"
    )
    features = senet.from_checkpoint(checkpoint, ARCHITECTURE, features_only=True, name="trunk")
    assert list(features.output) == ["stride_1", "stride_2", "stride_4"]
    assert features.name == "trunk"
    dropped = senet.from_checkpoint(checkpoint, ARCHITECTURE, dropout=0.3, classifier_activation="softmax")
    assert dropped.get_layer("dropout").rate == 0.3
    image = peer.image((2, 32, 32, 3), seed=5)
    np.testing.assert_allclose(dropped.predict_on_batch(image).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("output.bias"),
            r"not one to one. Unread tensors: none. Unfilled variables: output.bias\.",
        ),
        (lambda t: t.update(extra=np.zeros(3)), r"Unread tensors: extra\. Unfilled variables: none"),
        (
            lambda t: t.update({"output.weight": np.zeros((10, 65), np.float32)}),
            r"1 tensors have another shape: output.weight \(10, 65\) for classifier/kernel \(64, 10\)",
        ),
    ],
)
def test_what_is_not_one_to_one_is_refused(tmp_path, tensors, change, message):
    changed = dict(tensors)
    change(changed)
    path = tmp_path / "changed.safetensors"
    write_tensors(path, changed)
    with pytest.raises(ValueError, match=message) as caught:
        senet.from_checkpoint(path, ARCHITECTURE)
    assert str(path) in str(caught.value)


def test_another_architecture_of_the_same_source_is_refused(checkpoint):
    with pytest.raises(
        ValueError, match=r"not one to one\. Unread .* Unfilled variables: features\.stage1\.unit10"
    ):
        senet.from_checkpoint(checkpoint, "pytorchcv/seresnet110_cifar10")
    with pytest.raises(ValueError, match=r"Unread tensors: features\.stage1\.unit1\.se"):
        senet.from_checkpoint(checkpoint, "pytorchcv/resnet20_cifar10")


def test_an_unknown_architecture_gets_the_nearest_name(checkpoint):
    with pytest.raises(ValueError, match=r"Did you mean 'timm/legacy_seresnet50'"):
        senet.from_checkpoint(checkpoint, "timm/legacy_seresnet5")


def test_other_classes_keep_the_trunk_and_say_the_head_is_new(checkpoint, caplog):
    whole = values_of(senet.from_checkpoint(checkpoint, ARCHITECTURE))
    with caplog.at_level(logging.WARNING, logger="senet"):
        seven = senet.from_checkpoint(checkpoint, ARCHITECTURE, classes=7)
    assert caplog.messages == ["se_resnet_20_cifar: the classifier is new (7 classes; the weights have 10)."]
    values = values_of(seven)
    assert values["classifier/kernel"].shape == (64, 7)
    assert np.any(values["classifier/kernel"] != 0)
    for path in whole.keys() - {"classifier/kernel", "classifier/bias"}:
        np.testing.assert_array_equal(values[path], whole[path], err_msg=path)


def test_a_fine_tuned_file_has_its_own_classes(tmp_path, tensors):
    path = tmp_path / "tuned.safetensors"
    head = {"output.weight": tensors["output.weight"][:4], "output.bias": tensors["output.bias"][:4]}
    write_tensors(path, {**tensors, **head})
    assert senet.from_checkpoint(path, ARCHITECTURE).output_shape == (None, 4)


def test_one_channel_answers_as_its_rgb_copy_does(checkpoint, caplog):
    colour = senet.from_checkpoint(checkpoint, ARCHITECTURE)
    with caplog.at_level(logging.WARNING, logger="senet"):
        grey = senet.from_checkpoint(checkpoint, ARCHITECTURE, input_shape=(32, 32, 1))
    assert caplog.messages == ["se_resnet_20_cifar: the first kernel now takes 1 channels."]
    image = peer.image((2, 32, 32, 1), seed=2)
    copied = colour.predict_on_batch(np.repeat(image, 3, axis=-1))
    np.testing.assert_allclose(grey.predict_on_batch(image), copied, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_more_channels_repeat_and_rescale_the_kernel(checkpoint, channels):
    colour = values_of(senet.from_checkpoint(checkpoint, ARCHITECTURE))["stem_conv/kernel"]
    network = senet.from_checkpoint(checkpoint, ARCHITECTURE, input_shape=(32, 32, channels))
    kernel = values_of(network)["stem_conv/kernel"]
    for channel in range(channels):
        expected = colour[:, :, channel % 3] * (3 / channels)
        np.testing.assert_allclose(kernel[:, :, channel], expected, rtol=1e-6)
    # The sum of the weights, and so the answer to a constant image, changes only as far as 3 does not divide.
    if channels == 6:
        np.testing.assert_allclose(kernel.sum(axis=2), colour.sum(axis=2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "source",
    [
        "timm_legacy_seresnet18",
        "timm_seresnext26d_32x4d",
        "pytorchcv_seresnet20_cifar10",
        "pytorchcv_sepreresnet20_cifar10",
        "pytorchcv_shakeshakeresnet26_2x32d_cifar10",
        "pytorchcv_mobilenet_w1",
        "pytorchcv_shufflenet_g3_w1",
        "pytorchcv_bninception",
        pytest.param("timm_legacy_senet154", marks=pytest.mark.slow),
        pytest.param("timm_seresnet152d", marks=pytest.mark.slow),
        pytest.param("pytorchcv_bn_vgg16", marks=pytest.mark.slow),
        pytest.param("pytorchcv_inceptionresnetv2", marks=pytest.mark.slow),
    ],
)
def test_there_and_back_is_bit_equal(source, tmp_path):
    path = fixtures.write_checkpoint(source, tmp_path)
    network = senet.from_checkpoint(path, fixtures.architecture(source))
    back = tmp_path / "back.safetensors"
    senet.to_checkpoint(network, back, fixtures.architecture(source))
    before, after = read_tensors(path), read_tensors(back)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.dtype == after[name].dtype, name
        np.testing.assert_array_equal(value, after[name], err_msg=name)


def test_a_fine_tuned_network_goes_back_with_its_classes(checkpoint, tmp_path):
    network = senet.from_checkpoint(checkpoint, ARCHITECTURE, classes=5)
    senet.to_checkpoint(network, tmp_path / "five.safetensors", ARCHITECTURE)
    assert read_tensors(tmp_path / "five.safetensors")["output.weight"].shape == (5, 64)


@pytest.mark.parametrize(
    ("model", "architecture", "message"),
    [
        ("se_resnet_20_cifar", "caffe/SE-ResNet-50", "writes timm and pytorchcv"),
        (
            "resnet_20_cifar",
            ARCHITECTURE,
            "not a pytorchcv/.* These layers differ: stage1_block1_se",
        ),
        ("se_resnet_32_cifar", ARCHITECTURE, "These layers differ: stage1_block4"),
    ],
)
def test_another_network_is_not_written(model, architecture, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        senet.to_checkpoint(senet.create_model(model), tmp_path / "wrong.safetensors", architecture)
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_a_classifier_is_not_written(tmp_path):
    trunk = senet.create_model("se_resnet_20_cifar", include_top=False)
    with pytest.raises(ValueError, match="has no classifier"):
        senet.to_checkpoint(trunk, tmp_path / "wrong.safetensors", ARCHITECTURE)


def test_caffe_kernels_become_rgb_and_classes_sorted(tmp_path):
    source = "caffe_SE-BN-Inception"
    path = fixtures.write_checkpoint(source, tmp_path)
    network, report = convert(path, fixtures.architecture(source))
    blobs = read_tensors(path)
    kernel = blobs["conv1/7x7_s2[0]"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(values_of(network)["stem1_conv/kernel"], kernel[:, :, ::-1])
    head = next(name for name in blobs if blobs[name].shape == (1000,))
    for row in imagenet_classes()[:50]:
        assert values_of(network)["classifier/bias"][row.index] == blobs[head][row.ilsvrc2012_id - 1]
    assert [text.partition(":")[0] for text in report.mended] == [
        "stem1_conv/kernel",
        "classifier/kernel",
        "classifier/bias",
    ]


def cheap(name: str) -> bool:
    return sum(getattr(find_architecture(name).spec, "blocks", (0,))) <= 20


@pytest.mark.parametrize(
    "name",
    [  # the other two data sets change the classes only; 1001 and 1202 layers are more of the same
        pytest.param(name, marks=[] if cheap(name) else [pytest.mark.slow])
        for name in ARCHITECTURES
        if not name.endswith(("_cifar100", "_svhn", "1001_cifar10", "1202_cifar10"))
    ],
)
def test_every_architecture_names_every_tensor_once(name):
    """Each variable has one tensor name of its own, and the classifier has the source's classes."""
    architecture = find_architecture(name)
    network = source_network(architecture)
    sources = [rule.source for rule in make_plan(network, architecture)]
    assert len(set(sources)) == len(sources) == len(network.weights)
    assert network.output_shape == (None, architecture.spec.classes)
    published = {
        entry.parameters
        for entry in entries().values()
        if entry.classes == network.output_shape[1] and f"{entry.source}/{entry.architecture}" == name
    }
    if published:  # the source's own count, without BatchNorm's moving statistics
        assert {sum(math.prod(variable.shape) for variable in network.trainable_variables)} == published
    keras.utils.clear_session(free_memory=False)
