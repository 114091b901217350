"""What gradient checkpointing saves and costs: peak memory and time of a training step, with and without.

python benchmarks/gradient_checkpointing.py --model se_resnet_50 --batch 16

Each variant is a process of its own, because peak memory is that of a process; they take turns, and the ratio
of times is one of neighbours. Peak memory is what training adds to the process that has built the network.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def measure(model: str, batch: int, size: int, checkpointing: bool, steps: int) -> dict[str, float]:
    """Seconds a step (median) and peak memory in MiB, in this process."""
    import keras
    import numpy as np

    import senet
    from senet.training.environment import jit_compile, peak_memory_mib
    from senet.training.recompute import Recomputed

    network = senet.create_model(model, input_shape=(size, size, 3), classifier_activation=None)
    trained = Recomputed(network) if checkpointing else network
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, jit_compile=jit_compile())
    trained.optimizer.build(network.trainable_variables)
    before = peak_memory_mib()
    rng = np.random.default_rng(0)
    images, labels = rng.random((batch, size, size, 3), np.float32), rng.integers(0, 10, batch)
    trained.train_on_batch(images, labels)  # compiles
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        trained.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "memory_mib": peak_memory_mib() - before}


def in_own_process(arguments: argparse.Namespace, checkpointing: bool) -> dict[str, float]:
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, "--child", str(int(checkpointing))]
    command += ["--model", arguments.model, "--batch", str(arguments.batch), "--size", str(arguments.size)]
    done = subprocess.run(
        [*command, "--steps", str(arguments.steps)], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float]) -> dict[str, float]:
    return {
        "n": len(values),
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="se_resnet_50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--child", type=int)
    arguments = parser.parse_args()
    if arguments.child is not None:
        found = measure(
            arguments.model, arguments.batch, arguments.size, bool(arguments.child), arguments.steps
        )
        print(json.dumps(found))
        return
    rounds = [
        {name: in_own_process(arguments, name == "checkpointing") for name in ("plain", "checkpointing")}
        for _ in range(arguments.rounds)
    ]

    from senet.files import write_json
    from senet.training.environment import describe

    ratios = {
        key: spread([each["checkpointing"][key] / each["plain"][key] for each in rounds])
        for key in ("seconds", "memory_mib")
    }
    memory = {
        name: spread([each[name]["memory_mib"] for each in rounds]) for name in ("plain", "checkpointing")
    }
    engine = os.environ.get("KERAS_BACKEND", "tensorflow")
    result = {
        "what": f"{arguments.model}, batch {arguments.batch}, {arguments.size} pixels: with / without",
        "ratio": ratios,
        "memory_mib": memory,
        "rounds": rounds,
        "load": round(os.getloadavg()[0], 2),
        "environment": describe(),
    }
    write_json(RESULTS / f"gradient_checkpointing_{engine}.json", result)
    print(json.dumps({"ratio": ratios, "memory_mib": memory}, indent=2))


if __name__ == "__main__":
    main()
