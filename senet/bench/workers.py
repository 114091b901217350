"""The asking side of a speed comparison: processes that each hold one subject."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from senet.bench.protocol import MEMORY_SIGNALS
from senet.bench.subjects import Subject

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


class WorkerError(RuntimeError):
    """A worker's step failed, or the process ended; `memory` tells whether for want of memory."""

    def __init__(self, message: str, memory: bool) -> None:
        super().__init__(message)
        self.memory = memory


@dataclasses.dataclass(frozen=True)
class Launch:
    """How a worker is started: its command, and what is added to the environment."""

    command: Sequence[str]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def launch_ours(subject: Subject, threads: int) -> Launch:
    """A process of `senet.bench.measure` with the subject's engine."""
    # An exported file needs no engine; NumPy's is the lightest that Keras can be imported with.
    engine = subject.engine if subject.engine not in (None, "numpy") else "numpy"
    return Launch([sys.executable, "-m", "senet.bench.measure", str(threads)], {"KERAS_BACKEND": str(engine)})


def thread_limits(threads: int) -> dict[str, str]:
    """What the pools of NumPy, PyTorch and their like read when they are loaded."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


class Worker:
    """A running process that is asked by lines of JSON; see `senet.bench.protocol`."""

    def __init__(self, launch: Launch, threads: int) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        self.process = subprocess.Popen(
            list(launch.command),
            env={**os.environ, **QUIET, **thread_limits(threads), **launch.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer; WorkerError where it is an error or the process ended without one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = ""
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            pass
        if not line:
            raise self.ended()
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"], answer["memory"])
        return answer

    def ended(self) -> WorkerError:
        """The error of a process that is gone."""
        code = self.process.wait()
        self.log.seek(0)
        last = self.log.read().decode(errors="replace").strip().splitlines()[-3:]
        memory = -code in [int(number) for number in MEMORY_SIGNALS]
        return WorkerError(f"the process ended with code {code}: {' '.join(last)}"[:2000], memory)

    def stop(self) -> None:
        """End the process."""
        for stream in (self.process.stdin, self.process.stdout):
            # What was still to be sent to a process that is gone.
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()
        self.process.kill()
        self.process.wait()
        self.log.close()
