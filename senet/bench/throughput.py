"""Speed, side by side: every subject in a warm process of its own, asked for a short burst in turn.

A machine's speed drifts, so nothing is timed alone: within a round every subject has its turn while the
others are idle, and ratios are taken round by round.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from senet.bench.subjects import Subject
from senet.bench.workers import Launch, Worker, WorkerError, launch_ours
from senet.machine import cores
from senet.training import environment

RUNTIME_PACKAGES = ("onnx", "onnxruntime", "openvino", "ai-edge-litert")
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How a comparison is made.

    A turn has one step that is not timed, then so many as take about `burst_seconds`, at least one. `threads`
    hold for every subject. `memory_mib` limits what a subject may allocate on top of its libraries (Linux),
    None for no limit. `calibration` is a folder of images for int8, None for noise, which is good enough for
    speed and for nothing else.
    """

    rounds: int = 10
    burst_seconds: float = 1.0
    threads: int = dataclasses.field(default_factory=cores)
    image_size: int | None = None  # None: each network's own
    memory_mib: float | None = None
    calibration: str | None = None

    def __post_init__(self) -> None:
        for field in ("rounds", "threads"):
            if getattr(self, field) < 1:
                raise ValueError(f"`{field}` must be at least 1. Received: {field}={getattr(self, field)}.")
        if not 0 <= self.burst_seconds < math.inf:
            raise ValueError(
                f"`burst_seconds` must be 0 or more. Received: burst_seconds={self.burst_seconds}."
            )
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"`image_size` must be at least 1. Received: image_size={self.image_size}.")


@dataclasses.dataclass
class Record:
    """What was measured of one subject; `error` says why there is nothing, or not everything."""

    subject: Subject
    asked_batch: int
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    rounds: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    repeats: int = 1
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        own = {field: getattr(self, field) for field in ("asked_batch", "repeats", "rounds", "error")}
        return {**dataclasses.asdict(self.subject), "label": self.subject.label, **self.facts, **own}


class Session:
    """One comparison: opens the subjects one after the other, lets them take turns, closes them."""

    def __init__(self, settings: Settings, launch: Callable[[Subject], Launch] | None, say: Say) -> None:
        self.settings, self.say = settings, say
        self.launch = launch or (lambda subject: launch_ours(subject, settings.threads))
        self.workers: dict[Subject, Worker] = {}
        self.maker: Worker | None = None
        self.folder = Path()

    @contextlib.contextmanager
    def running(self) -> Iterator[Session]:
        """A folder for the subjects' files, and at the end no process and no file left."""
        with tempfile.TemporaryDirectory(prefix="senet-throughput-") as folder:
            self.folder = Path(folder)
            try:
                yield self
            finally:
                self.stop_maker()
                for worker in self.workers.values():
                    worker.stop()

    def stop_maker(self) -> None:
        if self.maker is not None:
            self.maker.stop()
            self.maker = None

    def make(self, subject: Subject) -> dict[str, Any]:
        """The facts of a subject's network, once its file lies there."""
        if subject.source != "senet":
            return {}
        if self.maker is None:
            # One for all: TensorFlow's, since LiteRT files can be written with no other.
            launch = launch_ours(subject.sibling(engine="tensorflow"), self.settings.threads)
            self.maker = Worker(launch, self.settings.threads)
        return self.maker.ask(do="make", **self.question(subject))

    def question(self, subject: Subject) -> dict[str, Any]:
        options = {field: getattr(self.settings, field) for field in ("image_size", "calibration")}
        return {**dataclasses.asdict(subject), **options, "folder": str(self.folder)}

    def open(self, subject: Subject) -> Record:
        """Start a subject's process; with half the batch, and again, where memory runs out."""
        record = Record(subject, asked_batch=subject.batch)
        while not self.settled(record):
            pass
        return record

    def settled(self, record: Record) -> bool:
        """Try to start a record's subject: True once it is ready or has failed, False to try again."""
        subject = record.subject
        try:
            self.start(record)
            return True
        except WorkerError as error:
            self.close(subject)
            batch = subject.batch // 2
            if not error.memory or not batch or subject.runtime == "matmul":
                record.error = str(error)
                self.say(f"{subject.label}: failed: {error}")
                return True
        self.say(f"{subject.label}: memory ran out; again with a batch of {batch}.")
        record.subject = subject.sibling(batch=batch)
        if record.subject in self.workers:
            record.error = f"memory ran out with a batch of {subject.batch}, and {batch} is measured already"
        return record.error is not None

    def start(self, record: Record) -> None:
        """Make the file, start the process, take the first step, and see how many steps fill a turn."""
        subject = record.subject
        try:
            made = self.make(subject)
        except WorkerError:
            self.stop_maker()
            raise
        began = time.perf_counter()
        worker = self.workers[subject] = Worker(self.launch(subject), self.settings.threads)
        answer = worker.ask(
            do="open", memory_mib=self.settings.memory_mib, **{**self.question(subject), **made}
        )
        record.facts = {**made, **answer, "start_seconds": time.perf_counter() - began}
        once = worker.ask(do="burst", warm=1, repeats=1)["seconds"][0]
        record.repeats = max(1, round(self.settings.burst_seconds / once))
        self.say(f"{subject.label}: ready in {record.facts['start_seconds']:.1f} s, {once:.3f} s a step")

    def close(self, subject: Subject) -> None:
        worker = self.workers.pop(subject, None)
        if worker is not None:
            worker.stop()

    def turn(self, record: Record) -> None:
        """One burst of a subject; where it fails the subject is out."""
        try:
            answer = self.workers[record.subject].ask(do="burst", warm=1, repeats=record.repeats)
        except WorkerError as error:
            record.error = f"in round {len(record.rounds) + 1}: {error}"
            self.say(f"{record.subject.label}: failed {record.error}")
            self.close(record.subject)
            return
        record.facts["peak_mib"] = answer.pop("peak_mib")
        record.rounds.append(answer)


def run_comparison(
    subjects: Sequence[Subject],
    settings: Settings,
    *,
    launch: Callable[[Subject], Launch] | None = None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Measure `subjects` against each other; the result as JSON has it, with every step's seconds.

    `launch` says how a subject's process is started (default: this package's), `say` gets a line of progress.
    A subject that fails has an `error` and stops no other.
    """
    began = time.perf_counter()
    with Session(settings, launch, say).running() as session:
        records = [session.open(subject) for subject in subjects]
        session.stop_maker()
        for number in range(settings.rounds):
            going = [record for record in records if record.error is None]
            # To and fro: what comes first in a round comes last in the next, and neighbours stay neighbours.
            for record in going if number % 2 == 0 else reversed(going):
                session.turn(record)
            say(f"round {number + 1} of {settings.rounds} after {time.perf_counter() - began:.0f} s")
    return {
        "settings": dataclasses.asdict(settings),
        "environment": environment.describe(),
        "runtimes": installed(RUNTIME_PACKAGES),
        "seconds": time.perf_counter() - began,
        "subjects": [record.to_json() for record in records],
    }


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those packages that are there."""
    found = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
