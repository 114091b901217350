"""How often a trained network in eight bits answers as in float32, and what it scores.

    python benchmarks/int8_agreement.py RUN [RUN …]

A run's network is calibrated on its validation images and scored on all its test images, which neither saw.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from senet.deploy.export import export
from senet.deploy.runtimes import open_runtime
from senet.evaluate import open_run
from senet.files import write_json
from senet.training.environment import describe

RESULT = Path(__file__).parent / "results" / "int8_agreement.json"
FORMATS = {"onnx": "net.onnx", "openvino": "net.xml", "litert": "net.tflite"}
CALIBRATION = 256  # images


def measure(run: Path) -> dict[str, Any]:
    """Top-1 of the run's network in float32 and in int8 in each runtime, and how often they agree."""
    subject = open_run(run)
    batches = subject.data.validation(64)
    if batches is None:
        raise ValueError(f"The run in {run} holds no validation images out, which calibrate.")
    calibration = np.concatenate([images for images, _, _ in batches])[:CALIBRATION]
    rows = [(images[w > 0], labels[w > 0]) for images, labels, w in subject.data.test(64)]
    labels = np.concatenate([row[1] for row in rows])
    plain = np.concatenate([subject.network.predict_on_batch(images) for images, _ in rows]).argmax(-1)
    found: dict[str, Any] = {
        "model": subject.model,
        "data": Path(subject.data.name).name,
        "test_images": len(labels),
        "calibration_images": len(calibration),
        "keras_float32": {"top1": float((plain == labels).mean())},
    }
    side = calibration.shape[1]
    for format, name in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            report = export(
                subject.network,
                path,
                precision="int8",
                calibration=calibration,
                image_size=side,
                preprocess=subject.data.preprocess,
                labels=subject.class_names,
                min_agreement=0.0,
            )
            predictor = open_runtime(path)
            said = np.concatenate([predictor.predict(images) for images, _ in rows]).argmax(-1)
        found[format] = {
            "top1": float((said == labels).mean()),
            "agreement": float((said == plain).mean()),
            "size_bytes": report.size_bytes,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    results = [measure(run) for run in parser.parse_args().runs]
    write_json(RESULT, {"results": results, "environment": describe()})
    for result in results:
        print(result)


if __name__ == "__main__":
    main()
