"""What the training loop costs over a bare loop of the engine's compiled train step.

Both train the same network on batches of the same shape, in turns, an epoch each: the bare loop on one
batch that lies ready, ours with everything a run has (shuffling, augmentation, metrics, progress, the
checkpoint and the rows at the end of the epoch). The ratio is taken round by round.

    python benchmarks/loop_overhead.py            # KERAS_BACKEND chooses the engine
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from senet.data import MemoryDataset, Preprocess, Split
from senet.data.splits import Read
from senet.files import write_json
from senet.training import environment
from senet.training.config import TrainConfig, make_config
from senet.training.distribute import place
from senet.training.fit import build
from senet.training.loop import Loop
from senet.training.run_folder import RunFolder


def bare_loop(model: keras.Model, x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
    """A function that runs so many compiled train steps and nothing else."""
    model.make_train_function()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        batches = iter(tf.data.Dataset.from_tensors((x, y)).repeat())

        def run(steps: int) -> None:
            for _ in range(steps):
                logs = model.train_function(batches)
            float(logs["loss"])

    elif keras.backend.backend() == "jax":
        import jax

        def run(steps: int) -> None:
            groups = (
                model.trainable_variables,
                model.non_trainable_variables,
                model.optimizer.variables,
                model.metrics_variables,
            )
            # Copies: the step donates its state, and the model's own arrays must outlive it.
            state = tuple([jax.numpy.array(v.value) for v in group] for group in groups)
            batch = jax.device_put((x, y))
            for _ in range(steps):
                logs, state = model.train_function(state, iter([batch]))
            jax.block_until_ready(logs)

    else:

        def run(steps: int) -> None:
            for _ in range(steps):
                model.train_function([(x, y)])

    return run


class Timed(Loop):
    """The loop of a run that after each epoch gives the bare loop its turn, and times both."""

    def __init__(self, *arguments: Any, bare: Callable[[int], None]) -> None:
        super().__init__(*arguments)
        self.bare, self.begun = bare, time.perf_counter()
        self.times: dict[str, list[float]] = {"bare": [], "ours": []}

    def end_epoch(self, epoch: int) -> None:
        super().end_epoch(epoch)
        steps = self.batches.steps
        self.times["ours"].append((time.perf_counter() - self.begun) / steps)
        start = time.perf_counter()
        self.bare(steps)
        self.times["bare"].append((time.perf_counter() - start) / steps)
        self.begun = time.perf_counter()


def noise(config: TrainConfig, steps: int) -> MemoryDataset:
    """Random images in memory for an epoch of so many steps."""
    rng = np.random.default_rng(0)
    split = Split(
        rng.integers(0, 256, (config.batch * steps, 32, 32, 3), np.uint8),
        rng.integers(0, 10, config.batch * steps, np.int32),
    )
    return MemoryDataset(
        name="noise",
        class_names=tuple("0123456789"),
        preprocess=Preprocess.of(split.images),
        train_split=split,
        validation_split=split.take(np.arange(0)),
        config=config.data.resolved(),
        read_test=lambda: Read(split),
    )


def measure(model_name: str, batch: int, steps: int, rounds: int) -> dict[str, object]:
    """Seconds a step of both loops, and their ratio, over `rounds` epochs after one that compiles."""
    config = make_config(
        {"model": model_name, "epochs": rounds + 1, "batch": batch, "data": {"source": "cifar10"}}
    )
    data, placement = noise(config, steps), place("one")
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        other = Loop(config, folder, build(config, data), data, placement)
        other.enter(config.phase_at(0))
        bare = bare_loop(other.model, *next(other.batches.stream()))
        bare(3)
        loop = Timed(config, folder, build(config, data), data, placement, bare=bare)
        loop.run(progress=True)
    times = {who: seconds[1:] for who, seconds in loop.times.items()}
    ratios = [o / b for o, b in zip(times["ours"], times["bare"], strict=True)]
    return {
        "model": model_name,
        "batch": batch,
        "steps_a_round": steps,
        "rounds": rounds,
        "seconds_a_step": times,
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }


def main() -> None:
    """Measure, print the ratio, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet_20_cifar")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=25, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    result = measure(options.model, options.batch, options.steps, options.rounds)
    output = (
        options.output or Path(__file__).parent / "results" / f"loop_overhead_{keras.backend.backend()}.json"
    )
    write_json(output, {**result, "environment": environment.describe()})
    print(f"ours / bare: {result['ratio']}")


if __name__ == "__main__":
    main()
