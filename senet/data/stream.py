"""A data set that stays on disk: images are read when their batch is made, through Grain.

A batch is a function of its number alone, so Grain only decides who makes it and when; any step can be the
first, and a number is all there is to save.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from senet.data.augment import Augment
from senet.data.batches import Finish
from senet.data.cache import keep_arrays, load_arrays
from senet.data.config import DataConfig
from senet.data.dataset import Batch, Dataset, WeightedBatch
from senet.data.faults import Faults
from senet.data.makers import Geometry, Made, OrderMaker, TrainingMaker
from senet.data.mixing import Mix, check_even
from senet.data.plan import WHOLE, Plan, Shard
from senet.data.preprocess import Preprocess
from senet.data.records import Listed, Part
from senet.data.splits import Skipped, hold_out
from senet.machine import cores

_AHEAD = 2  # batches that each worker, and this process, may have ready
_SAMPLE = 1024  # images that mean and deviation are taken from: they then vary by a tenth of a grey level

T = TypeVar("T")
_END = object()


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamDataset(Dataset):
    """Parts of an index; pixels come from disk with every batch. `geometry` is that of `image_shape`."""

    train_part: Part
    validation_part: Part
    test_part: Part
    config: DataConfig

    @property
    def image_shape(self) -> tuple[int, int, int]:
        side = self.geometry().side
        return side, side, 3

    @property
    def train_images(self) -> int:
        return len(self.train_part)

    @property
    def validation_images(self) -> int:
        return len(self.validation_part)

    @property
    def test_images(self) -> int:
        return len(self.test_part)

    def geometry(self, side: int | None = None) -> Geometry:
        """How images are cut, by default to the side that the config names."""
        return Geometry.of(side or self.config.image_size or 0, self.config.crop_fraction, self.config.filter)

    def training(
        self, batch: int, seed: int, *, shard: Shard = WHOLE, image_size: int | None = None
    ) -> "StreamBatches":
        plan = Plan(self.train_images, batch, seed, shard)
        config = self.config.augment
        if config.mixes:
            check_even(plan.rows.stop - plan.rows.start)
        augment = Augment.from_config(config, self.preprocess)
        maker = TrainingMaker(self.train_part, plan, self.geometry(image_size), config, augment)
        finish = Finish(self.preprocess, Mix.from_config(config, self.classes))
        return StreamBatches(maker, finish, self.faults(self.train_part), workers(self.config))

    def validation(self, batch: int, shard: Shard = WHOLE) -> "StreamInOrder | None":
        return self._in_order(self.validation_part, batch, shard) if self.validation_images else None

    def test(self, batch: int, shard: Shard = WHOLE) -> "StreamInOrder":
        return self._in_order(self.test_part, batch, shard)

    def _in_order(self, part: Part, batch: int, shard: Shard) -> "StreamInOrder":
        maker = OrderMaker(part, self.geometry(), batch, shard)
        shard.rows(batch)  # here, so that a wrong batch is refused at once
        return StreamInOrder(maker, self.preprocess, self.faults(part))

    def faults(self, part: Part) -> Faults:
        """A record of what cannot be read of `part`, for one iterator."""
        return Faults(len(part), self.config.max_unreadable, self.report)


@dataclass(frozen=True, eq=False)
class StreamBatches:
    """`TrainingBatches` from disk; see there. `workers` processes make them, or threads of this one for 0."""

    maker: TrainingMaker
    finish: Finish
    faults: Faults
    workers: int

    @property
    def steps(self) -> int:
        return self.maker.plan.steps

    def stream(self, first_step: int = 0) -> Generator[Batch, None, None]:
        self.maker.plan.step(first_step)  # here, so that a wrong step is refused at once
        return through_grain(self.maker, self._finished, first=first_step, workers=self.workers)

    def _finished(self, made: Made) -> Batch:
        self.faults.add(made.faults)
        plan = self.maker.plan
        # A copy: what a worker sends lies in shared memory, which must not outlive the iterator.
        return self.finish(made.images, made.labels.copy(), plan, plan.step(made.number))


@dataclass(frozen=True, eq=False)
class StreamInOrder:
    """`EvaluationBatches` from disk; see there.

    Threads make them: a process takes seconds to start, and this is asked for after every epoch.
    """

    maker: OrderMaker
    preprocess: Preprocess
    faults: Faults

    @property
    def steps(self) -> int:
        return len(self.maker)

    def __iter__(self) -> Iterator[WeightedBatch]:
        return through_grain(self.maker, self._finished, first=0, workers=0)

    def _finished(self, made: Made) -> WeightedBatch:
        self.faults.add(made.faults)
        return self.preprocess(made.images), made.labels, made.weights


def through_grain(
    maker: TrainingMaker | OrderMaker, finish: Callable[[Made], T], *, first: int, workers: int
) -> Generator[T, None, None]:
    """`finish(maker[number])` for each number from `first` on, in order, made ahead of being asked for.

    Workers end with the iterator. RuntimeError where one of them dies.
    """
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():  # Grain reads flags of its own, which only a program of absl's parses
        flags.FLAGS.mark_as_parsed()
    threads = 0 if workers else cores()
    read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + _AHEAD if threads else 0)
    made = grain.MapDataset.source(maker)[first:].to_iter_dataset(read)
    if workers:
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=_AHEAD)
        made = made.mp_prefetch(options, worker_init_fn=_one_thread)
    iterator = iter(made.map(finish))
    try:
        yield from ahead(iterator)
    except RuntimeError as error:
        if workers and "terminated unexpectedly" in str(error):
            raise RuntimeError(
                f"A worker process that reads images died ({error}). Out of memory is the usual reason: "
                f"lower `data.workers` (now {workers}) or `batch`; data.workers=0 reads in this process."
            ) from error
        raise
    finally:
        iterator.close()


def _one_thread(worker: int, count: int) -> None:
    import cv2

    cv2.setNumThreads(0)  # there is a process for each core already


def ahead(iterator: Iterator[T]) -> Iterator[T]:
    """The same elements, each asked for in a thread while the one before it is used."""
    # Grain's own prefetching thread asks for the iterator's state first, and then starts workers one by one.
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, iterator, _END) for _ in range(_AHEAD))
        try:
            while (element := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, iterator, _END))
                yield cast(T, element)
        finally:
            for future in waiting:
                future.cancel()


def workers(config: DataConfig) -> int:
    """Processes that read images: as `config` says, else one for each core of this process."""
    return cores() if config.workers is None else config.workers


def load_stream(listed: Listed, config: DataConfig, cache: Path) -> StreamDataset:
    """Divide an index as `config`, resolved, says; mean and deviation of a sample are kept in `cache`."""
    train, validation = hold_out(listed.train.labels, config)
    data = StreamDataset(
        name=listed.name,
        class_names=listed.class_names,
        preprocess=Preprocess(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        train_part=listed.train.take(train),
        validation_part=listed.train.take(validation),
        test_part=listed.test,
        config=config,
    )
    geometry = data.geometry()
    key = f"1 {listed.digest} {geometry} {config.validation} {config.train_limit} {config.split_seed}"
    target = cache / "statistics" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    kept = load_arrays(target)
    if kept is None:
        kept = measure(data.train_part, geometry, data.faults(data.train_part))
        keep_arrays(target, kept)
    preprocess = Preprocess(
        mean=tuple(kept["mean"]),
        std=tuple(kept["std"]),
        resize=geometry.short,
        crop=geometry.side,
        filter=geometry.filter,
    )
    return replace(data, preprocess=preprocess)


def measure(part: Part, geometry: Geometry, faults: Faults) -> dict[str, np.ndarray]:
    """Mean and deviation of each channel, 0..255, of a fixed sample of `part` as evaluation sees it."""
    found: list[Skipped] = []
    chosen = np.random.default_rng(0).permutation(len(part))[:_SAMPLE]
    with ThreadPoolExecutor(cores()) as pool:
        read = list(pool.map(lambda index: part.pixels(index, geometry.centre, found), chosen))
    faults.add(sorted(found))
    images = [image for image in read if image is not None]
    if not images:
        raise ValueError(f"None of {len(chosen)} training images can be read, {found[0].path} for one.")
    statistics = Preprocess.of(np.stack(images))
    return {"mean": np.array(statistics.mean), "std": np.array(statistics.std)}
