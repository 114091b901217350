"""`create_model(weights=TAG)`, from a server on loopback to the answers of the source."""

import numpy as np
import pytest

import senet
from senet.weights.architectures import ARCHITECTURES
from senet.weights.catalogue import DEFAULT_TAGS, entries, find
from senet.zoo import get_spec, key, pinned_spec
from tests.models.step import to_numpy
from tests.parity import fixtures
from tests.weights.server import serving

TAG, MODEL, SOURCE = "timm/seresnext26d_32x4d.bt_in1k", "se_resnext_26_32x4d", "timm_seresnext26d_32x4d"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("SENET_OFFLINE", "HF_HUB_OFFLINE", "SENET_MIRROR", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return tmp_path / "cache"


def test_a_tag_is_downloaded_once_and_answers_as_its_source(tmp_path, monkeypatch):
    content = fixtures.write_checkpoint(SOURCE, tmp_path).read_bytes()
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        path = server.publish(find(TAG).hf_repo, content)
        network = senet.create_model(MODEL, weights=TAG, classifier_activation=None)
        assert len(server.gets(path)) == 1
    errors = fixtures.errors(network, SOURCE)
    assert max(errors.values()) <= fixtures.TOLERANCE, errors
    assert network.preprocess == find(TAG).preprocess
    assert (network.preprocess.resize, network.preprocess.crop) == (256, 224)

    # The server is gone, and so is every address.
    monkeypatch.setenv("SENET_OFFLINE", "1")
    seven = senet.create_model(MODEL, weights=TAG, classes=7)
    assert seven.output_shape == (None, 7)
    for before, after in zip(network.weights[:-2], seven.weights[:-2], strict=True):
        assert before.path == after.path
        np.testing.assert_array_equal(to_numpy(before), to_numpy(after))
    trunk = senet.create_model(MODEL, weights=TAG, include_top=False, input_shape=(64, 64, 1))
    assert trunk.output_shape == (None, 2, 2, 2048)


def test_offline_without_a_cache_is_a_clear_error(cache, monkeypatch):
    monkeypatch.setenv("SENET_OFFLINE", "1")
    with pytest.raises(OSError, match=rf"(?s){TAG}.*SENET_OFFLINE"):
        senet.create_model(MODEL, weights=TAG)
    assert [path for path in cache.rglob("*") if path.suffix in (".h5", ".safetensors")] == []


def test_a_tag_of_another_network_names_the_right_one():
    with pytest.raises(
        ValueError, match=rf"'{TAG}' holds weights of '{MODEL}'.*senet.create_model\('{MODEL}'"
    ):
        senet.create_model("se_resnet_50", weights=TAG)
    with pytest.raises(ValueError, match="holds weights of 'se_resnet_50'"):
        senet.create_model("resnet_50", weights="timm/legacy_seresnet50.in1k")


def test_an_unknown_tag_lists_those_of_the_network():
    with pytest.raises(
        ValueError, match=r"Did you mean .*Of 'se_resnet_50' there are: .*timm/legacy_seresnet50"
    ):
        senet.create_model("se_resnet_50", weights="timm/legacy_seresnet50")


def test_a_network_without_a_default_says_so():
    with pytest.raises(ValueError, match="no default ImageNet weights for 'se_resnet_20_cifar'"):
        senet.create_model("se_resnet_20_cifar", weights="imagenet")


@pytest.mark.parametrize(("model", "tag"), DEFAULT_TAGS.items())
def test_a_default_tag_fits_its_network(model, tag):
    pinned = pinned_spec(model, find(tag))
    assert type(pinned) is type(get_spec(model))
    assert (pinned.se is None) == (get_spec(model).se is None)


def test_a_weight_set_pins_the_variant_of_its_source():
    """timm's seresnet50 has the stride on the 3×3 and PyTorch's pool; the row has neither."""
    row, pinned = get_spec("se_resnet_50"), pinned_spec("se_resnet_50", find("timm/seresnet50.ra2_in1k"))
    assert (row.stride_on, row.stem_pool) == ("1x1", "ceil")
    assert (pinned.stride_on, pinned.stem_pool, pinned.se.divisor) == ("3x3", "pad", 8)


def test_every_entry_has_an_architecture():
    assert {key(entry) for entry in entries().values()} <= ARCHITECTURES.keys()
    with_weights = senet.list_models(weights=True)
    assert set(DEFAULT_TAGS) <= set(with_weights)
    assert "se_resnet_20_cifar" in with_weights
    assert "se_vgg_16" not in with_weights
