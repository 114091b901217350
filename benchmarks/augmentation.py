"""How many images a second pad 4, random crop, mirror and normalisation give, against loops over images.

What a training step waits for: uint8 images of 32x32x3 in memory in, float32 batches of 128 out, one thread.
The contestants take turns in each round, so that a busy moment of the machine falls on all of them.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from senet.data import AugmentConfig, Plan, Preprocess, Split
from senet.data.batches import MemoryBatches
from senet.files import write_json
from senet.training import environment

BATCH, SIZE, PAD = 128, 32, 4
ROOT = Path(__file__).parents[1]


def by_batches(split: Split, preprocess: Preprocess, steps: int) -> Iterator[np.ndarray]:
    config = AugmentConfig(crop="pad", padding=PAD, flip=True)
    batches = MemoryBatches(split, preprocess, Plan(len(split), BATCH), config, classes=10)
    for _, (images, _) in zip(range(steps), batches.stream(), strict=False):
        yield images


def by_pillow(split: Split, preprocess: Preprocess, steps: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    fill = tuple(round(value) for value in preprocess.mean)
    mean, std = (np.array(values, np.float32) for values in (preprocess.mean, preprocess.std))
    for _ in range(steps):
        batch = np.empty((BATCH, SIZE, SIZE, 3), np.float32)
        for place, index in enumerate(rng.integers(0, len(split), BATCH)):
            image = ImageOps.expand(Image.fromarray(split.images[index]), PAD, fill)
            down, right = rng.integers(0, 2 * PAD + 1, 2)
            image = image.crop((right, down, right + SIZE, down + SIZE))
            if rng.random() < 0.5:
                image = ImageOps.mirror(image)
            batch[place] = (np.asarray(image, np.float32) - mean) / std
        yield batch


def by_numpy(split: Split, preprocess: Preprocess, steps: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    mean, std = (np.array(values, np.float32) for values in (preprocess.mean, preprocess.std))
    for _ in range(steps):
        batch = np.empty((BATCH, SIZE, SIZE, 3), np.float32)
        for place, index in enumerate(rng.integers(0, len(split), BATCH)):
            image = (split.images[index].astype(np.float32) - mean) / std
            image = np.pad(image, ((PAD, PAD), (PAD, PAD), (0, 0)))
            down, right = rng.integers(0, 2 * PAD + 1, 2)
            image = image[down : down + SIZE, right : right + SIZE]
            batch[place] = image[:, ::-1] if rng.random() < 0.5 else image
        yield batch


# Steps a round: about as long for each.
CONTESTANTS: dict[str, tuple[Callable[..., Iterator[np.ndarray]], int]] = {
    "senet.data.batches": (by_batches, 200),
    "a loop with Pillow": (by_pillow, 10),
    "a loop with NumPy": (by_numpy, 10),
}


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Images a second for each contestant: median, least and most over the rounds."""
    pixels = np.random.default_rng(0).integers(0, 256, (50_000, SIZE, SIZE, 3), dtype=np.uint8)
    split = Split(pixels, np.zeros(len(pixels)))
    preprocess = Preprocess.of(pixels)
    speeds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for number in range(rounds + 1):
        for name, (run, steps) in CONTESTANTS.items():
            start = time.perf_counter()
            for images in run(split, preprocess, steps):
                assert images.shape == (BATCH, SIZE, SIZE, 3)
                assert images.dtype == np.float32
            if number:  # the first round warms up
                speeds[name].append(steps * BATCH / (time.perf_counter() - start))
    return {
        name: {"median": round(float(np.median(found))), "min": round(min(found)), "max": round(max(found))}
        for name, found in speeds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/augmentation.json")
    arguments = parser.parse_args()
    # Processes that wanted a core in the minute before: above 0, others took part.
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    result = {
        "what": "pad 4, random crop, mirror, normalise: uint8 32x32x3 to float32 batches of 128, one thread",
        "unit": "images per second",
        "n": arguments.rounds,
        "speed": measure(arguments.rounds),
        "load": load,
        "environment": environment.describe(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_json(arguments.output, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
