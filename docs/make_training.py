"""Put the measured costs into docs/training.md.

python docs/make_training.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from senet.bench.report import markdown_table
from senet.files import read_json, write_text

PAGE = Path(__file__).with_name("training.md")
RESULTS = PAGE.parents[1] / "benchmarks" / "results"
SECTION = re.compile(
    r"(?<=<!-- costs: written by docs/make_training.py -->\n).*?(?=<!-- end costs -->)", re.DOTALL
)
ENGINES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
COMPILERS = {"tensorflow": "XLA", "jax": "XLA", "torch": "inductor"}


def costs() -> str:
    """The section's text."""
    machine = read_json(RESULTS / "jit_se_resnet_20_cifar.json")["environment"]["machine"]
    return "\n".join(
        [
            f"Medians, with the range over the rounds; {machine['processor']}, {machine['cores']} cores, as each file says.",
            "",
            *(loop(engine) for engine in ENGINES if place("loop_overhead", engine).exists()),
            *(
                checkpointing(engine)
                for engine in ENGINES
                if place("gradient_checkpointing", engine).exists()
            ),
            augmentation(),
            *compiling(),
        ]
    )


def place(name: str, engine: str) -> Path:
    return RESULTS / f"{name}_{engine}.json"


def link(path: Path) -> str:
    return f"([file](../benchmarks/results/{path.name}))"


def loop(engine: str) -> str:
    """What the loop takes over a bare one."""
    file = place("loop_overhead", engine)
    found = read_json(file)
    ratio = found["ratio"]
    return (
        f"- The training loop takes {ratio['median']:.2f} times ({ratio['min']:.2f} to {ratio['max']:.2f}, n={found['rounds']}) "
        f"a bare loop of {ENGINES[engine]}'s compiled train step, {found['model']} at batch {found['batch']}, its checkpoint, "
        f"rows and curves after every {found['steps_a_round']} steps included {link(file)}."
    )


def checkpointing(engine: str) -> str:
    """What gradient checkpointing saves and costs."""
    file = place("gradient_checkpointing", engine)
    found = read_json(file)
    memory, seconds = found["ratio"]["memory_mib"], found["ratio"]["seconds"]

    def shown(part: dict[str, float]) -> str:
        return f"{part['median']:.2f} of the {{}} ({part['min']:.2f} to {part['max']:.2f}, n={part['n']})"

    what = found["what"].partition(":")[0]
    return (
        f"- Gradient checkpointing takes {shown(memory).format('memory')} that a step adds to the network, "
        f"{found['memory_mib']['checkpointing']['median']:,.0f} in place of {found['memory_mib']['plain']['median']:,.0f} MiB, and "
        f"{shown(seconds).format('time')}: {what}, {ENGINES[engine]} {link(file)}."
    )


def augmentation() -> str:
    file = RESULTS / "augmentation.json"
    found = read_json(file)
    speed = found["speed"]["senet.data.Batches"]
    return (
        f"- Padding, cropping, mirroring and normalising 32×32 images: {speed['median']:,} images a second "
        f"({speed['min']:,} to {speed['max']:,}, n={found['n']}) on one thread {link(file)}."
    )


def compiling() -> list[str]:
    """Where compiling a training step is repaid: what `speed.jit` is by default."""
    file = RESULTS / "jit_se_resnet_20_cifar.json"
    found = read_json(file)
    records = {(record["engine"], record["jit"]): record for record in found["subjects"]}
    columns = (
        "Engine",
        "Compiler",
        "Speed of the compiled step",
        "First step, compiled",
        "not compiled",
        "`speed.jit`",
    )
    rows = [row(engine, verdict, records) for engine, verdict in sorted_verdicts(found)]
    one = next(iter(records.values()))
    return [
        f"- `speed.jit` is what was measured to be faster: a compiled step of {one['model']} at batch {one['batch']} over one that "
        f"is not, quartiles over {len(one['rounds'])} rounds {link(file)}. With an accelerator TensorFlow compiles too, which was not measured.",
        "",
        *markdown_table(columns, rows),
        "",
    ]


def sorted_verdicts(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(engine, found["verdicts"][engine]) for engine in ENGINES if engine in found["verdicts"]]


def row(engine: str, verdict: dict[str, Any], records: dict[tuple[str, bool], Any]) -> list[str]:
    speed = verdict["speed"]
    first = [records[engine, jit]["first_step_seconds"] for jit in (True, False)]
    return [
        ENGINES[engine],
        COMPILERS[engine],
        f"{speed['median']:.2f} ({speed['low']:.2f} to {speed['high']:.2f})",
        *(f"{seconds:.1f} s" for seconds in first),
        "on" if verdict["repaid_after_steps"] != "never" else "off",
    ]


def page() -> str:
    """docs/training.md with its costs as the result files have them."""
    return SECTION.sub(lambda _: costs(), PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    write_text(PAGE, page())
