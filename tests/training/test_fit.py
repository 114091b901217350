"""Real runs on digits: the folder they leave, resuming, repeating, and what goes wrong."""

from __future__ import annotations

import csv
import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

from senet.evaluate import evaluate
from senet.files import written_aside
from senet.training.callbacks import DivergedError
from senet.training.checkpoint import read
from senet.training.config import ConfigError, TrainConfig
from senet.training.fit import train
from senet.training.loop import Loop
from senet.training.run_folder import METRICS, RunFolder


def metrics(folder) -> list[dict[str, float]]:
    """Rows of metrics.csv without the columns that a clock decides."""
    rows = RunFolder(folder).read_metrics()
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


def weights(folder) -> list[np.ndarray]:
    return keras.saving.load_model(folder / "model.keras", compile=False).get_weights()


def assert_same_run(one, other) -> None:
    """Equal metrics and weights, to the last bit."""
    assert metrics(one) == metrics(other)
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.engine
def test_a_run_leaves_its_folder(tiny, tmp_path, capsys):
    config, folder = tiny(), tmp_path / "run"
    result = train(config, folder)

    assert {p.name for p in folder.iterdir()} == {
        *("config.yaml", "environment.json", "preprocess.json", "metrics.csv", "tensorboard"),
        *("checkpoints", "model.keras", "curves.png", "result.json"),
    } | ({"model_best.keras"} if result.best_epoch != 2 else set())
    stored = TrainConfig(**yaml.safe_load((folder / "config.yaml").read_text()))
    assert stored.data.augment.padding == 1  # resolved, not null
    assert stored == config.model_copy(update={"data": config.data.resolved()})
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["engine"] == keras.backend.backend()
    assert environment["versions"]["keras"] == keras.__version__

    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == METRICS
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["seconds"]) > 0 and 0 <= float(row["val_accuracy"]) <= 1 for row in rows)

    assert json.loads((folder / "result.json").read_text())["test_accuracy"] == result.test_accuracy
    assert result.test_images == 359
    assert result.trainable_parameters > 0
    assert result.peak_memory_mib > 0
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [p.stat().st_size > 200 for p in (folder / "tensorboard").iterdir()] == [True]
    steps = [p.name.partition("-")[0] for p in sorted((folder / "checkpoints").iterdir())]
    assert steps == ["step_00000004", "step_00000008"]

    shown = capsys.readouterr().err
    for words in ("epoch 1/2", "loss", "accuracy", "images/s", "left"):
        assert words in shown


@pytest.mark.engine
def test_a_run_learns(tiny, tmp_path):
    result = train(tiny(epochs=12, data={"source": "digits"}), tmp_path, progress=False)
    assert result.test_accuracy > 0.8  # chance is 0.1
    again = evaluate(tmp_path)
    assert again.top1 == pytest.approx(result.test_accuracy)
    assert again.loss == pytest.approx(result.test_loss, rel=1e-4)
    assert again.top5 >= again.top1


@pytest.mark.engine
def test_a_run_repeats_exactly_and_its_seed_matters(tiny, tmp_path):
    train(tiny(), tmp_path / "a", progress=False)
    train(tiny(), tmp_path / "b", progress=False)
    train(tiny(seed=1), tmp_path / "c", progress=False)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert metrics(tmp_path / "c") != metrics(tmp_path / "a")


class StopHere(Exception):
    """Stands for whatever ends a process between two steps."""


@pytest.mark.engine
@pytest.mark.parametrize("at", [5, 7])  # of four steps an epoch; a checkpoint every third
def test_a_resumed_run_ends_where_an_unbroken_one_does(tiny, tmp_path, monkeypatch, at):
    config = tiny(epochs=3, ema=0.9, checkpoints={"steps": 3})
    train(config, tmp_path / "whole", progress=False)

    after_step = Loop.after_step
    with monkeypatch.context() as patch:

        def stopping(self, step):
            after_step(self, step)
            if step == at:
                raise StopHere

        patch.setattr(Loop, "after_step", stopping)
        with pytest.raises(StopHere):
            train(config, tmp_path / "broken", progress=False)
    assert not (tmp_path / "broken" / "result.json").exists()

    train(config, tmp_path / "broken", progress=False)
    assert_same_run(tmp_path / "broken", tmp_path / "whole")


def test_a_finished_run_is_not_trained_again(tiny, tmp_path):
    first = train(tiny(epochs=1), tmp_path, progress=False)
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        checkpoint.unlink()
    assert train(tiny(epochs=1), tmp_path, progress=False) == first


