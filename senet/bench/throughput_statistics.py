"""Numbers of a speed comparison: rates and latencies of each subject, ratios of two round by round."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from senet.bench.subjects import Subject, optimized_pairs, se_pairs

Record = dict[str, Any]  # a subject of a result file


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over rounds. One round touches the next little, so the quartiles tell how much to trust it."""

    median: float
    low: float  # lower quartile
    high: float  # upper quartile
    least: float
    most: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        low, high = np.percentile(values, [25, 75])
        return cls(
            median=statistics.median(values),
            low=float(low),
            high=float(high),
            least=min(values),
            most=max(values),
            n=len(values),
        )

    def map(self, change: Callable[[float], float]) -> Spread:
        """The same figure in another unit; `change` must rise."""
        fields = {f.name: change(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "n"}
        return Spread(**fields, n=self.n)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What one subject does. Seconds are seconds; latencies are of a whole batch."""

    subject: Subject
    label: str
    asked_batch: int
    rate: Spread  # images a second, a figure for each round
    p50: float
    p90: float
    p99: float
    steps: int  # that the latencies are of
    start_seconds: float  # from the start of the process to its first answer
    peak_mib: float
    joules: float | None  # of the whole machine, for an image; None where the machine does not tell
    ceiling: Spread | None  # multiply-adds done, as a share of the matrix product's in the same round


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratio:
    """The speed of one subject over another's (rates), or what it takes more (times)."""

    subject: Subject
    base: Subject
    value: Spread


def subject_of(record: Record) -> Subject:
    # Files from before a field was there have what it stands for by default.
    return Subject(**{f.name: record[f.name] for f in dataclasses.fields(Subject) if f.name in record})


def measured(result: dict[str, Any]) -> list[Record]:
    """The subjects that were measured to the end."""
    return [record for record in result["subjects"] if record["error"] is None]


def seconds_a_step(record: Record) -> list[float]:
    """Mean seconds of a step, for each round."""
    return [statistics.mean(turn["seconds"]) for turn in record["rounds"]]


def rates(record: Record) -> list[float]:
    """Images a second, for each round."""
    return [record["batch"] / seconds for seconds in seconds_a_step(record)]


def ceilings(result: dict[str, Any]) -> dict[str, list[float]]:
    """By precision, the multiply-adds a second of the fastest matrix product of each round."""
    found: dict[str, list[list[float]]] = {}
    for record in measured(result):
        if record["runtime"] == "matmul":
            work = record["batch"] ** 3
            # The fastest step: a ceiling is what can be reached, not what is on average.
            found.setdefault(record["precision"], []).append(
                [work / min(turn["seconds"]) for turn in record["rounds"]]
            )
    return {precision: [max(turn) for turn in zip(*all_, strict=True)] for precision, all_ in found.items()}


def summarize(result: dict[str, Any]) -> list[Row]:
    """A row for each subject that was measured, in the order of the result; ceilings have none."""
    tops = ceilings(result)
    return [
        summarize_record(record, tops.get(record["precision"]))
        for record in measured(result)
        if record["runtime"] != "matmul"
    ]


def summarize_record(record: Record, top: list[float] | None) -> Row:
    steps = [seconds for turn in record["rounds"] for seconds in turn["seconds"]]
    p50, p90, p99 = np.percentile(steps, [50, 90, 99])
    joules = [turn["joules"] for turn in record["rounds"]]
    work = record.get("multiply_adds")
    ceiling = None
    if top is not None and work and record["task"] == "infer":
        ceiling = Spread.of([rate * work / most for rate, most in zip(rates(record), top, strict=True)])
    images = record["batch"] * len(steps)
    return Row(
        subject=subject_of(record),
        label=record["label"],
        asked_batch=record["asked_batch"],
        rate=Spread.of(rates(record)),
        p50=float(p50),
        p90=float(p90),
        p99=float(p99),
        steps=len(steps),
        start_seconds=record["start_seconds"],
        peak_mib=record["peak_mib"],
        joules=None if None in joules else sum(joules) / images,
        ceiling=ceiling,
    )


def ratio(result: dict[str, Any], subject: Subject, base: Subject) -> Ratio:
    """Images a second of `subject` over those of `base`, round by round. KeyError where one is missing."""
    by_subject = {subject_of(record): record for record in measured(result)}
    pairs = zip(rates(by_subject[subject]), rates(by_subject[base]), strict=True)
    return Ratio(subject=subject, base=base, value=Spread.of([mine / other for mine, other in pairs]))


def se_costs(result: dict[str, Any]) -> list[Ratio]:
    """What SE costs: the share of time that a network takes more than its plain twin, 0.03 for 3 %."""
    return [
        dataclasses.replace(flipped, value=flipped.value.map(lambda times: times - 1))
        for pair in se_pairs([subject_of(record) for record in measured(result)])
        for flipped in [times_of(result, *pair)]
    ]


def times_of(result: dict[str, Any], subject: Subject, base: Subject) -> Ratio:
    """Seconds of `subject` over those of `base`: the ratio of their rates the other way round."""
    return dataclasses.replace(ratio(result, base, subject), subject=subject, base=base)


def gains(result: dict[str, Any]) -> list[Ratio]:
    """What optimising gives: the speed of the optimised network over the original's."""
    pairs = optimized_pairs([subject_of(record) for record in measured(result)])
    return [ratio(result, *pair) for pair in pairs]
