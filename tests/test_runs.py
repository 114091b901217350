"""Runs beside one another: real ones, made once."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from PIL import Image

from senet import cli
from senet.cli.runs import comparison
from senet.runs import (
    differences,
    find_runs,
    flattened,
    group_labels,
    plot,
    read_run,
    same_but_seed,
    short_names,
)
from senet.training.config import ConfigError
from senet.training.fit import train
from tests.training.conftest import TINY, make_config

SLOW_RATE = {"optimizer": {"lr": 0.02, "weight_decay": 5e-4}, "ema": 0.9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two seeds of one config, another config, a run that was broken off, and another program's file."""
    root = tmp_path_factory.mktemp("runs")
    for name, fields in (("a/seed0", {}), ("a/seed1", {"seed": 1}), ("slow", SLOW_RATE)):
        train(make_config({**TINY, **fields}), root / name, progress=False)
    shutil.copytree(root / "slow", root / "open")
    (root / "open" / "result.json").unlink()
    metrics = root / "open" / "metrics.csv"
    metrics.write_text("".join(metrics.read_text("utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    (root / "other").mkdir()
    (root / "other" / "config.yaml").write_text("port: 80\n", encoding="utf-8")
    return root


def command(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["senet", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_runs_are_found_at_any_depth_and_once(folder):
    runs, problems = find_runs([folder, folder / "a"])
    assert [run.folder.relative_to(folder).as_posix() for run in runs] == [
        "a/seed0",
        "a/seed1",
        "open",
        "slow",
    ]
    assert [run.finished for run in runs] == [True, True, False, True]
    assert len(problems) == 1
    assert "other: model: Field required" in problems[0]


def test_a_folder_without_runs_says_so(tmp_path, folder):
    with pytest.raises(ValueError, match="no run in"):
        find_runs([tmp_path])
    with pytest.raises(ValueError, match=r"(?s)no run in.*model: Field required"):
        find_runs([folder / "other"])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_runs([tmp_path / "none"])
    with pytest.raises(ConfigError, match="not a run folder"):
        read_run(tmp_path)


def test_best_and_last_epoch(folder):
    run = read_run(folder / "a" / "seed0")
    assert run.last == run.metrics[1]
    assert run.best["val_accuracy"] == max(row["val_accuracy"] for row in run.metrics)
    assert read_run(folder / "open").result is None


def test_what_differs_is_named_by_its_key(folder):
    runs = [read_run(folder / name) for name in ("a/seed0", "a/seed1", "slow")]
    assert differences(runs) == {
        "seed": [0, 1, 0],
        "optimizer.lr": [0.1, 0.1, 0.02],
        "ema": [None, None, 0.9],
    }
    assert differences(runs[:1]) == {}
    assert flattened({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}


def test_seeds_are_one_group(folder):
    runs = [read_run(folder / name) for name in ("a/seed0", "slow", "a/seed1")]
    grouped = same_but_seed(runs)
    assert [[run.config.seed for run in group] for group in grouped] == [[0, 1], [0]]
    assert group_labels([group[0] for group in grouped]) == ["lr=0.1, ema=none", "lr=0.02, ema=0.9"]
    assert group_labels(runs[:1]) == ["se_resnet_20_cifar"]
    assert short_names(runs) == ["a/seed0", "slow", "a/seed1"]
    assert short_names(runs[:1]) == ["seed0"]


def test_runs_without_an_epoch_are_left_out_of_the_picture(folder, tmp_path):
    shutil.copytree(folder / "open", tmp_path / "new")
    (tmp_path / "new" / "metrics.csv").unlink()
    new, old = read_run(tmp_path / "new"), read_run(folder / "slow")
    assert plot([new, old], tmp_path / "curves.png") == [new]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 1000
    with pytest.raises(ValueError, match="nothing to draw"):
        plot([new], tmp_path / "none.png")


def test_a_comparison_is_plain_data(folder):
    found = comparison([read_run(folder / name) for name in ("slow", "open")])
    assert json.loads(json.dumps(found))["config"] == {}
    assert [result is None for result in found["results"]] == [False, True]


def test_the_commands(monkeypatch, capsys, folder, tmp_path):
    assert command(monkeypatch, "runs", "list", folder) == 0
    captured = capsys.readouterr()
    assert "unfinished" in captured.out
    assert "1/2" in captured.out
    assert "not read" in captured.err
    assert command(monkeypatch, "runs", "list", folder, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 4

    runs = [folder / "a" / "seed0", folder / "slow"]
    assert command(monkeypatch, "runs", "compare", *runs) == 0
    out = capsys.readouterr().out
    for words in ("optimizer.lr", "Best validation accuracy", "Averaged weights, test", "78,545"):
        assert words in out
    assert command(monkeypatch, "runs", "compare", runs[0], runs[0]) == 0
    assert "configs are equal" in capsys.readouterr().out

    assert command(monkeypatch, "runs", "plot", *runs, "--out", tmp_path / "x.png") == 0
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("slow", ["finished 20", "2 of 2 epochs", "keep 0.9 a step", "78,545 parameters", "model_ema.keras"]),
        ("open", ["unfinished, last written to", "1 of 2 epochs", "images a second"]),
    ],
)
def test_one_run_is_summed_up(monkeypatch, capsys, folder, name, words):
    assert command(monkeypatch, "runs", "show", folder / name) == 0
    out = capsys.readouterr().out
    for each in [*words, "digits", "10 classes", "Best epoch", "learning rate 0.02", "config.yaml"]:
        assert each in out
