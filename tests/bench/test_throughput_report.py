"""The numbers, the files and the page of a speed comparison, from made-up seconds."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

from senet.bench.subjects import Subject, matmul
from senet.bench.throughput_report import write_results, write_throughput_report
from senet.bench.throughput_statistics import (
    Spread,
    ceilings,
    gains,
    ratio,
    se_costs,
    summarize,
)
from tests import browser

SE = Subject(model="se_resnet_50", engine="tensorflow", batch=8, variant="optimized")
PLAIN = SE.sibling(model="resnet_50")
ORIGINAL = SE.sibling(variant="original")


def record(subject: Subject, *rounds: list[float], joules: float | None = None, **fields):
    return {
        **{field: getattr(subject, field) for field in Subject.__dataclass_fields__},
        "label": subject.label,
        "asked_batch": subject.batch,
        "repeats": 1,
        "error": None,
        "start_seconds": 9.5,
        "peak_mib": 812.0,
        "multiply_adds": 4_000_000_000,
        "rounds": [{"seconds": seconds, "joules": joules} for seconds in rounds],
        **fields,
    }


def result(*records):
    machine = {"processor": "A processor", "cores": 2, "memory_gib": 8.0, "accelerators": []}
    environment = {
        "machine": machine,
        "engine": "tensorflow",
        "versions": {"keras": "3.15.1"},
        "commit": None,
        "command": ["senet", "benchmark", "throughput"],
    }
    settings = {"rounds": 3, "threads": 2, "burst_seconds": 1.0}
    return {
        "environment": environment,
        "settings": settings,
        "runtimes": {"openvino": "2026.4"},
        "seconds": 60.0,
        "subjects": list(records),
    }


# The machine is twice as slow in the second round and four times in the third.
WHOLE = result(
    record(matmul("numpy"), [0.2, 0.2], [0.4, 0.4], [0.8, 0.8]),
    record(matmul("tensorflow"), [0.1, 0.3], [0.2, 0.6], [1.0, 1.0]),
    record(SE, [0.51, 0.55], [1.06, 1.06], [2.12, 2.12]),
    record(PLAIN, [0.5, 0.5], [1.0, 1.0], [2.0, 2.0]),
    record(ORIGINAL, [0.6, 0.6], [1.2, 1.2], [2.4, 2.4], asked_batch=16),
    record(SE.sibling(runtime="litert", engine=None), error="it broke"),
)


def test_rates_and_latencies():
    se = summarize(WHOLE)[0]
    assert se.subject == SE
    assert se.rate.median == pytest.approx(8 / 1.06)
    assert (se.rate.least, se.rate.most) == (pytest.approx(8 / 2.12), pytest.approx(8 / 0.53))
    assert (se.rate.n, se.steps) == (3, 6)
    assert se.p50 == pytest.approx(1.06)
    assert se.p99 == pytest.approx(2.12)
    assert se.joules is None


def test_ratios_are_taken_round_by_round():
    """The rounds differ by a factor of four; the ratio does not."""
    (cost,) = se_costs(WHOLE)
    assert (cost.subject, cost.base) == (SE, PLAIN)
    assert cost.value.median == cost.value.least == cost.value.most == pytest.approx(0.06)
    (gain,) = gains(WHOLE)
    assert (gain.subject, gain.base) == (SE, ORIGINAL)
    assert gain.value.median == pytest.approx(1.2 / 1.06)
    assert ratio(WHOLE, PLAIN, SE).value.median == pytest.approx(1.06)
    with pytest.raises(KeyError):
        ratio(WHOLE, SE, SE.sibling(batch=1))


def test_the_ceiling_is_the_fastest_product_of_the_round():
    work = 2048**3
    assert ceilings(WHOLE)["float32"] == pytest.approx([work / 0.1, work / 0.2, work / 0.8])
    plain = summarize(WHOLE)[1]
    shares = [8 / 0.5 * 4e9 * 0.1 / work, 8 / 1.0 * 4e9 * 0.2 / work, 8 / 2.0 * 4e9 * 0.8 / work]
    assert plain.ceiling == Spread.of(shares)


def test_energy_is_of_an_image():
    (row,) = summarize(result(record(SE, [0.5, 0.5], [0.5, 0.5], joules=64.0)))
    assert row.joules == pytest.approx(64 * 2 / (8 * 4))
    assert row.ceiling is None


def test_the_files_hold_what_was_measured(tmp_path):
    files = write_results(WHOLE, tmp_path, "Speeds & more")
    assert [file.name for file in files] == [
        *("index.html", "throughput.json", "throughput.csv", "speed_batch8.png", "cost_of_se.png"),
    ]
    assert json.loads((tmp_path / "throughput.json").read_text()) == {"title": "Speeds & more", **WHOLE}
    with (tmp_path / "throughput.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["variant"], row["asked_batch"]) for row in rows] == [
        *(("se_resnet_50", "optimized", "8"), ("resnet_50", "optimized", "8")),
        ("se_resnet_50", "original", "16"),
    ]
    assert float(rows[0]["images_a_second"]) == pytest.approx(8 / 1.06, rel=1e-3)
    assert rows[0]["joules_an_image"] == ""
    for name in ("speed_batch8.png", "cost_of_se.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 600
    page = (tmp_path / "index.html").read_text()
    for words in (
        "Speeds &amp; more",
        "6.00",
        "it broke",
        "asked for 16",
        "no powercap counter",
        "openvino 2026.4",
    ):
        assert words in page, words


def test_the_page_is_made_again_from_the_result(tmp_path):
    write_results(WHOLE, tmp_path, "Speeds")
    before = (tmp_path / "index.html").read_text()
    for path in tmp_path.iterdir():
        if path.name != "throughput.json":
            path.unlink()
    write_throughput_report(tmp_path)
    assert (tmp_path / "index.html").read_text() == before
    with pytest.raises(FileNotFoundError, match="holds no speed comparison"):
        write_throughput_report(tmp_path / "elsewhere")


@pytest.mark.slow
def test_the_page_reads_in_a_browser(tmp_path):
    write_results(WHOLE, tmp_path / "report", "Speeds")
    browser.check_page(tmp_path / "report" / "index.html", tmp_path)
