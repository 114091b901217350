"""Images with their labels, and how a set of them is divided."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from senet.data.config import DataConfig


@dataclass(frozen=True, eq=False)
class Split:
    """`images` (N, H, W, C) uint8 and `labels` (N,) int32, class indices."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int32))
        if (
            self.images.dtype != np.uint8
            or self.images.ndim != 4
            or self.labels.shape != self.images.shape[:1]
        ):
            raise ValueError(
                "A split needs uint8 images of shape (N, H, W, C) and labels of shape (N,). "
                f"Received: {self.images.dtype} of shape {self.images.shape}, labels {self.labels.shape}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Split":
        """The images at `indices`, in that order, copied."""
        return Split(self.images[indices], self.labels[indices])


class Skipped(NamedTuple):
    """A file that was left out, and why."""

    path: str
    reason: str


class Read(NamedTuple):
    """What reading one part of a source gave."""

    split: Split
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class Source:
    """A place that images come from. Nothing is decoded before `read_train` or `read_test` is called."""

    name: str
    class_names: tuple[str, ...]
    read_train: Callable[[], Read]
    read_test: Callable[[], Read]


def balanced_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """The indices of `labels` in an order fixed by `seed`, each beginning with the shares of the whole.

    Of classes equally large, the first `k * classes` indices hold exactly `k` of each.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    rank = np.concatenate([np.arange(count) for count in counts])
    # The share of its class that lies before an image: sorting by it lets all classes run out together.
    share = (rank + 0.5) / np.repeat(counts, counts)
    return by_class[np.argsort(share, kind="stable")]


def split_off_test(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of (training, test) for a source that has no test part: 20 %, class-balanced.

    No setting changes it, so that no run trains on what another run is tested on.
    """
    order = balanced_order(labels, seed=0)
    count = max(1, round(0.2 * len(labels)))
    return np.sort(order[count:]), np.sort(order[:count])


def hold_out(labels: np.ndarray, config: DataConfig) -> tuple[np.ndarray, np.ndarray]:
    """Indices of (training, validation), sorted, as `validation`, `train_limit` and `split_seed` say."""
    held, limit = config.validation, config.train_limit
    left = len(labels) - held
    if left < 1:
        raise ValueError(
            f"`validation` must leave training images. Received: validation={held} of {len(labels)} images."
        )
    if limit is not None and limit > left:
        raise ValueError(
            f"`train_limit` must not exceed the training images. Received: train_limit={limit}, with {left} "
            f"images left after validation={held}. Use at most {left}, or None for all."
        )
    if not held and limit is None:
        return np.arange(len(labels)), np.arange(0)
    order = balanced_order(labels, config.split_seed)
    kept = order[held:] if limit is None else order[held : held + limit]
    return np.sort(kept), np.sort(order[:held])
