"""Write docs/performance.md and its chart from the result files under benchmarks/results.

python docs/make_performance.py

The page is made of what is there: a result that has not been measured yet is said to be so, with its command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from senet.bench.report import markdown_table
from senet.bench.subjects import Subject
from senet.bench.throughput_report import bars, figure
from senet.bench.throughput_statistics import (
    Row,
    Spread,
    ceilings,
    gains,
    measured,
    ratio,
    se_costs,
    subject_of,
    summarize,
)
from senet.files import read_json, write_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
CHART = Path("docs/pictures/speed.png")
RESULTS = Path("benchmarks/results")
Result = dict[str, Any]

# file: the command that writes it
COMMANDS = {
    "peers_se_resnet_50.json": "python benchmarks/peers.py --peer-python PY",
    "peers_se_resnext_50_32x4d.json": "python benchmarks/peers.py --peer-python PY --network se_resnext_50_32x4d",
    "peers_senet_154.json": "python benchmarks/peers.py --peer-python PY --network senet_154 --batch 4",
    "se_cost/throughput.json": "senet benchmark throughput --models se_resnet_50 resnet_50 --runtimes keras onnxruntime openvino --batch-sizes 8 --rounds 20 --out benchmarks/results/se_cost",
    "int8/throughput.json": "senet benchmark throughput --models se_resnet_50 --runtimes onnxruntime openvino litert --precisions float32 int8 --variants optimized --batch-sizes 8 --rounds 15 --out benchmarks/results/int8",
    "training_step_se_resnet_50.json": "python benchmarks/training_step.py --peer-python PY",
    "training_step_se_resnet_20_cifar.json": "python benchmarks/training_step.py --peer-python PY --network se_resnet_20_cifar --batch 128",
}
SE50, SEX50, SE154, COST, INT8, TRAIN50, TRAIN20 = COMMANDS
TITLES = {
    SE50: "SE-ResNet-50",
    SEX50: "SE-ResNeXt-50",
    SE154: "SENet-154",
    COST: "What SE costs",
    INT8: "Eight bits",
    TRAIN50: "Training SE-ResNet-50",
    TRAIN20: "Training SE-ResNet-20 on CIFAR images",
}


class Target(NamedTuple):
    """Something that was to be reached: `measure` gives it from the result in `file`, with who is compared."""

    what: str
    file: str
    measure: Callable[[Result], tuple[Spread, str]]
    least: float | None = None
    most: float | None = None
    percent: bool = False
    answer: str = ""  # why it is out of reach, where it is

    def met(self, spread: Spread) -> bool:
        if self.most is not None:
            return spread.median <= self.most
        assert self.least is not None
        return spread.median >= self.least

    def show(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.percent else f"{value:.2f}"

    @property
    def bound(self) -> str:
        return f"≤ {self.show(self.most)}" if self.most is not None else f"≥ {self.show(self.least or 0)}"


# ---- what is compared with what ----


def rows_of(result: Result, **fields: Any) -> list[Row]:
    """The rows whose subject has these fields."""
    return [
        row
        for row in summarize(result)
        if all(getattr(row.subject, field) == value for field, value in fields.items())
    ]


def best(rows: Sequence[Row]) -> Row:
    """The fastest, by its median."""
    return max(rows, key=lambda row: row.rate.median)


def over(result: Result, mine: Row, other: Row) -> tuple[Spread, str]:
    return ratio(
        result, mine.subject, other.subject
    ).value, f"{short(mine.subject)} over {short(other.subject)}"


def short(subject: Subject) -> str:
    """A subject's name beside others of the same network and batch."""
    runtime = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}.get(subject.runtime)
    engines = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
    how = runtime or (
        f"Keras on {engines[subject.engine or '']}" if subject.engine in engines else subject.runtime
    )
    parts = [how] if subject.source == "senet" else [f"{subject.source}, {how}"]
    if subject.source == "senet" and subject.task == "infer":
        parts.append({"optimized": "optimised", "original": "as built"}[subject.variant])
    if subject.precision != "float32":
        parts.append(subject.precision)
    return ", ".join(parts).replace("plain Keras, Keras on", "plain Keras on")


def best_over_timm(way: str) -> Callable[[Result], tuple[Spread, str]]:
    def measure(result: Result) -> tuple[Spread, str]:
        (peer,) = rows_of(result, source="timm", runtime=way)
        return over(result, best(rows_of(result, source="senet")), peer)

    return measure


def keras_over_timm(result: Result) -> tuple[Spread, str]:
    (mine,) = rows_of(result, source="senet", runtime="keras", engine="tensorflow", variant="optimized")
    (peer,) = rows_of(result, source="timm", runtime="channels last")
    return over(result, mine, peer)


def share_of_ceiling(result: Result) -> tuple[Spread, str]:
    row = best(rows_of(result, source="senet"))
    assert row.ceiling is not None
    return row.ceiling, short(row.subject)