def test_a_folder_of_another_config_is_refused_before_any_work(tiny, tmp_path):
    train(tiny(epochs=1), tmp_path, progress=False)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(ConfigError, match=r"another config: .*batch is 64 there, 32 here"):
        train(tiny(epochs=1, batch=32), tmp_path, progress=False)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_a_run_goes_on_with_other_workers_and_another_cache(tiny, tmp_path):
    first = train(tiny(epochs=1), tmp_path / "run", progress=False)
    data = {**tiny().data.model_dump(), "workers": 3, "cache": tmp_path}
    assert train(tiny(epochs=1, data=data), tmp_path / "run", progress=False) == first


def test_a_folder_with_other_files_is_refused(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="holds other files"):
        train(tiny(), tmp_path, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "se_resnet_21_cifar"}, "se_resnet_20_cifar"),
        ({"model_options": {"sse": None}}, "'se'"),
        ({"batch": 4096}, "4096"),
        ({"data": {"source": "/nowhere/at/all"}}, "/nowhere/at/all"),
        ({"data": {"source": "digits", "validation": 5000}}, "5000"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tiny, tmp_path, fields, words):
    with pytest.raises((ValueError, OSError), match=words):
        train(tiny(**fields), tmp_path / "run", progress=False)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoints(tiny, tmp_path):
    config = tiny(epochs=3, optimizer={"lr": 1e30}, schedule={"name": "step", "at": [1], "factor": 1.0})
    with pytest.raises(DivergedError, match="learning rate 1e\\+30"):
        train(config, tmp_path, progress=False)
    assert not (tmp_path / "result.json").exists()


@pytest.mark.engine
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(tiny, tmp_path, precision):
    result = train(tiny(precision=precision), tmp_path, progress=False)
    assert np.isfinite(result.test_loss)
    assert keras.config.dtype_policy().name == "float32"  # put back


def test_a_killed_run_leaves_nothing_half_written_and_resumes(tiny, tmp_path):
    recipe, folder = tmp_path / "tiny.yaml", tmp_path / "run"
    recipe.write_text(json.dumps(tiny(epochs=40).model_dump(mode="json")))
    command = [sys.executable, "-m", "senet_command", "train", str(recipe), "--run-dir", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(folder.glob("checkpoints/step_*.npz")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()

    done = len(RunFolder(folder).read_metrics())
    assert 0 < done < 40
    for checkpoint in folder.glob("checkpoints/step_*.npz"):
        assert read(checkpoint) is not None
    subprocess.run([*command, "--set", "epochs=40"], check=True, capture_output=True)
    train(tiny(epochs=40), tmp_path / "whole", progress=False)
    assert_same_run(folder, tmp_path / "whole")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")

    def write_half():
        with written_aside(target) as aside:
            aside.write_text("half of the n")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="disk is full") as error:
        write_half()
    assert str(target) in str(error.value)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_is_named(tmp_path):
    full = Path("/dev/full")
    with pytest.raises(OSError, match="disk is full"), written_aside(tmp_path / "x.txt"):
        full.write_text("x" * 100_000)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def mount(tmp_path):
    """`mount("size=200k")` gives a small file system of its own; skips where that is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()

    def make(options: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"may not mount a file system here: {done.stderr.strip()}")
        return place

    yield make
    subprocess.run(["umount", "--lazy", str(place)], capture_output=True)


def test_a_disk_that_fills_during_a_run_is_named_and_nothing_is_half_written(tiny, mount):
    disk = mount("size=200k")
    with pytest.raises(OSError, match=r"Could not write .*step_00000004\.npz: the disk is full"):
        train(tiny(), disk / "run", progress=False)
    assert list((disk / "run" / "checkpoints").iterdir()) == []
    assert len(RunFolder(disk / "run").read_metrics()) == 1


def test_a_read_only_disk_is_named_before_any_work(tiny, mount):
    with pytest.raises(OSError, match=r"Could not write .*config\.yaml: the file system is read-only"):
        train(tiny(), mount("ro") / "run", progress=False)


def test_a_run_folder_that_is_a_file_is_named(tiny, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="run"):
        train(tiny(), tmp_path / "run", progress=False)


def test_weights_and_biases_get_the_metrics_too(tiny, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(tiny(), tmp_path / "run", progress=False, wandb="senet-test")
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"val_accuracy" in kept.read_bytes()


def test_weights_and_biases_that_are_not_installed_are_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install 'senet\[wandb\]'"):
        train(tiny(), tmp_path / "run", progress=False, wandb="senet-test")
