"""The networks that are not ResNets against their sources: the same weights and image, the same logits."""

import re

import numpy as np
import pytest

import senet
from senet.weights.layouts import to_keras
from senet.weights.names import inception, plain
from tests.models.step import to_numpy
from tests.parity import reference_weights as peer

PINS, NAMES = {**inception.PINS, **plain.PINS}, {**inception.NAMES, **plain.NAMES}
ARCHITECTURES = [
    "caffe/SE-BN-Inception",
    "pytorchcv/bninception",
    pytest.param("pytorchcv/mobilenet_w1", marks=pytest.mark.engine),
    pytest.param("pytorchcv/shufflenet_g3_w1", marks=pytest.mark.engine),
    pytest.param("pytorchcv/bn_vgg16", marks=pytest.mark.slow),
    pytest.param("pytorchcv/inceptionresnetv2", marks=pytest.mark.slow),
]


def build(architecture, **options):
    name, changes = PINS[architecture]
    return senet.create_model(name, classifier_activation=None, **changes, **options)


def read(fixture):
    """The tensors of a fixture by name, without what no network has a variable for."""
    manifest = peer.load_manifest(fixture)
    if not fixture.startswith("caffe"):
        rows = manifest
    else:  # the third blob of a BatchNorm is a factor that the other two are already divided by
        rows = [
            (f"{layer}[{number}]", shape, kind)
            for layer, _, blobs in manifest
            for number, (shape, kind) in enumerate(blobs)
        ]
    return {name: peer.tensor(name, shape, kind) for name, shape, kind in rows if kind != "count"}


def fill(model, tensors, names, *, bgr=False):
    """Give every variable its tensor; every tensor must be used, exactly once."""
    left = dict(tensors)
    for layer in model.layers:
        if layer.weights:
            for variable, name in zip(layer.weights, names(layer.name), strict=True):
                value = to_keras(left.pop(name), layer, tuple(variable.shape))
                assert value.shape == tuple(variable.shape), (variable.path, name)
                if bgr and value.shape == (7, 7, 3, 64):
                    value = value[:, :, ::-1]
                variable.assign(value)
    assert not left, f"Unread: {sorted(left)}"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_the_source(architecture):
    fixture, model = architecture.replace("/", "_"), build(architecture)
    fill(model, read(fixture), NAMES[architecture], bgr=architecture.startswith("caffe"))
    golden = {key: value for key, value in peer.load_golden(fixture).items() if key.startswith("logits")}
    assert golden
    for key, expected in golden.items():
        height, width, seed = map(int, re.fullmatch(r"logits_(\d+)x(\d+)_s(\d+)", key).groups())
        logits = to_numpy(model(peer.image((1, height, width, 3), seed=seed)))
        assert np.linalg.norm(logits - expected) / np.linalg.norm(expected) <= 1e-5, key


@pytest.mark.parametrize(
    ("architecture", "trainable"),
    [  # as imgclsmob counts them
        ("pytorchcv/mobilenet_w3d4", 2_585_560),
        ("pytorchcv/mobilenet_wd2", 1_331_592),
        ("pytorchcv/mobilenet_wd4", 470_072),
        ("pytorchcv/shufflenet_g1_wd4", 209_746),
        ("pytorchcv/shufflenet_g3_wd4", 305_902),
        *(
            pytest.param(f"pytorchcv/{name}", trainable, marks=pytest.mark.slow)
            for name, trainable in {
                "shufflenet_g1_w1": 1_531_936,
                "shufflenet_g2_w1": 1_733_848,
                "shufflenet_g4_w1": 1_968_344,
                "shufflenet_g8_w1": 2_434_768,
                "shufflenet_g1_w3d4": 975_214,
                "shufflenet_g3_w3d4": 1_238_266,
                "shufflenet_g1_wd2": 534_484,
                "shufflenet_g3_wd2": 718_324,
                "bn_vgg11": 132_866_088,
                "bn_vgg19": 143_672_744,
                "bn_vgg16b": 138_365_992,
            }.items()
        ),
    ],
)
def test_further_architectures_have_the_published_size(architecture, trainable):
    model = build(architecture)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trainable
    sources = [name for layer in model.layers if layer.weights for name in NAMES[architecture](layer.name)]
    assert len(sources) == len(set(sources)) == len(model.weights)


def test_every_architecture_has_its_names():
    assert PINS.keys() == NAMES.keys()
    tested = {case if isinstance(case, str) else case.values[0] for case in ARCHITECTURES}
    assert tested <= PINS.keys()


@pytest.mark.parametrize("names", set(NAMES.values()), ids=lambda names: names.__name__)
def test_a_layer_that_is_not_of_the_network_is_refused(names):
    with pytest.raises(ValueError, match="No rule names the tensors of layer 'stage9_wrong'"):
        names("stage9_wrong")