def cost_in(keras: bool) -> Callable[[Result], tuple[Spread, str]]:
    """What SE costs, optimised network over optimised network: on Keras, or in the fastest exported runtime."""

    def measure(result: Result) -> tuple[Spread, str]:
        costs = {cost.subject: cost.value for cost in se_costs(result) if cost.subject.variant == "optimized"}
        rows = [row for row in summarize(result) if row.subject in costs]
        subject = best([row for row in rows if (row.subject.runtime == "keras") == keras]).subject
        return costs[subject], short(subject)

    return measure


def int8_gain(result: Result) -> tuple[Spread, str]:
    plain = best(rows_of(result, precision="float32"))
    (quantised,) = rows_of(result, precision="int8", runtime=plain.subject.runtime)
    return over(result, quantised, plain)


def training_over_timm(result: Result) -> tuple[Spread, str]:
    (mine,) = rows_of(result, source="senet", engine="tensorflow")
    (peer,) = rows_of(result, source="timm", runtime="channels last")
    return over(result, mine, peer)


def training_over_plain_keras(result: Result) -> tuple[Spread, str]:
    (peer,) = rows_of(result, source="plain Keras", engine="torch")
    return over(result, best(rows_of(result, source="senet")), peer)


TARGETS = (
    Target(
        what="SE-ResNet-50, best runtime, over timm channels last",
        file=SE50,
        least=1.5,
        measure=best_over_timm("channels last"),
    ),
    Target(
        what="SE-ResNet-50, Keras on TensorFlow, optimised, over timm channels last",
        file=SE50,
        least=1.25,
        measure=keras_over_timm,
    ),
    Target(
        what="SE-ResNet-50, best runtime, share of the matrix-product ceiling",
        file=SE50,
        least=0.95,
        measure=share_of_ceiling,
    ),
    Target(
        what="cost of SE, best exported runtime, optimised SE-ResNet-50 over optimised ResNet-50",
        file=COST,
        most=0.03,
        percent=True,
        measure=cost_in(keras=False),
    ),
    Target(
        what="cost of SE, the same on Keras and TensorFlow",
        file=COST,
        most=0.03,
        percent=True,
        measure=cost_in(keras=True),
    ),
    Target(
        what="SE-ResNeXt-50, best runtime, over timm eager",
        file=SEX50,
        least=1.7,
        measure=best_over_timm("eager"),
    ),
    Target(
        what="SENet-154, best runtime, over timm eager",
        file=SE154,
        least=1.5,
        measure=best_over_timm("eager"),
    ),
    Target(
        what="training SE-ResNet-50 on TensorFlow over timm channels last",
        file=TRAIN50,
        least=1.0,
        measure=training_over_timm,
    ),
    Target(
        what="training SE-ResNet-20 (CIFAR, batch 128), best engine, over plain Keras on PyTorch",
        file=TRAIN20,
        least=1.2,
        measure=training_over_plain_keras,
    ),
    Target(what="int8 in the best runtime over its float32", file=INT8, least=1.3, measure=int8_gain),
)

TEXT = """# Performance

Written by `python docs/make_performance.py` from the files it names. Every figure is a ratio inside one interleaved
run, or comes with its spread: each subject is a warm process of its own, all have a short turn in every round, and
ratios are taken round by round. Quartiles and range are over rounds. All subjects of a run have the same number of
threads; weights are random, with BatchNorm statistics that fit. Images are 224×224 and the batch is 8 in float32
unless said otherwise. A ceiling is the fastest product of two large float32 matrices in the same round, by NumPy or
TensorFlow; a network's share counts its multiply-adds alone ([counts](complexity.md)). `PY` is a Python with torch,
timm, onnx, onnxscript, onnxruntime and openvino.

## What was to be reached

{targets}

{answers}{sections}## Measure it here

```sh
{commands}
python docs/make_performance.py
```

`senet benchmark throughput` compares any networks, engines, runtimes, batches and precisions, and leaves a page, charts,
a CSV and the seconds of every step; `--train` times training steps.
"""


# ---- the page ----


def load(file: str) -> Result | None:
    path = ROOT / RESULTS / file
    return read_json(path) if path.exists() else None


def target_rows(results: dict[str, Result | None]) -> list[list[str]]:
    """A row for each target; one that is not measured yet names its command."""
    rows = []
    for target in TARGETS:
        result = results[target.file]
        if result is None:
            rows.append([target.what, target.bound, "not measured yet", "", "", "", ""])
            continue
        spread, who = target.measure(result)
        rows.append(
            [
                f"{target.what} ({who})",
                target.bound,
                f"**{target.show(spread.median)}**",
                f"{target.show(spread.low)} to {target.show(spread.high)}",
                f"{target.show(spread.least)} to {target.show(spread.most)}",
                f"{spread.n}",
                f"[{'yes' if target.met(spread) else 'no'}](../{RESULTS}/{target.file})",
            ]
        )
    return rows


