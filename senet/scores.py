"""How good answers are: error, loss, calibration, and what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ECE_BINS = 15  # as in Guo et al. 2017
LARGEST_TOP5 = 5  # top-5 says nothing of a network with no more classes than that


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, classes) in float64."""
    from scipy.special import softmax as scipy_softmax

    return scipy_softmax(logits.astype(np.float64), axis=-1)


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Number of images, mean cross-entropy, top-1 and top-5 accuracy, and calibration error.

    `logits` is (N, classes), `labels` (N,) class indices. Accuracies and `ece` are shares in [0, 1]; `top5`
    is nan for five classes or fewer.
    """
    from sklearn.metrics import log_loss, top_k_accuracy_score

    p = softmax(logits)
    classes = np.arange(logits.shape[1])
    if logits.shape[1] == 2:  # scikit-learn takes the score of the second class alone
        top1 = float(np.mean(p.argmax(axis=1) == labels))
    else:
        top1 = float(top_k_accuracy_score(labels, p, k=1, labels=classes))
    several = len(classes) > LARGEST_TOP5
    top5 = float(top_k_accuracy_score(labels, p, k=5, labels=classes)) if several else float("nan")
    return {
        "images": len(labels),
        "loss": float(log_loss(labels, p, labels=classes)),
        "top1": top1,
        "top5": top5,
        "ece": calibration_error(p, labels),
    }


def calibration_error(p: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> float:
    """Expected calibration error: how far the highest probability is from the share of right answers.

    `p` (N, classes) are probabilities, `labels` (N,) class indices. Images are sorted by their highest
    probability into `bins` of equal width, (0, 1/bins], …; the result is the mean over the images of
    |share right - mean probability| of their bin, in [0, 1].
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, right, bins) - np.bincount(place, confidence, bins)
    return float(np.abs(gaps).sum() / len(labels))


def per_class(said: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each class that has images, in the order of the classes.

    `said` and `labels` (N,) are class indices, `names` those of all classes. `accuracy` is the share of the
    class's images that are right (which is its recall), `precision` that of the images said to be of it; in
    [0, 1]. `taken_for` is the class its mistakes mostly are, "" where there are none.
    """
    from sklearn.metrics import precision_recall_fscore_support

    present = np.unique(labels)
    found = precision_recall_fscore_support(labels, said, labels=present, zero_division=0)
    rows = []
    for index, precision, recall, f1, images in zip(present.tolist(), *found, strict=True):
        of_class = labels == index
        mistakes = np.bincount(said[of_class & (said != index)])
        rows.append(
            {
                "class": names[index],
                "index": index,
                "images": int(images),
                "accuracy": float(np.mean(said[of_class] == index)),
                "precision": float(precision),
                "recall": float(recall),
                "f1": float(f1),
                "taken_for": names[int(mistakes.argmax())] if mistakes.size else "",
            }
        )
    return rows


def confusion(said: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the K classes that have images (K,), how many of each were taken for which (K, K + 1)).

    The last column counts the images taken for a class that has none.
    """
    present = np.unique(labels)
    place = np.searchsorted(present, said)
    elsewhere = (place == len(present)) | (present[np.minimum(place, len(present) - 1)] != said)
    columns = np.where(elsewhere, len(present), place)
    cells = np.searchsorted(present, labels) * (len(present) + 1) + columns
    counts = np.bincount(cells, minlength=len(present) * (len(present) + 1))
    return present, counts.reshape(len(present), len(present) + 1)
