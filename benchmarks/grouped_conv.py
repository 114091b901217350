"""What a grouped convolution costs, forward and with both gradients, over PyTorch's; and a training step.

Each engine runs in a process of its own that stays alive; they are asked for a time in turns, one after the
other, within each round, and ratios are taken round by round. The layers are those of SE-ResNeXt-50 (32x4d,
batch 8) and SENet-154 (batch 4), 224x224, counted as often as the network has them, and one wide layer.

    python benchmarks/grouped_conv.py                         # the layers
    python benchmarks/grouped_conv.py --keras                 # and once Keras' own layer: half a minute
    python benchmarks/grouped_conv.py --step --peer-python PY # SE-ResNeXt-50's training step, PY has timm
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A process that measures imports its engine after it is told which; only the standard library stands here.

Layer = dict[str, Any]


def stage_layers(network: str, batch: int, groups: int, widths: tuple[int, ...], blocks: tuple[int, ...]):
    """The 3x3 layers of four stages at 56, 28, 14 and 7 pixels; from the second on the first one strides."""
    rows: list[Layer] = []
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        size = 56 >> stage
        row = {"network": network, "batch": batch, "channels": width, "groups": groups}
        if stage:
            rows.append({**row, "size": 2 * size, "stride": 2, "count": 1})
        rows.append({**row, "size": size, "stride": 1, "count": count - (stage > 0)})
    return rows


WIDE = {"network": "wide", "batch": 8, "channels": 256, "groups": 32, "size": 56, "stride": 1, "count": 1}
LAYERS = [
    WIDE,
    *stage_layers("se_resnext_50_32x4d", 8, 32, (128, 256, 512, 1024), (3, 4, 6, 3)),
    *stage_layers("senet_154", 4, 64, (256, 512, 1024, 2048), (3, 8, 36, 3)),
]
# name: engine, environment. TensorFlow reads its variable when it is imported.
WORKERS: dict[str, tuple[str, dict[str, str]]] = {
    "torch": ("torch", {}),
    "torch channels last": ("torch", {"CHANNELS_LAST": "1"}),
    "tensorflow": ("tensorflow", {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    "tensorflow without oneDNN": ("tensorflow", {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "jax": ("jax", {}),
}
STEP_WORKERS: dict[str, tuple[str, dict[str, str]]] = {
    "timm": ("timm", {}),
    "timm channels last": ("timm", {"CHANNELS_LAST": "1"}),
    "tensorflow": ("tensorflow", {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    "jax": ("jax", {}),
}


class Worker:
    """A process that measures one engine; it answers one line of JSON with another."""

    def __init__(self, python: str, engine: str, environment: dict[str, str], threads: int, step: bool):
        command = [python, __file__, "--worker", engine, "--threads", str(threads), *["--step"] * step]
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": engine}
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **quiet, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """The process's answer; its end without one is an error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args} ended with code {self.process.wait()}.")
        return json.loads(answer)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


# ---- the side that measures ----


