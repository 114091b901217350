"""What disappears at inference: BatchNorm, constant factors, means of branches, layers for training."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers

from senet.deploy.graph import Graph, Node, Ref
from senet.deploy.linear import CONVOLUTIONS, as_numpy, is_linear, output_channels, scale_outputs, sources_of
from senet.layers.batch_norm import BatchNorm
from senet.layers.fused import ScaledSum, ScaleShift
from senet.layers.shake import Shake

FOR_TRAINING = (
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.Identity,
)
# Activations of one number at a time, which may run in the loop that makes the number.
ELEMENTWISE = (
    "linear",
    "relu",
    "relu6",
    "silu",
    "gelu",
    "sigmoid",
    "tanh",
    "elu",
    "hard_sigmoid",
    "hard_silu",
)


def drop(graph: Graph) -> list[str]:
    """Take out layers that do nothing at inference. One that the model ends in stays: it has the name."""
    dropped = []
    for key, node in graph.of_kind(*FOR_TRAINING):
        (ref,) = node.inputs
        if node.training or graph.is_output(key) or graph.dtypes[ref] != node.dtype:
            continue
        graph.replace(key, ref)
        dropped.append(node.name)
    return dropped


def affine(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift of a BatchNorm at inference, (C,) float64; None for another axis than the last."""
    axis, shape = node.config["axis"], graph.shapes[node.inputs[0]]
    if node.training or node.shared or node.kwargs.get("mask") is not None:
        return None
    if axis not in (-1, len(shape) - 1, [-1], [len(shape) - 1]):
        return None
    norm = node.source
    mean, variance = as_numpy([norm.moving_mean, norm.moving_variance])
    scale = 1 / np.sqrt(variance + node.config["epsilon"])
    if node.config["scale"]:
        scale = scale * as_numpy([norm.gamma])[0]
    shift = as_numpy([norm.beta])[0] if node.config["center"] else np.zeros_like(scale)
    return scale, shift - mean * scale


def fold_norms(graph: Graph) -> list[str]:
    """Fold each BatchNorm into the convolutions that it alone reads."""
    folded = []
    for key, node in graph.of_kind(BatchNorm, layers.BatchNormalization):
        change, sources = affine(graph, node), sources_of(graph, key)
        if change is None or sources is None or not same_dtype(graph, node, sources):
            continue
        for source, place in sources:
            scale_outputs(graph.nodes[source], change[0][place], change[1][place])
        graph.merge(key, node.inputs[0].key)
        folded.append(node.name)
    return folded


def same_dtype(graph: Graph, node: Node, sources: list[tuple[str, slice]]) -> bool:
    return all(graph.nodes[source].dtype == node.dtype for source, _ in sources)


def fold_shakes(graph: Graph) -> list[str]:
    """The mean of two convolutions is the sum of two with half the weights."""
    folded = []
    for key, node in graph.of_kind(Shake):
        before = [graph.nodes[ref.key] for ref in node.inputs]
        alone = [
            graph.only_user(ref.key) == key and is_linear(each)
            for ref, each in zip(node.inputs, before, strict=True)
        ]
        if node.training or not all(alone):
            continue
        for each in before:
            scale_outputs(each, np.full(output_channels(each), 0.5))
        graph.become(key, layers.Add, list(node.inputs), {"dtype": node.config["dtype"]})
        folded.append(node.name)
    return folded


def fold_rescalings(graph: Graph) -> list[str]:
    """Fold each constant factor into the convolution before it, also through the scale of an SE block."""
    folded = []
    for key, node in graph.of_kind(layers.Rescaling):
        scale, offset = node.config["scale"], node.config["offset"]
        target = convolution_before(graph, key, through_gates=offset == 0)
        if target is None or not all(isinstance(value, (int, float)) for value in (scale, offset)):
            continue
        if target.dtype != node.dtype:
            continue
        channels = output_channels(target)
        shift = np.full(channels, float(offset)) if offset else None
        scale_outputs(target, np.full(channels, float(scale)), shift)
        graph.merge(key, node.inputs[0].key)
        folded.append(node.name)
    return folded


def convolution_before(graph: Graph, key: str, *, through_gates: bool) -> Node | None:
    """The convolution that only call `key` reads, or only the product with gates that it reads."""
    (ref,) = graph.nodes[key].inputs
    before = graph.nodes[ref.key]
    if graph.only_user(ref.key) != key:
        return None
    if is_linear(before):
        return before
    if not through_gates or gated(graph, before) is None:
        return None
    return convolution_before_gates(graph, ref.key)


