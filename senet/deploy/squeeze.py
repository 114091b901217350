"""SE blocks written out, with the squeeze as early as it can be had.

A mean over positions goes through everything that is linear and the same at every position. So the squeeze of
what a 1×1 convolution makes is that of what it reads, times its matrix, and the matrix and the first dense
layer, which follow one another, are one. A bottleneck's last convolution reads a quarter of the channels that
it makes: the squeeze reads a quarter of the memory, and the gates are known before the convolution runs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import layers

from senet.deploy.graph import Graph, Ref
from senet.deploy.linear import as_numpy, bare, joins_channels, pointwise
from senet.layers.squeeze_excite import SqueezeExcite

POOLS = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}


@dataclasses.dataclass(frozen=True)
class Means:
    """The means of a feature map as those of others: the sum of `means(ref) @ matrix`, and `bias`.

    A matrix is (C of the ref, C of the feature map); float64.
    """

    terms: tuple[tuple[Ref, np.ndarray], ...]
    bias: np.ndarray

    @property
    def channels(self) -> int:
        """Channels that have to be read."""
        return sum(matrix.shape[0] for _, matrix in self.terms)

    def padded(self, before: int, after: int) -> Means:
        """The same with zeros for the channels beside these."""
        edges = (before, after)
        terms = tuple((ref, np.pad(matrix, ((0, 0), edges))) for ref, matrix in self.terms)
        return Means(terms, np.pad(self.bias, edges))

    def __add__(self, other: Means) -> Means:
        sums = dict(self.terms)
        for ref, matrix in other.terms:
            sums[ref] = sums[ref] + matrix if ref in sums else matrix
        return Means(tuple(sums.items()), self.bias + other.bias)


def means_of(graph: Graph, ref: Ref) -> Means:
    """The means over all positions of a feature map (N, H, W, C), from as far before it as is linear."""
    node, channels = graph.nodes[ref.key], graph.shapes[ref][-1] or 0
    if (found := pointwise(node)) is not None:
        matrix, bias = found
        return Means(((node.inputs[0], matrix),), np.zeros(channels) if bias is None else bias)
    # Sums and concatenations of layers that make this very shape; a sum may broadcast.
    if node.kind is layers.Add and len({graph.shapes.get(each) for each in node.inputs}) == 1:
        first, *others = (means_of(graph, each) for each in node.inputs)
        return sum(others, first)
    if node.kind is layers.Concatenate and joins_channels(graph, node):
        total, before = Means((), np.zeros(channels)), 0
        for each in node.inputs:
            width = graph.shapes[each][-1] or 0
            total += means_of(graph, each).padded(before, channels - before - width)
            before += width
        return total
    return Means(((ref, np.eye(channels)),), np.zeros(channels))


def write_out(graph: Graph) -> tuple[list[str], list[str]]:
    """Every SE block as pool, two dense layers and a product.

    Returns names of those with an early squeeze, and of the others.
    """
    early, plain = [], []
    for key, node in graph.of_kind(SqueezeExcite):
        if node.shared:
            continue
        (ref,) = node.inputs
        spec, (reduce, *reduce_bias) = node.source.spec, as_numpy(node.source.reduce.weights)
        means = means_of(graph, ref) if spec.squeeze == "avg" else None
        if means is not None and is_earlier(graph, ref, means):
            z = pooled(graph, [each for each, _ in means.terms], "avg", name=node.name)
            bias = means.bias @ reduce + (reduce_bias[0] if reduce_bias else 0)
            weights = [np.concatenate([matrix @ reduce for _, matrix in means.terms]), bias]
            early.append(node.name)
        else:
            z = ref if spec.squeeze == "none" else pooled(graph, [ref], spec.squeeze, name=node.name)
            weights = [reduce, *reduce_bias]
            plain.append(node.name)
        policy = node.config["dtype"]
        z = dense(graph, z, weights, activation="relu", dtype=policy, name=f"{node.name}_reduce")
        expand = as_numpy(node.source.expand.weights)
        gates = dense(graph, z, expand, activation=spec.gate, dtype=policy, name=f"{node.name}_expand")
        shape = graph.shapes[ref]
        graph.shapes[gates] = shape if spec.squeeze == "none" else (shape[0], 1, 1, shape[3])
        graph.become(key, layers.Multiply, [ref, gates], {"dtype": policy})
    return early, plain


def is_earlier(graph: Graph, ref: Ref, means: Means) -> bool:
    """Whether to take the means of `ref` from those of others: they have fewer channels to read.

    As many are as good right before a convolution, whose output then has one reader less.
    """
    channels = graph.shapes[ref][-1] or 0
    before_convolution = pointwise(graph.nodes[ref.key]) is not None
    return means.channels < channels or (means.channels == channels and before_convolution)


def pooled(graph: Graph, refs: list[Ref], pool: str, *, name: str) -> Ref:
    """The squeeze of feature maps, side by side: (N, 1, 1, C) float32."""
    # float32 as in SqueezeExcite: a half-precision sum over all positions can overflow.
    config = {"keepdims": True, "dtype": "float32"}
    number = (lambda i: "") if len(refs) == 1 else (lambda i: str(i))
    parts = [
        graph.add(f"{name}_squeeze{number(i)}", POOLS[pool], ref, config)
        for i, ref in enumerate(refs, start=1)
    ]
    if len(parts) == 1:
        return parts[0]
    return graph.add(f"{name}_squeeze", layers.Concatenate, parts, {"axis": -1, "dtype": "float32"})


def dense(graph: Graph, ref: Ref, weights: list[np.ndarray], *, name: str, **config: Any) -> Ref:
    config |= {"units": weights[0].shape[1], "use_bias": len(weights) == 2, **bare(layers.Dense)}
    return graph.add(name, layers.Dense, ref, config, weights)
