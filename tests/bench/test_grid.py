"""Grids of real, small runs: complete, resumed after a kill, redrawn, refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from senet.bench.cifar import Grid, read_records, run_grid, run_in_process
from senet.bench.report import write_report
from senet.training.config import ConfigError, make_config

TINY = {
    "model": "se_resnet_20_cifar",
    "model_options": {"blocks": [1, 1, 1]},
    "data": {"source": "digits", "validation": 100, "train_limit": 128},
    "epochs": 2,
    "batch": 64,
}
MODELS = ("resnet_20_cifar", "se_resnet_20_cifar")


def grid(out, **fields) -> Grid:
    options = {"config": make_config(TINY), "models": MODELS, "seeds": (0, 1), "out": out, "note": "Digits."}
    return Grid(**{**options, **fields})


def test_a_grid_leaves_records_and_a_report(tmp_path):
    records = run_grid(grid(tmp_path), run_in_process)
    names = [(record["result"]["model"], record["result"]["seed"]) for record in records]
    assert sorted(names) == [(model, seed) for model in MODELS for seed in (0, 1)]
    for record in records:
        assert len(record["metrics"]) == 2
        assert record["config"]["batch"] == 64
        assert "run_dir" not in record["result"]
        assert str(tmp_path) not in json.dumps(record)
    assert records[0]["result"]["trainable_parameters"] < records[-1]["result"]["trainable_parameters"]

    report, picture = write_report(tmp_path, "Digits")
    text = report.read_text()
    for words in (
        "128 training images",
        "Digits.",
        "(n=2)",
        "95 % interval",
        "Time to reach",
        picture.name,
        "Machine:",
        "Peak memory",
    ):
        assert words in text
    assert picture.read_bytes().startswith(b"\x89PNG")

    trained = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npz")}
    assert len(run_grid(grid(tmp_path), run_in_process)) == 4  # nothing is trained again
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npz")} == trained
    report.unlink()
    picture.unlink()
    assert write_report(tmp_path, "Digits") == [report, picture]  # redrawn without training

    with pytest.raises(ConfigError, match="differs in epochs"):
        run_grid(grid(tmp_path, config=make_config({**TINY, "epochs": 3})), run_in_process)


@pytest.mark.slow
def test_a_killed_grid_goes_on(tmp_path):
    command = [sys.executable, "-m", "senet_command", "benchmark", "cifar10", "--recipe", "digits"]
    options = ["model_options.blocks=[1,1,1]", "data.train_limit=128", "data.validation=100", "epochs=6"]
    command += [part for option in options for part in ("--set", option)]
    command += ["--seeds", "0", "--models", *MODELS, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    first = tmp_path / "out" / "resnet_20_cifar-seed0.json"
    while not (first.exists() and list(tmp_path.glob("out/runs/se_*/checkpoints/*.npz"))):
        assert process.poll() is None, "the grid ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    subprocess.run(
        ["kill", f"-{signal.SIGKILL}", "--", f"-{process.pid}"], check=True
    )  # the grid and its run
    process.wait()
    before = first.read_bytes()
    assert not (tmp_path / "out" / "se_resnet_20_cifar-seed0.json").exists()

    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "resnet_20_cifar" in done.stdout
    assert first.read_bytes() == before
    assert [len(record["metrics"]) for record in read_records(tmp_path / "out")] == [6, 6]


def test_what_a_grid_refuses(tmp_path):
    with pytest.raises(ValueError, match="'se_resnet_20_cifar'"):
        grid(tmp_path, models=("se_resnet_20_cifa",))
    with pytest.raises(ConfigError, match="seeds"):
        grid(tmp_path, seeds=(1, 1))
    with pytest.raises(ConfigError, match="holds no benchmark"):
        read_records(tmp_path)
    (tmp_path / "grid.json").write_text(json.dumps({"models": ["resnet_20_cifar"], "seeds": [0], "note": ""}))
    with pytest.raises(ConfigError, match="no finished run"):
        read_records(tmp_path)
