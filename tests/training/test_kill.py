"""A run that is killed at any moment, also inside the write of a checkpoint, ends as one that was not."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from senet.training.checkpoint import PATTERN, Checkpoints, read
from tests.training.test_fit import assert_same_run

KILLS = int(os.environ.get("SENET_KILLS", "15"))  # on each of two engines


def command(recipe, folder) -> list[str]:
    return [sys.executable, "-m", "senet_command", "train", str(recipe), "--run-dir", str(folder)]


def start(recipe, folder, engine) -> subprocess.Popen:
    environment = {**os.environ, "KERAS_BACKEND": engine}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(recipe, folder), env=environment, text=True, **quiet)


def wait_for(found, process, seconds: float = 120) -> bool:
    """Wait until `found()`; False where the process ends before."""
    deadline = time.monotonic() + seconds
    while not found():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "jax"])
def test_kills_change_nothing(tiny, tmp_path, engine):
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    config = tiny(
        epochs=8 * KILLS,  # more than the lives last
        batch=16,
        data={"source": "digits", "validation": 20, "train_limit": 64},
        ema=0.9,
        checkpoints={"steps": 1, "keep": 2},
        optimizer={"lr": 0.01},
    )
    recipe, folder = tmp_path / "tiny.yaml", tmp_path / "run"
    recipe.write_text(json.dumps(config.model_dump(mode="json")))
    chance = random.Random(0)
    inside = 0
    for kill in range(KILLS):
        before = {path.name for path in folder.glob("checkpoints/step_*")}
        left = set(folder.glob("checkpoints/.step_*"))
        process = start(recipe, folder, engine)

        def has_saved(before=before):
            return bool({path.name for path in folder.glob("checkpoints/step_*-*.npz")} - before)

        assert wait_for(has_saved, process), process.stderr.read()
        time.sleep(chance.uniform(0, 0.6))
        if kill % 2:  # inside a write: a file that has not got its name yet
            wait_for(lambda: any(folder.glob("checkpoints/.step_*")), process)
            time.sleep(chance.uniform(0, 0.004))
        process.kill()
        process.communicate()
        inside += bool(set(folder.glob("checkpoints/.step_*")) - left)
        assert not (folder / "result.json").exists()
        for path in folder.glob("checkpoints/step_*"):
            assert read(path) is not None, path
    assert inside >= KILLS // 6
    print(f"{engine}: {KILLS} kills, {inside} of them inside the write of a checkpoint")
    for rest in (folder, tmp_path / "whole"):
        process = start(recipe, rest, engine)
        told = process.communicate(timeout=600)[1]
        assert process.returncode == 0, told
    assert_same_run(folder, tmp_path / "whole")


def test_sigterm_saves_the_step_and_ends_cleanly(tiny, tmp_path):
    recipe, folder = tmp_path / "tiny.yaml", tmp_path / "run"
    recipe.write_text(json.dumps(tiny(epochs=400, batch=16).model_dump(mode="json")))
    process = start(recipe, folder, "tensorflow")
    assert wait_for(lambda: any(folder.glob("checkpoints/step_*-*.npz")), process)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "Stopped by SIGTERM after step" in told
    assert "Traceback" not in told
    step = int(told.rpartition("after step ")[2].partition(".")[0])
    assert Checkpoints(folder / "checkpoints").newest().progress.step == step


@pytest.fixture
def checkpoints(tmp_path):
    """Three checkpoints, after 1, 2 and 3 steps."""
    from senet.training.checkpoint import Progress

    found = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        found.save({"model/0000/w": np.full(3, float(step))}, Progress(step=step))
    return found


def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(checkpoints):
    newest = checkpoints.files()[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{newest.name} is damaged"):
        assert checkpoints.newest().progress.step == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello"])
def test_no_good_checkpoint_at_all_is_an_error(checkpoints, content):
    from senet.training.checkpoint import DamagedCheckpointError

    for path in checkpoints.files():
        path.write_bytes(content)
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(DamagedCheckpointError, match="All checkp"),
    ):
        checkpoints.newest()


def test_the_last_and_the_best_are_kept(tmp_path):
    from senet.training.checkpoint import Progress, step_of

    found = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        found.save({"model/0000/w": np.zeros(1)}, Progress(step=step, best=2 if step >= 2 else None))
    assert [step_of(path) for path in found.files()] == [2, 5, 6]
    assert all(PATTERN.fullmatch(path.name) for path in tmp_path.iterdir())


def test_another_networks_checkpoint_is_refused(checkpoints):
    saved = checkpoints.newest()
    with pytest.raises(ValueError, match="belongs to another network"):
        saved.fill({"model/0000/w": np.zeros(4)}, "model/")
