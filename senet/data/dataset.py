"""What training and evaluation see of a data set, wherever its images lie."""

import abc
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from senet.data.plan import WHOLE, Shard
from senet.data.preprocess import Preprocess
from senet.data.splits import Skipped

Batch = tuple[np.ndarray, np.ndarray]
WeightedBatch = tuple[np.ndarray, np.ndarray, np.ndarray]


class TrainingBatches(Protocol):
    """Shuffled, varied batches without end: a function of the seed and of the number of the step."""

    @property
    def steps(self) -> int:
        """Batches in one epoch; what is left of an epoch's images is dropped."""

    def stream(self, first_step: int = 0) -> Generator[Batch, None, None]:
        """Batches from step `first_step` on, counted over all epochs; those before it are not made.

        Images are (B, H, W, C) float32, normalised; labels (B,) int32, or (B, classes) float32 where images
        are mixed. B is this process's part of the batch. Close it when done: that ends worker processes.
        """


class EvaluationBatches(Protocol):
    """Batches of one part of a data set in its own order, as often as it is iterated over."""

    @property
    def steps(self) -> int:
        """Number of batches."""

    def __iter__(self) -> Iterator[WeightedBatch]:
        """(images (B, H, W, C) float32, labels (B,) int32, weights (B,) float32), normalised.

        Every batch has B rows. The weight is 0 where images ran out or one cannot be read, else 1.
        """


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset(abc.ABC):
    """Images of known classes in three parts: for training, for choices, for the final test.

    `preprocess` holds the statistics of the training images, and of nothing else; a network that is scored
    has its own: `dataclasses.replace(dataset, preprocess=…)`. `report` lists the files that were left out,
    as far as they were read.
    """

    name: str
    class_names: tuple[str, ...]
    preprocess: Preprocess
    report: list[Skipped] = field(default_factory=list)

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    @abc.abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images in a batch."""

    @property
    @abc.abstractmethod
    def train_images(self) -> int: ...

    @property
    @abc.abstractmethod
    def validation_images(self) -> int: ...

    @property
    @abc.abstractmethod
    def test_images(self) -> int: ...

    @abc.abstractmethod
    def training(
        self, batch: int, seed: int, *, shard: Shard = WHOLE, image_size: int | None = None
    ) -> TrainingBatches:
        """Batches of `batch` images over all processes, of which `shard` gets its part.

        `image_size` is the side in pixels where it is not that of `image_shape`. ValueError for a batch
        larger than the training part, or that the processes cannot share evenly.
        """

    @abc.abstractmethod
    def validation(self, batch: int, shard: Shard = WHOLE) -> EvaluationBatches | None:
        """The images that were held out of training; None where there are none."""

    @abc.abstractmethod
    def test(self, batch: int, shard: Shard = WHOLE) -> EvaluationBatches:
        """The test images: to be read once, when a run has made all its choices."""
