"""Accuracy of a saved network on a data source."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from senet.data.config import DataConfig
from senet.data.pipeline import Dataset, load_data
from senet.data.preprocess import Preprocess
from senet.files import read_json
from senet.training.run_folder import RunFolder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores on the test images; accuracies are shares in [0, 1]."""

    model: str
    data: str
    images: int
    loss: float  # mean cross-entropy
    top1: float
    top5: float  # nan for networks of five classes or fewer


def evaluate(run: str | Path, data: DataConfig | None = None, *, batch: int = 256) -> Evaluation:
    """Score the network of a finished run on test images, by default those of its own data source.

    `run` is a run folder. The images are normalised as the run's training images were. Raises ConfigError
    for a folder that holds no run, FileNotFoundError for one that is not finished, ValueError for data of
    another shape or other classes.
    """
    model, preprocess, class_names = load_run(run)
    dataset = load_data(data or RunFolder(Path(run)).read_config().data)
    check_fit(model, class_names, dataset)
    test = dataset.test()
    logits = predict_logits(model, preprocess, test.images, batch=batch)
    return Evaluation(model=model.name, data=dataset.name, **scores(logits, test.labels))


def load_run(run: str | Path) -> tuple[keras.Model, Preprocess, tuple[str, ...]]:
    """The network of a finished run (logits), its preprocessing, and the names of its classes."""
    folder = RunFolder(Path(run))
    folder.read_config()  # first: a folder that is no run says so
    if not folder.model.exists():
        raise FileNotFoundError(f"The run in {run} is not finished: it has no {folder.model.name}.")
    stored = read_json(folder.preprocess)
    class_names = tuple(stored.pop("class_names"))
    preprocess = Preprocess(**stored)
    return keras.saving.load_model(folder.model, compile=False), preprocess, class_names


def check_fit(model: keras.Model, class_names: tuple[str, ...], dataset: Dataset) -> None:
    """Raise ValueError unless the network takes these images and knows these classes."""
    wanted = model.input_shape[1:]
    if any(own not in (None, side) for own, side in zip(wanted, dataset.image_shape, strict=True)):
        raise ValueError(f"The network takes images of {wanted}; {dataset.name} has {dataset.image_shape}.")
    if class_names != dataset.class_names:
        raise ValueError(
            f"The network was trained on {len(class_names)} classes ({', '.join(class_names[:3])}, …); "
            f"{dataset.name} has {dataset.classes} ({', '.join(dataset.class_names[:3])}, …)."
        )


def predict_logits(
    model: keras.Model, preprocess: Preprocess, images: np.ndarray, *, batch: int
) -> np.ndarray:
    """Logits (N, classes) of uint8 images (N, H, W, C)."""
    return np.asarray(model.predict(preprocess(images), batch_size=batch, verbose=0))


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Number of images, mean cross-entropy, top-1 and top-5 accuracy."""
    from sklearn.metrics import log_loss, top_k_accuracy_score

    p = softmax(logits)
    classes = np.arange(logits.shape[1])
    if logits.shape[1] == 2:  # scikit-learn takes the score of the second class alone
        top1 = float(np.mean(p.argmax(axis=1) == labels))
    else:
        top1 = float(top_k_accuracy_score(labels, p, k=1, labels=classes))
    top5 = float(top_k_accuracy_score(labels, p, k=5, labels=classes)) if len(classes) > 5 else float("nan")
    return {
        "images": len(labels),
        "loss": float(log_loss(labels, p, labels=classes)),
        "top1": top1,
        "top5": top5,
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, classes) in float64."""
    from scipy.special import softmax as scipy_softmax

    return scipy_softmax(logits.astype(np.float64), axis=-1)