def convolution_before_gates(graph: Graph, key: str) -> Node | None:
    x, _ = graph.nodes[key].inputs
    before = graph.nodes[x.key]
    return before if graph.only_user(x.key) == key and is_linear(before) else None


def gated(graph: Graph, node: Node) -> tuple[Ref, Ref] | None:
    """The feature map and the gates of a product (N, H, W, C) · (N, 1, 1, C); None for any other call."""
    if node.kind is not layers.Multiply or len(node.inputs) != 2:
        return None
    x, gates = node.inputs
    shapes = graph.shapes.get(x, ()), graph.shapes.get(gates, ())
    if any(len(shape) != 4 for shape in shapes) or shapes[1][1:] != (1, 1, shapes[0][3]):
        return None
    return x, gates


def fuse_sums(graph: Graph) -> list[str]:
    """Scale, sum and activation of a block with SE as one layer."""
    fused = []
    for key, node in graph.of_kind(layers.Multiply):
        pair, user = gated(graph, node), graph.only_user(key)
        if pair is None or user is None:
            continue
        total = graph.nodes[user]
        others = [ref for ref in total.inputs if ref.key != key]
        if total.kind is not layers.Add or total.shared or len(total.inputs) != 2 or len(others) != 1:
            continue
        if graph.shapes[others[0]] != graph.shapes[Ref(key)] or total.dtype != node.dtype:
            continue
        become_fused(graph, user, ScaledSum, [*pair, others[0]])
        fused.append(node.name)
    return fused


def keep_norms(graph: Graph) -> list[str]:
    """Every BatchNorm that is left, and the activation behind it, as one scale and shift."""
    kept = []
    for key, node in graph.of_kind(BatchNorm, layers.BatchNormalization):
        change = affine(graph, node)
        if change is None:
            continue
        become_fused(graph, key, ScaleShift, node.inputs[0], list(change))
        kept.append(node.name)
    return kept


def become_fused(graph: Graph, key: str, kind: type, inputs: Any, weights: Any = None) -> None:
    """Make a call one of a fused layer, with the activation that alone reads it."""
    node, activation = graph.nodes[key], "linear"
    user = graph.only_user(key)
    if (
        user is not None
        and (found := elementwise(graph.nodes[user]))
        and graph.nodes[user].dtype == node.dtype
    ):
        key, activation = user, found
    graph.become(key, kind, inputs, {"dtype": node.config["dtype"], "activation": activation}, weights)


def elementwise(node: Node) -> str | None:
    """The name of the activation that a call is; None for another call, and for a softmax."""
    if node.shared:
        return None
    if node.kind is layers.Activation and node.config["activation"] in ELEMENTWISE:
        return str(node.config["activation"])
    plain = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
    is_relu = node.kind is layers.ReLU and all(node.config[key] == value for key, value in plain.items())
    return "relu" if is_relu else None


def fold_paddings(graph: Graph) -> list[str]:
    """Let a convolution or max pool pad itself where Keras' "same" has just the border of the layer before.

    That needs a known size. A max pool pads with minus infinity: the same where nothing is negative.
    """
    folded = []
    for key, node in graph.of_kind(*CONVOLUTIONS, layers.MaxPooling2D):
        (ref,) = node.inputs
        pad = graph.nodes[ref.key]
        if pad.kind is not layers.ZeroPadding2D or node.shared or node.config["padding"] != "valid":
            continue
        (source,) = pad.inputs
        if node.kind is layers.MaxPooling2D and not never_negative(graph.nodes[source.key]):
            continue
        size = node.config["pool_size"] if node.kind is layers.MaxPooling2D else node.config["kernel_size"]
        if node.config.get("dilation_rate", (1, 1)) not in ((1, 1), [1, 1], 1):
            continue
        steps = zip(graph.shapes[source][1:3], size, node.config["strides"], strict=True)
        if [same_border(*step) for step in steps] != [tuple(edges) for edges in pad.config["padding"]]:
            continue
        node.config = {**node.config, "padding": "same"}
        graph.reread(key, ref, source)
        folded.append(pad.name)
    return folded


def same_border(side: int | None, kernel: int, stride: int) -> tuple[int, int] | None:
    """Pixels that "same" adds before and behind an axis."""
    if side is None:
        return None
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def never_negative(node: Node) -> bool:
    return node.config.get("activation") == "relu" or elementwise(node) == "relu"
