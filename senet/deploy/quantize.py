"""Eight bits: an ONNX model with quantised weights and activations, calibrated on images."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from senet.deploy.extras import need

OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "Sum", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")


def quantize_onnx(model: Any, images: np.ndarray, *, exclude: Sequence[str] = ()) -> Any:
    """An ONNX model with QuantizeLinear and DequantizeLinear around what runs in 8 bits.

    Weights get a scale a channel. `images` (N, H, W, C) float32, as the model takes them, set the ranges of
    the activations: least and greatest value seen. Nodes named in `exclude` stay in float32.
    """
    onnx, quantization = need("onnx"), need("onnxruntime.quantization")
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1

    class Reader:
        def __init__(self) -> None:
            self.steps = iter(range(0, len(images) - batch + 1, batch))

        def get_next(self):
            start = next(self.steps, None)
            return None if start is None else {model.graph.input[0].name: images[start : start + batch]}

    with tempfile.TemporaryDirectory() as folder:
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
        )
        return onnx.load(target)
