"""Several devices, and several machines: data-parallel training, each device with the whole network.

TensorFlow: the devices of one machine, by `tf.distribute.MirroredStrategy`. JAX: the devices of one machine
or of several, by `keras.distribution.DataParallel`. PyTorch: one device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from senet.data import Shard
from senet.errors import PeerLostError

Devices = str | int  # "one", "all", or a number

WAIT = 300  # seconds for the other processes to come
# What JAX, or the Gloo library under it, says when a connection to another process breaks.
LOST = re.compile("gloo|connection|coordination|heartbeat|unavailable|deadline_exceeded", re.IGNORECASE)


class PlacementError(ValueError):
    """Devices or processes that this engine, this machine or this batch cannot have."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a run is: `devices` over all `processes`, of which this is number `process`, from 0."""

    devices: int = 1
    process: int = 0
    processes: int = 1
    strategy: Any = None  # TensorFlow's

    @property
    def leader(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.process == 0

    @property
    def shard(self) -> Shard:
        """The part of every batch that this process reads."""
        return Shard(self.process, self.processes)

    def describe(self) -> dict[str, int]:
        """For the file beside every result."""
        return {"devices": self.devices, "processes": self.processes}

    def check_batch(self, batch: int) -> None:
        """PlacementError unless every device gets the same number of images."""
        if batch % self.devices:
            fits = max(1, round(batch / self.devices)) * self.devices
            raise PlacementError(
                f"`batch` must be a multiple of the {self.devices} devices. Received: batch={batch}. "
                f"Use {fits}."
            )

    def refuse_other_step(self, step: int) -> None:
        """PlacementError where the processes did not find the same checkpoint."""
        if self.processes == 1:
            return
        from jax.experimental import multihost_utils

        found = [int(each) for each in multihost_utils.process_allgather(step)]
        if len(set(found)) > 1:
            raise PlacementError(
                f"Every process must see the same run folder. They found checkpoints of steps {found}. "
                "Put the run folder on a file system that all machines share."
            )

    def feed(self, batches: Iterable[Any], count: int) -> Any:
        """The first `count` batches in the form that Keras divides among the devices."""
        if self.strategy is None:
            return (batch for batch in itertools.islice(batches, count))  # a generator, as Keras insists
        import tensorflow as tf

        first, batches = peek(batches)
        # TensorFlow divides a batch among the devices where it knows its size, and else gives each a batch.
        signature = tuple(tf.TensorSpec(array.shape, array.dtype) for array in first)
        # Keras begins twice: once for a batch to build its metrics by, then for all of them.
        passes = iter([[first], itertools.islice(batches, count)])
        return tf.data.Dataset.from_generator(lambda: next(passes), output_signature=signature)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Build, compile and train in here; what was set before is set again at the end."""
        if self.strategy is not None:
            with self.strategy.scope():
                yield
        elif self.devices > 1 or self.processes > 1:
            before = keras.distribution.distribution()
            # Each process reads its own part of a batch: Keras need not divide anything.
            keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
            try:
                yield
            finally:
                keras.distribution.set_distribution(before)
        else:
            yield

    @contextlib.contextmanager
    def losing_peers(self) -> Iterator[None]:
        """PeerLostError where another of several processes is gone."""
        try:
            yield
        except RuntimeError as error:
            if self.processes == 1 or not LOST.search(str(error)):
                raise
            raise PeerLostError(
                "Another of the processes that train together is gone, and the rest cannot go on without it: "
                f"{str(error).splitlines()[0]}. Start all of them again with the same commands: they go on "
                "at the newest checkpoint."
            ) from error


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What one process of several does without the others: variables made in here are its own."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def place(devices: Devices = "one") -> Placement:
    """Use one device, all that the engine sees, or a number of them.

    On JAX in several processes (see `join`) it is always all. Raises PlacementError for more than there are,
    and on PyTorch for more than one.
    """
    engine = keras.backend.backend()
    if engine == "jax":
        import jax

        if jax.process_count() > 1:
            return Placement(len(jax.devices()), jax.process_index(), jax.process_count())
        return Placement(count(devices, len(jax.devices()), whole=True))
    if engine == "torch":
        if devices not in ("one", 1):
            raise PlacementError(
                f"PyTorch trains on one device here. Received: devices={devices!r}. "
                "Use KERAS_BACKEND=jax or tensorflow for several."
            )
        return Placement()
    import tensorflow as tf

    names = [device.name for device in tf.config.list_logical_devices("GPU")] or [
        device.name for device in tf.config.list_logical_devices("CPU")
    ]
    wanted = count(devices, len(names))
    if wanted == 1:
        return Placement()
    return Placement(wanted, strategy=tf.distribute.MirroredStrategy(names[:wanted]))


def peek(batches: Iterable[Any]) -> tuple[Any, Iterator[Any]]:
    """The first batch, and all of them, it included."""
    batches = iter(batches)
    first = next(batches)
    return first, itertools.chain([first], batches)


def count(devices: Devices, present: int, *, whole: bool = False) -> int:
    """`devices` as a number; `whole`: it is one or all."""
    wanted = {"one": 1, "all": present}.get(devices, devices) if isinstance(devices, str) else devices
    if not isinstance(wanted, int) or not 1 <= wanted <= present:
        raise PlacementError(
            f"`devices` must be 'one', 'all' or a number up to {present}, the devices that "
            f"{keras.backend.backend()} sees here. Received: {devices!r}."
        )
    if whole and wanted not in (1, present):
        raise PlacementError(
            f"On JAX `devices` is 'one' or 'all', here {present}. Received: {devices!r}. Hide the others "
            "from JAX, for instance with CUDA_VISIBLE_DEVICES=0,1."
        )
    return wanted


def launched() -> bool:
    """Whether SLURM's srun or Open MPI's mpirun, which JAX knows, started this process as one of several."""
    sizes = (os.environ.get("SLURM_NTASKS"), os.environ.get("OMPI_COMM_WORLD_SIZE"))
    started = "SLURM_PROCID" in os.environ or "OMPI_COMM_WORLD_RANK" in os.environ
    return started and any(size is not None and int(size) > 1 for size in sizes)


def join(
    coordinator: str | None = None,
    process_id: int | None = None,
    process_count: int | None = None,
    *,
    wait: int = WAIT,
) -> None:
    """Make this process one of several that train together (JAX only); before anything touches a device.

    `coordinator` is HOST:PORT of process 0; without the three, they come from the launcher (see `launched`).
    Does nothing where there is one process. Raises PlacementError for a part of the three, for another
    engine, and where the others do not come within `wait` seconds.
    """
    given = (coordinator, process_id, process_count)
    if all(value is None for value in given) and not launched():
        return
    if any(value is None for value in given) and any(value is not None for value in given):
        raise PlacementError(
            "Give --coordinator, --process-id and --process-count together, or none of them. "
            f"Received: {coordinator!r}, {process_id!r}, {process_count!r}."
        )
    if process_count is not None and not 0 <= (process_id or 0) < process_count:
        raise PlacementError(f"`process_id` must be in 0..{process_count - 1}. Received: {process_id}.")
    if keras.backend.backend() != "jax":
        raise PlacementError(
            f"Several processes need JAX. Received: the engine {keras.backend.backend()!r}. "
            "Set KERAS_BACKEND=jax; TensorFlow uses several devices of one machine with --devices all."
        )
    if process_count == 1:
        return
    meet(coordinator, process_id, process_count, wait)


def meet(coordinator: str | None, process_id: int | None, process_count: int | None, wait: int) -> None:
    """`jax.distributed.initialize`, with an error in place of an abort where the others do not come."""
    import jax

    failures: list[Exception] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                coordinator, process_count, process_id, initialization_timeout=wait + 3600
            )
        except Exception as error:  # of any kind, and it belongs to the other thread
            failures.append(error)

    # JAX ends the whole process when its time is up, so ours comes first, and from outside.
    meeting = threading.Thread(target=initialize, daemon=True)
    meeting.start()
    meeting.join(wait)
    if meeting.is_alive() or failures:
        why = str(failures[0]).splitlines()[0] if failures else f"nobody came within {wait} seconds"
        raise PlacementError(
            f"Process {process_id} of {process_count} did not meet the others at {coordinator}: {why}. Check "
            "that all of them were started, with the same coordinator and process count, and that its port "
            "can be reached."
        ) from (failures[0] if failures else None)
