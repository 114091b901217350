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
from senet.zoo import plain_twin

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
CHART = Path("docs/pictures/speed.png")
RESULTS = Path("benchmarks/results")
Result = dict[str, Any]

# file: the command that writes it
COMMANDS = {
    "peers_se_resnet_50.json": "python benchmarks/peers.py --peer-python PY --rounds 12",
    "peers_se_resnext_50_32x4d.json": "python benchmarks/peers.py --peer-python PY --network se_resnext_50_32x4d --rounds 8",
    "peers_senet_154.json": "python benchmarks/peers.py --peer-python PY --network senet_154 --batch 4 --rounds 6",
    "se_cost/throughput.json": "senet benchmark throughput --models se_resnet_50 resnet_50 --runtimes keras onnxruntime openvino --batch-sizes 8 --rounds 14 --out benchmarks/results/se_cost",
    "int8/throughput.json": "senet benchmark throughput --models se_resnet_50 --runtimes onnxruntime openvino litert --precisions float32 int8 --variants optimized --batch-sizes 8 --rounds 8 --out benchmarks/results/int8",
    "training_step_se_resnet_50.json": "python benchmarks/training_step.py --peer-python PY --rounds 8",
    "training_step_se_resnet_20_cifar.json": "python benchmarks/training_step.py --peer-python PY --network se_resnet_20_cifar --batch 128 --rounds 8",
    "se_cost_b/throughput.json": "senet benchmark throughput --models se_resnet_50b resnet_50b --runtimes keras openvino --variants optimized --batch-sizes 8 --rounds 8 --out benchmarks/results/se_cost_b",
}
SE50, SEX50, SE154, COST, INT8, TRAIN50, TRAIN20, COST_B = COMMANDS
# Results that the text quotes, with the command that writes each.
PROFILE, PROFILE_X = "openvino_profile_se_resnet_50.json", "openvino_profile_se_resnext_50_32x4d.json"
AGREEMENT, PARTS = "int8_agreement.json", "optimize_tensorflow.json"
MORE_COMMANDS = (
    "python benchmarks/openvino_profile.py",
    "python benchmarks/openvino_profile.py --models se_resnext_50_32x4d resnext_50_32x4d",
    "python benchmarks/optimize.py --rounds 21",
    "python benchmarks/int8_agreement.py RUN",
)
TITLES = {
    SE50: "SE-ResNet-50",
    SEX50: "SE-ResNeXt-50",
    SE154: "SENet-154",
    COST: "What SE costs",
    INT8: "Eight bits",
    TRAIN50: "Training SE-ResNet-50",
    TRAIN20: "Training SE-ResNet-20 on CIFAR images",
    COST_B: "What SE costs where the stride is on the 3×3 convolutions",
}


class Target(NamedTuple):
    """Something that was to be reached: `measure` gives it from the result in `file`, with who is compared."""

    what: str
    file: str
    measure: Callable[[Result], tuple[Spread, str]]
    least: float | None = None
    most: float | None = None
    percent: bool = False

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

{answers}{sections}## Eight bits, and right answers

{agreement}

## What was tried

Kept, each exact to rounding:

- **The early squeeze.** Behind a linear 1×1 convolution the mean of its output is the convolution of the mean of its input,
  which has a quarter of the channels; and the excitation's first layer is linear before its ReLU, so both become one small
  dense layer, multiplied out in float64.
- BatchNorm folded into the convolution before it, through a concatenation too; constant factors (Inception-ResNet's, half
  of each branch of Shake-Shake) folded into theirs; borders that a convolution or pool can add itself.
- Scale, sum and ReLU as one layer; a BatchNorm that no convolution precedes as one scale and shift.
- **Strides moved up.** Where all readers of a feature map are 1×1 convolutions with stride 2, as at the end of each stage of
  the authors' networks, the layers before them make every fourth pixel alone. OpenVINO does that by itself; TensorFlow,
  ONNX Runtime and LiteRT do not.
- In training, BatchNorm by the engine's own kernel (`senet.layers.BatchNorm`): Keras writes it as several passes. It is what
  brings the training steps above where they are.

{parts}

Dropped, by rough measurements on a busy machine that are not worth a figure here:

- XLA for the scale and the sum on TensorFlow: hardly quicker, and compiled anew for every image size.
- The gates multiplied into the weights of the 1×1 convolution, image by image, as one batched matrix product: level on large
  maps, slower on small ones.
- Other ways to take the mean (a matrix product, a pool, XLA); TensorFlow's pooled CPU allocator (`TF_CPU_ALLOCATOR_USE_BFC`)
  and glibc's thresholds: no gain in processor time.
