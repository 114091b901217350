"""Eight bits: which layers stay in float32, and an ONNX model with the rest quantised, calibrated on images.

The gates of SE blocks stay, with the product and the sum that they enter, and so do the two ends of a
network: its first convolution, which reads the image, and its classifier, which makes the answers. They are
a small part of the work; with them a trained network keeps its answers (docs/performance.md).
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from senet.deploy.extras import need
from senet.deploy.linear import CONVOLUTIONS
from senet.layers.fused import ScaledSum
from senet.layers.squeeze_excite import SqueezeExcite

OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "Sum", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")
PIXELS = 2**16  # of the images that calibrate at once: what large networks have memory for
GROUP = 16  # images, at least, of which the least and the greatest value tell something of others


def quantize_onnx(
    model: Any, images: np.ndarray, *, exclude: Sequence[str] = (), batch: int | None = None
) -> Any:
    """An ONNX model with QuantizeLinear and DequantizeLinear around what runs in 8 bits.

    `model` takes any number of images, and what is returned `batch` of them (None: any). Weights get a scale
    a channel. `images` (N, H, W, C) float32, as the model takes them, set the ranges of the activations:
    their least and greatest value; of small images (up to 64×64) the mean of those over groups of images, so
    that a single odd one does not coarsen the steps of all. Nodes named in `exclude` stay in float32.
    """
    onnx, quantization = need("onnx"), need("onnxruntime.quantization")
    together = max(1, PIXELS // (images.shape[1] * images.shape[2]))

    class Reader:
        def __init__(self) -> None:
            self.groups = iter(np.array_split(images, -(-len(images) // together)))

        def get_next(self):
            group = next(self.groups, None)
            return None if group is None else {model.graph.input[0].name: group}

    with tempfile.TemporaryDirectory() as folder, without_advice():
        source, target = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model.SerializeToString())  # a model in memory would be emptied of its weights
        quantization.quantize_static(
            source,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            # Without VNNI the sum of two products of 8 bits saturates; 7-bit weights keep clear of it.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=list(exclude),
            extra_options={"CalibMovingAverage": together >= GROUP},
        )
        quantised = onnx.load(target)
    if batch is not None:
        for value in (*quantised.graph.input, *quantised.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
    return quantised


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """Without ONNX Runtime's advice, given to the root logger, to optimise first what has been optimised."""

    def wanted(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(wanted)
    try:
        yield
    finally:
        root.removeFilter(wanted)


def gate_layers(model: keras.Model) -> list[str]:
    """Names of the layers that work out the gates of SE blocks, or apply them, also in models within."""
    gates = (SqueezeExcite, ScaledSum)
    return [layer.name for layer in flat(model) if isinstance(layer, gates) or makes_gates(layer)]


def makes_gates(layer: Any) -> bool:
    """Whether a layer of a written-out SE block reads a whole map as (N, 1, 1, C), or makes it."""
    if isinstance(layer, (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)):
        return layer.keepdims
    if not isinstance(layer, (keras.layers.Dense, keras.layers.Multiply)):
        return False
    return any(len(each.shape) == 4 and each.shape[1:3] == (1, 1) for each in keras.tree.flatten(layer.input))


def end_layers(model: keras.Model) -> list[str]:
    """Names of a model's first convolution and of what comes before it, and of its classifier.

    The classifier is the last dense layer on vectors. What comes before is a border or a rescaling: in 8 bits
    it would take from the image what the convolution could read.
    """
    layers = [layer for layer in flat(model) if not isinstance(layer, keras.layers.InputLayer)]
    first = next((place for place, layer in enumerate(layers) if isinstance(layer, CONVOLUTIONS)), -1)
    dense = [
        layer for layer in layers if isinstance(layer, keras.layers.Dense) and len(layer.input.shape) == 2
    ]
    return [layer.name for layer in (*layers[: first + 1], *dense[-1:])]


def flat(model: keras.Model) -> list[Any]:
    """The layers of a model, with those of models within in their place."""
    found = []
    for layer in model.layers:
        found += flat(layer) if isinstance(layer, keras.Model) else [layer]
    return found
