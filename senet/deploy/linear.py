"""Convolutions and dense layers of a graph as arrays: what is linear before them or behind them is folded in.

All products are taken in float64, and rounded once, to the type of the new layer's variables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from senet.deploy.graph import Graph, Node
from senet.layers.grouped_conv import GroupedConv2D

CONVOLUTIONS = (layers.Conv2D, GroupedConv2D, layers.DepthwiseConv2D)
LINEAR = (*CONVOLUTIONS, layers.Dense)


def is_linear(node: Node) -> bool:
    """Whether a call is a convolution or dense layer with nothing behind it, whose weights are its alone."""
    return is_plain(node, LINEAR) and node.config["activation"] == "linear"


def is_plain(node: Node, kinds: tuple[type, ...]) -> bool:
    """Whether a call is the only one of a layer of these kinds, channels last, usual weights."""
    return (
        node.kind in kinds
        and not node.shared
        and node.config.get("data_format") in (None, "channels_last")
        and not getattr(node.source, "quantization_mode", None)
        and not getattr(node.source, "lora_enabled", False)
    )


def arrays(node: Node) -> tuple[np.ndarray, np.ndarray | None]:
    """Kernel and bias of a linear layer, float64; None without a bias."""
    if node.weights is not None:
        kernel, *bias = node.weights
    else:
        kernel, *bias = as_numpy(node.source.weights)
    return kernel, bias[0] if bias else None


def as_numpy(variables: Sequence[Any]) -> list[np.ndarray]:
    """Values of Keras variables, float64."""
    return [np.asarray(keras.ops.convert_to_numpy(v), dtype="float64") for v in variables]


def output_channels(node: Node) -> int:
    kernel = arrays(node)[0]
    return math.prod(kernel.shape[2:]) if node.kind is layers.DepthwiseConv2D else kernel.shape[-1]


def scale_outputs(node: Node, scale: np.ndarray, shift: np.ndarray | None = None) -> None:
    """Fold `output * scale + shift`, both (C,), into a linear layer."""
    kernel, bias = arrays(node)
    # A depthwise kernel is (rows, columns, channels in, channels out for each): their product, in that order.
    factor = scale.reshape(kernel.shape[2:]) if node.kind is layers.DepthwiseConv2D else scale
    if bias is None and shift is None:
        node.weights = [kernel * factor]
    else:
        bias = np.zeros_like(scale) if bias is None else bias * scale
        node.weights = [kernel * factor, bias if shift is None else bias + shift]
    node.config = {**node.config, **bare(node.kind), "use_bias": len(node.weights) == 2}


def bare(kind: type) -> dict[str, Any]:
    """The configuration of a layer that is not trained: no initialisation that takes time, no penalties."""
    kernel = "depthwise" if kind is layers.DepthwiseConv2D else "kernel"
    roles = {"initializer": "zeros", "regularizer": None, "constraint": None}
    return {f"{weight}_{role}": value for weight in (kernel, "bias") for role, value in roles.items()}


def pointwise(node: Node) -> tuple[np.ndarray, np.ndarray | None] | None:
    """The matrix (C in, C out) and the bias of a 1×1 convolution with stride 1; None for any other call."""
    if not is_linear(node) or node.kind not in (layers.Conv2D, GroupedConv2D):
        return None
    if tuple(node.config["kernel_size"]) != (1, 1) or tuple(node.config["strides"]) != (1, 1):
        return None
    kernel, bias = arrays(node)
    kernel, groups = kernel[0, 0], node.config["groups"]
    if groups == 1:
        return kernel, bias
    depth, filters = kernel.shape
    matrix = np.zeros((depth * groups, filters))
    for group, columns in enumerate(np.split(np.arange(filters), groups)):
        matrix[group * depth : (group + 1) * depth, columns] = kernel[:, columns]
    return matrix, bias


def sources_of(graph: Graph, key: str) -> list[tuple[str, slice]] | None:
    """The linear layers whose outputs, side by side, are all that call `key` reads, and no other call does.

    Each with its place among the channels; None where there is anything else.
    """
    (ref,) = graph.nodes[key].inputs
    before = graph.nodes[ref.key]
    if graph.only_user(ref.key) != key:
        return None
    if is_linear(before):
        return [(ref.key, slice(0, output_channels(before)))]
    if before.kind is not layers.Concatenate or not joins_channels(graph, before):
        return None
    found, start = [], 0
    for each in before.inputs:
        if graph.only_user(each.key) != ref.key or not is_linear(graph.nodes[each.key]):
            return None
        stop = start + output_channels(graph.nodes[each.key])
        found.append((each.key, slice(start, stop)))
        start = stop
    return found


def joins_channels(graph: Graph, node: Node) -> bool:
    """Whether a concatenation is along the last axis."""
    return node.config["axis"] in (-1, len(graph.shapes[node.inputs[0]]) - 1)