def torch_layer(layer: Layer) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Forward, and forward with both gradients, of PyTorch's layer."""
    import torch

    size, channels, groups = layer["size"], layer["channels"], layer["groups"]
    x = torch.randn(layer["batch"], channels, size, size)
    if "CHANNELS_LAST" in os.environ:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    kernel = torch.randn(channels, channels // groups, 3, 3, requires_grad=True)

    def run():
        return torch.nn.functional.conv2d(x, kernel, None, layer["stride"], 1, 1, groups)

    upstream = torch.randn_like(run())

    def forward():
        with torch.no_grad():
            run()

    return forward, lambda: torch.autograd.grad(run(), (x, kernel), upstream)


def keras_layer(layer: Layer, cls) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The same of a Keras layer class, compiled as a training step compiles it."""
    import keras
    import numpy as np

    size, channels, stride = layer["size"], layer["channels"], layer["stride"]
    unit = cls(channels, 3, stride, "same", groups=layer["groups"], use_bias=False)
    unit.build((None, size, size, channels))
    noise = np.random.default_rng(0)
    x = noise.standard_normal((layer["batch"], size, size, channels), np.float32)
    upstream = noise.standard_normal((layer["batch"], size // stride, size // stride, channels), np.float32)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function
        def both(x, upstream):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = unit(x)
            return y, tape.gradient(y, [x, unit.kernel.value], upstream)

        forward = tf.function(unit)
        x, upstream = tf.constant(x), tf.constant(upstream)
        return lambda: forward(x), lambda: both(x, upstream)
    import jax

    def call(x, kernel):
        return unit.stateless_call([kernel], [], x)[0]

    def gradients(x, kernel, upstream):
        y, back = jax.vjp(call, x, kernel)
        return y, back(upstream)

    kernel, x, upstream = jax.numpy.array(unit.kernel.value), jax.numpy.array(x), jax.numpy.array(upstream)
    one, both = jax.jit(call), jax.jit(gradients)
    wait = jax.block_until_ready
    return lambda: wait(one(x, kernel)), lambda: wait(both(x, kernel, upstream))


def timm_step(batch: int) -> Callable[[], Any]:
    """A training step of timm's SE-ResNeXt-50, SGD with momentum."""
    import timm
    import torch

    model = timm.create_model("legacy_seresnext50_32x4d").train()
    x, labels = torch.randn(batch, 3, 224, 224), torch.randint(0, 1000, (batch,))
    if "CHANNELS_LAST" in os.environ:
        model, x = (
            model.to(memory_format=torch.channels_last),
            x.contiguous(memory_format=torch.channels_last),
        )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def senet_step(batch: int) -> Callable[[], Any]:
    """The same of ours, through Keras' compiled train step."""
    import keras
    import numpy as np

    import senet
    from senet.training import environment

    model = senet.create_model("se_resnext_50_32x4d", classifier_activation=None, input_shape=(224, 224, 3))
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=environment.jit_compile(),
    )
    x = np.random.default_rng(0).standard_normal((batch, 224, 224, 3), np.float32)
    labels = np.arange(batch)
    return lambda: model.train_on_batch(x, labels)


def prepare(engine: str, question: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """What can be timed, by name."""
    if "layer" not in question:
        return {"step": (timm_step if engine == "timm" else senet_step)(question["batch"])}
    if engine == "torch":
        forward, both = torch_layer(question["layer"])
    else:
        import keras

        from senet.layers.grouped_conv import GroupedConv2D

        cls = keras.layers.Conv2D if question.get("keras") else GroupedConv2D
        forward, both = keras_layer(question["layer"], cls)
    return {"forward": forward, "both": both}


def resident_mib(field: str) -> float:
    """A memory field of this process in MiB (Linux); nan elsewhere."""
    try:
        rows = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith(field))


def answer(engine: str, runs: dict[str, Callable[[], Any]], question: dict[str, Any]) -> dict[str, Any]:
    """Prepare a layer or a step, or time one of those prepared."""
    if question["do"] == "prepare":
        runs.clear()
        before = resident_mib("VmRSS")
        runs.update(prepare(engine, question))
        start = time.perf_counter()
        for run in runs.values():
            run()
        first = time.perf_counter() - start
        if Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
        list(runs.values())[-1]()
        return {"first_seconds": first, "peak_mib": resident_mib("VmHWM") - before}
    run, repeats = runs[question["what"]], question["repeats"]
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return {"seconds": (time.perf_counter() - start) / repeats}


