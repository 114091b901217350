"""Several devices and several processes, on loopback, against one."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from senet.training.distribute import Placement, PlacementError, join, launched, place
from senet.training.run_folder import RunFolder

RELATIVE = 1e-5
COLUMNS = ("loss", "val_loss", "ema_val_loss")
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")

SPLIT = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * {count})
import sys
from senet.cli import main
sys.argv[0] = "senet"
main()
"""


@pytest.fixture
def recipe(tiny, tmp_path):
    """A run that rounding does not blow up: a low learning rate, no dropout (each device draws its own)."""
    config = tiny(
        model_options={"blocks": [1, 1, 1]},
        optimizer={"lr": 0.01},
        schedule={"name": "constant"},
        sync_batchnorm=True,
        ema=0.9,
        epochs=2,
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(config.model_dump(mode="json")))
    return path


def start(engine: str, *arguments: object, devices: int = 1) -> subprocess.Popen:
    environment = {
        **os.environ,
        "KERAS_BACKEND": engine,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    main = ["-c", SPLIT.format(count=devices)] if engine == "tensorflow" else ["-m", "senet_command"]
    command = [sys.executable, *main, "train", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)


def finish(*processes: subprocess.Popen) -> None:
    for process in processes:
        told = process.communicate(timeout=300)[1]
        assert process.returncode == 0, told


def curves(folder) -> np.ndarray:
    return np.array([[row[column] for column in COLUMNS] for row in RunFolder(folder).read_metrics()])


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start_processes(recipe, folder, count: int, *more: object) -> list[subprocess.Popen]:
    port = free_port()
    return [
        start(
            "jax",
            *(recipe, "--run-dir", folder, "--coordinator", f"127.0.0.1:{port}"),
            *("--process-id", index, "--process-count", count, *more),
        )
        for index in range(count)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", pytest.param("jax", marks=needs_jax)])
def test_two_and_four_devices_train_as_one_does(recipe, tmp_path, engine):
    for devices in (1, 2, 4):
        arguments = (recipe, "--run-dir", tmp_path / str(devices), "--devices", "all")
        finish(start(engine, *arguments, devices=devices))
        environment = json.loads((tmp_path / str(devices) / "environment.json").read_text())
        assert environment["devices"] == {"devices": devices, "processes": 1}
    for devices in (2, 4):
        np.testing.assert_allclose(curves(tmp_path / str(devices)), curves(tmp_path / "1"), rtol=RELATIVE)


@pytest.mark.slow
@needs_jax
def test_two_and_four_processes_train_as_one_does(recipe, tmp_path):
    finish(start("jax", recipe, "--run-dir", tmp_path / "1"))
    for count in (2, 4):
        finish(*start_processes(recipe, tmp_path / str(count), count))
        np.testing.assert_allclose(curves(tmp_path / str(count)), curves(tmp_path / "1"), rtol=RELATIVE)


@pytest.mark.slow
@needs_jax
def test_a_run_goes_on_after_one_of_two_processes_is_killed(recipe, tmp_path):
    longer = ("--set", "epochs=30", "--set", "checkpoints.steps=1")
    finish(start("jax", recipe, "--run-dir", tmp_path / "whole", *longer))
    folder = tmp_path / "killed"
    first, second = start_processes(recipe, folder, 2, *longer)
    while len(list(folder.glob("checkpoints/step_*-*.npz"))) < 2:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.01)
    second.send_signal(signal.SIGKILL)
    told = [process.communicate(timeout=300)[1] for process in (first, second)]
    assert first.returncode == 1  # it cannot go on alone
    assert "Another of the processes that train together is gone" in told[0]
    assert "Traceback" not in told[0]
    assert not (folder / "result.json").exists()
    finish(*start_processes(recipe, folder, 2, *longer))
    np.testing.assert_allclose(curves(folder), curves(tmp_path / "whole"), rtol=1e-4)


@pytest.mark.slow
@needs_jax
def test_a_peer_that_never_comes_is_a_clear_error():
    script = f"from senet.training.distribute import join; join('127.0.0.1:{free_port()}', 0, 2, wait=3)"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "Process 0 of 2 did not meet the others" in done.stderr
    assert "nobody came within 3 seconds" in done.stderr


def test_a_batch_that_devices_cannot_share_is_refused():
    Placement(devices=4).check_batch(128)
    with pytest.raises(PlacementError, match=r"a multiple of the 4 devices\. Received: batch=30\. Use 32"):
        Placement(devices=4).check_batch(30)


@pytest.mark.engine
def test_one_device_is_the_default_and_more_than_there_are_is_refused():
    assert place() == Placement()
    with pytest.raises(PlacementError, match=r"Received: (devices=)?99"):
        place(99)
    with pytest.raises(PlacementError, match="'some'"):
        place("some")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("127.0.0.1:1", None, 2), "together"),
        (("127.0.0.1:1", 2, 2), r"in 0\.\.1"),
    ],
)
def test_half_an_address_is_refused(arguments, words):
    with pytest.raises(PlacementError, match=words):
        join(*arguments)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX is the engine that can")
def test_other_engines_refuse_several_processes():
    with pytest.raises(PlacementError, match="Several processes need JAX"):
        join("127.0.0.1:1", 0, 2)


def test_launchers_are_known(monkeypatch):
    for variable in ("SLURM_NTASKS", "SLURM_PROCID", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(variable, raising=False)
    assert not launched()
    join()  # one process: nothing to do
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert not launched()
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert launched()
