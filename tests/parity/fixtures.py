"""The fixtures: what peers answered, as real checkpoint files to convert (see reference_weights.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from senet.data.labels import imagenet_classes
from tests.models.step import to_numpy
from tests.parity import reference_weights as peer

TOLERANCE = 1e-5  # relative error of the logits, float32
SOURCES = sorted(path.stem for path in (peer.HERE / "golden").glob("*.npz"))


def architecture(source: str) -> str:
    """ "timm_legacy_seresnet50" to "timm/legacy_seresnet50"."""
    return source.replace("_", "/", 1)


def write_checkpoint(source: str, folder: Path) -> Path:
    """The checkpoint that the peer was filled from: a .caffemodel or a .safetensors file."""
    manifest = peer.load_manifest(source)
    if source.startswith("caffe_"):
        path = folder / f"{source}.caffemodel"
        peer.write_caffemodel(path, manifest)
    else:
        path = folder / f"{source}.safetensors"
        peer.write_safetensors(path, manifest)
    return path


def answers(source: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(key, image (1, H, W, 3), logits (1, classes) with classes in the order of the sorted synsets)."""
    found = 0
    for key, logits in peer.load_golden(source).items():
        match = re.fullmatch(r"logits_(\d+)x(\d+)_s(\d+)", key)
        if match:
            height, width, seed = map(int, match.groups())
            if source.startswith("caffe_"):
                logits = logits[:, [row.ilsvrc2012_id - 1 for row in imagenet_classes()]]
            found += 1
            yield key, peer.image((1, height, width, 3), seed=seed), logits
    assert found, source


def relative_error(ours: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(ours - expected) / np.linalg.norm(expected))


def errors(network, source: str) -> dict[str, float]:
    """The relative error of a converted network at each size of the fixture."""
    # Called layer by layer: for one image it takes longer to compile a deep network than to run it.
    return {key: relative_error(to_numpy(network(image)), logits) for key, image, logits in answers(source)}
