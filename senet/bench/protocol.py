"""The measuring side of a speed comparison: a process that holds one subject and is timed in short bursts.

Questions come on standard input and answers go to standard output, one line of JSON each. This file needs the
standard library alone, so that a process without this package can load it by its path.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

Run = Callable[[], Any]  # one step: returns when its answer is there
POWERCAP = Path("/sys/class/powercap")
# What engines say when memory runs out; they have no exception in common.
MEMORY_WORDS = (
    "out of memory",
    "out_of_memory",
    "oom when",
    "bad_alloc",
    "bad allocation",
    "resource_exhausted",
    "resourceexhausted",
    "cannot allocate memory",
    "can't allocate memory",
    "failed to allocate",
    "could not allocate",
    "not enough memory",
    "unable to allocate",
    "allocation failed",
)
# The system's killer sends the first; a C++ allocation that nobody catches, or whose failure nobody looks at,
# ends in one of the others.
MEMORY_SIGNALS = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV)


def serve(
    open_subject: Callable[[dict[str, Any]], Run],
    make: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    peak_mib: Callable[[], float] | None = None,
    facts: dict[str, Any] | None = None,
) -> None:
    """Answer questions until standard input ends.

    - `{"do": "open", …}` makes the subject ready by `open_subject(question)`, which returns the function
      that is one step, and runs the first step.
    - `{"do": "burst", "warm": w, "repeats": n}` runs w steps without timing and n with, and answers their
      seconds and the joules of all of them (None where the machine does not tell).
    - `{"do": "make", …}` is answered by `make(question)`.

    Every answer has the process's highest memory, that to "open" has `facts` too. An exception is answered
    `{"error": text, "memory": bool}`.
    """
    # What a library prints is no answer.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run: Run | None = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if question["do"] == "open":
                limit_memory(question.get("memory_mib"))
                run, answer = open_timed(open_subject, question)
                answer |= facts or {}
            elif question["do"] == "make" and make is not None:
                answer = make(question)
            else:
                assert run is not None, "open comes first"
                answer = burst(run, question["warm"], question["repeats"])
            answer["peak_mib"] = (peak_mib or resident_peak_mib)()
        except Exception as error:  # of whatever library is measured
            answer = {"error": f"{type(error).__name__}: {error}"[:2000], "memory": about_memory(error)}
        reply(replies, answer)


def reply(replies: TextIO, answer: dict[str, Any]) -> None:
    replies.write(json.dumps(answer) + "\n")
    replies.flush()


def open_timed(
    open_subject: Callable[[dict[str, Any]], Run], question: dict[str, Any]
) -> tuple[Run, dict[str, Any]]:
    """The step, and how long it took to be ready and to answer for the first time."""
    start = time.perf_counter()
    run = open_subject(question)
    ready = time.perf_counter()
    run()
    return run, {"load_seconds": ready - start, "first_step_seconds": time.perf_counter() - ready}


def burst(run: Run, warm: int, repeats: int) -> dict[str, Any]:
    """Seconds of each of `repeats` steps after `warm` that are not timed, and the joules they took."""
    for _ in range(warm):
        run()
    energy, seconds = Energy(), []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "joules": energy.joules()}


def about_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out."""
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(word in text for word in MEMORY_WORDS)


def limit_memory(mib: float | None) -> None:
    """Allow this process so much address space on top of what it has (Linux); None: no limit."""
    if mib is None:
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(mib * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def limit_threads(threads: int) -> None:
    """Keep this process on so many cores, where the system has affinities."""
    # XLA's and OpenVINO's pools go by it, and XLA has no other switch.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def resident_peak_mib() -> float:
    """The most main memory this process has held, in MiB; nan on Windows."""
    try:
        # Not getrusage: on Linux it begins with what the process that started this one had held.
        rows = Path("/proc/self/status").read_text().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts in bytes


class Energy:
    """Joules of all processor packages since this was made, by Linux' powercap counters (Intel and AMD)."""

    def __init__(self, root: Path = POWERCAP) -> None:
        # "intel-rapl:0" is a package; "intel-rapl:0:0" a part of it.
        self.zones = [zone for zone in sorted(root.glob("*-rapl:*")) if zone.name.count(":") == 1]
        self.start = self.read()

    def read(self) -> list[int] | None:
        """Microjoules of each package; None where there is no counter or it may not be read."""
        try:
            return [int((zone / "energy_uj").read_text()) for zone in self.zones] or None
        except (OSError, ValueError):
            return None

    def joules(self) -> float | None:
        """Joules since the start, of the whole machine; None where it does not tell."""
        now = self.read()
        if now is None or self.start is None:
            return None
        total = 0
        for zone, before, after in zip(self.zones, self.start, now, strict=True):
            total += after - before
            if after < before:  # the counter went round
                total += int((zone / "max_energy_range_uj").read_text())
        return total / 1e6
