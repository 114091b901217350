"""Where OpenVINO spends its time in a network with and without SE, layer by layer.

    python benchmarks/openvino_profile.py
    python benchmarks/openvino_profile.py --models se_resnext_50_32x4d resnext_50_32x4d

Both networks are optimised and exported as `senet benchmark throughput` does, and called in turns; times are
OpenVINO's own counters, the least of the calls (other work only adds), summed over the layers of a kind.
"""

from __future__ import annotations

import argparse
import collections
import tempfile
from pathlib import Path
from typing import Any

from senet.bench.measure import build, images
from senet.complexity import complexity, per_layer
from senet.deploy.export import export
from senet.deploy.optimize import optimize_for_inference
from senet.files import write_json
from senet.training.environment import describe

RESULTS = Path(__file__).parent / "results"
KINDS = {  # what a layer's name has in it; activations behind a convolution are part of it
    "1×1 convolutions, first": ("reduce_conv",),
    "3×3 convolutions": ("spatial_conv",),
    "1×1 convolutions, last": ("expand_conv",),
    "shortcut convolutions": ("shortcut_conv",),
    "squeeze": ("se_squeeze",),
    "excitation": ("se_reduce", "se_expand"),
    "scale, sum and ReLU": ("_act", "_add", "scaled"),
}


def kind_of(layer: str) -> str:
    """The kind of an OpenVINO layer by its name."""
    for kind, words in KINDS.items():
        if layer.startswith("stage") and any(word in layer for word in words):
            return kind
    return "stem, head and the rest"


def compiled(name: str, batch: int, threads: int) -> Any:
    """A request of the optimised network in OpenVINO, and images for it."""
    import openvino

    model = build(name, "float32", None)
    x = images(batch, model.input_shape[1:])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        export(optimize_for_inference(model), path, batch=batch, optimize=False, samples=x)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERF_COUNT": True,
        }
        network = openvino.Core().compile_model(openvino.convert_model(path), "CPU", settings)
    return network.create_infer_request(), x


def profile(names: list[str], batch: int, calls: int, threads: int) -> dict[str, dict[str, float]]:
    """Milliseconds of every layer of each network, called in turns."""
    requests = {name: compiled(name, batch, threads) for name in names}
    times: dict[str, dict[str, list[float]]] = {name: collections.defaultdict(list) for name in names}
    for call in range(calls + 3):
        for name, (request, x) in requests.items():
            request.infer([x])
            if call < 3:  # warm-up
                continue
            for layer in request.get_profiling_info():
                times[name][layer.node_name].append(layer.real_time.total_seconds() * 1e3)
    return {
        name: {layer: min(values) for layer, values in found.items() if any(values)}
        for name, found in times.items()
    }


def multiply_adds(name: str) -> dict[str, int]:
    """Of one image, by kind of layer; the scale and the sum count with the layer that adds."""
    model = build(name, "float32", None)
    found: dict[str, int] = collections.Counter()
    for layer in per_layer(model, complexity(model).image_shape):
        found[kind_of(layer.name)] += layer.multiply_adds
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs=2, default=["se_resnet_50", "resnet_50"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--calls", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    layers = profile(options.models, options.batch, options.calls, options.threads)
    kinds: dict[str, dict[str, float]] = {}
    for name, times in layers.items():
        for layer, value in times.items():
            row = kinds.setdefault(kind_of(layer), dict.fromkeys(options.models, 0.0))
            row[name] = round(row[name] + value, 3)
    result = {
        "what": "milliseconds a call, by OpenVINO's counters, least of the calls",
        "batch": options.batch,
        "calls": options.calls,
        "threads": options.threads,
        "kinds": kinds,
        "multiply_adds": {name: multiply_adds(name) for name in options.models},
        "layers": layers,
        "environment": describe(),
    }
    write_json(RESULTS / f"openvino_profile_{options.models[0]}.json", result)
    for kind, row in kinds.items():
        print(f"{kind:28}", *(f"{value:8.1f}" for value in row.values()))


if __name__ == "__main__":
    main()