- The early squeeze in training: the gain on large maps is lost on small ones, before the variance's gradient is counted.
- The main and the shortcut's 1×1 convolution of a stage's first block, which read the same map, as one: a little quicker on
  small maps, much slower on the largest, because what comes out must be taken apart again; hardly anything of a whole network.
- For eight bits: ranges by percentile or entropy (as good as means over groups, and all activations of all images must be
  kept), the shortcut convolutions in float32 too (hardly better), biases corrected by the mean error of each channel
  (worse: what was corrected in one layer is wrong for the next).
- OpenVINO with two streams, and smaller batches within a call: a little quicker, the cost of SE is the same.

## Measure it here

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
    return "".join(
        f"**{target.what}.** {ANSWERS[target.what](results)}\n\n"
        for target in missed
        if target.what in ANSWERS
    )


def openvino_answer(results: dict[str, Result | None]) -> str:
    """Where the time of SE goes in OpenVINO, from its own counters."""
    profile, twin = load(PROFILE), results[COST_B]
    if profile is None or twin is None:
        return "Not profiled yet."
    with_se, without = next(iter(profile["kinds"].values()))
    total = sum(row[without] for row in profile["kinds"].values())

    def more(*kinds: str) -> str:
        rows = [profile["kinds"][kind] for kind in kinds]
        return f"{100 * sum(row[with_se] - row[without] for row in rows) / total:.1f} %"

    cost, who = cost_in(keras=False)(twin)
    return (
        f"By OpenVINO's counters ([file](../{RESULTS}/{PROFILE})), in shares of the plain network's time: the 3×3 "
        f"convolutions take {more('3×3 convolutions')} more, the scale with the sum and the ReLU "
        f"{more('scale, sum and ReLU')}, the squeeze and the excitation {more('squeeze', 'excitation')}. The first is no work "
        "of SE: the authors' networks put the stride of a stage on its first 1×1 convolution, so that of the stage before "
        "only every fourth pixel is read, and the last 3×3 convolution of each stage of the plain network is computed at "
        "those alone. An SE block reads the mean of all pixels: with it, they must be there. Where the stride is on the 3×3 "
        f"convolutions neither network can leave any out, and SE costs {100 * cost.median:.1f} % ({100 * cost.low:.1f} to "
        f"{100 * cost.high:.1f}, n={cost.n}; {who}). The second is what is left: the gate stands between the convolution and "
        "the sum, so that OpenVINO no longer adds the shortcut inside the convolution, and the map is written and read once "
        "more."
    )


def grouped_answer(results: dict[str, Result | None]) -> str:
    """What the grouped convolutions of SE-ResNeXt-50 take in OpenVINO."""
    profile, result = load(PROFILE_X), results[SEX50]
    if profile is None or result is None:
        return "Not profiled yet."
    name = next(iter(profile["layers"]))
    times = {kind: row[name] for kind, row in profile["kinds"].items()}
    adds = profile["multiply_adds"][name]
    time = times["3×3 convolutions"] / sum(times.values())
    rest = sum(times[kind] for kind in ("scale, sum and ReLU", "squeeze", "excitation")) / sum(times.values())
    share = best(rows_of(result, source="senet")).ceiling
    theirs = best(rows_of(result, source="timm"))
    assert share is not None
    return (
        f"The grouped 3×3 convolutions are {100 * adds['3×3 convolutions'] / sum(adds.values()):.1f} % of the multiply-adds and "
        f"take {100 * time:.1f} % of the time in OpenVINO ([file](../{RESULTS}/{PROFILE_X})): four channels a group fill a "
        f"quarter of an AVX-512 register. Scale, sum, squeeze and excitation, which are hardly any multiply-adds, take "
        f"{100 * rest:.1f} % more. So the network as a whole stays at {100 * share.median:.0f} % of the machine's ceiling. timm's own network, exported, is as fast in the same runtime ({figure(theirs.rate.median)} images a second)."
    )


def ceiling_answer(results: dict[str, Result | None]) -> str:
    """Why timm's eager SENet-154 cannot be beaten by half on this machine."""
    result = results[SE154]
    assert result is not None
    mine = best(rows_of(result, source="senet"))
    (peer,) = rows_of(result, source="timm", runtime="eager")
    assert mine.ceiling is not None
    theirs = mine.ceiling.median * peer.rate.median / mine.rate.median
    return (
        f"The best runtime works at {100 * mine.ceiling.median:.0f} % of what the machine reaches in one large matrix product, and "
        f"timm's eager network at {100 * theirs:.0f} %: one and a half times that would be {150 * theirs:.0f} % of the ceiling."
    )


