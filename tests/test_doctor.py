"""Every mistake is found where it is made, and not where it is not."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from senet import cli, doctor
from senet.cli.doctor import diagnose, of_disk, of_memory
from senet.data import Preprocess
from senet.data.labels import imagenet_classes
from senet.training.config import Optimizer, load_config, recipe_names
from senet.weights import catalogue
from senet.zoo import create_model

# Pixels with the statistics of natural images: red above green above blue.
NATURAL = np.clip(
    np.random.default_rng(0).normal((124, 116, 104), (58, 57, 57), (16, 32, 32, 3)), 0, 255
).astype(np.float32)
TIMM = Preprocess.timm(224)
SHARES = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def command(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["senet", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def head(*activations: str | None) -> keras.Model:
    """A network of 3 classes that ends in these activations, None for no activation layer."""
    layers = [keras.layers.Activation(name) for name in activations if name]
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), *layers])


# Preprocessing


@pytest.mark.parametrize(
    ("mean", "std", "level"),
    [
        (*SHARES, "wrong"),
        ((0.5,) * 3, (0.5,) * 3, "wrong"),
        ((0.0,) * 3, (1 / 255,) * 3, "wrong"),
        ((0.0,) * 3, (1.0,) * 3, "warning"),
        ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "ok"),
        ((4.9,), (6.0,), "ok"),
        (TIMM.mean, TIMM.std, "ok"),
    ],
)
def test_units(mean, std, level):
    assert doctor.check_units(Preprocess(mean=mean, std=std)).level == level


def test_every_published_preprocessing_is_in_order():
    for entry in catalogue.matching():
        for check in (doctor.check_units, lambda p: doctor.check_channel_order(p, NATURAL)):
            assert check(entry.preprocess).level == "ok", entry.tag


@pytest.mark.parametrize(
    ("pixels", "level", "words"),
    [
        (NATURAL, "ok", "0 to 255"),
        (NATURAL / 255, "wrong", "divided by 255"),
        (TIMM(NATURAL) * 100, "wrong", "normalised twice"),
        (NATURAL * 257, "wrong", "8 bits"),
        (np.full((2, 4, 4, 3), 7.0), "wrong", "empty"),
        (np.zeros((2, 4, 4, 3)), "wrong", "empty"),
    ],
)
def test_pixels(pixels, level, words):
    found = doctor.check_pixels(pixels)
    assert (found.level, words in found.text) == (level, True)


@pytest.mark.parametrize(
    ("std", "level"),
    [
        (TIMM.std, "ok"),
        ((1.0,) * 3, "ok"),  # Caffe's
        (tuple(value**2 for value in TIMM.std), "wrong"),
        (tuple(255 * value**2 for value in SHARES[1]), "wrong"),
    ],
)
def test_deviation(std, level):
    assert doctor.check_deviation(Preprocess(mean=TIMM.mean, std=std), NATURAL).level == level


@pytest.mark.parametrize(
    ("mean", "pixels", "level"),
    [
        (TIMM.mean, NATURAL, "ok"),
        (TIMM.mean[::-1], NATURAL, "wrong"),
        ((104.0, 117.0, 123.0), NATURAL, "wrong"),
        (TIMM.mean, NATURAL[..., ::-1], "warning"),
        ((125.3, 123.0, 113.9), NATURAL, "ok"),
        ((30.0, 80.0, 150.0), NATURAL * 0 + (30, 80, 150), "ok"),  # blue data and their own mean
    ],
)
def test_channel_order(mean, pixels, level):
    found = doctor.check_channel_order(Preprocess(mean=mean, std=(57.0,) * 3), pixels)
    assert found.level == level, found


def test_one_channel_has_no_order():
    assert doctor.check_channel_order(Preprocess(mean=(1.0,), std=(2.0,)), NATURAL[..., :1]).level == "ok"


def test_a_sample_gives_the_pixels_back():
    sample = doctor.Sample(images=TIMM(NATURAL), batches=[], preprocess=TIMM)
    np.testing.assert_allclose(sample.pixels, NATURAL, atol=1e-3)


# Data


def test_classes_in_a_batch():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 32)
    in_order, shuffled = labels.reshape(8, 32), rng.permutation(labels).reshape(8, 32)
    assert doctor.check_classes(list(shuffled)).level == "ok"
    assert "sorted by class" in doctor.check_classes(list(in_order)).text
    assert doctor.check_classes(list(in_order)).level == "wrong"
    assert "one class" in doctor.check_classes([np.zeros(4, int), np.zeros(4, int)]).text
    # A batch of one image holds one class however well it is shuffled.
    assert doctor.check_classes([np.array([label]) for label in shuffled.ravel()]).level == "ok"
    rare = np.zeros((4, 32), int)
    rare[0, 0] = 1
    assert doctor.check_classes(list(rare)).level == "ok"


def test_label_order():
    rows = imagenet_classes()
    challenge = sorted(rows, key=lambda row: row.ilsvrc2012_id)
    assert doctor.check_label_order([row.wnid for row in challenge]).level == "wrong"
    assert doctor.check_label_order([row.name for row in challenge]).level == "wrong"
    assert doctor.check_label_order([row.wnid for row in rows]).level == "ok"
    numbered = [f"{index:04}" for index in range(1, 1001)]
    assert doctor.check_label_order(numbered).level == "ok"
    assert doctor.check_label_order(numbered, "timm/seresnet50.ra2_in1k").level == "warning"
    assert doctor.check_label_order(sorted(str(index) for index in range(12))).level == "warning"
    assert doctor.check_label_order([str(index) for index in range(10)]).level == "ok"
    assert doctor.check_label_order(["cat", "dog"]).level == "ok"


# Network


def test_head():
    assert doctor.check_head(head(), 3).level == "ok"
    assert doctor.check_head(head("softmax"), 3).level == "warning"
    twice = doctor.check_head(head("softmax", "linear", "softmax"), 3)
    assert (twice.level, "twice" in twice.text) == ("wrong", True)
    assert "classes=5" in doctor.check_head(head(), 5).text
    nested = keras.Sequential([keras.Input((4,)), head("softmax"), keras.layers.Softmax()])
    assert "twice" in doctor.check_head(nested, 3).text
    image = keras.Input((4,))
    by_function = keras.Model(image, keras.ops.softmax(head("softmax")(image)))
    assert "twice" in doctor.check_head(by_function, 3).text


def test_a_network_without_its_top():
    network = create_model("se_resnet_20_cifar", include_top=False, input_shape=(32, 32, 3))
    assert "include_top=True" in doctor.check_head(network, 10).text


@pytest.mark.parametrize(
    ("momentum", "steps", "level"),
    [
        (0.1, None, "wrong"),
        (0.01, 10_000, "wrong"),
        (0.9, None, "ok"),
        (0.99, 10_000, "ok"),
        (0.99, 100, "warning"),
    ],
)
def test_batchnorm(momentum, steps, level):
    layers = [keras.Input((4,)), keras.layers.BatchNormalization(momentum=momentum)]
    assert doctor.check_batchnorm(keras.Sequential(layers), steps).level == level


def test_a_network_without_batchnorm():
    assert doctor.check_batchnorm(head()).level == "ok"


@pytest.mark.parametrize(
    ("model", "side", "level"),
    [
        ("se_resnet_50", 32, "warning"),
        ("se_resnet_50", 224, "ok"),
        ("se_resnet_50", 64, "ok"),
        ("se_resnet_20_cifar", 32, "ok"),
        ("se_resnet_20_cifar", 8, "ok"),
    ],
)
def test_stem(model, side, level):
    assert doctor.check_stem(model, {}, side).level == level


def test_precision():
    keras.config.set_dtype_policy("float16")
    assert doctor.check_precision(head()).level == "wrong"
    keras.config.set_dtype_policy("mixed_float16")
    network = head()
    assert doctor.check_precision(network).level == "ok"  # compiling it adds the scaling
    network.compile("sgd", "mse")
    assert doctor.check_precision(network).level == "ok"
    network.compile("sgd", "mse", auto_scale_loss=False)
    assert "LossScaleOptimizer" in doctor.check_precision(network).text
    keras.config.set_dtype_policy("float32")
    assert doctor.check_precision(head()).level == "ok"


def test_data_format():
    assert doctor.check_data_format().level == "ok"
    keras.config.set_image_data_format("channels_first")
    assert doctor.check_data_format().level == "wrong"


# Training


@pytest.mark.parametrize(
    ("fields", "batch", "pretrained", "level"),
    [
        ({"lr": 0.1}, 256, False, "ok"),
        ({"lr": 0.1}, 8, False, "warning"),
        ({"lr": 0.1, "accumulate": 32}, 8, False, "ok"),
        ({"lr": 0.1, "lr_batch": 256}, 8, False, "ok"),
        ({"lr": 1e-4}, 256, False, "warning"),
        ({"lr": 1e-4}, 256, True, "ok"),
        ({"lr": 0.1, "name": "adam"}, 256, True, "warning"),
        ({"lr": 1e-3, "name": "adamw"}, 128, False, "ok"),
    ],
)
def test_learning_rate(fields, batch, pretrained, level):
    assert doctor.check_learning_rate(Optimizer(**fields), batch, pretrained=pretrained).level == level


@pytest.mark.parametrize("name", recipe_names())
def test_no_recipe_of_ours_has_an_odd_learning_rate(name):
    config = load_config(name)
    found = doctor.check_learning_rate(config.optimizer, config.batch, pretrained=config.weights is not None)
    assert found.level == "ok", found


def test_devices():
    assert "no accelerator" in doctor.check_devices(32, []).text
    found = doctor.check_devices(30, ["H100"] * 4)
    assert (found.level, "batch=32" in found.text) == ("warning", True)
    assert doctor.check_devices(32, ["H100"] * 4).level == "ok"


# The whole


def test_memory_and_disk(monkeypatch, tmp_path):
    assert of_disk(tmp_path / "not" / "yet").check == "cache"
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2**30))
    assert of_disk(tmp_path).level == "warning"
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**30, total=2**34))
    assert of_memory().level == "warning"


def test_the_machine_is_looked_at(monkeypatch, capsys):
    assert command(monkeypatch, "doctor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["check"] for row in found} == {"engine", "devices", "data format", "memory", "cache"}


def test_a_recipe_in_order_has_nothing_wrong(monkeypatch, capsys):
    assert command(monkeypatch, "doctor", "digits", "--set", "model_options.blocks=[1,1,1]") == 0
    out = capsys.readouterr().out
    assert " 0 wrong." in out
    for check in ("units", "pixels", "shuffling", "label order", "head", "batch norm", "stem"):
        assert check in out


def test_a_folder_of_images_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("SENET_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name, level in (("bright", 200), ("dark", 50)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(20):
            pixels = rng.normal(level, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{index}.jpg")
    settings = [f"data.source={tmp_path / 'images'}", "data.streaming=true", "data.image_size=32", "batch=8"]
    options = ["data.validation=0", "model_options.blocks=[1,1,1]", "optimizer.lr=0.01"]
    found = {finding.check: finding for finding in diagnose("digits", [*settings, *options])}
    assert [finding for finding in found.values() if finding.level == "wrong"] == []
    assert found["batch norm"].level == "ok"
    assert found["stem"].level == "ok"

    shrunk = {
        finding.check: finding
        for finding in diagnose("digits", [*settings, "model=se_resnet_18", "data.validation=0"])
    }
    assert (shrunk["stem"].level, shrunk["learning rate"].level) == ("warning", "warning")


@pytest.mark.parametrize(
    ("options", "check", "words"),
    [
        (["--data", "{tmp}/none"], "data", "must exist"),
        (["--set", "batch=4000"], "data", "batch"),
        (["--set", "model=se_resnet_18"], "network", "at least 32 pixels"),
        (["--set", "model=se_resnet_19"], "network", "Did you mean"),
    ],
)
def test_what_cannot_be_loaded_or_built_is_wrong(monkeypatch, capsys, tmp_path, options, check, words):
    options = [option.replace("{tmp}", str(tmp_path)) for option in options]
    assert command(monkeypatch, "doctor", "digits", *options, "--json") == 1
    wrong = [row for row in json.loads(capsys.readouterr().out) if row["level"] == "wrong"]
    assert [(row["check"], words in row["text"]) for row in wrong] == [(check, True)]


def test_a_network_is_looked_at_and_a_misspelt_one_named(monkeypatch, capsys):
    assert command(monkeypatch, "doctor", "se_resnet_18") == 0
    assert "logits of 1000 classes" in capsys.readouterr().out
    assert command(monkeypatch, "doctor", "se_resnt_18") == 2
    assert "Did you mean 'se_resnet_18'" in capsys.readouterr().err
