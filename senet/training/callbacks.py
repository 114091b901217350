"""What happens around the steps of a run: watching the loss, events for TensorBoard, progress, signals."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras


class DivergedError(ArithmeticError):
    """The loss or a weight is no longer finite; the checkpoints before it are kept."""


class Watch(keras.callbacks.Callback):
    """Call `after(step)` after each step, and `diverged(step, loss)` with the first whose loss is not finite.

    `first` is the step that this `fit` begins with, counted over the run. `begin` is called when Keras has
    set its metrics to zero.
    """

    LAG = 16  # steps before a loss is looked at: to read one at once makes an accelerator wait

    def __init__(
        self,
        first: int,
        *,
        begin: Callable[[], None],
        after: Callable[[int], None],
        diverged: Callable[[int, float], None],
    ):
        super().__init__()
        self.first, self.begin, self.after, self.diverged = first, begin, after, diverged
        self.losses: collections.deque[tuple[int, Any]] = collections.deque()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begin()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        step = self.first + batch + 1
        self.losses.append((step, (logs or {}).get("loss", 0.0)))
        if len(self.losses) > self.LAG:
            self.look()
        self.after(step)

    def look(self, count: int = 1) -> None:
        """Look at the oldest losses."""
        for _ in range(min(count, len(self.losses))):
            # Keras reports the mean over the epoch so far: from the first bad step on it is not finite.
            step, loss = self.losses.popleft()
            if not math.isfinite(float(loss)):
                self.diverged(step, float(loss))

    def look_at_all(self) -> None:
        """Look at the losses of all steps so far."""
        self.look(len(self.losses))


class Events:
    """Metrics for TensorBoard."""

    def __init__(self, folder: Path, *, done: int):
        from tensorboardX import SummaryWriter

        # Events after the last checkpoint belong to a run that was killed: TensorBoard hides them.
        self.writer = SummaryWriter(str(folder), purge_step=done + 1)

    def write(self, row: dict[str, float]) -> None:
        """One epoch's metrics."""
        for key, value in row.items():
            self.writer.add_scalar(key, value, int(row["epoch"]))
        self.writer.flush()

    def close(self) -> None:
        """Let go of the event file."""
        self.writer.close()


class WandbEvents:
    """Metrics for Weights & Biases, in the same run again after a resume.

    Raises ImportError where `wandb` is not installed. WANDB_MODE=offline keeps everything in `folder`.
    """

    def __init__(self, project: str, folder: Path, config: dict[str, Any]):
        try:
            import wandb
        except ImportError:
            raise ImportError("Weights & Biases is not installed: pip install 'senet[wandb]'.") from None
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self.run = wandb.init(
            project=project, name=folder.name, id=name, resume="allow", config=config, dir=str(folder)
        )

    def write(self, row: dict[str, float]) -> None:
        """One epoch's metrics."""
        self.run.log(row, step=int(row["epoch"]))

    def close(self) -> None:
        """Send what is left."""
        self.run.finish()


class Signals:
    """SIGTERM and Ctrl-C wait until the step is done; a second one does not."""

    def __init__(self) -> None:
        self.received: int | None = None

    def receive(self, number: int, frame: Any) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number

    @contextlib.contextmanager
    def caught(self) -> Iterator[Signals]:
        """Catch them in here; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self.receive) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Progress(keras.callbacks.Callback):
    """One live line on stderr: epoch, loss, accuracy, images a second, time left; a plain line an epoch
    where stderr is not a terminal."""

    REFRESH = 0.25  # seconds; reading the loss more often makes an accelerator wait

    def __init__(self, title: str, *, steps: int, batch: int, epochs: int, done: int = 0):
        """`steps` are those of an epoch; `done`, over all epochs, were done before."""
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
            self.title, total=self.steps * self.epochs, completed=self.done, text="compiling"
        )
        self.live.start()
        self.since, self.since_step, self.shown = time.perf_counter(), 0, 0.0
        self.step = 0
        self.batch_seen = -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch, self.batch_seen = epoch, -1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.step += batch - self.batch_seen  # more than one where steps are executed together
        self.batch_seen = batch
        now = time.perf_counter()
        if not self.since_step:  # the first step compiles
            self.since, self.since_step = now, self.step
        if now - self.shown < self.REFRESH or self.live.disable:
            return
        self.shown = now
        text = f"epoch {self.epoch + 1}/{self.epochs}  {self.numbers(logs or {})}  {self.pace(now)}"
        self.live.update(self.task, completed=self.done + self.step, text=text)

    def finish_epoch(self, row: dict[str, float]) -> None:
        """Print an epoch's metrics where there is no live line."""
        if self.live.disable:
            text = f"{self.numbers(row)}  {self.pace(time.perf_counter())}"
            line = f"{self.title}  epoch {int(row['epoch'])}/{self.epochs}  {text}"
            self.console.print(line, highlight=False, soft_wrap=True)

    def numbers(self, logs: dict[str, float]) -> str:
        """ "loss 0.42  accuracy 87.1 %", with validation where the epoch has it."""
        text = f"loss {float(logs.get('loss', math.nan)):.3f}  accuracy {float(logs.get('accuracy', 0)):.1%}"
        if "val_accuracy" in logs:
            text += f"  validation {float(logs['val_accuracy']):.1%}"
        if "ema_val_accuracy" in logs:
            text += f" (averaged weights {float(logs['ema_val_accuracy']):.1%})"
        return text

    def pace(self, now: float) -> str:
        """Images a second since the first step, validation included, and the time left at that pace."""
        steps = self.step - self.since_step
        if steps < 1:
            return "compiling"
        a_second = steps / max(1e-9, now - self.since)
        left = (self.steps * self.epochs - self.done - self.step) / a_second
        return f"{a_second * self.batch:,.0f} images/s  {int(left // 60)}:{int(left % 60):02d} left"

    def close(self) -> None:
        """Give the terminal back, also after an error or Ctrl-C."""
        self.live.stop()
