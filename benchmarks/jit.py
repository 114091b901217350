"""Whether compiling a training step repays its time: each engine with and without, in one interleaved run.

    python benchmarks/jit.py                                  # SE-ResNet-20, batch 128, on three engines
    python benchmarks/jit.py --network se_resnet_50 --batch 8 --engines tensorflow

XLA compiles on TensorFlow and JAX, inductor on PyTorch (a C++ compiler must be there). The answer is how many
steps it takes until the time of the first step is earned back; "never" where the compiled step is no faster.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from peers import RESULTS, finish, say

from senet.bench.subjects import ENGINES, Subject
from senet.bench.throughput import Settings, run_comparison
from senet.bench.throughput_statistics import measured, ratio, seconds_a_step, subject_of


def verdicts(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By engine: how many times as fast the compiled step is, and after how many steps it is repaid."""
    records = {(record["engine"], record["jit"]): record for record in measured(result)}
    found = {}
    for engine in {engine for engine, _ in records}:
        pair = [records.get((engine, jit)) for jit in (True, False)]
        if None in pair:
            continue
        compiled, plain = pair
        speed = ratio(result, subject_of(compiled), subject_of(plain)).value
        once = compiled["first_step_seconds"] - plain["first_step_seconds"]
        saved = [b - a for a, b in zip(seconds_a_step(compiled), seconds_a_step(plain), strict=True)]
        a_step = sorted(saved)[len(saved) // 2]
        repaid: int | str = max(0, round(once / a_step)) if speed.low > 1 else "never"
        found[engine] = {
            "speed": vars(speed),
            "compile_seconds": round(once, 1),
            "repaid_after_steps": repaid,
        }
    return found


def main() -> None:
    """Measure, print, and write results/jit_NETWORK.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="se_resnet_20_cifar")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--engines", nargs="+", default=ENGINES, choices=ENGINES)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    subjects = [
        Subject(model=options.network, engine=engine, batch=options.batch, task="train", jit=jit)
        for engine, jit in itertools.product(options.engines, (False, True))
    ]
    result = run_comparison(subjects, Settings(rounds=options.rounds), say=say)
    result["verdicts"] = verdicts(result)
    for engine, verdict in result["verdicts"].items():
        say(f"{engine}: {verdict}")
    finish(result, options.output or RESULTS / f"jit_{options.network}.json")


if __name__ == "__main__":
    main()
