"""How an exported file answers beside the Keras model, and how long it takes."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any

import keras
import numpy as np

from senet.deploy.pictures import Pictures, steps
from senet.deploy.runtimes import Predictor

STEP = 8  # images a step of the comparison
RUNS, SECONDS = 20, 3.0  # of the latency: at most so many, and no longer than this


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The fields of the same names in `ExportReport`."""

    max_difference: float
    relative_difference: float
    top1_agreement: float | None


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds of a call on `batch` images: the median of `runs`, and the quartiles."""

    batch: int
    runs: int
    median_ms: float
    quartiles_ms: tuple[float, float]


def compare(model: keras.Model, predictor: Predictor, pictures: Pictures, images: np.ndarray) -> Comparison:
    """Ask both for the answers to all images; `images` are as the file takes them."""
    largest, difference, same = 0.0, 0.0, []
    for step in steps(len(images), STEP):
        theirs = answers(predictor.predict(images[step]))
        ours = answers(model(pictures.for_model(images[step]), training=False))
        for own, other in zip(ours, theirs, strict=True):
            if own.shape != other.shape:
                raise ValueError(f"The exported file answers {other.shape}, the Keras model {own.shape}.")
            gap = np.abs(own.astype(np.float64) - other)
            difference = max(difference, float(gap.max()) if np.isfinite(gap).all() else float("inf"))
            largest = max(largest, float(np.abs(own).max()))
        same.append(ours[0].argmax(-1) == theirs[0].argmax(-1))
    classes = predictor.answers != "features"
    return Comparison(
        difference,
        difference / largest if largest else difference,
        float(np.concatenate(same).mean()) if classes else None,
    )


def answers(outputs: Any) -> list[np.ndarray]:
    """Outputs as a flat list of float32 arrays, in Keras' order."""
    return [
        np.asarray(keras.ops.convert_to_numpy(output), np.float32) for output in keras.tree.flatten(outputs)
    ]


def measure_latency(predictor: Predictor, images: np.ndarray) -> Latency:
    """Time a call on one image, or on a batch where the file takes no other."""
    batch = predictor.input_shape[0] or 1
    some = np.resize(images, (batch, *images.shape[1:]))
    times: list[float] = []
    predictor.predict(some)
    began = time.perf_counter()
    while len(times) < 3 or (len(times) < RUNS and time.perf_counter() - began < SECONDS):
        start = time.perf_counter()
        predictor.predict(some)
        times.append(1e3 * (time.perf_counter() - start))
    low, median, high = statistics.quantiles(times, n=4)
    return Latency(batch, len(times), round(median, 3), (round(low, 3), round(high, 3)))
