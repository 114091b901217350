"""Which images make up each step of training, and what chance each has: functions of numbers alone."""

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shard:
    """The part of process `index` of `count`: a `count`-th of every batch, so batches do not depend on it."""

    index: int = 0
    count: int = 1

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"`index` must be in 0..count - 1. Received: index={self.index}, count={self.count}."
            )

    def rows(self, batch: int) -> slice:
        """This process's rows of a batch of `batch` images; ValueError unless all get as many."""
        size, rest = divmod(batch, self.count)
        if rest or not size:
            raise ValueError(
                f"`batch` must be a multiple of the processes. Received: {batch=}, {self.count} processes."
            )
        return slice(self.index * size, (self.index + 1) * size)


WHOLE = Shard()  # of a single process


@dataclass(frozen=True)
class Step:
    """Step `number` of epoch `epoch`, both from 0; `first`: the place in the epoch of its first row here."""

    epoch: int
    number: int
    first: int


@dataclass(frozen=True)
class Plan:
    """`images` images in batches of `batch`, in a new order each epoch, the remainder of an epoch dropped.

    Nothing depends on what ran before, on the number of processes or on that of workers: a step is a
    function of `seed` and its number, and can be made without those before it.
    """

    images: int
    batch: int
    seed: int = 0
    shard: Shard = WHOLE

    def __post_init__(self):
        if self.batch < 1 or self.seed < 0:
            raise ValueError(
                "`batch` must be at least 1 and `seed` at least 0. "
                f"Received: batch={self.batch}, seed={self.seed}."
            )
        if self.images < self.batch:
            raise ValueError(
                f"The training images must fill at least one batch. Received: {self.images} images, "
                f"batch={self.batch}. Use a batch of {self.images} or less."
            )
        self.shard.rows(self.batch)

    @property
    def steps(self) -> int:
        """Batches in one epoch."""
        return self.images // self.batch

    @property
    def rows(self) -> slice:
        """The rows of every batch that are made here."""
        return self.shard.rows(self.batch)

    def step(self, number: int) -> Step:
        """Step `number`, counted over all epochs from 0."""
        if number < 0:
            raise ValueError(f"A step must be at least 0. Received: {number}.")
        epoch, number = divmod(number, self.steps)
        return Step(epoch, number, number * self.batch + self.rows.start)

    def indices(self, step: Step) -> np.ndarray:
        """The images of the rows that are made here, in order."""
        return self.order(step.epoch)[step.first : step.first + self.rows.stop - self.rows.start]

    def order(self, epoch: int) -> np.ndarray:
        """All images in the order of an epoch; read it only."""
        return _order(self.seed, epoch, self.images)

    def random_of_step(self, step: Step) -> np.random.Generator:
        """For what is drawn for all rows of the whole batch at once."""
        return _random(self.seed, step.epoch, step.number + 1)

    def random_of_mix(self, step: Step) -> np.random.Generator:
        """For how the images of a batch are mixed."""
        return _random(self.seed, step.epoch, step.number + 1, 0)

    def random_of_image(self, step: Step, row: int) -> np.random.Generator:
        """For the image in row `row` of those made here."""
        return _random(self.seed, step.epoch, 0, step.first + row)


def _random(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@functools.lru_cache(maxsize=4)  # of a million images an order takes 20 ms, and each step asks for it
def _order(seed: int, epoch: int, images: int) -> np.ndarray:
    return _random(seed, epoch, 0).permutation(images)
