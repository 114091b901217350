"""`train`: from a config to a finished run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import statistics
from collections.abc import Iterator
from pathlib import Path

import keras

from senet.complexity import complexity
from senet.data import Dataset, load_data
from senet.files import write_json, written_aside
from senet.training import environment
from senet.training.config import TrainConfig
from senet.training.distribute import Devices, alone, place
from senet.training.loop import Loop
from senet.training.run_folder import RunFolder
from senet.zoo import create_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run gave; result.json holds the same fields. Accuracies are shares in [0, 1]."""

    model: str
    seed: int
    epochs: int
    train_images: int
    test_images: int
    test_loss: float  # mean cross-entropy
    test_accuracy: float
    trainable_parameters: int
    multiply_adds: int
    seconds: float  # training alone, all epochs
    seconds_per_epoch: float  # median, without the first epoch (which compiles) where there are several
    peak_memory_mib: float
    run_dir: str
    finished: str  # UTC
    ema_test_loss: float | None = None  # of the averaged weights
    ema_test_accuracy: float | None = None
    best_epoch: int | None = None  # of the highest validation accuracy, from 1


def train(
    config: TrainConfig,
    run_dir: str | Path | None = None,
    *,
    devices: Devices = "one",
    progress: bool = True,
    wandb: str | None = None,
) -> RunResult:
    """Train, evaluate once on the test data, and leave everything in `run_dir`.

    The folder (default runs/MODEL-SEED) gets config.yaml and environment.json first, then metrics.csv,
    TensorBoard events, curves.png and checkpoints after every epoch, at last model.keras (logits),
    model_ema.keras and model_best.keras where there are such, and result.json. The same call on the same
    folder resumes at the newest checkpoint, and gives what an unbroken run gives; on a finished run it
    returns its result. SIGTERM and Ctrl-C end it after the step, with a checkpoint.

    `devices`: "one", "all", or a number; see `senet.training.distribute`, also for several processes.
    `wandb`: the project of Weights & Biases that gets the metrics too, None for none.

    Raises ConfigError for a folder that belongs to another config, ValueError for a network, data or devices
    that do not fit, OSError for a folder that cannot be written, DivergedError for a loss that is not finite,
    PeerLostError where one of several processes is gone.
    """
    config = config.model_copy(update={"data": config.data.resolved()})
    folder = RunFolder(Path(run_dir or Path("runs") / f"{config.model}-{config.seed}"))
    placement = place(devices)
    placement.check_batch(config.batch)
    if placement.leader:
        folder.claim(config, {**environment.describe(), "devices": placement.describe()})
    finished = folder.read_result()
    if finished is not None:
        return RunResult(**finished)
    with precision(config.precision), placement.scope():
        keras.utils.set_random_seed(config.seed)
        data = load_data(config.data)
        model = build(config, data)
        data = normalised_as(model, data)
        if placement.leader:
            write_json(
                folder.preprocess, {**dataclasses.asdict(data.preprocess), "class_names": data.class_names}
            )
        with placement.losing_peers():
            loop = Loop(config, folder, model, data, placement)
            rows = loop.run(progress=progress, wandb=wandb)
            return finish(loop, rows)


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build under a Keras dtype policy, and put the old one back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build(config: TrainConfig, data: Dataset) -> keras.Model:
    """The network: images of the data's shape to logits; of any size where the phases have their own."""
    shape: tuple[int | None, ...] = data.image_shape
    if any(phase.image_size not in (None, *shape[:2]) for phase in config.phases):
        shape = (None, None, shape[-1])
    model = create_model(
        config.model,
        weights=config.weights,
        input_shape=shape,
        classes=data.classes,
        classifier_activation=None,
        **config.model_options,
    )
    if config.sync_batchnorm and environment.engine() == "tensorflow":  # on JAX every statistic is global
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
    return model


def normalised_as(model: keras.Model, data: Dataset) -> Dataset:
    """`data` with the mean and deviation that the network's weights were trained with, if it has such."""
    own = getattr(model, "preprocess", None)
    if own is None or len(own.mean) != len(data.preprocess.mean):
        return data
    return dataclasses.replace(
        data, preprocess=dataclasses.replace(data.preprocess, mean=own.mean, std=own.std)
    )


def finish(loop: Loop, rows: list[dict[str, float]]) -> RunResult:
    """Read the test data, once, and write the models and the result (last: it marks the end)."""
    config, folder, model, data = loop.config, loop.folder, loop.model, loop.data
    peak = environment.peak_memory_mib()  # of training; the test images come on top
    test = data.test(loop.evaluation_batch, loop.placement.shard)
    scores = loop.scores(test)
    averaged: dict[str, float] = {}
    if loop.averages is not None:
        with loop.averages.in_use():
            averaged = loop.scores(test)
            save(model, folder.averaged, leader=loop.leads)
    model.trainable = True  # whatever the last phase had frozen
    save(model, folder.model, leader=loop.leads)
    best = loop.best()
    if best is not None:
        best.fill(loop.variables(), "model/")
        save(model, folder.best, leader=loop.leads)
    counts = complexity(model, data.image_shape[:2])
    seconds = [row["seconds"] for row in rows]
    result = RunResult(
        model=config.model,
        seed=config.seed,
        epochs=config.epochs,
        train_images=data.train_images,
        test_images=data.test_images,
        test_loss=scores["loss"],
        test_accuracy=scores["accuracy"],
        trainable_parameters=counts.trainable_parameters,
        multiply_adds=counts.multiply_adds,
        seconds=sum(seconds),
        seconds_per_epoch=statistics.median(seconds[1:] or seconds),
        peak_memory_mib=peak,
        run_dir=str(folder.path),
        finished=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        ema_test_loss=averaged.get("loss"),
        ema_test_accuracy=averaged.get("accuracy"),
        best_epoch=None if loop.done.best is None else loop.done.best // loop.batches.steps,
    )
    if loop.leads:
        write_json(folder.result, dataclasses.asdict(result))
    return result


def save(model: keras.Model, path: Path, *, leader: bool) -> None:
    """Write a model file, whole or not at all; one process does it for all."""
    if leader:
        with written_aside(path) as aside, alone():  # Keras makes variables to save a model
            model.save(aside)
