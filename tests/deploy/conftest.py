"""Small networks whose weights look as after training, and images for them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

import senet
from senet.data import Preprocess
from tests.models.test_engines import as_after_training

SIDE = 32
LABELS = tuple(f"class {index}" for index in range(7))
PREPROCESS = Preprocess.timm(size=SIDE)


def small(name: str = "se_resnet_50", **options) -> keras.Model:
    """A shallow network of seven classes with the statistics of a batch, and its preprocessing."""
    keras.utils.set_random_seed(0)
    changes = {"blocks": (1, 1), "widths": (16, 32), "stem_width": 16, **options}
    model = senet.create_model(name, classes=7, **changes)
    as_after_training(model, (SIDE, SIDE), np.random.default_rng(0))
    kernel, bias = model.get_layer("classifier").get_weights()
    model.get_layer("classifier").set_weights([6 * kernel, bias])  # answers that differ from image to image
    model.preprocess = PREPROCESS
    return model


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth colours, (40, 48, 3) uint8."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 6, 7, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(pixels).resize((48, 40))) for pixels in small]


def answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Ten JPEG files."""
    place = tmp_path_factory.mktemp("pictures")
    for index, pixels in enumerate(pictures(10, seed=1)):
        Image.fromarray(pixels).save(place / f"{index}.jpg", quality=95)
    return place
