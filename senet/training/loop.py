"""The loop over epochs: phases, validation, checkpoints, and going on where a run was stopped."""

from __future__ import annotations

import contextlib
import fnmatch
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from senet.data import Dataset, EvaluationBatches, TrainingBatches
from senet.training import environment
from senet.training.averages import Averages
from senet.training.callbacks import (
    DivergedError,
    Events,
    Progress,
    Signals,
    WandbEvents,
    Watch,
)
from senet.training.checkpoint import Checkpoints, Saved, numbered
from senet.training.checkpoint import Progress as Done
from senet.training.config import Phase, TrainConfig
from senet.training.curves import Group, draw_curves
from senet.training.distribute import Placement
from senet.training.optim import (
    Accuracy,
    BinaryCrossentropy,
    Crossentropy,
    MeanCrossentropy,
    layer_factors,
    make_optimizer,
)
from senet.training.recompute import Recomputed
from senet.training.run_folder import RunFolder

EVALUATION_BATCH = 256
REDRAW = 20  # seconds between two pictures of the curves
LOSSES = {"crossentropy": Crossentropy, "binary_crossentropy": BinaryCrossentropy}


class Loop:
    """Trains `model` as `config` says, from the newest checkpoint in `folder` on."""

    def __init__(
        self, config: TrainConfig, folder: RunFolder, model: keras.Model, data: Dataset, placement: Placement
    ):
        self.config, self.folder, self.model, self.data, self.placement = (
            config,
            folder,
            model,
            data,
            placement,
        )
        self.checkpoints = Checkpoints(folder.checkpoints, config.checkpoints.keep)
        # What is compiled and fitted; its variables are those of the network.
        self.trained = Recomputed(model) if config.speed.gradient_checkpointing else model
        self.averages = Averages(model, self.trained, config.ema) if config.ema is not None else None
        self.phase: Phase | None = None
        self.stream: Iterator[Any] | None = None
        self.done = Done()
        self.half_epoch: Saved | None = None  # the checkpoint of an epoch that has begun
        self.signals = Signals()
        self.sinks: list[Events | WandbEvents] = []
        self.drawn = 0.0

    def run(self, *, progress: bool, wandb: str | None = None) -> list[dict[str, float]]:
        """Train the epochs that are not done yet; the metrics of all."""
        self.resume()
        with contextlib.ExitStack() as closing:
            closing.callback(self.close_stream)
            closing.enter_context(self.signals.caught())
            if self.leads:
                self.open_sinks(closing, wandb)
            lines = [self.open_line(closing)] if progress and self.leads else []
            for epoch in range(len(self.done.rows), self.config.epochs):
                self.enter(self.config.phase_at(epoch))
                self.train_epoch(epoch, lines)
                self.end_epoch(epoch)
                for line in lines:
                    line.finish_epoch(self.done.rows[-1])
                self.stop_if_asked()
        return self.done.rows

    def open_sinks(self, closing: contextlib.ExitStack, wandb: str | None) -> None:
        """Begin what takes the metrics of each epoch."""
        self.folder.write_metrics(self.done.rows)
        self.sinks.append(Events(self.folder.tensorboard, done=len(self.done.rows)))
        closing.callback(self.sinks[-1].close)
        if wandb is not None:
            self.sinks.append(WandbEvents(wandb, self.folder.path, self.config.model_dump(mode="json")))
            closing.callback(self.sinks[-1].close)

    def open_line(self, closing: contextlib.ExitStack) -> Progress:
        """Begin the live line."""
        line = Progress(
            f"{self.config.model}, seed {self.config.seed}",
            steps=self.batches.steps,
            batch=self.config.batch,
            epochs=self.config.epochs,
            done=self.done.step,
        )
        line.open()
        closing.callback(line.close)
        return line

    @property
    def leads(self) -> bool:
        return self.placement.leader

    # Phases

    def enter(self, phase: Phase) -> None:
        """Make the network, the optimiser and the data those of `phase`; nothing where they are already."""
        if phase == self.phase:
            return
        before = self.trained.optimizer if self.phase is not None else None
        set_trainable(self.model, phase)
        self.compile()
        if before is not None:
            carry_over(before, self.trained.optimizer)
        self.close_stream()
        self.phase = phase
        self.batches: TrainingBatches = self.data.training(
            self.config.batch, self.config.seed, shard=self.placement.shard, image_size=phase.image_size
        )

    def compile(self) -> None:
        """Compile the network, with an optimiser for what is trainable now."""
        config, steps = self.config, self.data.train_images // self.config.batch
        optimizer = make_optimizer(
            config.optimizer,
            config.schedule,
            steps=steps,
            epochs=config.epochs,
            batch=config.batch,
            factors=layer_factors(self.model, config.optimizer.layer_decay),
            ema=config.ema,
        )
        self.metrics = [Accuracy(), MeanCrossentropy()]
        speed = config.speed
        self.trained.compile(
            optimizer,
            LOSSES[config.loss](config.label_smoothing),
            weighted_metrics=self.metrics,
            jit_compile=environment.jit_compile() if speed.jit is None else speed.jit,
            steps_per_execution=speed.steps_per_execution,
        )
        self.trained.optimizer.build(self.model.trainable_variables)

    # State

    def variables(self) -> dict[str, Any]:
        """Everything that a step can change."""
        metrics = [v for metric in (self.trained.metrics[0], *self.metrics) for v in metric.variables]
        return dict(
            numbered(
                model=self.model.variables,
                optimizer=self.trained.optimizer.variables,
                averages=self.averages.statistics if self.averages else [],
                metrics=metrics,
            )
        )

    def resume(self) -> None:
        """Take up the newest checkpoint, or begin."""
        if self.leads:
            self.checkpoints.sweep()
        saved = self.checkpoints.newest()
        self.done = saved.progress if saved else Done()
        self.placement.refuse_other_step(self.done.step)
        self.enter(self.config.phase_at(min(len(self.done.rows), self.config.epochs - 1)))
        if saved is not None:
            for owner in ("model/", "optimizer/", "averages/"):
                saved.fill(self.variables(), owner)
            self.half_epoch = saved if self.done.step % self.batches.steps else None

    def restore_metrics(self) -> None:
        """Those of half an epoch, after Keras has set all metrics to zero for the beginning of one."""
        if self.half_epoch is not None:
            self.half_epoch.fill(self.variables(), "metrics/")
            self.half_epoch = None

    def save(self, done: Done) -> None:
        """Write a checkpoint. DivergedError where a weight is not finite: no run could go on from that."""
        self.done = done
        if not self.leads:
            return
        variables = self.variables()
        values = {key: keras.ops.convert_to_numpy(value) for key, value in variables.items()}
        if any(k.startswith("model/") and not np.isfinite(v).all() for k, v in values.items()):
            self.diverged(done.step, float("nan"), what="A weight")
        self.checkpoints.save(values, done)

    # Steps

    def train_epoch(self, epoch: int, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """The steps of an epoch that are not done yet; its metrics are left in `self.row`."""
        steps, first = self.batches.steps, self.done.step
        left = (epoch + 1) * steps - first
        if self.stream is None:
            self.stream = self.batches.stream(first_step=first)
        self.watch = Watch(first, begin=self.restore_metrics, after=self.after_step, diverged=self.diverged)
        self.last = first
        self.started = time.perf_counter() - self.done.seconds
        history = self.trained.fit(
            self.placement.feed(self.stream, left),
            steps_per_epoch=left,
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=[self.watch, *callbacks],
            shuffle=False,  # the stream is shuffled already
            verbose=0,
        )
        self.watch.look_at_all()
        seconds = time.perf_counter() - self.started
        self.row = {
            "epoch": epoch + 1,
            **{key: float(history.history[key][0]) for key in ("loss", "accuracy")},
            "learning_rate": self.learning_rate(),
            "seconds": seconds,
            "images_per_second": steps * self.config.batch / seconds,
        }

    def after_step(self, step: int) -> None:
        """Averages, a checkpoint where one is due, and an end where one was asked for."""
        before, self.last = self.last, step
        if self.averages is not None and due(self.averages.EVERY, before, step):
            self.synchronize()
            self.averages.update(step)
        if step % self.batches.steps == 0:
            return  # the end of the epoch follows, with a checkpoint of its own
        asked = self.signals.received is not None
        if asked or due(self.config.checkpoints.steps, before, step):
            self.watch.look_at_all()
            self.synchronize()
            seconds = time.perf_counter() - self.started
            self.save(Done(step=step, rows=self.done.rows, seconds=seconds, best=self.done.best))
            self.stop_if_asked()

    def synchronize(self) -> None:
        """Put the values of the last step into the variables; JAX keeps them elsewhere during `fit`."""
        if keras.backend.backend() == "jax":
            self.trained.jax_state_sync()

    def end_epoch(self, epoch: int) -> None:
        """Validate, write the row, the curves and the checkpoint."""
        row = {**self.row, **self.validate()}
        rows = [*self.done.rows, row]
        step = (epoch + 1) * self.batches.steps
        best = step if is_best(rows) else self.done.best
        if self.leads:
            self.folder.write_metrics(rows)
            for sink in self.sinks:
                sink.write(row)
            self.draw(rows, force=epoch + 1 == self.config.epochs)
        self.save(Done(step=step, rows=rows, best=best))

    def draw(self, rows: list[dict[str, float]], *, force: bool) -> None:
        """The curves so far, not more often than every REDRAW seconds."""
        if force or time.monotonic() - self.drawn > REDRAW:
            title = f"{self.config.model} on {self.data.name}"
            draw_curves([Group(label=self.config.model, runs=[rows])], self.folder.curves, title=title)
            self.drawn = time.monotonic()

    # Scores

    @property
    def evaluation_batch(self) -> int:
        """About EVALUATION_BATCH images, a whole number for each device."""
        devices = self.placement.devices
        return -(-EVALUATION_BATCH // devices) * devices

    def validate(self) -> dict[str, float]:
        """Validation metrics, also of the averaged weights; nothing where no images are held out."""
        batches = self.data.validation(self.evaluation_batch, self.placement.shard)
        if batches is None:
            return {}
        scores = {f"val_{key}": value for key, value in self.scores(batches).items()}
        if self.averages is not None:
            with self.averages.in_use():
                scores |= {f"ema_val_{key}": value for key, value in self.scores(batches).items()}
        return scores

    def scores(self, batches: EvaluationBatches) -> dict[str, float]:
        """Mean cross-entropy and accuracy."""
        found = self.trained.evaluate(
            self.placement.feed(batches, batches.steps), steps=batches.steps, verbose=0, return_dict=True
        )
        return {"loss": float(found["crossentropy"]), "accuracy": float(found["accuracy"])}

    def best(self) -> Saved | None:
        """The checkpoint of the best epoch, where it is not the last."""
        if self.done.best in (None, self.done.step):
            return None
        return self.checkpoints.of_step(self.done.best)

    # Ends

    def learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.trained.optimizer.learning_rate))

    def diverged(self, step: int, loss: float, what: str = "The loss") -> None:
        """Raise DivergedError."""
        epoch = (step - 1) // self.batches.steps + 1
        kept = self.checkpoints.files()
        raise DivergedError(
            f"{what} became {loss} at step {step} (epoch {epoch}), "
            f"learning rate {self.learning_rate():.3g}. "
            f"{f'The last good checkpoint is {kept[-1]}.' if kept else 'There was no checkpoint yet.'} "
            "Likely fixes: a lower optimizer.lr, schedule.warmup_epochs=1, or optimizer.clip_norm=1."
        )

    def stop_if_asked(self) -> None:
        """End the process where a signal came; the newest checkpoint is of this very step."""
        if self.signals.received is None:
            return
        name = signal.Signals(self.signals.received).name
        print(
            f"Stopped by {name} after step {self.done.step}. "
            f"The same call on {self.folder.path} goes on there.",
            file=sys.stderr,
        )
        if self.signals.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.signals.received)

    def close_stream(self) -> None:
        """Let go of the processes that read images."""
        close = getattr(self.stream, "close", None)
        if close is not None:
            close()
        self.stream = None