def keras_answer(results: dict[str, Result | None]) -> str:
    """What is left of SE on TensorFlow."""
    twin, parts = results[COST_B], load(PARTS)
    if twin is None or parts is None:
        return "Not taken apart yet."
    other, _ = cost_in(keras=True)(twin)
    (found,) = parts["results"]
    whole = over_rounds(
        found, f"{found['model']}: unread pixels", f"{plain_twin(found['model'])}: unread pixels"
    )
    return (
        "Here too most of it is that without SE the last 3×3 convolution of each stage need not make the pixels which the next "
        "stage does not read: where both networks make all pixels, SE costs "
        f"{100 * whole.median - 100:.1f} % ({100 * whole.low - 100:.1f} to {100 * whole.high - 100:.1f}, n={whole.n}; "
        f"[file](../{RESULTS}/{PARTS})), and {100 * other.median:.1f} % ({100 * other.low:.1f} to {100 * other.high:.1f}, "
        f"n={other.n}) where the stride is on the 3×3 convolutions. The gates themselves are small dense layers; what is left is the gate between the "
        "convolution and the sum. TensorFlow fuses a convolution, its bias, a sum and a ReLU into one kernel; a factor in "
        "between breaks the chain, and the map is read and written once more."
    )


ANSWERS: dict[str, Callable[[dict[str, Result | None]], str]] = {
    "cost of SE, best exported runtime, optimised SE-ResNet-50 over optimised ResNet-50": openvino_answer,
    "cost of SE, the same on Keras and TensorFlow": keras_answer,
    "SE-ResNeXt-50, best runtime, over timm eager": grouped_answer,
    "SENet-154, best runtime, over timm eager": ceiling_answer,
}


# What each variant of benchmarks/optimize.py leaves out.
LEFT_OUT = {
    "as it is": "everything",
    "norms": "everything but the folding of BatchNorm",
    "late squeeze": "the early squeeze",
    "separate sums": "scale, sum and ReLU as one layer",
    "separate norms": "scale and shift in place of the BatchNorms that stay",
    "padding layers": "borders that convolutions and pools add themselves",
    "unread pixels": "strides moved up",
}


def over_rounds(found: dict[str, Any], mine: str, other: str) -> Spread:
    """The time of one variant over that of another, round by round."""
    pairs = zip(found["seconds"][mine], found["seconds"][other], strict=True)
    return Spread.of([own / base for own, base in pairs])


def parts() -> str:
    """What each part of optimising gives, by what its absence costs."""
    result = load(PARTS)
    if result is None:
        return "What each part gives has not been measured."
    (found,) = result["results"]
    names = (found["model"], plain_twin(found["model"]))

    def time(name: str, part: str) -> str:
        if f"{name}: {part}" not in found["seconds"]:
            return ""
        spread = over_rounds(found, f"{name}: {part}", f"{name}: all")
        return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"

    rows = [[what, *(time(name, part) for name in names)] for part, what in LEFT_OUT.items()]
    rounds = len(found["seconds"][f"{names[0]}: all"])
    return "\n".join(
        [
            "What each gives in Keras on TensorFlow, by the time of a network optimised without it over that of the optimised one "
            f"(batch {found['batch']}, {found['size']} pixels, quartiles over {rounds} rounds; [file](../{RESULTS}/{PARTS})):",
            "",
            *markdown_table(("Left out", *names), rows),
        ]
    )


def agreement() -> str:
    """Accuracy of trained networks in eight bits."""
    found = load(AGREEMENT)
    if found is None:
        return "The agreement of trained networks has not been measured."
    names = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
    columns = (
        "Network, data",
        "Images",
        "Top-1 in float32",
        *(f"{name}, agreement (top-1)" for name in names.values()),
    )
    rows = [
        [
            f"{row['model']}, {Path(row['data']).name}",
            f"{row['test_images']:,}",
            f"{100 * row['keras_float32']['top1']:.2f} %",
            *(f"{100 * row[key]['agreement']:.2f} % ({100 * row[key]['top1']:.2f} %)" for key in names),
        ]
        for row in found["results"]
    ]
    return "\n".join(
        [
            "The processor of the runs above has AVX-512 VNNI, which int8 lives on; the target was set for one without. Their "
            "networks have random weights, which say nothing about accuracy. How often trained networks in int8 "
            f"name the same class as in float32 (asked: 99 %), calibrated on validation images, over the test images "
            f"([file](../{RESULTS}/{AGREEMENT})):",
            "",
            *markdown_table(columns, rows),
            "",
            "Where a network is seldom right, many classes are nearly as likely as its answer, and any change of the numbers turns "
            "some: agreement is a matter of the network too.",
        ]
    )


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
        agreement=agreement(),
        parts=parts(),
        commands="\n".join([*COMMANDS.values(), *MORE_COMMANDS]),
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
