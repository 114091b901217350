"""Measure every fixture on every engine into results.json: `python -m tests.parity.measure`.

Each engine runs in a process of its own; those that are not installed are left out and named. With names of
engines, only those. Afterwards `python docs/make_parity.py` writes docs/parity.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")
ENGINES = ("tensorflow", "jax", "torch")


def measure() -> dict[str, object]:
    """The errors of every fixture on the engine of this process, and what it ran on."""
    import keras

    from senet.training.environment import describe
    from senet.zoo import convert
    from tests.parity import fixtures

    rows = {}
    for source in fixtures.SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            path = fixtures.write_checkpoint(source, Path(folder))
            network, report = convert(path, fixtures.architecture(source))
        rows[source] = {
            "model": report.model,
            "tensors": len(report.rules),
            "errors": fixtures.errors(network, source),
        }
        print(source, rows[source]["errors"], file=sys.stderr, flush=True)
        keras.utils.clear_session()
    return {"environment": describe(), "fixtures": rows}


def main() -> None:
    results, absent = {}, []
    for engine in sys.argv[1:] or ENGINES:
        environment = {**os.environ, "KERAS_BACKEND": engine, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-m", "tests.parity.measure", "--one"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            absent.append(engine)
        else:
            results[engine] = json.loads(done.stdout)
    RESULTS.write_text(json.dumps({"engines": results, "absent": absent}, indent=1) + "\n", encoding="utf-8")
    print(f"{RESULTS}: {', '.join(results)}; failed or not installed: {', '.join(absent) or 'none'}")


if __name__ == "__main__":
    if "--one" in sys.argv:
        print(json.dumps(measure()))
    else:
        main()
