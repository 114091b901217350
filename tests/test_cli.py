"""The command: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from senet.cli.entry import main, spread
from senet.complexity import counted
from senet.training.config import ConfigError
from senet.training.fit import train
from senet.weights.tensors import read_tensors
from tests.parity import fixtures
from tests.training.conftest import TINY, make_config


def run(monkeypatch, *arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["senet", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_list_filters(monkeypatch, capsys):
    assert run(monkeypatch, "list", "se_*_cifar") == 0
    out = capsys.readouterr().out
    assert "se_resnet_110_cifar" in out
    assert "1,744,952" in out
    assert "│ resnet_20_cifar" not in out


def test_list_as_json(monkeypatch, capsys):
    assert run(monkeypatch, "list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    by_name = {row["model"]: row for row in rows}
    assert by_name["se_resnet_50"]["trainable_parameters"] == 28_088_024


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "se_resnt_50"], "'se_resnet_50'"),
        (["info", "se_resnet_51"], "'se_resnet_50'"),
        (["train", "cifar_papr"], "'cifar_paper'"),
        (["train", "digits", "--set", "optimizer.lrr=1"], "'lr'"),
        (["train", "digits", "--data", "digitz", "--run-dir", "{tmp}/run"], "'digits'"),
        (
            ["train", "digits", "--model", "se_resnet_21_cifar", "--run-dir", "{tmp}/run"],
            "se_resnet_20_cifar",
        ),
        (["evaluate", "{tmp}"], "not a run folder"),
        (["benchmark", "cifar10", "--models", "se_resnet_20", "--out", "{tmp}/out"], "se_resnet_20_cifar"),
        (["benchmark", "cifar10", "--redraw", "--out", "{tmp}/none"], "holds no benchmark"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(monkeypatch, capsys, tmp_path, arguments, words):
    arguments = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    assert run(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.startswith("senet: ")
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments", [["no-such-verb"], ["list", "--nope"], ["info"], ["train", "digits", "--epochs", "x"]]
)
def test_wrong_usage_ends_with_2(monkeypatch, capsys, arguments):
    assert run(monkeypatch, *arguments) == 2
    assert "Usage" in capsys.readouterr().err


def test_a_failure_of_the_machine_ends_with_1(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert run(monkeypatch, "train", "digits", "--run-dir", tmp_path / "file" / "run") in (1, 2)
    assert "senet: Could not write" in capsys.readouterr().err


def test_info_shows_the_stages_and_draws(monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, "info", "se_resnet_20_cifar", "--picture", tmp_path / "net.png") == 0
    captured = capsys.readouterr()
    for words in ("stem", "stage3", "3 basic blocks, 64 channels, SE 64 → 4", "8×8×64", "276,415"):
        assert words in captured.out
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    assert "Picture" in captured.err

    assert run(monkeypatch, "info", "se_resnet_20_cifar", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert sum(row["parameters"] for row in rows) == 276_415
    assert sum(row["se_parameters"] for row in rows) == 274_847 - 272_474


def test_train_then_evaluate(monkeypatch, capsys, tmp_path):
    options = ["--set", "model_options.blocks=[1,1,1]", "--set", "data.train_limit=128", "--epochs", "1"]
    assert (
        run(monkeypatch, "train", "digits", *options, "--seed", 3, "--run-dir", tmp_path / "run", "--json")
        == 0
    )
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["seed"] == 3
    assert "epoch 1/1" in captured.err

    assert run(monkeypatch, "evaluate", tmp_path / "run", "--json") == 0
    score = json.loads(capsys.readouterr().out)
    assert score["top1"] == pytest.approx(result["test_accuracy"])
    assert score["images"] == 359

    assert run(monkeypatch, "train", "digits", "--run-dir", tmp_path / "run") == 2
    assert "belongs to another config" in capsys.readouterr().err


def test_evaluate_refuses_data_that_do_not_fit(monkeypatch, capsys, tmp_path):
    from PIL import Image

    train(make_config({**TINY, "epochs": 1}), tmp_path / "run", progress=False)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "pets" / name / f"{i}.png")
    assert run(monkeypatch, "evaluate", tmp_path / "run", "--data", tmp_path / "pets") == 2
    assert "takes images of (8, 8, 1)" in capsys.readouterr().err


def test_values_after_one_option_are_spread():
    words = ["benchmark", "cifar10", "--seeds", "0", "1", "2", "--models", "a", "b", "--out", "x"]
    assert spread(words) == [
        *("benchmark", "cifar10", "--seeds", "0", "--seeds", "1", "--seeds", "2"),
        *("--models", "a", "--models", "b", "--out", "x"),
    ]


def test_a_programming_error_keeps_its_traceback(monkeypatch):
    def broken(*_):
        raise ConfigError("bad")

    monkeypatch.setenv("SENET_TRACEBACK", "1")
    monkeypatch.setattr("senet.cli.tables.model_rows", broken)
    monkeypatch.setattr(sys, "argv", ["senet", "list"])
    with pytest.raises(ConfigError):
        main()


def test_the_demo_leaves_its_pictures(monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, "demo", "--out", tmp_path, "--epochs", "1") == 0
    captured = capsys.readouterr()
    assert "se_resnet_20_cifar" in captured.out
    assert "epoch 1/1" in captured.err
    for name in ("report.md", "predictions.png", "gates.png", "curves_se_resnet_20_cifar.png"):
        assert (tmp_path / name).stat().st_size > 500


def test_the_installed_command_is_quiet_and_answers():
    """A real process: nothing of the engine's start-up on stderr, JSON alone on stdout."""
    command = [sys.executable, "-m", "senet_command", "list", "resnet_18", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0]["trainable_parameters"] == 11_689_512
    assert done.stderr == ""


