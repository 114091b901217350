"""The measured difference of a conversion, and why there is none."""

import sys
import types

import numpy as np
import pytest

import senet
from senet.weights import peers
from senet.weights.architectures import find_architecture
from tests.parity import fixtures

SOURCE = "pytorchcv_seresnet20_cifar10"


@pytest.fixture
def converted(tmp_path):
    path = fixtures.write_checkpoint(SOURCE, tmp_path)
    return (
        path,
        find_architecture(fixtures.architecture(SOURCE)),
        senet.from_checkpoint(path, fixtures.architecture(SOURCE)),
    )


def test_a_runtime_that_lacks_a_part_is_named(converted, monkeypatch):
    def lacking(name, classes):
        raise ImportError("No module named 'torchvision'")

    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.setitem(peers.RUNTIMES, "pytorchcv", lacking)
    assert peers.compare(*converted) == {
        "not_measured": "pytorchcv cannot be used here: No module named 'torchvision'"
    }


def test_caffe_cannot_be_asked(converted):
    path, _, network = converted
    assert "prototxt" in peers.compare(path, find_architecture("caffe/SE-ResNet-50"), network)["not_measured"]


def test_the_difference_is_that_of_the_logits(converted, monkeypatch):
    """A peer that answers with our own logits, a thousandth larger."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    path, architecture, network = converted

    class Peer:
        def load_state_dict(self, tensors, strict):
            assert not strict
            return [], []

        def eval(self):
            return lambda images: torch.from_numpy(
                np.array(network.predict_on_batch(images.numpy().transpose(0, 2, 3, 1))) * np.float32(1.001)
            )

    monkeypatch.setitem(peers.RUNTIMES, "pytorchcv", lambda name, classes: Peer())
    found = peers.compare(path, architecture, network)
    assert found["relative_difference"] == pytest.approx(0.001 / 1.001, rel=1e-3)
    assert (found["same_top1"], found["image_size"], found["images"]) == (True, 32, 2)
