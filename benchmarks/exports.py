"""What exported files answer and take: networks × formats × precisions.

Each network gets random weights with the statistics of a batch of the images (or those of a published weight
set), is exported, and is compared with itself on the images; the reports of `senet.export` are the result.

    python benchmarks/exports.py --images FOLDER                    # the seven published networks
    python benchmarks/exports.py --models se_resnet_18 --image-size 64
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from senet.bench.measure import fit_statistics
from senet.data.preprocess import Preprocess
from senet.deploy.export import export
from senet.deploy.formats import FORMATS
from senet.files import read_json, write_json
from senet.predict import list_sources
from senet.training import environment
from senet.zoo import create_model

PUBLISHED = (
    "se_bn_inception",
    "se_resnet_50",
    "se_resnet_101",
    "se_resnet_152",
    "se_resnext_50_32x4d",
    "se_resnext_101_32x4d",
    "senet_154",
)
RESULT = Path(__file__).parent / "results" / "exports.json"


def read_images(folder: Path | None, size: int, count: int) -> np.ndarray:
    """Images as the networks read them, (N, size, size, 3): of a folder, or noise where there is none."""
    if folder is None:
        return np.random.default_rng(0).normal(size=(count, size, size, 3)).astype(np.float32)
    preprocess = Preprocess.timm(size)
    sources = list_sources(folder, channels=3)[:count]
    return preprocess.batch([source.image for source in sources])


def network(name: str, weights: str | None, images: np.ndarray) -> keras.Model:
    """A network for images of this size; without weights its BatchNorm has the statistics of some of them."""
    keras.utils.set_random_seed(0)
    model = create_model(name, weights=weights, input_shape=images.shape[1:])
    if weights is None:
        fit_statistics(model, images[:8])
    return model


def measure(name: str, wanted: list[tuple[str, str]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each format and precision of a network: its report, or the error."""
    images = read_images(options.images, options.image_size, options.count)
    model = network(name, options.weights, images)
    half = max(1, len(images) // 2)
    with tempfile.TemporaryDirectory() as folder:
        return [
            measure_one(model, name, Path(folder), kind, precision, images[:half], images[half:])
            for kind, precision in wanted
        ]


def place(row: dict[str, Any], models: Sequence[str]) -> tuple[int, int, int]:
    """Where a row stands: networks as asked for, then formats, then precisions."""
    kind = row["format"]
    network = models.index(row["network"]) if row["network"] in models else len(models)
    return network, list(FORMATS).index(kind), FORMATS[kind].precisions.index(row["precision"])


def measure_one(
    model: keras.Model,
    name: str,
    folder: Path,
    kind: str,
    precision: str,
    samples: np.ndarray,
    calibration: np.ndarray,
) -> dict[str, Any]:
    """The row of one format and precision."""
    row: dict[str, Any] = {"network": name, "format": kind, "precision": precision}
    try:
        report = export(
            model,
            folder / f"{name}-{precision}{FORMATS[kind].suffix}",
            kind,
            precision=precision,
            calibration=calibration if precision == "int8" else None,
            samples=samples,
            batch=1,
            min_agreement=0.0,  # the figure is what is asked for
        )
        row["report"] = {**dataclasses.asdict(report), "path": Path(report.path).name}
    except ValueError as error:
        row["error"] = str(error)
    print(row, flush=True)
    return row


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=PUBLISHED)
    parser.add_argument("--formats", nargs="+", default=tuple(FORMATS), choices=tuple(FORMATS))
    parser.add_argument("--weights", help="of every network: imagenet, or none")
    parser.add_argument("--images", type=Path, help="folder: the first half to compare on, the rest for int8")
    parser.add_argument("--count", type=int, default=64, help="of images")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument(
        "--again", nargs="*", default=(), help="precisions to measure again; else what the output has is kept"
    )
    options = parser.parse_args()
    result: dict[str, Any] = {
        "rows": [],
        "images": {
            "kind": "photographs" if options.images else "noise",
            "count": options.count,
            "size": options.image_size,
        },
        "weights": options.weights or "random, with the statistics of a batch of the images",
    }
    before = read_json(options.output) if options.output.exists() else {}
    if all(before.get(key) == result[key] for key in ("images", "weights")):
        result["rows"] = [
            row
            for row in before["rows"]
            if row["precision"] not in options.again or row["format"] not in options.formats
        ]
    # A process for each network, which takes its memory with it.
    alone = multiprocessing.get_context("spawn")
    wanted = [(kind, precision) for kind in options.formats for precision in FORMATS[kind].precisions]
    for name in options.models:
        done = {(row["format"], row["precision"]) for row in result["rows"] if row["network"] == name}
        missing = [each for each in wanted if each not in done]
        if not missing:
            continue
        with ProcessPoolExecutor(1, mp_context=alone) as pool:
            result["rows"] += pool.submit(measure, name, missing, options).result()
        result["rows"].sort(key=lambda row: place(row, options.models))
        result["environment"] = environment.describe()
        write_json(options.output, result)  # after each network: what is done is kept


if __name__ == "__main__":
    main()
