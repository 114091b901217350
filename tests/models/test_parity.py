"""The same weights and the same image give the logits that the peer gave (see tests/parity/)."""

import re

import numpy as np
import pytest

import senet
from tests.models.step import to_numpy
from tests.parity import mapping
from tests.parity import reference_weights as peer


@pytest.mark.parametrize(
    ("source", "name", "names"),
    [
        pytest.param(
            "pytorchcv_seresnet20_cifar10", "se_resnet_20_cifar", mapping.pytorchcv, marks=pytest.mark.engine
        ),
        ("pytorchcv_seresnet164bn_cifar10", "se_resnet_164_cifar", mapping.pytorchcv),
        ("timm_legacy_seresnet50", "se_resnet_50", mapping.timm_legacy),
        ("timm_resnet50", "resnet_50b", mapping.timm),
    ],
)
def test_logits_are_those_of_the_peer(source, name, names):
    model = senet.create_model(name, classifier_activation=None)
    mapping.fill(model, peer.state_dict(peer.load_manifest(source)), names)
    golden = {key: value for key, value in peer.load_golden(source).items() if key.startswith("logits")}
    assert golden
    for key, expected in golden.items():
        height, width, seed = map(int, re.fullmatch(r"logits_(\d+)x(\d+)_s(\d+)", key).groups())
        logits = to_numpy(model(peer.image((1, height, width, 3), seed=seed)))
        assert np.linalg.norm(logits - expected) / np.linalg.norm(expected) <= 1e-5, key
