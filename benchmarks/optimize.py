"""What each part of `senet.optimize_for_inference` gives, against the network as it is and its plain twin.

All variants of a network are timed in turns within each round, in an order that changes; ratios are taken
round by round, to the optimised plain twin: that of "all" is what SE costs an optimised network.

    python benchmarks/optimize.py                 # KERAS_BACKEND chooses the engine
    python benchmarks/optimize.py --models se_resnet_18 --batch 1
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np

import senet
from senet.deploy import folding, optimize, squeeze, strides
from senet.files import write_json
from senet.training import environment
from senet.zoo import plain_twin

NOTHING: dict[str, Any] = {
    "squeeze.write_out": lambda graph: ([], []),
    "squeeze.is_earlier": lambda *_: False,
    "folding.fuse_sums": lambda graph: [],
    "folding.keep_norms": lambda graph: [],
    "folding.fold_paddings": lambda graph: [],
    "strides.lift_strides": lambda graph: [],
}
# What is left out of each variant.
VARIANTS: dict[str, tuple[str, ...]] = {
    "norms": ("squeeze.write_out", "folding.keep_norms", "folding.fold_paddings", "strides.lift_strides"),
    "late squeeze": ("squeeze.is_earlier",),
    "separate sums": ("folding.fuse_sums",),
    "separate norms": ("folding.keep_norms",),
    "padding layers": ("folding.fold_paddings",),
    "unread pixels": ("strides.lift_strides",),
    "all": (),
}


def variant(model: keras.Model, without: tuple[str, ...]) -> keras.Model:
    """The model optimised, parts of the work left out."""
    modules = {"squeeze": squeeze, "folding": folding, "strides": strides}
    with contextlib.ExitStack() as stack:
        for each in without:
            module, _, function = each.partition(".")
            stack.enter_context(mock.patch.object(modules[module], function, NOTHING[each]))
        return optimize.optimize_for_inference(model)


def compiled(model: keras.Model, x: np.ndarray) -> Callable[[], np.ndarray]:
    """A function that runs the model on `x` in the engine's usual way and waits for the answer."""
    engine = keras.backend.backend()
    if engine == "tensorflow":
        import tensorflow as tf

        call, images = tf.function(lambda x: model(x, training=False)), tf.constant(x)
        return lambda: call(images).numpy()
    if engine == "jax":
        import jax

        state = model.trainable_variables, model.non_trainable_variables
        values = [[variable.value for variable in group] for group in state]
        call = jax.jit(lambda t, n, x: model.stateless_call(t, n, x, training=False)[0])
        images = jax.numpy.array(x)
        return lambda: np.asarray(call(*values, images))
    import torch

    images = torch.from_numpy(x)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return model(images, training=False).numpy()

    return run


def measure(name: str, batch: int, size: int, rounds: int) -> dict[str, Any]:
    """Seconds of every variant of a network and its twin in every round, and the ratios."""
    x = np.random.default_rng(0).normal(size=(batch, size, size, 3)).astype(np.float32)
    shape = (size, size, 3)
    networks = {each: senet.create_model(each, input_shape=shape) for each in (plain_twin(name), name)}
    runs = {}
    for each, network in networks.items():
        runs[f"{each}: as it is"] = compiled(network, x)
        parts = VARIANTS if each == name else {part: VARIANTS[part] for part in ("unread pixels", "all")}
        runs |= {f"{each}: {part}": compiled(variant(network, out), x) for part, out in parts.items()}
    for run in runs.values():
        run()
        run()
    seconds: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key in random.sample(list(runs), len(runs)):
            start = time.perf_counter()
            runs[key]()
            seconds[key].append(time.perf_counter() - start)
    base = seconds[f"{plain_twin(name)}: all"]
    ratios = {
        key: statistics.median(own / other for own, other in zip(times, base, strict=True))
        for key, times in seconds.items()
    }
    return {"model": name, "batch": batch, "size": size, "seconds": seconds, "ratio_to_plain": ratios}


def main() -> None:
    """Measure, print the ratios, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["se_resnet_50"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    results = [measure(name, options.batch, options.size, options.rounds) for name in options.models]
    for result in results:
        for key, ratio in result["ratio_to_plain"].items():
            images = result["batch"] / statistics.median(result["seconds"][key])
            print(f"{key:45} {images:8.1f} images/s   {ratio:.3f} of the optimised plain network's time")
    output = options.output or Path(__file__).parent / "results" / f"optimize_{keras.backend.backend()}.json"
    write_json(output, {"results": results, "environment": environment.describe()})


if __name__ == "__main__":
    main()
