"""What several devices or processes cost on one machine: the same run on 1, 2 and 4 of them.

    python benchmarks/scaling.py

Virtual devices and processes on loopback share the cores of this machine, so nothing can get faster here:
the ratio to one device is what dividing the batch and adding up the gradients costs. Images a second are
those of the epochs of a run after the first, as its metrics.csv has them. The variants take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from senet.files import write_json, write_text
from senet.training.config import load_config
from senet.training.environment import describe
from senet.training.run_folder import RunFolder

RESULT = Path(__file__).parent / "results" / "scaling.json"
SPLIT = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * {count})
import sys
from senet.cli import main
sys.argv[0] = "senet"
main()
"""
VARIANTS = (  # engine, devices of a process, processes
    *(("tensorflow", count, 1) for count in (1, 2, 4)),
    *(("jax", count, 1) for count in (1, 2, 4)),
    *(("jax", 1, count) for count in (2, 4)),
)


def command(engine: str, devices: int) -> list[str]:
    """The beginning of a `senet` command that sees so many devices."""
    if engine == "tensorflow":
        return [sys.executable, "-c", SPLIT.format(count=devices)]
    return [sys.executable, "-m", "senet_command"]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def run(recipe: Path, folder: Path, engine: str, devices: int, processes: int) -> float:
    """Images a second of one variant, the median over its epochs but the first, which compiles."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": engine,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    arguments = ["train", str(recipe), "--run-dir", str(folder), "--devices", "all"]
    address = f"127.0.0.1:{free_port()}"
    started = [
        subprocess.Popen(
            [
                *command(engine, devices),
                *arguments,
                *(
                    ("--coordinator", address, "--process-id", str(i), "--process-count", str(processes))
                    if processes > 1
                    else ()
                ),
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for i in range(processes)
    ]
    codes = [process.wait() for process in started]
    if any(codes):
        raise RuntimeError(f"A run failed: {engine}, {devices} devices, {processes} processes.")
    return statistics.median(row["images_per_second"] for row in RunFolder(folder).read_metrics()[1:])


def spread(values: list[float]) -> dict[str, float]:
    return {
        "n": len(values),
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", type=int, default=1280)
    arguments = parser.parse_args()
    config = load_config(
        "digits",
        [f"data.train_limit={arguments.images}", "data.validation=0", "schedule.name=constant"],
        model="se_resnet_20_cifar",
        epochs=arguments.epochs,
    ).model_copy(update={"batch": arguments.batch})
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "recipe.yaml"
        write_text(recipe, json.dumps(config.model_dump(mode="json")))
        for turn in range(arguments.rounds):
            for engine, devices, processes in VARIANTS:
                name = f"{engine}, {devices} devices, {processes} processes"
                place = Path(folder) / f"{turn}-{engine}-{devices}-{processes}"
                rates.setdefault(name, []).append(run(recipe, place, engine, devices, processes))
                print(f"{name}: {rates[name][-1]:.0f} images a second", file=sys.stderr)
    ones = {engine: rates[f"{engine}, 1 devices, 1 processes"] for engine in ("tensorflow", "jax")}
    result = {
        "what": f"se_resnet_20_cifar on digits, batch {arguments.batch} over all devices",
        "images_a_second": {name: spread(values) for name, values in rates.items()},
        "ratio_to_one_device": {
            name: spread([v / one for v, one in zip(values, ones[name.split(",")[0]], strict=True)])
            for name, values in rates.items()
        },
        "rounds": rates,
        "load": round(os.getloadavg()[0], 2),
        "environment": describe(),
    }
    write_json(RESULT, result)
    print(json.dumps(result["ratio_to_one_device"], indent=2))


if __name__ == "__main__":
    main()