def test_predict_names_what_it_cannot_read(monkeypatch, capsys, tmp_path):
    from PIL import Image

    train(make_config({**TINY, "epochs": 1}), tmp_path / "run", progress=False)
    (tmp_path / "images").mkdir()
    Image.new("L", (20, 30), 99).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.jpg").write_bytes(b"")
    arguments = ["predict", tmp_path / "images", "--run", tmp_path / "run", "--top", 2]

    assert run(monkeypatch, *arguments, "--json") == 1
    captured = capsys.readouterr()
    first, second = json.loads(captured.out)
    assert [found["label"] for found in first["predictions"]] == [
        str(found["index"]) for found in first["predictions"]
    ]
    assert (first["error"], second["predictions"]) == (None, [])
    assert "b.jpg cannot be read as an image: the file is empty" in captured.err

    assert run(monkeypatch, *arguments, "--csv") == 1
    assert capsys.readouterr().out.splitlines()[0] == "file,rank,label,index,probability,error"
    assert run(monkeypatch, "predict", tmp_path / "images" / "a.png", "--run", tmp_path / "run") == 0
    assert capsys.readouterr().out.count("%") == 5
    assert run(monkeypatch, "predict", tmp_path / "images") == 2
    assert "--weights TAG" in capsys.readouterr().err


def test_list_weights_shows_the_catalogue(monkeypatch, capsys):
    assert run(monkeypatch, "list", "--weights", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 170
    found = {row["tag"]: row for row in rows}
    assert found["timm/seresnet50.ra2_in1k"]["top1_error"] == 19.74
    assert found["caffe/SE-ResNet-50"]["status"] == "by hand"
    assert found["pytorchcv/seresnet34"]["status"] == "never published"

    assert run(monkeypatch, "list", "se_resnet_50", "--weights") == 0
    table = capsys.readouterr().out
    assert "timm/legacy_seresnet50.in1k *" in table
    assert "22.35" in table
    assert run(monkeypatch, "list", "timm/seresnet5", "--weights") == 2
    assert "Did you mean 'timm/seresnet50" in capsys.readouterr().err


def test_convert_there_and_back_with_a_report(monkeypatch, capsys, tmp_path):
    original = fixtures.write_checkpoint("pytorchcv_seresnet20_cifar10", tmp_path)
    architecture, there, back = (
        "pytorchcv/seresnet20_cifar10",
        tmp_path / "a.keras",
        tmp_path / "b.safetensors",
    )
    report = tmp_path / "report.json"
    assert run(monkeypatch, "convert", original, architecture, there, "--report", report, "--no-compare") == 0
    assert "143 tensors, each used once" in capsys.readouterr().out
    written = json.loads(report.read_text(encoding="utf-8"))
    assert (written["model"], written["difference"]) == ("se_resnet_20_cifar", None)
    assert run(monkeypatch, "convert", there, architecture, back, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["rules"]) == 143
    before, after = read_tensors(original), read_tensors(back)
    assert all((before[name] == after[name]).all() for name in before)


def test_convert_says_what_it_cannot_do(monkeypatch, capsys, tmp_path):
    original = fixtures.write_checkpoint("pytorchcv_seresnet20_cifar10", tmp_path)
    for arguments, message in (
        ((original, "pytorchcv/resnet20_cifar10", tmp_path / "a.keras"), "not one to one"),
        ((original, "pytorchcv/seresnet20", tmp_path / "a.keras"), "Did you mean 'pytorchcv/seresnet20"),
        ((original, "pytorchcv/seresnet20_cifar10", tmp_path / "a.pth"), "OUT must end in"),
        ((tmp_path / "no.pth", "pytorchcv/seresnet20_cifar10", tmp_path / "a.keras"), "no.pth"),
    ):
        assert run(monkeypatch, "convert", *arguments) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [original.name]


def test_info_wants_a_model_or_the_ablations(monkeypatch, capsys):
    assert run(monkeypatch, "info") == 2
    assert run(monkeypatch, "info", "se_resnet_50", "--ablations") == 2
    assert "senet info --ablations" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["se_bn_inception", "senet_154", "se_shake_even_29_2x4x64d_cifar"])
def test_info_describes_every_family(monkeypatch, capsys, model):
    assert run(monkeypatch, "info", model, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["name"] == "stem"
    assert rows[-1]["name"] == "head"
    assert sum(row["multiply_adds"] for row in rows) == counted()[model].multiply_adds
