"""The constructors have the signature and the manner of keras.applications."""

import inspect

import keras
import pytest

import senet
from senet.keras_fn import se_resnet

SMALL = {"blocks": (1, 1, 1, 1), "widths": (8, 12, 16, 24), "stem_width": 8}
CONSTRUCTORS = {
    "SE_ResNet_18": "se_resnet_18",
    "SE_ResNet_34": "se_resnet_34",
    "SE_ResNet_50": "se_resnet_50",
    "SE_ResNet_101": "se_resnet_101",
    "SE_ResNet_152": "se_resnet_152",
}


@pytest.mark.parametrize(("title", "name"), CONSTRUCTORS.items())
def test_arguments_are_those_of_keras_applications(title, name):
    ours = list(inspect.signature(getattr(se_resnet, title)).parameters.values())
    theirs = list(inspect.signature(keras.applications.ResNet50).parameters.values())
    assert [p.name for p in ours[: len(theirs)]] == [p.name for p in theirs]
    assert [p.kind for p in ours[: len(theirs)]] == [p.kind for p in theirs]
    # Random weights unless asked, as there are none to download; and the network's own name.
    defaults = {p.name: p.default for p in theirs} | {"weights": None, "name": name}
    assert {p.name: p.default for p in ours[: len(theirs)]} == defaults
    assert [p.kind for p in ours[len(theirs) :]] == [inspect.Parameter.VAR_KEYWORD]


@pytest.mark.parametrize(("title", "name"), CONSTRUCTORS.items())
def test_each_builds_its_network(title, name, monkeypatch):
    seen = []
    monkeypatch.setattr("senet.keras_fn.constructor.create_model", lambda model, *_, **__: seen.append(model))
    getattr(se_resnet, title)()
    assert seen == [name]


@pytest.mark.parametrize("title", CONSTRUCTORS)
def test_function_looks_like_one_written_by_hand(title):
    function = getattr(se_resnet, title)
    assert getattr(senet, title) is function
    assert (function.__name__, function.__qualname__) == (title, title)
    assert function.__module__ == "senet.keras_fn.se_resnet"
    assert inspect.getdoc(function).startswith(f"{title} in the manner of keras.applications.")
    assert "any size from 32 pixels" in function.__doc__


def test_network_is_that_of_create_model():
    ours, theirs = senet.SE_ResNet_18(), senet.create_model("se_resnet_18")
    assert ours.get_config()["layers"] == theirs.get_config()["layers"]
    assert (ours.name, ours.output_shape) == ("se_resnet_18", (None, 1000))


def test_arguments_by_position():
    inputs = keras.Input((64, 64, 3))
    model = senet.SE_ResNet_50(False, None, inputs, None, "avg", 7, None, "mine", **SMALL)
    assert model.input is inputs
    assert (model.name, model.output_shape) == ("mine", (None, 96))
    model = senet.SE_ResNet_50(True, None, None, (64, 64, 3), None, 7, None, **SMALL)
    assert (model.input_shape, model.output_shape) == ((None, 64, 64, 3), (None, 7))
    assert model.get_layer("predictions").activation is keras.activations.linear


def test_weights_from_a_file(tmp_path):
    model = senet.SE_ResNet_50(**SMALL)
    model.save_weights(tmp_path / "some.weights.h5")
    copy = senet.SE_ResNet_50(weights=tmp_path / "some.weights.h5", **SMALL)
    for ours, theirs in zip(copy.get_weights(), model.get_weights(), strict=True):
        assert (ours == theirs).all()


def test_imagenet_weights_are_never_random_in_silence(monkeypatch, tmp_path):
    monkeypatch.setenv("SENET_CACHE", str(tmp_path))
    monkeypatch.setenv("SENET_OFFLINE", "1")
    with pytest.raises(OSError, match=r"timm/legacy_seresnet50\.in1k"):
        senet.SE_ResNet_50(weights="imagenet")
