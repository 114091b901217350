"""The one iterator that turns a split into batches."""

import itertools
from collections.abc import Iterator

import numpy as np

from senet.data.augment import Augment
from senet.data.preprocess import Preprocess
from senet.data.splits import Split

Batch = tuple[np.ndarray, np.ndarray]


class Batches:
    """Batches of a split: float32 images (B, H, W, C), normalised, with int32 labels (B,).

    Holds no state: epoch `e` of a seed is the same whatever ran before it, so a resumed run sees the very
    batches it would have seen. Training shuffles, varies and drops the remainder; to evaluate, pass
    `shuffle=False, drop_remainder=False` and no `augment`, which keeps the order of the split.
    """

    def __init__(
        self,
        split: Split,
        preprocess: Preprocess,
        *,
        batch: int,
        seed: int = 0,
        augment: Augment | None = None,
        shuffle: bool = True,
        drop_remainder: bool = True,
    ):
        if batch < 1 or seed < 0:
            raise ValueError(
                f"`batch` must be at least 1 and `seed` at least 0. Received: {batch=}, {seed=}."
            )
        if not len(split):
            raise ValueError("A split needs at least one image to make batches of. Received: an empty one.")
        if drop_remainder and len(split) < batch:
            raise ValueError(
                f"A split must fill at least one batch. Received: {len(split)} images, batch={batch}. "
                f"Use batch={len(split)} or less, or drop_remainder=False."
            )
        self.split, self.preprocess, self.batch, self.seed = split, preprocess, batch, seed
        self.augment, self.shuffle, self.drop_remainder = augment, shuffle, drop_remainder

    @property
    def steps(self) -> int:
        """Batches in one epoch."""
        whole, rest = divmod(len(self.split), self.batch)
        return whole + bool(rest and not self.drop_remainder)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of epoch `epoch`, counted from 0, beginning with step `first_step`."""
        if epoch < 0 or not 0 <= first_step <= self.steps:
            raise ValueError(
                f"`epoch` must be at least 0 and `first_step` in 0..{self.steps}. "
                f"Received: {epoch=}, {first_step=}."
            )
        return self._epoch(epoch, first_step)

    def stream(self, first_epoch: int = 0) -> Iterator[Batch]:
        """All epochs from `first_epoch` on, one after another, without end."""
        for epoch in itertools.count(first_epoch):
            yield from self.epoch(epoch)

    def _epoch(self, epoch: int, first_step: int) -> Iterator[Batch]:
        count = len(self.split)
        order = self._random(epoch, 0).permutation(count) if self.shuffle else np.arange(count)
        for step in range(first_step, self.steps):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            images = self.split.images[chosen]
            if self.augment is not None:
                images = self.augment(images, self._random(epoch, step + 1))
            yield self.preprocess(images), self.split.labels[chosen]

    def _random(self, epoch: int, stream: int) -> np.random.Generator:
        """Stream 0 of an epoch is its order, stream `step + 1` varies the images of that step."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, stream)))
