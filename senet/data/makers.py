"""Batches of streamed images, made in a worker process: a function of their number, up to normalisation.

Normalising comes later, in the process that trains: bytes are a quarter of the way to send.
"""

import itertools
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from senet.data.augment import Augment
from senet.data.config import AugmentConfig
from senet.data.crop import random_window
from senet.data.decode import cut_centre, cut_window
from senet.data.plan import WHOLE, Plan, Shard
from senet.data.records import Cut, Part
from senet.data.splits import Skipped

ENDLESS = 2**48  # steps: longer than any run


@dataclass(frozen=True)
class Geometry:
    """How an encoded image becomes (side, side, 3) uint8: `short` is its shorter side before the centre."""

    side: int
    short: int
    filter: str

    @classmethod
    def of(cls, side: int, crop_fraction: float, filter: str) -> "Geometry":
        return cls(side, max(side, round(side / crop_fraction)), filter)

    def centre(self, data: bytes) -> np.ndarray:
        """As evaluation sees it; ValueError says why data cannot be read."""
        return cut_centre(data, self.short, self.side, self.filter)

    def training(self, data: bytes, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
        """As training sees it before anything else varies it; ValueError says why data cannot be read."""
        if config.crop != "random_resized":
            return self.centre(data)
        return cut_window(
            data, lambda size: random_window(size, config.scale, config.ratio, rng), self.side, config.filter
        )


class Made(NamedTuple):
    """What a worker hands over: the batch of step `number`; `weights` are 0 for rows that hold no image."""

    number: int
    images: np.ndarray  # (B, side, side, 3) uint8
    labels: np.ndarray  # (B,) int32
    weights: np.ndarray  # (B,) float32
    faults: list[Skipped]


@dataclass(frozen=True, eq=False)
class TrainingMaker:
    """Varied batches in the order of a plan; an image that cannot be read gives its place to the next one."""

    part: Part
    plan: Plan
    geometry: Geometry
    config: AugmentConfig
    augment: Augment

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, number: int) -> Made:
        step, rows = self.plan.step(number), self.plan.rows.stop - self.plan.rows.start
        images = np.empty((rows, self.geometry.side, self.geometry.side, 3), np.uint8)
        chosen = np.empty(rows, np.int64)
        faults: list[Skipped] = []
        order = self.plan.order(step.epoch)
        for row in range(rows):
            rng = self.plan.random_of_image(step, row)
            cut = partial(self.geometry.training, config=self.config, rng=rng)
            images[row], chosen[row] = self._readable(order, step.first + row, cut, faults)
        images = self.augment(images, self.plan, step)
        return Made(number, images, self.part.labels[chosen], np.ones(rows, np.float32), faults)

    def _readable(
        self, order: np.ndarray, place: int, cut: Cut, faults: list[Skipped]
    ) -> tuple[np.ndarray, int]:
        """(pixels, number) of the first image in `order`, from `place` on and around, that can be read."""
        for index in itertools.chain(order[place:], order[:place]):
            image = self.part.pixels(index, cut, faults)
            if image is not None:
                return image, index
        raise ValueError(f"None of {len(order)} training images can be read, {faults[0].path} for one.")


@dataclass(frozen=True, eq=False)
class OrderMaker:
    """Batches in the order of the part, as evaluation sees them; rows without an image are black."""

    part: Part
    geometry: Geometry
    batch: int
    shard: Shard = WHOLE

    def __len__(self) -> int:
        return -(-len(self.part) // self.batch)

    def __getitem__(self, number: int) -> Made:
        mine = self.shard.rows(self.batch)
        rows = mine.stop - mine.start
        images = np.zeros((rows, self.geometry.side, self.geometry.side, 3), np.uint8)
        labels, weights = np.zeros(rows, np.int32), np.zeros(rows, np.float32)
        faults: list[Skipped] = []
        first = number * self.batch + mine.start
        for row, place in enumerate(range(first, min(first + rows, len(self.part)))):
            labels[row] = self.part.labels[place]
            image = self.part.pixels(place, self.geometry.centre, faults)
            if image is not None:
                images[row], weights[row] = image, 1
        return Made(number, images, labels, weights, faults)
