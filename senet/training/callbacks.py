"""What happens around the epochs of a run: metrics, checkpoints, progress."""

from __future__ import annotations

import math
import time
from typing import Any

import keras

from senet.training.checkpoint import Checkpoints
from senet.training.run_folder import RunFolder


class DivergedError(ArithmeticError):
    """The loss is no longer finite; the checkpoints before it are kept."""


class Recorder(keras.callbacks.Callback):
    """Write a row of metrics and a checkpoint after every epoch.

    `rows` are the epochs so far, also those before a resume; `images` is the number in one epoch.
    """

    def __init__(
        self, folder: RunFolder, checkpoints: Checkpoints, *, rows: list[dict[str, float]], images: int
    ):
        super().__init__()
        self.folder, self.checkpoints, self.rows, self.images = folder, checkpoints, rows, images

    def open(self) -> None:
        """Begin the event file."""
        from tensorboardX import SummaryWriter

        # Events after the last checkpoint belong to a run that was killed: TensorBoard hides them.
        self.events = SummaryWriter(str(self.folder.tensorboard), purge_step=len(self.rows) + 1)
        self.folder.write_metrics(self.rows)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = time.perf_counter()
        self.trained: float | None = None

    def on_test_begin(self, logs: Any = None) -> None:
        self.trained = time.perf_counter()  # validation begins: what follows is not training time

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        seconds = (self.trained or time.perf_counter()) - self.started
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.refuse_nan(logs.get("loss", 0.0), epoch, rate)
        row = {
            "epoch": epoch + 1,
            **{key: float(value) for key, value in logs.items()},
            "learning_rate": rate,
            "seconds": seconds,
            "images_per_second": self.images / seconds,
        }
        self.rows.append(row)
        self.folder.write_metrics(self.rows)
        for key, value in row.items():
            self.events.add_scalar(key, value, epoch + 1)
        self.events.flush()
        self.checkpoints.save(self.model, epoch + 1, self.rows)

    def refuse_nan(self, loss: float, epoch: int, rate: float) -> None:
        """Raise DivergedError before a useless checkpoint replaces a good one."""
        if not math.isfinite(loss):
            raise DivergedError(
                f"The loss became {loss} in epoch {epoch + 1} at learning rate {rate:.3g}. The checkpoints "
                "before it are kept. Likely fixes: a lower optimizer.lr, or schedule.warmup_epochs=1."
            )

    def close(self) -> None:
        """Let go of the event file, also after an error: Keras then calls no further hook."""
        self.events.close()


class Progress(keras.callbacks.Callback):
    """One live line on stderr: epoch, loss, accuracy, images a second, time left; a plain line an epoch
    where stderr is not a terminal."""

    REFRESH = 0.25  # seconds; reading the loss more often makes an accelerator wait

    def __init__(self, title: str, *, steps: int, batch: int, epochs: int, done: int = 0):
        super().__init__()
        self.title, self.steps, self.batch, self.epochs, self.done = title, steps, batch, epochs, done

    def open(self) -> None:
        """Begin the live line."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.console = Console(stderr=True)
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
        )
        self.live = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.task = self.live.add_task(
            self.title, total=self.steps * self.epochs, completed=self.steps * self.done, text="compiling"
        )
        self.live.start()
        self.since, self.since_step, self.shown = time.perf_counter(), 0, 0.0
        self.step = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.step += 1
        now = time.perf_counter()
        if self.step == 1:  # the first step compiles
            self.since, self.since_step = now, 1
        if now - self.shown < self.REFRESH or self.live.disable:
            return
        self.shown = now
        text = f"epoch {self.epoch + 1}/{self.epochs}  {self.numbers(logs or {})}  {self.pace(now)}"
        self.live.update(self.task, completed=self.steps * self.done + self.step, text=text)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.live.disable:
            text = f"{self.numbers(logs or {})}  {self.pace(time.perf_counter())}"
            line = f"{self.title}  epoch {epoch + 1}/{self.epochs}  {text}"
            self.console.print(line, highlight=False, soft_wrap=True)

    def numbers(self, logs: dict[str, float]) -> str:
        """ "loss 0.42  accuracy 87.1 %", with validation where the epoch has it."""
        text = f"loss {float(logs.get('loss', math.nan)):.3f}  accuracy {float(logs.get('accuracy', 0)):.1%}"
        if "val_accuracy" in logs:
            text += f"  validation {float(logs['val_accuracy']):.1%}"
        return text

    def pace(self, now: float) -> str:
        """Images a second since the first step, validation included, and the time left at that pace."""
        steps = self.step - self.since_step
        if steps < 1:
            return "compiling"
        a_second = steps / max(1e-9, now - self.since)
        left = (self.steps * (self.epochs - self.done) - self.step) / a_second
        return f"{a_second * self.batch:,.0f} images/s  {int(left // 60)}:{int(left % 60):02d} left"

    def on_train_end(self, logs: Any = None) -> None:
        self.live.update(self.task, completed=self.steps * self.epochs)

    def close(self) -> None:
        """Give the terminal back, also after an error or Ctrl-C."""
        self.live.stop()
