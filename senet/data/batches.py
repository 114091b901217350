"""Batches of images that lie in memory."""

import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np

from senet.data.augment import Augment
from senet.data.config import AugmentConfig
from senet.data.crop import random_window, resize_box
from senet.data.dataset import Batch, WeightedBatch
from senet.data.mixing import Mix, check_even
from senet.data.plan import WHOLE, Plan, Shard, Step
from senet.data.preprocess import Preprocess
from senet.data.splits import Split


@dataclass(frozen=True)
class Finish:
    """The last of what happens to a training batch: normalisation, then mixing."""

    preprocess: Preprocess
    mix: Mix | None

    def __call__(self, images: np.ndarray, labels: np.ndarray, plan: Plan, step: Step) -> Batch:
        """Pixels (B, H, W, C) uint8 and class indices (B,) to what `TrainingBatches.stream` promises."""
        normalised = self.preprocess(images)
        if self.mix is None:
            return normalised, labels
        return self.mix(normalised, labels, plan.random_of_mix(step))


class MemoryBatches:
    """`TrainingBatches` of a split; see there."""

    def __init__(
        self,
        split: Split,
        preprocess: Preprocess,
        plan: Plan,
        config: AugmentConfig,
        classes: int,
    ):
        self.split, self.plan, self.config = split, plan, config
        self.augment = Augment.from_config(config, preprocess)
        self.finish = Finish(preprocess, Mix.from_config(config, classes))
        if config.mixes:
            check_even(plan.rows.stop - plan.rows.start)

    @property
    def steps(self) -> int:
        return self.plan.steps

    def stream(self, first_step: int = 0) -> Generator[Batch, None, None]:
        self.plan.step(first_step)  # here, so that a wrong step is refused at once
        return (self.batch(number) for number in itertools.count(first_step))

    def batch(self, number: int) -> Batch:
        """The batch of step `number`, counted over all epochs."""
        step = self.plan.step(number)
        chosen = self.plan.indices(step)
        images = self.split.images[chosen]
        if self.config.crop == "random_resized":
            for row, image in enumerate(images):
                images[row] = self._cut(image, self.plan.random_of_image(step, row))
        images = self.augment(images, self.plan, step)
        return self.finish(images, self.split.labels[chosen], self.plan, step)

    def _cut(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[:2]
        box = random_window((width, height), self.config.scale, self.config.ratio, rng)
        return resize_box(image, box, (width, height), self.config.filter)


class InOrder:
    """`EvaluationBatches` of a split; see there."""

    def __init__(self, split: Split, preprocess: Preprocess, batch: int, shard: Shard = WHOLE):
        self.split, self.preprocess = split, preprocess
        self.batch, self.rows = batch, shard.rows(batch)

    @property
    def steps(self) -> int:
        return -(-len(self.split) // self.batch)

    def __iter__(self) -> Iterator[WeightedBatch]:
        for start in range(0, self.steps * self.batch, self.batch):
            chosen = slice(start + self.rows.start, start + self.rows.stop)
            images = self.preprocess(self.split.images[chosen])
            labels = self.split.labels[chosen]
            yield pad(images, labels, self.rows.stop - self.rows.start)


def pad(images: np.ndarray, labels: np.ndarray, rows: int) -> WeightedBatch:
    """(N, H, W, C) and (N,) brought to `rows` rows with zeros, and weights: 1 for N rows, 0 for the rest."""
    missing = rows - len(labels)
    weights = np.repeat(np.array([1, 0], np.float32), (len(labels), missing))
    if missing:
        images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
        labels = np.concatenate([labels, np.zeros(missing, labels.dtype)])
    return images, labels, weights
