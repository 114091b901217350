"""What a run was made on: engine, versions, machine; and what the engine can do here."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras

from senet.machine import cores

PACKAGES = ("senet", "keras", "tensorflow", "jax", "jaxlib", "torch", "numpy")


def engine() -> str:
    """The Keras engine in use: "tensorflow", "jax" or "torch"."""
    return keras.backend.backend()


def accelerators() -> list[str]:
    """Names of the accelerators that the engine sees; empty on a CPU."""
    if engine() == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        return [str(tf.config.experimental.get_device_details(d).get("device_name", d.name)) for d in devices]
    if engine() == "jax":
        import jax

        return [d.device_kind for d in jax.devices() if d.platform != "cpu"]
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def jit_compile() -> bool:
    """Whether a training step is compiled: on JAX; on TensorFlow with an accelerator; not on PyTorch.

    Measured on two CPU cores (benchmarks/jit.py, docs/training.md): XLA's step is faster than JAX' own
    operations and a third as fast as TensorFlow's; inductor's is slower than PyTorch's, after two minutes of
    compiling.
    """
    if engine() == "jax":
        return True
    return engine() == "tensorflow" and bool(accelerators())


def describe() -> dict[str, Any]:
    """Machine, versions and source of this process, for the file beside every result."""
    return {
        "machine": {
            "processor": processor(),
            "cores": cores(),
            "memory_gib": memory_gib(),
            "accelerators": accelerators(),
            "system": platform.system(),
        },
        "engine": engine(),
        "versions": {"python": platform.python_version(), **versions()},
        "commit": commit(),
        "command": ["senet" if "senet" in Path(sys.argv[0]).name else Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that decide what a run computes."""
    installed = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}
    return {package: installed[package] for package in PACKAGES if package in installed}


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_gib() -> float:
    """Main memory of the machine in GiB."""
    import psutil

    return round(psutil.virtual_memory().total / 2**30, 1)


def peak_memory_mib() -> float:
    """The most memory this process has held: on the accelerator where there is one, else resident, in MiB."""
    if engine() == "jax" and accelerators():
        import jax

        return jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
    if engine() == "torch" and accelerators():
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    if engine() == "tensorflow" and accelerators():
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def commit() -> str | None:
    """The commit of this package's source tree, with "+" where it has changes; None where it is installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "senet"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")
