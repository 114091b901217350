"""Numbers of a grid, from records worked out by hand."""

from __future__ import annotations

import math
import statistics

import pytest
from scipy import stats

from senet.bench.report import cells, convergence, differences, markdown_table, provenance
from senet.bench.statistics import compare, first_at, levels, pairs, std, summarize, time_to


def record(model: str, seed: int, accuracy: float, curve: tuple[float, ...] = (0.5, 0.7)) -> dict:
    return {
        "result": {
            "model": model,
            "seed": seed,
            "test_accuracy": accuracy,
            "test_loss": 1 - accuracy,
            "trainable_parameters": 1000,
            "multiply_adds": 2_000_000,
            "seconds_per_epoch": 10.0 + seed,
            "seconds": 20.0 + seed,
            "peak_memory_mib": 500.0 + seed,
            "finished": "2026-01-02T03:04:05+00:00",
        },
        "environment": {
            "machine": {"processor": "P", "cores": 2, "memory_gib": 8, "accelerators": []},
            "engine": "jax",
            "versions": {"keras": "3"},
            "commit": "abc",
        },
        "metrics": [
            {"epoch": i + 1, "val_accuracy": value, "seconds": 10.0} for i, value in enumerate(curve)
        ],
    }


RECORDS = [
    record("resnet_20_cifar", 0, 0.80),
    record("se_resnet_20_cifar", 0, 0.83),
    record("resnet_20_cifar", 1, 0.82),
    record("se_resnet_20_cifar", 1, 0.84),
    record("resnet_20_cifar", 2, 0.81),
    record("se_resnet_20_cifar", 2, 0.82),
]


def test_summary():
    plain, se = summarize(RECORDS)
    assert (plain.model, se.model) == ("resnet_20_cifar", "se_resnet_20_cifar")
    assert plain.seeds == (0, 1, 2)
    assert plain.error == pytest.approx(19)
    assert plain.error_std == pytest.approx(statistics.stdev([20, 18, 19]))
    assert plain.seconds_per_epoch == 11
    assert plain.seconds == 21
    assert plain.peak_memory_mib == 502
    assert math.isnan(std([1.0]))


def test_paired_difference_is_students_interval():
    assert pairs(RECORDS) == [("se_resnet_20_cifar", "resnet_20_cifar")]
    (row,) = compare(RECORDS)
    expected = stats.ttest_rel([17, 16, 18], [20, 18, 19]).confidence_interval(0.95)
    assert row.difference == pytest.approx(-2)
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high))
    assert row.seeds == (0, 1, 2)


def test_only_shared_seeds_are_paired_and_one_seed_has_no_interval():
    (row,) = compare([*RECORDS[:2], record("se_resnet_20_cifar", 7, 0.1)])
    assert row.seeds == (0,)
    assert row.difference == pytest.approx(-3)
    assert math.isnan(row.low)
    assert compare(RECORDS[:1]) == []


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-3, -1, "better"), (1, 3, "worse"), (-1, 1, "cannot tell")]
)
def test_the_verdict_follows_the_interval(low, high, verdict):
    (row,) = compare(RECORDS)
    text = " ".join(differences([type(row)(**{**vars(row), "low": low, "high": high})]))
    assert verdict in text
    assert "-2.00 percentage points" in text


def test_time_to_an_accuracy():
    rows = [
        {"epoch": 1, "val_accuracy": 0.3, "seconds": 5.0},
        {"epoch": 2, "val_accuracy": 0.6, "seconds": 4.0},
    ]
    assert first_at(rows, 0.6) == (2, 9.0)
    assert first_at(rows, 0.61) is None
    mixed = [record("resnet_20_cifar", 0, 0.8, (0.5, 0.7)), record("resnet_20_cifar", 1, 0.8, (0.5, 0.6))]
    (hit,) = time_to(mixed, 0.65)
    assert (hit.reached, hit.seeds, hit.epochs, hit.seconds) == (1, 2, 2, 20)
    (never,) = time_to(mixed, 0.99)
    assert never.reached == 0
    assert math.isnan(never.epochs)


def test_levels_are_round_and_reached():
    assert levels([record("resnet_20_cifar", 0, 0.8, (0.2, 0.72))]) == [0.5, 0.55, 0.6, 0.65, 0.7]
    assert levels([record("resnet_20_cifar", 0, 0.8, (0.951,))]) == [0.91, 0.92, 0.93, 0.94, 0.95]
    assert levels([record("resnet_20_cifar", 0, 0.8, ())]) == []


def test_tables_are_markdown():
    lines = markdown_table(("a", "b"), [["1", "2"]])
    assert lines == ["| a | b |", "| --- | ---: |", "| 1 | 2 |"]
    assert cells(summarize(RECORDS)[0])[3] == "19.00 ± 1.00 (n=3)"
    assert any("2 of 3" in line or "3 of 3" in line for line in convergence(RECORDS))
    text = "\n".join(provenance(RECORDS))
    assert "P, 2 cores, 8 GiB; accelerators: none" in text
    assert text.count("abc") == 1  # a fact that all runs share stands once
