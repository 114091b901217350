"""`senet explain`: runs from the command line, what it prints, and how it refuses."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from senet import cli
from senet.training.fit import train
from senet.weights.catalogue import find
from tests.parity import fixtures
from tests.training.conftest import TINY, make_config
from tests.weights.server import serving

TAG, SOURCE = "timm/seresnext26d_32x4d.bt_in1k", "timm_seresnext26d_32x4d"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on digits."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(make_config({**TINY, "epochs": 1}), folder, progress=False)
    return folder


def command(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["senet", "explain", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_excitation_of_a_run(run, tmp_path, monkeypatch, capsys):
    options = ("--classes", "1", "--classes", "7", "--per-class", "6", "--json")
    assert command(monkeypatch, "excitation", run, "--out", tmp_path / "out", *options) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["classes"], found["images"], found["data"]) == (["1", "7"], 60, "digits")
    assert [row["block"] for row in found["blocks"]] == ["stage1_block1", "stage2_block1", "stage3_block1"]
    assert len(found["removals"]) == 9
    assert (tmp_path / "out" / "index.html").exists()
    assert str(tmp_path / "out" / "index.html") in printed.err


def test_errors_and_tables_of_a_run(run, tmp_path, monkeypatch, capsys):
    assert command(monkeypatch, "errors", run, "--out", tmp_path / "e", "--count", "3") == 0
    assert "images wrong" in capsys.readouterr().out
    no_removal = ("--no-removal", "--per-class", "3")
    assert command(monkeypatch, "excitation", run, "--out", tmp_path / "x", *no_removal) == 0
    printed = capsys.readouterr().out
    assert "Class-specific" in printed
    assert "Top-1 lost" not in printed


def test_gradcam_of_a_run(run, tmp_path, monkeypatch, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    options = ("--class", "7", "--layer", "stage2", "--json")
    assert command(monkeypatch, "gradcam", run, tmp_path / "one.png", "--out", tmp_path / "g", *options) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert (image["class"], image["layer"], image["way"]) == ("7", "stage2_block1_act", "gradient")
    assert np.shape(image["map"]) == (4, 4)
    assert command(monkeypatch, "gradcam", run, tmp_path / "one.png", "--out", tmp_path / "h") == 0
    assert "closed form" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("excitation", "nothing"), "folder of a finished run, or a tag"),
        (("errors", "se_resnet_50"), "say which weights"),
        (("gradcam", "se_resnet_50", "x.png"), "say which weights"),
        (("excitation", "RUN", "--classes", "ten"), "must be one of digits. Received: 'ten'"),
        (("gradcam", "RUN", "missing.png"), "missing.png"),
    ],
)
def test_what_cannot_be_explained_is_refused(run, tmp_path, monkeypatch, capsys, arguments, message):
    arguments = [run if argument == "RUN" else argument for argument in arguments]
    assert command(monkeypatch, *arguments, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_published_weights_are_fetched_and_explained(tmp_path, monkeypatch, capsys):
    for name in ("SENET_OFFLINE", "HF_HUB_OFFLINE", "SENET_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    rng, images = np.random.default_rng(0), tmp_path / "images"
    for name in ("goldfish", "tench"):
        (images / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(images / name / f"{number}.jpg")
    content = fixtures.write_checkpoint(SOURCE, tmp_path).read_bytes()
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.publish(find(TAG).hf_repo, content)
        options = ("--data", images, "--no-removal", "--json")
        assert command(monkeypatch, "excitation", TAG, *options, "--out", tmp_path / "x") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["weights"], found["images"], found["classes"]) == (TAG, 6, ["goldfish", "tench"])
    assert [row["block"] for row in found["blocks"]][-1] == "stage4_block2"

    picture = images / "tench" / "0.jpg"
    options = ("--weights", TAG, "--class", "goldfish", "--json", "--out", tmp_path / "g")
    assert command(monkeypatch, "gradcam", "se_resnext_26_32x4d", picture, *options) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert (image["class"], image["way"]) == ("goldfish", "closed form")
    assert np.shape(image["map"]) == (7, 7)
    assert command(monkeypatch, "errors", TAG, "--data", images, "--out", tmp_path / "e") == 0
    assert (tmp_path / "e" / "index.html").exists()
