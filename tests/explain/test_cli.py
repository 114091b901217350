"""`senet explain`: runs from the command line, what it prints, and how it refuses."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from senet import cli
from senet.training.fit import train
from tests.training.conftest import TINY, make_config


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
