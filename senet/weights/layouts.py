"""Tensor layouts: how PyTorch and Caffe store what Keras stores.

| | PyTorch and Caffe | Keras |
|---|---|---|
| convolution | (out, in / groups, height, width) | (height, width, in / groups, out) |
| depthwise convolution | (channels, 1, height, width) | (height, width, channels, 1) |
| dense | (out, in), or a 1×1 convolution (out, in, 1, 1) | (in, out) |
| dense on a whole map | (out, in · height · width) | a convolution (height, width, in, out) |
| vector | (n,) | (n,) |
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from senet.layers.squeeze_excite import SqueezeExcite


def to_keras(tensor: np.ndarray, layer: keras.layers.Layer, shape: tuple[int, ...]) -> np.ndarray:
    """`tensor` in the layout of the variable of `layer` that has `shape`.

    What cannot be that variable keeps its own shape, for the caller to report.
    """
    if tensor.ndim == 2 and len(shape) == 4:
        height, width, channels, _ = shape
        if tensor.shape[1] == channels * height * width:
            tensor = tensor.reshape(-1, channels, height, width)
    if tensor.ndim == 4 and len(shape) == 2 and tensor.shape[2:] == (1, 1):
        tensor = tensor[:, :, 0, 0]
    if tensor.ndim == 4:
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        return tensor.transpose(2, 3, 0, 1) if depthwise else tensor.transpose(2, 3, 1, 0)
    return tensor.T if tensor.ndim == 2 else tensor


def to_torch(value: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """A variable of `layer` in the layout of the PyTorch peers: the inverse of `to_keras`."""
    if value.ndim == 2:
        # timm and pytorchcv write the dense layers of an SE block as 1×1 convolutions.
        return value.T[:, :, None, None] if isinstance(layer, SqueezeExcite) else value.T
    if value.ndim == 4:
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        tensor = value.transpose(2, 3, 0, 1) if depthwise else value.transpose(3, 2, 0, 1)
        return tensor.reshape(len(tensor), -1) if is_dense(layer) else tensor
    return value


def is_dense(layer: Any) -> bool:
    """Whether a convolution is the source's dense layer on a whole map (VGG's first)."""
    return isinstance(layer, keras.layers.Conv2D) and layer.name.startswith("fc")
