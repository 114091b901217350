"""Every recipe from its file to a finished run, on crops of two photographs: shorter and smaller."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

import senet
from senet.training.config import load_config, make_config, recipe_names
from senet.training.fit import train

TRAIN, TEST = 16, 4  # images a class
CLASSES = ("china", "flower")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """ROOT/train/CLASS/*.jpg and ROOT/val/CLASS/*.jpg, windows of 72 × 64 pixels."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for name, pixels in zip(CLASSES, load_sample_images().images, strict=True):
        for part, count in (("train", TRAIN), ("val", TEST)):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                top, left = rng.integers(0, pixels.shape[0] - 256), rng.integers(0, pixels.shape[1] - 288)
                window = Image.fromarray(pixels[top : top + 256, left : left + 288])
                window.resize((72, 64)).save(folder / f"{index:02d}.jpg", quality=90)
    return root


def small(name: str, photographs, tmp_path):
    """The recipe with a shallow network, small batches and as many epochs as it has phases."""
    config = load_config(name)
    values = config.model_dump(mode="json")
    blocks = {"se_resnet_18": 4, "senet_154": 4}.get(
        config.model, 3 if config.model.endswith("_cifar") else 4
    )
    values["model_options"] = {**config.model_options, "blocks": [1] * blocks}
    if config.data.source != "digits":
        side = 32 if config.model.endswith("_cifar") or "cifar" in name else 64
        values["data"] |= {"source": str(photographs), "validation": 8, "train_limit": 24, "image_size": side}
        values["data"] |= {"cache": str(tmp_path / "cache"), "workers": 0}
    values["epochs"] = max(2, len(config.phases))
    for index, phase in enumerate(values["phases"]):
        values["phases"][index] = {
            **phase,
            "epoch": index,
            "image_size": 48 if phase["image_size"] else None,
        }
    values["batch"] = 8
    values["schedule"]["at"] = [0.5, 0.75, 0.9][: len(config.schedule.at)]
    if isinstance(config.schedule.factor, tuple):
        values["schedule"]["at"] = [0.2, 0.4, 0.6, 0.8]
    if config.optimizer.accumulate > 1:
        values["optimizer"]["accumulate"] = 2
    if config.weights is not None:
        source = senet.create_model(config.model, blocks=[1] * blocks, classes=len(CLASSES))
        values["weights"] = str(tmp_path / "source.weights.h5")
        source.save_weights(values["weights"])
    return make_config(values)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_runs_from_its_file_to_a_result(name, photographs, tmp_path):
    config = small(name, photographs, tmp_path)
    result = train(config, tmp_path / "run", progress=False)
    assert np.isfinite([result.test_loss, result.test_accuracy]).all()
    assert (result.ema_test_loss is not None) == (config.ema is not None)
    assert (tmp_path / "run" / "model.keras").exists()
