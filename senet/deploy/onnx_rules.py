"""What each kind of Keras layer becomes in ONNX: one rule a class, in `RULES`."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers

from senet.deploy.onnx_activations import activate
from senet.deploy.onnx_writer import Graph, Pads, Rule, Value
from senet.layers.adaptive_pool import AdaptiveMeanPool
from senet.layers.batch_norm import BatchNorm
from senet.layers.channel_shuffle import ChannelShuffle
from senet.layers.fused import ScaledSum, ScaleShift
from senet.layers.grouped_conv import GroupedConv2D
from senet.layers.shake import Shake
from senet.layers.squeeze_excite import SqueezeExcite

Shape = tuple[int | None, ...]
numpy_of = keras.ops.convert_to_numpy


def activation(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    return activate(graph, inputs[0], layer.activation, layer.name)


def relu(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    plain = (layer.max_value, float(layer.negative_slope), float(layer.threshold)) == (None, 0.0, 0.0)
    if not plain:
        raise ValueError(f"Only a plain ReLU is written as ONNX. Received: {layer.get_config()}.")
    return activate(graph, inputs[0], keras.activations.relu, layer.name)


def softmax(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    if layer.axis not in (-1, len(shape) - 1):
        raise ValueError(f"A softmax must be taken over the last axis. Received: {layer.get_config()}.")
    return activate(graph, inputs[0], keras.activations.softmax, layer.name)


def same_pads(kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Pads:
    """What "same" adds at stride 1, the odd pixel on the far side."""
    totals = [(size - 1) * rate for size, rate in zip(kernel, dilation, strict=True)]
    top, left = (total // 2 for total in totals)
    return top, left, totals[0] - top, totals[1] - left


def padding(padding: str, strides: tuple[int, int], pads: Pads) -> dict[str, Any]:
    """ONNX attributes for Keras' padding; with strides, what "same" adds depends on the image."""
    if padding == "valid":
        return {"pads": (0, 0, 0, 0)}
    return {"pads": pads} if strides == (1, 1) else {"auto_pad": "SAME_UPPER"}


def convolve(graph: Graph, layer: Any, value: Value, kernel: np.ndarray, groups: int, shape: Shape) -> Value:
    """A Conv node with the layer's geometry, bias and activation; `kernel` is (O, I / groups, h, w)."""
    geometry = padding(layer.padding, layer.strides, same_pads(layer.kernel_size, layer.dilation_rate))
    if value.pads and layer.padding == "valid":
        geometry = {"pads": value.pads}
    else:
        value = graph.settled(value)
    name = layer.name
    inputs = [value.name, graph.constant(f"{name}/kernel", kernel)]
    if layer.use_bias:
        inputs.append(graph.constant(f"{name}/bias", numpy_of(layer.bias)))
    found = graph.add(
        "Conv",
        inputs,
        name,
        kernel_shape=layer.kernel_size,
        strides=layer.strides,
        dilations=layer.dilation_rate,
        group=groups,
        **geometry,
    )
    return activate(graph, Value(found, shape), layer.activation, name)


