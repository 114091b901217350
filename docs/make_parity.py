"""Write docs/parity.md from what `python -m tests.parity.measure` measured.

python docs/make_parity.py
"""

from __future__ import annotations

import json
from pathlib import Path

from senet.bench.report import markdown_table
from senet.files import write_text

PAGE = Path(__file__).with_name("parity.md")
RESULTS = Path(__file__).resolve().parents[1] / "tests" / "parity" / "results.json"

TEXT = """# What converted networks answer beside their sources

Written by `python docs/make_parity.py` from [the results](../tests/parity/results.json) of
`python -m tests.parity.measure`.

A fixture is a network of a source (the authors' Caffe models, timm, pytorchcv), filled with deterministic weights
and run in its own runtime on deterministic images; only what it answered is stored. Here the same weights are
written as a real checkpoint file (`.caffemodel`, `.safetensors`), converted by `senet.from_checkpoint`, and run on
the same images. The table holds the relative error of the logits, ‖ours − theirs‖ / ‖theirs‖ in float32, the
largest over the sizes of the fixture. The tests refuse more than 1e-5. Sizes are height × width: odd and
non-square ones tell pool and padding rules apart that agree at 224.

{table}

{machines}
"""


def page() -> str:
    """The page as text."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    engines = results["engines"]
    first = next(iter(engines.values()))["fixtures"]
    rows = []
    for source, row in first.items():
        sizes = ", ".join(key.split("_")[1].replace("x", "×") for key in row["errors"])
        errors = [max(engine["fixtures"][source]["errors"].values()) for engine in engines.values()]
        name = source.replace("_", "/", 1)
        rows.append([name, row["model"], f"{row['tensors']:,}", sizes, *(f"{error:.1e}" for error in errors)])
    machines = "\n".join(f"- {name}: {machine(engine['environment'])}" for name, engine in engines.items())
    absent = f"\n- not measured: {', '.join(results['absent'])}" if results["absent"] else ""
    columns = ("Source", "Network", "Tensors", "Sizes", *engines)
    return TEXT.format(table="\n".join(markdown_table(columns, rows)), machines=machines + absent)


def machine(environment: dict) -> str:
    """What an engine ran on, in a line."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    return f"{environment['machine']['processor']}; {versions}; commit {environment['commit']}"


if __name__ == "__main__":
    write_text(PAGE, page())
    print(PAGE)
