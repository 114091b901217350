"""What `senet export` opens and prints."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import keras

from senet.cli.app import say
from senet.cli.predict import Opened, open_network, open_run
from senet.deploy.export import Disagreement, export
from senet.zoo import create_model, get_spec, is_file


def open_target(target: str, weights: str) -> Opened:
    """A network with its preprocessing and labels: a run's folder, a .keras file, a tag, or a name."""
    path = Path(target)
    if path.is_dir():
        return open_run(path)
    if is_file(target):
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {target}.")
        import senet.layers.fused  # registers what optimised models hold

        assert senet.layers.fused
        return keras.saving.load_model(path, compile=False), None, None
    if "/" in target:
        return open_network(target, None, None)
    get_spec(target)
    return create_model(target, weights=weights), None, None


def run_export(target: str, out: Path, weights: str, **options: Any) -> dict[str, Any]:
    """Export what the options name; its report. Exit code 1 where the file answers otherwise."""
    network, preprocess, labels = open_target(target, weights)
    try:
        report = export(network, out, preprocess=preprocess, labels=labels, **options)
    except Disagreement as error:
        say(f"senet: {error}")
        sys.exit(1)
    return dataclasses.asdict(report)


def print_export(report: dict[str, Any]) -> None:
    """The report for people."""
    latency, agreement = report["latency"], report["top1_agreement"]
    low, high = latency["quartiles_ms"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    sides = "×".join("any" if side is None else str(side) for side in report["input_shape"])
    rows = [
        ("File", report["path"]),
        ("Format, precision", f"{report['format']}, {report['precision']}"),
        ("Network", f"{report['model']}{', optimised' if report['optimized'] else ''}"),
        ("Input", f"{sides}, {'pixels 0 to 255' if report['baked'] else 'normalised'}"),
        ("Compared on", f"{report['samples']} images: {report['samples_from']}"),
        ("Largest difference", f"{report['max_difference']:.2e}"),
        ("Relative difference", f"{report['relative_difference']:.2e}"),
        ("Top-1 agreement", "no classes" if agreement is None else f"{agreement:.2%}"),
        ("Size", f"{report['size_bytes'] / 1e6:,.1f} MB"),
        (
            "Latency",
            f"{latency['median_ms']:.1f} ms a batch of {latency['batch']} (median of {latency['runs']}; "
            f"quartiles {low:.1f} and {high:.1f})",
        ),
        ("Runtime", f"{report['runtime']}; {versions}"),
        ("SHA-256", report["sha256"]),
    ]
    for name, value in rows:
        print(f"{name:20} {value}")
