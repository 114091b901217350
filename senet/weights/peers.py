"""Measure a converted network against its source's own runtime, where that is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from senet.weights.architectures import Architecture
from senet.weights.tensors import read_tensors

IMAGES = 2


def compare(path: str | Path, architecture: Architecture, network: keras.Model) -> dict[str, Any]:
    """The difference between `network` and its source, both filled from `path`, on the same random images.

    `network` must end in logits. Returns {"runtime", "versions", "image_size", "images",
    "relative_difference" (of the logits, ‖a − b‖ / ‖b‖), "largest_difference", "same_top1"}, or
    {"not_measured": reason}.
    """
    name = architecture.name.partition("/")[2]
    if architecture.source not in RUNTIMES:
        return {"not_measured": "Caffe runs a network from its prototxt, which this package does not have"}
    try:  # a runtime may lack parts that only its networks ask for
        torch = importlib.import_module("torch")
        peer = RUNTIMES[architecture.source](name, classes=int(network.output_shape[-1]))
    except ImportError as error:
        return {"not_measured": f"{architecture.source} cannot be used here: {error}"}
    tensors = read_tensors(path)
    missing, unexpected = peer.load_state_dict(
        {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}, strict=False
    )
    # Old files lack the counters of steps; anything else would be another network.
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        return {"not_measured": f"{architecture.source} refuses the file: {missing + unexpected}"}
    side = architecture.spec.image_size
    shape = (IMAGES, side, side, network.input_shape[-1])
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with torch.no_grad():
        theirs = peer.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    ours = np.asarray(network.predict_on_batch(images))
    return {
        "runtime": architecture.source,
        "versions": {part: version(part) for part in (architecture.source, "torch", "keras")},
        "engine": keras.backend.backend(),
        "image_size": side,
        "images": IMAGES,
        "relative_difference": float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)),
        "largest_difference": float(np.abs(ours - theirs).max()),
        "same_top1": bool((ours.argmax(1) == theirs.argmax(1)).all()),
    }


def version(part: str) -> str:
    """The installed version of a package."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(part)
    except PackageNotFoundError:
        return "unknown"


def timm_network(name: str, classes: int) -> Any:
    return importlib.import_module("timm").create_model(name, num_classes=classes)


def pytorchcv_network(name: str, classes: int) -> Any:
    return importlib.import_module("pytorchcv.model_provider").get_model(name, num_classes=classes)


RUNTIMES: dict[str, Callable[..., Any]] = {"timm": timm_network, "pytorchcv": pytorchcv_network}