def due(every: int, before: int, step: int) -> bool:
    """Whether a multiple of `every` lies in (before, step]; never for 0."""
    return bool(every) and step // every > before // every


def is_best(rows: list[dict[str, float]]) -> bool:
    """Whether the last epoch has the highest validation accuracy, the earliest of equal ones."""
    accuracies = [row.get("val_accuracy", float("nan")) for row in rows]
    return bool(accuracies[-1] > max(accuracies[:-1], default=-1.0))


def set_trainable(model: keras.Model, phase: Phase) -> None:
    """Let those layers learn that the phase names. ValueError for a pattern that fits none with weights."""
    layers = [layer for layer in model.layers if layer.weights]
    for pattern in phase.train:
        if not any(fnmatch.fnmatchcase(layer.name, pattern) for layer in layers):
            raise ValueError(
                f"`train` must fit names of layers, such as 'classifier' or 'stage4*'. "
                f"Received: {pattern!r}, which fits none of {layers[0].name}, …, {layers[-1].name}."
            )
    for layer in layers:
        frozen = phase.freeze_batchnorm and isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not frozen and any(fnmatch.fnmatchcase(layer.name, p) for p in phase.train)


def carry_over(before: keras.Optimizer, after: keras.Optimizer) -> None:
    """Give `after` the steps done and, for variables it shares with `before`, momentum and the like."""
    old = {variable.name: variable for variable in before.variables}
    for variable in after.variables:
        if variable.name in old and old[variable.name].shape == variable.shape:
            variable.assign(old[variable.name])