def answers(results: dict[str, Result | None]) -> str:
    """Why the targets that were missed were missed."""
    missed = [
        target
        for target in TARGETS
        if (result := results[target.file]) is not None and not target.met(target.measure(result)[0])
    ]
    return "".join(f"**{target.what}.** {target.answer}\n\n" for target in missed if target.answer)


def section(file: str, result: Result) -> str:
    """The table of one result, with what its file tells besides."""
    rows = summarize(result)
    several = len({row.subject.model for row in rows if row.subject.source == "senet"}) > 1
    has_ceiling = any(row.ceiling for row in rows)
    columns = [
        "Subject",
        "Images a second",
        "Quartiles",
        "p50, ms",
        "p99, ms",
        "First answer, s",
        "Peak, MiB",
    ]
    columns += ["Of the ceiling"] * has_ceiling
    cells = [
        [
            (f"{row.subject.model}, " if several else "") + short(row.subject),
            figure(row.rate.median),
            f"{figure(row.rate.low)} to {figure(row.rate.high)}",
            figure(1e3 * row.p50),
            figure(1e3 * row.p99),
            f"{row.start_seconds:.1f}",
            f"{row.peak_mib:,.0f}",
            *([f"{row.ceiling.median:.2f}" if row.ceiling else ""] if has_ceiling else []),
        ]
        for row in rows
    ]
    lines = [f"## {TITLES[file]}", ""]
    if file == SE50:
        lines += [f"![Images a second of SE-ResNet-50, each way to run it]({CHART.relative_to('docs')})", ""]
    lines += [*markdown_table(columns, cells), "", *ratios(result), about(file, result), ""]
    return "\n".join(lines) + "\n"


def ratios(result: Result) -> list[str]:
    """What SE costs and what optimising gives, where the result can tell."""
    lines = [
        f"- SE costs {100 * cost.value.median:+.1f} % ({100 * cost.value.low:+.1f} to {100 * cost.value.high:+.1f}) "
        f"in {short(cost.subject)}."
        for cost in se_costs(result)
    ]
    lines += [
        f"- Optimising makes {gain.subject.model} {gain.value.median:.2f} times as fast "
        f"({gain.value.low:.2f} to {gain.value.high:.2f}) in {runtime_of(gain.subject)}."
        for gain in gains(result)
    ]
    return [*lines, ""] if lines else []


def runtime_of(subject: Subject) -> str:
    return short(subject).removesuffix(", optimised")


def about(file: str, result: Result) -> str:
    """Batch, rounds, machine, versions, file and command."""
    environment, settings = result["environment"], result["settings"]
    machine = environment["machine"]
    versions = {**environment["versions"], **result["runtimes"]}
    batches = sorted({row.subject.batch for row in summarize(result)})
    peer = next((r["versions"] for r in measured(result) if subject_of(r).source == "timm"), {})
    theirs = f"; timm's side: {listed(peer)}" if peer else ""
    top = "".join(
        f" The ceiling is {2 * Spread.of(values).median / 1e9:,.0f} GFLOP/s."
        for values in ceilings(result).values()
    )
    return (
        f"Batch {', '.join(map(str, batches))}; {settings['rounds']} rounds; {settings['threads']} threads; "
        f"{machine['processor']}, {machine['cores']} cores.{top} {listed(versions)}{theirs}. "
        f"[Every step]({Path('..') / RESULTS / file}), written by `{COMMANDS[file]}`."
    )


def listed(versions: dict[str, str]) -> str:
    names = {"senet", "python", "jaxlib"}
    return ", ".join(f"{name} {version}" for name, version in versions.items() if name not in names)


def page() -> str:
    """docs/performance.md as the result files have it."""
    results = {file: load(file) for file in COMMANDS}
    columns = ("What", "Target", "Measured", "Quartiles", "Range", "Rounds", "Met")
    sections = [section(file, result) for file, result in results.items() if result is not None]
    return TEXT.format(
        targets="\n".join(markdown_table(columns, target_rows(results))),
        answers=answers(results),
        sections="".join(sections),
        commands="\n".join(COMMANDS.values()),
    )


def draw_chart(result: Result) -> None:
    """The chart of the README: every way to run SE-ResNet-50, fastest first, ours and timm's apart."""
    rows = sorted(summarize(result), key=lambda row: -row.rate.median)
    entries = [
        (
            ("senet, " if row.subject.source == "senet" else "") + short(row.subject),
            row.rate,
            row.subject.source,
        )
        for row in rows
    ]
    settings = result["settings"]
    bars(
        ROOT / CHART,
        f"SE-ResNet-50, images a second (batch {rows[0].subject.batch}, {settings['threads']} threads, float32)",
        entries,
    )


if __name__ == "__main__":
    write_text(PAGE, page())
    speeds = load(SE50)
    if speeds is not None:
        draw_chart(speeds)