def work(engine: str, threads: int) -> None:
    """Answer questions from standard input until it ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    if hasattr(os, "sched_setaffinity"):
        # XLA has no other switch for its threads.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if engine in ("torch", "timm"):
        import torch

        torch.set_num_threads(threads)
    elif engine == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
    runs: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        replies.write(json.dumps(answer(engine, runs, json.loads(line))) + "\n")
        replies.flush()


# ---- the side that asks ----


def summary(values: list[float]) -> dict[str, float]:
    """Median and range; n is the number of rounds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def against(times: dict[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    """The ratio of each to `base`: by rounds, and of the fastest rounds, which other load touches least."""
    return {
        name: {
            **summary([mine / theirs for mine, theirs in zip(values, times[base], strict=True)]),
            "of_the_fastest": min(values) / min(times[base]),
        }
        for name, values in times.items()
        if name != base
    }


def take_turns(workers: dict[str, Worker], what: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each worker in each round; a turn lasts about 0.1 s at least."""
    once = {name: worker.ask(do="time", what=what, repeats=1)["seconds"] for name, worker in workers.items()}
    repeats = {name: max(1, round(0.1 / seconds)) for name, seconds in once.items()}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            times[name].append(worker.ask(do="time", what=what, repeats=repeats[name])["seconds"])
    return times


def block_kernel_mib(layer: Layer) -> float:
    """What the kernels of the slices take beyond the layer's own kernel."""
    from senet.layers.grouped_conv import MIN_WIDTH

    width = layer["channels"] // layer["groups"]
    return 9 * (max(width, MIN_WIDTH) - width) * layer["channels"] * 4 / 2**20


def measure_layers(workers: dict[str, Worker], rounds: int) -> dict[str, Any]:
    """Times of every layer, and their sums over the layers of the two networks."""
    rows, sums = [], {what: {name: [0.0] * rounds for name in workers} for what in ("forward", "both")}
    for layer in LAYERS:
        first = {name: worker.ask(do="prepare", layer=layer) for name, worker in workers.items()}
        row: dict[str, Any] = {
            **layer,
            "block_kernels_mib": block_kernel_mib(layer),
            "memory_and_start": first,
        }
        for what in ("forward", "both"):
            times = take_turns(workers, what, rounds)
            row[what] = {
                "seconds": {name: summary(values) for name, values in times.items()},
                "over_torch": against(times, "torch"),
            }
            if layer is not WIDE:
                for name, values in times.items():
                    for index, value in enumerate(values):
                        sums[what][name][index] += layer["count"] * value
        rows.append(row)
        print(text(row), flush=True)
    totals = {
        what: {
            "seconds": {name: summary(values) for name, values in sums[what].items()},
            "over_torch": against(sums[what], "torch"),
        }
        for what in sums
    }
    for what, total in totals.items():
        for name, ratio in total["over_torch"].items():
            print(
                f"both networks, {what}: {name} {ratio['median']:.2f} of PyTorch's time"
                f" ({ratio['min']:.2f} to {ratio['max']:.2f}; fastest rounds {ratio['of_the_fastest']:.2f})"
            )
    return {"layers": rows, "both_networks": totals}


def text(row: dict[str, Any]) -> str:
    """A layer's line on the terminal: milliseconds of PyTorch, then ratios to it."""
    ratios = ", ".join(f"{name} {r['median']:.2f}" for name, r in row["both"]["over_torch"].items())
    shape = (
        f"{row['batch']}x{row['size']}x{row['size']}x{row['channels']}/{row['groups']} stride {row['stride']}"
    )
    return f"{shape}: PyTorch {1e3 * row['both']['seconds']['torch']['median']:.1f} ms; {ratios}"


def measure_keras(workers: dict[str, Worker]) -> dict[str, float]:
    """Seconds of Keras' own grouped layer, forward and gradients of the wide layer, once each."""
    seconds = {}
    for name in ("tensorflow", "jax"):
        workers[name].ask(do="prepare", layer=WIDE, keras=True)
        seconds[name] = workers[name].ask(do="time", what="both", repeats=1)["seconds"]
        print(f"Keras' own layer on {name}: {seconds[name]:.1f} s")
    return seconds


def measure_step(workers: dict[str, Worker], rounds: int, batch: int) -> dict[str, Any]:
    """Seconds of a training step, and ratios to timm's."""
    first = {name: worker.ask(do="prepare", batch=batch) for name, worker in workers.items()}
    times = take_turns(workers, "step", rounds)
    ratios = against(times, "timm")
    for name, ratio in ratios.items():
        print(f"training step, {name}: {ratio['median']:.2f} of timm's time")
    return {"batch": batch, "memory_and_start": first, "seconds": times, "over_timm": ratios}


def main() -> None:
    """Measure, print the ratios, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keras", action="store_true", help="Keras' own layer too, the wide one, once")
    parser.add_argument("--step", action="store_true", help="a training step instead of the layers")
    parser.add_argument("--batch", type=int, default=8, help="images of a training step")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has PyTorch and timm")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.threads)
        return
    from senet.files import write_json
    from senet.training import environment

    workers = {
        name: Worker(
            options.peer_python if engine in ("torch", "timm") else sys.executable,
            engine,
            variables,
            options.threads,
            options.step,
        )
        for name, (engine, variables) in (STEP_WORKERS if options.step else WORKERS).items()
    }
    load = os.getloadavg()[0]  # of others: nothing is measured yet
    try:
        if options.step:
            result = measure_step(workers, options.rounds, options.batch)
        else:
            result = measure_layers(workers, options.rounds)
            if options.keras:
                result["keras_seconds_wide"] = measure_keras(workers)
    finally:
        for worker in workers.values():
            worker.stop()
    name = "grouped_conv_step.json" if options.step else "grouped_conv.json"
    output = options.output or Path(__file__).parent / "results" / name
    write_json(
        output,
        {"threads": options.threads, "load_before": load, **result, "environment": environment.describe()},
    )


if __name__ == "__main__":
    main()
