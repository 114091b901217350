"""A data set that is decoded into memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from senet.data.batches import InOrder, MemoryBatches
from senet.data.config import DataConfig
from senet.data.dataset import Dataset
from senet.data.images import resize
from senet.data.plan import WHOLE, Plan, Shard
from senet.data.preprocess import Preprocess
from senet.data.splits import Read, Source, Split, hold_out


@dataclass(frozen=True, eq=False, kw_only=True)
class MemoryDataset(Dataset):
    """Training and validation images in memory, test images on demand; `validation_split` may be empty."""

    train_split: Split
    validation_split: Split
    config: DataConfig
    read_test: Callable[[], Read] = field(repr=False)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        height, width, channels = self.train_split.images.shape[1:]
        return height, width, channels

    @property
    def train_images(self) -> int:
        return len(self.train_split)

    @property
    def validation_images(self) -> int:
        return len(self.validation_split)

    @property
    def test_images(self) -> int:
        return len(self.test_split)

    @cached_property
    def test_split(self) -> Split:
        """The test images, read on the first call: once, when a run has made all its choices."""
        split, skipped = self.read_test()
        if split.images.shape[1:] != self.image_shape:
            raise ValueError(
                f"Test images must have the shape of training images, {self.image_shape}. "
                f"Received: {split.images.shape[1:]}."
            )
        self.report.extend(skipped)
        return split

    def training(
        self, batch: int, seed: int, *, shard: Shard = WHOLE, image_size: int | None = None
    ) -> MemoryBatches:
        split = self.train_split
        if image_size not in (None, *self.image_shape[:2]):
            split = Split(resize(split.images, image_size, self.config.filter), split.labels)
        plan = Plan(len(split), batch, seed, shard)
        return MemoryBatches(split, self.preprocess, plan, self.config.augment, self.classes)

    def validation(self, batch: int, shard: Shard = WHOLE) -> InOrder | None:
        split = self.validation_split
        return InOrder(split, self.preprocess, batch, shard) if len(split) else None

    def test(self, batch: int, shard: Shard = WHOLE) -> InOrder:
        return InOrder(self.test_split, self.preprocess, batch, shard)


def load_memory(source: Source, config: DataConfig) -> MemoryDataset:
    """Read the training part of `source` and divide it as `config`, resolved, says."""
    split, skipped = source.read_train()
    train, validation = hold_out(split.labels, config)
    train_split = split if len(train) == len(split) else split.take(train)  # a copy may be large
    return MemoryDataset(
        name=source.name,
        class_names=source.class_names,
        preprocess=Preprocess.of(train_split.images),
        report=list(skipped),
        train_split=train_split,
        validation_split=split.take(validation),
        config=config,
        read_test=source.read_test,
    )
