"""`train`: from a config to a finished run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from senet.complexity import complexity
from senet.data.augment import Augment
from senet.data.pipeline import Batches, Dataset, Split, load_data
from senet.files import write_json, written_aside
from senet.training import environment
from senet.training.callbacks import Progress, Recorder
from senet.training.checkpoint import Checkpoints
from senet.training.config import TrainConfig
from senet.training.curves import Group, draw_curves
from senet.training.optim import Crossentropy, make_optimizer
from senet.training.run_folder import RunFolder
from senet.zoo import create_model

EVALUATION_BATCH = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run gave; result.json holds the same fields. Accuracies are shares in [0, 1]."""

    model: str
    seed: int
    epochs: int
    train_images: int
    test_images: int
    test_loss: float
    test_accuracy: float
    trainable_parameters: int
    multiply_adds: int
    seconds: float  # training alone, all epochs
    seconds_per_epoch: float  # median, without the first epoch (which compiles) where there are several
    peak_memory_mib: float
    run_dir: str
    finished: str  # UTC


def train(config: TrainConfig, run_dir: str | Path | None = None, *, progress: bool = True) -> RunResult:
    """Train, evaluate once on the test data, and leave everything in `run_dir`.

    The folder (default runs/MODEL-SEED) gets config.yaml and environment.json first, then metrics.csv,
    TensorBoard events and checkpoints after every epoch, at last model.keras (logits), curves.png and
    result.json. The same call on the same folder resumes after the last whole epoch, and gives what an
    unbroken run gives; on a finished run it returns its result.

    Raises ConfigError for a folder that belongs to another config, ValueError for a network or data that do
    not fit, OSError for a folder that cannot be written, DivergedError for a loss that is not finite.
    """
    config = config.model_copy(update={"data": config.data.resolved()})
    folder = RunFolder(Path(run_dir or Path("runs") / f"{config.model}-{config.seed}"))
    folder.claim(config, environment.describe())
    finished = folder.read_result()
    if finished is not None:
        return RunResult(**finished)
    with precision(config.precision):
        keras.utils.set_random_seed(config.seed)
        data = load_data(config.data)
        write_json(
            folder.preprocess, {**dataclasses.asdict(data.preprocess), "class_names": data.class_names}
        )
        batches = training_batches(config, data)
        model = build(config, data, steps=batches.steps)
        rows = fit(config, folder, model, batches, data, progress=progress)
        return finish(config, folder, model, data, rows)


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build under a Keras dtype policy, and put the old one back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def training_batches(config: TrainConfig, data: Dataset) -> Batches:
    """Shuffled, augmented batches of the training images."""
    augment = Augment.from_config(config.data, data.preprocess)
    return Batches(data.train, data.preprocess, batch=config.batch, seed=config.seed, augment=augment)


def build(config: TrainConfig, data: Dataset, *, steps: int) -> keras.Model:
    """The compiled network: images of the data's shape to logits, its optimiser ready to be restored."""
    model = create_model(
        config.model,
        input_shape=data.image_shape,
        classes=data.classes,
        classifier_activation=None,
        **config.model_options,
    )
    model.compile(
        make_optimizer(config.optimizer, config.schedule, steps=steps, epochs=config.epochs),
        Crossentropy(config.label_smoothing),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=environment.jit_compile(),
    )
    model.optimizer.build(model.trainable_variables)
    return model


def fit(
    config: TrainConfig,
    folder: RunFolder,
    model: keras.Model,
    batches: Batches,
    data: Dataset,
    *,
    progress: bool,
) -> list[dict[str, float]]:
    """Train the epochs that are not done yet; the metrics of all epochs."""
    checkpoints = Checkpoints(folder.checkpoints, config.keep_checkpoints)
    done, rows = checkpoints.restore(model)
    recorder = Recorder(folder, checkpoints, rows=rows, images=batches.steps * config.batch)
    callbacks: list[Recorder | Progress] = [recorder]
    if progress:
        title = f"{config.model}, seed {config.seed}"
        callbacks.append(
            Progress(title, steps=batches.steps, batch=config.batch, epochs=config.epochs, done=done)
        )
    if done == config.epochs:
        return rows
    with contextlib.ExitStack() as closing:
        for callback in callbacks:
            callback.open()
            closing.callback(callback.close)
        model.fit(
            batches.stream(first_epoch=done),
            steps_per_epoch=batches.steps,
            epochs=config.epochs,
            initial_epoch=done,
            validation_data=arrays(data.validation, data) if len(data.validation) else None,
            validation_batch_size=EVALUATION_BATCH,
            callbacks=callbacks,
            shuffle=False,  # the stream is shuffled already
            verbose=0,
        )
    return rows


def arrays(split: Split, data: Dataset) -> tuple[Any, Any]:
    """A split as the network takes it: (N, H, W, C) float32 and (N,) labels."""
    return data.preprocess(split.images), split.labels


def finish(
    config: TrainConfig, folder: RunFolder, model: keras.Model, data: Dataset, rows: list[dict[str, float]]
) -> RunResult:
    """Read the test data, once, and write the model, the curves and the result (last: it marks the end)."""
    peak = environment.peak_memory_mib()  # of training; the test images come on top
    test = data.test()
    x, y = arrays(test, data)
    scores = model.evaluate(x, y, batch_size=EVALUATION_BATCH, verbose=0, return_dict=True)
    counts = complexity(model)
    seconds = [row["seconds"] for row in rows]
    with written_aside(folder.model) as aside:
        model.save(aside)
    draw_curves(
        [Group(label=config.model, runs=[rows])], folder.curves, title=f"{config.model} on {data.name}"
    )
    result = RunResult(
        model=config.model,
        seed=config.seed,
        epochs=config.epochs,
        train_images=len(data.train),
        test_images=len(test),
        test_loss=float(scores["loss"]),
        test_accuracy=float(scores["accuracy"]),
        trainable_parameters=counts.trainable_parameters,
        multiply_adds=counts.multiply_adds,
        seconds=sum(seconds),
        seconds_per_epoch=statistics.median(seconds[1:] or seconds),
        peak_memory_mib=peak,
        run_dir=str(folder.path),
        finished=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    write_json(folder.result, dataclasses.asdict(result))
    return result
