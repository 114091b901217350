"""A network of ours beside timm's: images a second of every way to run it, in one interleaved run.

    python benchmarks/peers.py --peer-python PY                                  # SE-ResNet-50, batch 8
    python benchmarks/peers.py --peer-python PY --network se_resnext_50_32x4d
    python benchmarks/peers.py --peer-python PY --network senet_154 --batch 4

PY is an environment with torch, timm, onnx, onnxscript, onnxruntime and openvino; ours runs in this one.
Ours: Keras on TensorFlow, as built and optimised; the optimised network's export in ONNX Runtime and
OpenVINO. timm's: eager, channels last, compiled (SE-ResNet-50 alone: compiling takes minutes), and its own
ONNX export in the same two runtimes. The weights are random, the threads the same for all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from senet.bench.subjects import Subject, matmul
from senet.bench.throughput import Settings, run_comparison
from senet.bench.throughput_statistics import summarize
from senet.bench.workers import Launch, Worker, launch_ours
from senet.files import write_json

RESULTS = Path(__file__).parent / "results"
TIMM = {
    "se_resnet_50": "legacy_seresnet50",
    "resnet_50": "resnet50",
    "se_resnext_50_32x4d": "legacy_seresnext50_32x4d",
    "senet_154": "legacy_senet154",
}
COMPILED = ("se_resnet_50", "resnet_50")
EXPORTED = ("onnxruntime", "openvino")
ROUNDS = {"senet_154": 8}  # of the others 12


def ours(network: str, batch: int) -> list[Subject]:
    keras = Subject(model=network, engine="tensorflow", batch=batch)
    exported = [
        Subject(model=network, runtime=runtime, batch=batch, variant="optimized") for runtime in EXPORTED
    ]
    return [keras, keras.sibling(variant="optimized"), *exported]


def timms(network: str, batch: int) -> list[Subject]:
    ways = ["eager", "channels last", *["compiled channels last"] * (network in COMPILED), *EXPORTED]
    return [Subject(model=TIMM[network], source="timm", runtime=way, batch=batch) for way in ways]


class Peers:
    """How processes are started: ours by this Python, timm's by another."""

    def __init__(self, python: str, threads: int, folder: str) -> None:
        self.python, self.threads, self.folder = python, threads, folder

    def launch(self, subject: Subject) -> Launch:
        if subject.source in ("senet", "ceiling"):
            return launch_ours(subject, self.threads)
        script = str(Path(__file__).parent / "peer_worker.py")
        # Plain Keras runs here, where Keras is.
        python = self.python if subject.source == "timm" else sys.executable
        environment = {"KERAS_BACKEND": subject.engine} if subject.engine else {}
        return Launch([python, script, str(self.threads), self.folder], environment)

    def export(self, subjects: Sequence[Subject], image_size: int | None) -> None:
        """timm's ONNX files, before anything is timed."""
        files = {(s.model, s.batch): s for s in subjects if s.source == "timm" and s.runtime in EXPORTED}
        for subject in files.values():
            worker = Worker(self.launch(subject), self.threads)
            try:
                worker.ask(do="make", model=subject.model, batch=subject.batch, image_size=image_size)
            finally:
                worker.stop()


def compare(subjects: Sequence[Subject], options: argparse.Namespace, rounds: int) -> dict[str, Any]:
    """The result of one run over all subjects."""
    settings = Settings(
        rounds=options.rounds or rounds,
        burst_seconds=options.burst,
        threads=options.threads,
        image_size=options.image_size,
    )
    with tempfile.TemporaryDirectory(prefix="senet-peers-") as folder:
        peers = Peers(options.peer_python, options.threads, folder)
        peers.export(subjects, options.image_size)
        result = run_comparison(subjects, settings, launch=peers.launch, say=say)
    # The path of the other Python means nothing elsewhere.
    words = ["PY" if word == options.peer_python else word for word in sys.argv[1:]]
    result["environment"]["command"] = ["python", f"benchmarks/{Path(sys.argv[0]).name}", *words]
    return result


def add_options(parser: argparse.ArgumentParser, networks: Sequence[str]) -> None:
    parser.add_argument("--peer-python", required=True, help="python of an environment with timm")
    parser.add_argument("--network", default="se_resnet_50", choices=networks)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--burst", type=float, default=1.0, help="seconds of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image-size", type=int, help="default: the network's own")
    parser.add_argument("--output", type=Path)


def say(text: str) -> None:
    print(text, flush=True)


def finish(result: dict[str, Any], output: Path) -> None:
    """Write the result, print its rows; exit code 1 where something could not be measured."""
    write_json(output, result)
    for row in summarize(result):
        say(f"{row.label}: {row.rate.median:.2f} images/s ({row.rate.low:.2f} to {row.rate.high:.2f})")
    failed = [record["label"] for record in result["subjects"] if record["error"]]
    say(f"{output}, after {result['seconds']:.0f} s")
    if failed:
        sys.exit(f"Not measured: {'; '.join(failed)}")


def main() -> None:
    """Measure one network and write results/peers_NETWORK.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, tuple(TIMM))
    options = parser.parse_args()
    ceilings = [matmul("numpy"), matmul("tensorflow")]
    subjects = [*ceilings, *ours(options.network, options.batch), *timms(options.network, options.batch)]
    result = compare(subjects, options, rounds=ROUNDS.get(options.network, 12))
    finish(result, options.output or RESULTS / f"peers_{options.network}.json")


if __name__ == "__main__":
    main()
