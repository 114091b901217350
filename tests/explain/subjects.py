"""Small networks with images of their own, to explain."""

from __future__ import annotations

import keras
import numpy as np

import senet
from senet.data import Preprocess
from senet.data.config import DataConfig
from senet.data.memory import MemoryDataset
from senet.data.splits import Read, Split
from senet.evaluate import Subject
from tests.models.test_engines import as_after_training

CLASSES = ("red", "green", "blue")
PREPROCESS = Preprocess(mean=(127.5,) * 3, std=(60.0,) * 3)


def images(each: int = 8, side: int = 16, seed: int = 0) -> Split:
    """Noisy pictures in which the channel of their class is brighter, `each` of a class, in mixed order."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(CLASSES)), each)
    pixels = rng.integers(0, 150, (len(labels), side, side, 3))
    pixels[np.arange(len(labels)), ..., labels] += 100
    return Split(pixels.astype(np.uint8), labels)


def network(name: str = "se_resnet_20_cifar", seed: int = 0, **options) -> keras.Model:
    """A network of the table, one block a stage, that gates as a trained one does; logits of CLASSES."""
    keras.utils.set_random_seed(seed)
    options = {"classes": len(CLASSES), "classifier_activation": None, **options}
    if name.endswith("20_cifar"):
        options.setdefault("blocks", (1, 2, 2))
    model = senet.create_model(name, **options)
    as_after_training(model, (16, 16), np.random.default_rng(seed))
    return model


def dataset(split: Split) -> MemoryDataset:
    """`split` as test images."""
    return MemoryDataset(
        name="colours",
        class_names=CLASSES,
        preprocess=PREPROCESS,
        train_split=split.take(np.arange(1)),
        validation_split=split.take(np.arange(0)),
        config=DataConfig(source="digits"),
        read_test=lambda: Read(split),
    )


def subject(model: keras.Model, split: Split, classes=None) -> Subject:
    """A network with `split` as its test images; `classes` as in `Subject`, by default in their order."""
    return Subject(
        model=model.name,
        weights="none",
        network=model,
        data=dataset(split),
        class_names=CLASSES,
        classes=np.arange(len(CLASSES)) if classes is None else np.asarray(classes),
    )
