"""Numbers of a grid of runs: means over seeds, paired differences, time to an accuracy."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any

from senet.zoo import plain_twin

Records = Sequence[dict[str, Any]]
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """One network over its seeds. Errors in percent of the test images."""

    model: str
    seeds: tuple[int, ...]
    error: float  # mean
    error_std: float  # sample standard deviation; nan for one seed
    loss: float  # mean test cross-entropy
    parameters: int  # trainable
    multiply_adds: int  # for one image
    seconds_per_epoch: float  # median over seeds of the median over epochs, training alone
    peak_memory_mib: float  # highest over seeds
    seconds: float  # mean over seeds, training alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paired:
    """SE minus plain over the seeds both have: test error in percentage points, below 0 if SE is better."""

    model: str
    twin: str
    seeds: tuple[int, ...]
    difference: float
    low: float  # Student's t interval for paired samples, 95 %; nan for one seed
    high: float


def by_model(records: Records) -> dict[str, list[dict[str, Any]]]:
    """The records of each network, seeds in order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda record: record["result"]["seed"]):
        groups.setdefault(record["result"]["model"], []).append(record)
    return groups


def error(record: dict[str, Any]) -> float:
    """Test error in percent."""
    return 100 * (1 - record["result"]["test_accuracy"])


def std(values: Sequence[float]) -> float:
    """Sample standard deviation; nan for a single value."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def summarize(records: Records) -> list[Summary]:
    """A row for each network, in the order of `records`."""
    order = list(dict.fromkeys(record["result"]["model"] for record in records))
    groups = by_model(records)
    return [summarize_model(model, groups[model]) for model in order]


def summarize_model(model: str, runs: Records) -> Summary:
    results = [run["result"] for run in runs]
    errors = [error(run) for run in runs]
    return Summary(
        model=model,
        seeds=tuple(result["seed"] for result in results),
        error=statistics.mean(errors),
        error_std=std(errors),
        loss=statistics.mean(result["test_loss"] for result in results),
        parameters=results[0]["trainable_parameters"],
        multiply_adds=results[0]["multiply_adds"],
        seconds_per_epoch=statistics.median(result["seconds_per_epoch"] for result in results),
        peak_memory_mib=max(result["peak_memory_mib"] for result in results),
        seconds=statistics.mean(result["seconds"] for result in results),
    )


def pairs(records: Records) -> list[tuple[str, str]]:
    """(SE network, its plain twin) for every pair that the records hold."""
    names = by_model(records)
    return [
        (name, plain_twin(name)) for name in names if plain_twin(name) != name and plain_twin(name) in names
    ]


def compare(records: Records) -> list[Paired]:
    """The paired difference of every SE network to its plain twin."""
    from scipy import stats

    rows = []
    groups = by_model(records)
    for model, twin in pairs(records):
        ours = {run["result"]["seed"]: error(run) for run in groups[model]}
        theirs = {run["result"]["seed"]: error(run) for run in groups[twin]}
        seeds = tuple(sorted(ours.keys() & theirs.keys()))
        if not seeds:
            continue
        differences = [ours[seed] - theirs[seed] for seed in seeds]
        mean = statistics.mean(differences)
        half = math.nan
        if len(seeds) > 1:
            t = stats.t.ppf((1 + CONFIDENCE) / 2, len(seeds) - 1)
            half = float(t) * std(differences) / math.sqrt(len(seeds))
        rows.append(
            Paired(model=model, twin=twin, seeds=seeds, difference=mean, low=mean - half, high=mean + half)
        )
    return rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimeTo:
    """When a network first reached a validation accuracy; means over the seeds that did."""

    model: str
    accuracy: float
    reached: int  # seeds that did
    seeds: int
    epochs: float  # nan where no seed did
    seconds: float  # of training alone


def levels(records: Records) -> list[float]:
    """Validation accuracies worth asking for: up to five round ones that some run reached, the best first."""
    best = max(
        (row.get("val_accuracy", math.nan) for run in records for row in run["metrics"]), default=math.nan
    )
    if math.isnan(best):
        return []
    step = 0.05 if best < 0.9 else 0.01
    top = math.floor(best / step + 1e-9)
    return [round((top - i) * step, 2) for i in range(5) if (top - i) * step > 0][::-1]


def time_to(records: Records, accuracy: float) -> list[TimeTo]:
    """For each network, the epochs and seconds until its validation accuracy was at least `accuracy`."""
    rows = []
    for model, runs in by_model(records).items():
        hits = [hit for run in runs if (hit := first_at(run["metrics"], accuracy)) is not None]
        rows.append(
            TimeTo(
                model=model,
                accuracy=accuracy,
                reached=len(hits),
                seeds=len(runs),
                epochs=statistics.mean(hit[0] for hit in hits) if hits else math.nan,
                seconds=statistics.mean(hit[1] for hit in hits) if hits else math.nan,
            )
        )
    return rows


def first_at(metrics: list[dict[str, float]], accuracy: float) -> tuple[float, float] | None:
    """(epoch, seconds of training so far) of the first epoch at `accuracy` or above, or None."""
    seconds = 0.0
    for row in metrics:
        seconds += row["seconds"]
        if row.get("val_accuracy", 0.0) >= accuracy:
            return row["epoch"], seconds
    return None