def conv(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    kernel = numpy_of(layer.kernel).transpose(3, 2, 0, 1)
    return convolve(graph, layer, inputs[0], kernel, layer.groups, shape)


def depthwise(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    height, width, channels, multiplier = layer.kernel.shape
    kernel = numpy_of(layer.kernel).transpose(2, 3, 0, 1)
    kernel = kernel.reshape(channels * multiplier, 1, height, width)
    return convolve(graph, layer, inputs[0], kernel, channels, shape)


def dense(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    value, name = graph.settled(inputs[0]), layer.name
    bias = numpy_of(layer.bias) if layer.use_bias else None
    is_gate = value.is_map and value.shape[1:3] == (1, 1)
    found = linear(graph, value, numpy_of(layer.kernel), bias, name, gate=is_gate)
    return activate(graph, Value(found, shape), layer.activation, name, gate=is_gate)


def linear(
    graph: Graph, value: Value, kernel: np.ndarray, bias: np.ndarray | None, name: str, *, gate: bool = False
) -> str:
    """A dense layer over the channels; of maps, a 1×1 convolution. `kernel` is (in, out)."""
    if len(value.shape) not in (2, 4):
        raise ValueError(f"Dense layer {name!r} must read (N, C) or (N, H, W, C). Received: {value.shape}.")
    if value.is_map:
        kernel = kernel.T[:, :, None, None]
    inputs = [value.name, graph.constant(f"{name}/kernel", kernel)]
    if bias is not None:
        inputs.append(graph.constant(f"{name}/bias", bias))
    return graph.add("Conv" if value.is_map else "Gemm", inputs, name, gate=gate)


def batch_norm(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    value, channels = graph.settled(inputs[0]), layer.moving_mean.shape[0]
    if layer.axis not in (-1, len(shape) - 1):
        raise ValueError(f"BatchNorm must be over the channels. Received: {layer.get_config()}.")
    scale = numpy_of(layer.gamma) if layer.scale else np.ones(channels)
    shift = numpy_of(layer.beta) if layer.center else np.zeros(channels)
    statistics = (numpy_of(layer.moving_mean), numpy_of(layer.moving_variance))
    found = normalise(graph, value, (scale, shift, *statistics), layer.epsilon, layer.name)
    return Value(found, shape)


def normalise(graph: Graph, value: Value, weights: tuple, epsilon: float, name: str) -> str:
    """A BatchNormalization node; `weights` are scale, shift, mean, variance."""
    names = ("scale", "shift", "mean", "variance")
    tensors = [graph.constant(f"{name}/{key}", array) for key, array in zip(names, weights, strict=True)]
    return graph.add("BatchNormalization", [value.name, *tensors], name, epsilon=float(epsilon))


def scale_shift(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    scale, shift = numpy_of(layer.scale), numpy_of(layer.shift)
    weights = (scale, shift, np.zeros_like(scale), np.ones_like(scale))
    found = normalise(graph, graph.settled(inputs[0]), weights, 0.0, layer.name)
    return activate(graph, Value(found, shape), layer.activation, layer.name)


def zero_padding(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    (top, bottom), (left, right) = layer.padding
    value = graph.settled(inputs[0])
    return dataclasses.replace(value, shape=shape, pads=(top, left, bottom, right))


def cropping(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    (top, bottom), (left, right) = layer.cropping
    value, name = graph.settled(inputs[0]), layer.name
    stops = [-edge if edge else np.iinfo(np.int64).max for edge in (bottom, right)]
    ranges = {"starts": [top, left], "ends": stops, "axes": [2, 3]}
    tensors = [graph.constant(f"{name}/{key}", np.array(v, np.int64)) for key, v in ranges.items()]
    return dataclasses.replace(value, name=graph.add("Slice", [value.name, *tensors], name), shape=shape)


def pool(graph: Graph, layer: Any, inputs: list[Value], shape: Shape, *, operator: str) -> Value:
    """A pool over windows. A mean counts zeros that a layer padded, and not those that "same" does."""
    value = inputs[0]
    attributes = padding(layer.padding, layer.strides, same_pads(layer.pool_size))
    # The operator's own border of a maximum is minus infinity.
    free = operator == "AveragePool" or value.nonnegative
    if value.pads and layer.padding == "valid" and free and max(value.pads) < min(layer.pool_size):
        attributes = {"pads": value.pads}
        if operator == "AveragePool":
            attributes["count_include_pad"] = 1
    else:
        value = graph.settled(value)
    found = graph.add(
        operator, [value.name], layer.name, kernel_shape=layer.pool_size, strides=layer.strides, **attributes
    )
    return Value(found, shape, value.nonnegative)


def global_pool(graph: Graph, layer: Any, inputs: list[Value], shape: Shape, *, operator: str) -> Value:
    value = graph.settled(inputs[0])
    if len(shape) == 4:  # keepdims: what gates are worked out from
        return Value(graph.add(operator, [value.name], layer.name, gate=True), shape, value.nonnegative)
    pooled = graph.add(operator, [value.name], f"{layer.name}/kept")
    return Value(graph.add("Flatten", [pooled], layer.name), shape, value.nonnegative)


def flatten(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    value = graph.settled(inputs[0])
    source = value.name
    if value.is_map and value.shape[1:3] != (1, 1):
        source = graph.add("Transpose", [source], f"{layer.name}/channels_last", perm=[0, 2, 3, 1])
    return Value(graph.add("Flatten", [source], layer.name), shape, value.nonnegative)


def merge(graph: Graph, layer: Any, inputs: list[Value], shape: Shape, *, operator: str) -> Value:
    """An element-wise operator of two inputs or more, from left to right."""
    values = [graph.settled(value) for value in inputs]
    if len({len(value.shape) for value in values}) > 1:
        raise ValueError(f"{layer.name!r} must merge tensors of one rank. Received: {layer.input}.")
    gate = operator == "Mul" and any(value.shape[1:3] == (1, 1) for value in values)
    found = values[0].name
    for index, value in enumerate(values[1:], start=2):
        name = layer.name if index == len(values) else f"{layer.name}/{index}"
        found = graph.add(operator, [found, value.name], name, gate=gate)
    nonnegative = operator != "Sub" and all(value.nonnegative for value in values)
    return Value(found, shape, nonnegative)


def average(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    """The mean of the inputs; also what Shake makes of its branches when it does not train."""
    values = [graph.settled(value) for value in inputs]
    total = graph.add("Sum", [value.name for value in values], f"{layer.name}/sum")
    share = graph.constant(f"{layer.name}/share", np.float32(1 / len(values)))
    found = graph.add("Mul", [total, share], layer.name)
    return Value(found, shape, all(value.nonnegative for value in values))


def concatenate(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    if layer.axis not in (-1, len(shape) - 1):
        raise ValueError(f"Concatenation must be over the channels. Received: {layer.get_config()}.")
    values = [graph.settled(value) for value in inputs]
    axis = 1 if len(shape) == 4 else len(shape) - 1
    found = graph.add("Concat", [value.name for value in values], layer.name, axis=axis)
    return Value(found, shape, all(value.nonnegative for value in values))


def rescale(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    value, name = graph.settled(inputs[0]), layer.name

    def factor(key: str, numbers: Any) -> str:
        array = np.asarray(numbers, np.float32)
        return graph.constant(f"{name}/{key}", array[:, None, None] if array.ndim and value.is_map else array)

    found = graph.add("Mul", [value.name, factor("scale", layer.scale)], f"{name}/scaled")
    if np.any(layer.offset):
        found = graph.add("Add", [found, factor("offset", layer.offset)], name)
    return Value(found, shape)


def pass_on(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    """A layer that does nothing but in training."""
    return inputs[0]


def squeeze_excite(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    value, name, spec = graph.settled(inputs[0]), layer.name, layer.spec
    gates, squeezed = value, spec.squeeze != "none"
    if squeezed:
        operator = "GlobalAveragePool" if spec.squeeze == "avg" else "GlobalMaxPool"
        gates = Value(
            graph.add(operator, [value.name], f"{name}/squeeze", gate=True), (shape[0], 1, 1, shape[-1])
        )
    for part in (layer.reduce, layer.expand):
        bias = numpy_of(part.bias) if part.use_bias else None
        found = linear(graph, gates, numpy_of(part.kernel), bias, part.name, gate=True)
        gates = activate(graph, dataclasses.replace(gates, name=found), part.activation, part.name, gate=True)
    scaled = graph.add("Mul", [value.name, gates.name], name, gate=True)
    return Value(scaled, shape, value.nonnegative and gates.nonnegative)


def scaled_sum(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    x, gates, shortcut = (graph.settled(value) for value in inputs)
    scaled = graph.add("Mul", [x.name, gates.name], f"{layer.name}/scaled", gate=True)
    total = graph.add("Add", [scaled, shortcut.name], layer.name, gate=True)
    return activate(graph, Value(total, shape), layer.activation, layer.name)


def channel_shuffle(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    value, name, groups = graph.settled(inputs[0]), layer.name, layer.groups
    split = graph.constant(f"{name}/split", np.array([0, groups, shape[-1] // groups, -1], np.int64))
    grouped = graph.add("Reshape", [value.name, split], f"{name}/grouped")
    dealt = graph.add("Transpose", [grouped], f"{name}/dealt", perm=[0, 2, 1, 3])
    size = graph.add("Shape", [value.name], f"{name}/size")
    return dataclasses.replace(value, name=graph.add("Reshape", [dealt, size], name))


def adaptive_pool(graph: Graph, layer: Any, inputs: list[Value], shape: Shape) -> Value:
    """Two matrix products; the matrices are constants where the size of the map is known."""
    value, name, side = graph.settled(inputs[0]), layer.name, layer.side
    if value.shape[1:3] == (side, side):
        return value
    height, width = (
        means(graph, value, side, axis, f"{name}/{key}") for axis, key in ((2, "rows"), (3, "columns"))
    )
    turned = graph.add("Transpose", [width], f"{name}/turned", perm=[1, 0])
    narrow = graph.add("MatMul", [value.name, turned], f"{name}/narrow")
    return Value(graph.add("MatMul", [height, narrow], name), shape, value.nonnegative)


def means(graph: Graph, value: Value, side: int, axis: int, name: str) -> str:
    """The matrix (side, size) that `AdaptiveMeanPool.means` makes, for one axis of a map."""
    size = value.shape[axis - 1]  # Keras' axes: (N, H, W, C)
    if size is not None:
        return graph.constant(name, numpy_of(AdaptiveMeanPool(side).means(size)))

    def number(key: str, numbers: Any) -> str:
        return graph.constant(f"{name}/{key}", np.asarray(numbers, np.int64))

    cell, many = np.arange(side).reshape(-1, 1), number("side", side)
    sides = graph.add("Shape", [value.name], f"{name}/shape")
    length = graph.add("Gather", [sides, number("axis", axis)], f"{name}/length")
    begins = graph.add("Mul", [number("cell", cell), length], f"{name}/begins")
    start = graph.add("Div", [begins, many], f"{name}/start")
    ends = graph.add("Mul", [number("next", cell + 1), length], f"{name}/ends")
    up = graph.add("Add", [ends, number("side_1", side - 1)], f"{name}/up")
    stop = graph.add("Div", [up, many], f"{name}/stop")
    place = graph.add("Range", [number("0", 0), length, number("1", 1)], f"{name}/place")
    before = graph.add("Less", [place, stop], f"{name}/before")
    after = graph.add("GreaterOrEqual", [place, start], f"{name}/after")
    both = graph.add("And", [before, after], f"{name}/both")
    inside = graph.add("Cast", [both], f"{name}/inside", to=1)
    count = graph.add("Cast", [graph.add("Sub", [stop, start], f"{name}/span")], f"{name}/count", to=1)
    return graph.add("Div", [inside, count], name)


RULES: dict[type, Rule] = {
    layers.Conv2D: conv,
    GroupedConv2D: conv,
    layers.DepthwiseConv2D: depthwise,
    layers.Dense: dense,
    BatchNorm: batch_norm,
    layers.BatchNormalization: batch_norm,
    ScaleShift: scale_shift,
    layers.Activation: activation,
    layers.ReLU: relu,
    layers.Softmax: softmax,
    layers.ZeroPadding2D: zero_padding,
    layers.Cropping2D: cropping,
    layers.MaxPooling2D: partial(pool, operator="MaxPool"),
    layers.AveragePooling2D: partial(pool, operator="AveragePool"),
    layers.GlobalAveragePooling2D: partial(global_pool, operator="GlobalAveragePool"),
    layers.GlobalMaxPooling2D: partial(global_pool, operator="GlobalMaxPool"),
    AdaptiveMeanPool: adaptive_pool,
    layers.Flatten: flatten,
    layers.Add: partial(merge, operator="Add"),
    layers.Multiply: partial(merge, operator="Mul"),
    layers.Subtract: partial(merge, operator="Sub"),
    layers.Average: average,
    Shake: average,
    layers.Concatenate: concatenate,
    layers.Rescaling: rescale,
    ChannelShuffle: channel_shuffle,
    SqueezeExcite: squeeze_excite,
    ScaledSum: scaled_sum,
    layers.Dropout: pass_on,
    layers.SpatialDropout2D: pass_on,
    layers.GaussianNoise: pass_on,
    layers.GaussianDropout: pass_on,
    layers.Identity: pass_on,
}
