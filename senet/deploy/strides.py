"""Strides moved up: pixels that nobody reads are not computed.

A 1×1 convolution with stride 2 reads every second row and column. Where all readers of a feature map are
such, the layers before it make every fourth pixel alone. In the authors' networks, whose stages begin that
way, this is the last block of each stage: its sum, its last convolution, and without SE its 3×3 convolution
too. An SE block reads the mean of all pixels, so what it squeezes stays whole.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from senet.deploy.folding import elementwise, gated
from senet.deploy.graph import Graph, Node, Ref
from senet.deploy.linear import CONVOLUTIONS, is_plain
from senet.layers.fused import ScaledSum, ScaleShift

Stride = tuple[int, int]


def lift_strides(graph: Graph) -> list[str]:
    """Move strides from 1×1 convolutions to the convolutions before them; names of those that got one."""
    lifted: list[str] = []
    picked: dict[tuple[Ref, Stride], Ref] = {}
    # From the end, so that a convolution that has got a stride can hand it on.
    for key in reversed(graph.in_order()):
        stride = stride_of_readers(graph, key)
        if stride is None or not saves(graph, key):
            continue
        for user in graph.users[key]:
            graph.nodes[user].config = {**graph.nodes[user].config, "strides": (1, 1)}
        thin(graph, key, stride, picked, lifted)
    return lifted


def stride_of_readers(graph: Graph, key: str) -> Stride | None:
    """The stride of all readers of a call where they are 1×1 convolutions of one stride above 1."""
    if graph.is_output(key):
        return None
    readers = [graph.nodes[user] for user in graph.users.get(key, [])]
    strides = {tuple(each.config["strides"]) if picks_pixels(each) else (1, 1) for each in readers}
    return strides.pop() if len(strides) == 1 and strides != {(1, 1)} else None


def picks_pixels(node: Node) -> bool:
    return is_plain(node, CONVOLUTIONS) and tuple(node.config["kernel_size"]) == (1, 1)


def can_stride(node: Node) -> bool:
    """Whether a call is a convolution that can be given a stride, or a greater one."""
    if not is_plain(node, CONVOLUTIONS) or tuple(node.config["dilation_rate"]) != (1, 1):
        return False
    # What "same" pads at a stride depends on the size.
    return picks_pixels(node) or node.config["padding"] == "valid" or tuple(node.config["strides"]) == (1, 1)


def maps_of(graph: Graph, node: Node) -> list[Ref]:
    """The feature maps that a call reads pixel by pixel: a pixel of its output needs the same of each.

    None of them, for a call that is anything else.
    """
    found: list[Ref] = []
    if node.shared:
        return found
    if node.kind is ScaleShift or elementwise(node) is not None:
        found = list(node.inputs)
    elif node.kind is ScaledSum:
        x, _, shortcut = node.inputs
        found = [x, shortcut]
    elif node.kind is layers.Add and len({graph.shapes.get(ref) for ref in node.inputs}) == 1:
        found = list(node.inputs)
    elif (pair := gated(graph, node)) is not None:
        found = [pair[0]]
    return found if all(len(graph.shapes.get(ref, ())) == 4 for ref in found) else []


def saves(graph: Graph, key: str) -> bool:
    """Whether a convolution has less to do where only some pixels of this call's output are wanted."""
    node = graph.nodes[key]
    if can_stride(node):
        return True
    return any(graph.only_user(ref.key) == key and saves(graph, ref.key) for ref in maps_of(graph, node))


def thin(
    graph: Graph, key: str, stride: Stride, picked: dict[tuple[Ref, Stride], Ref], lifted: list[str]
) -> None:
    """Let a call make every `stride`-th pixel, from what makes only those, or has them picked out of it."""
    node = graph.nodes[key]
    if can_stride(node):
        give_stride(graph, key, stride)
        lifted.append(node.name)
    for ref in [] if can_stride(node) else dict.fromkeys(maps_of(graph, node)):
        before = graph.nodes[ref.key]
        if graph.only_user(ref.key) == key and (can_stride(before) or maps_of(graph, before)):
            thin(graph, ref.key, stride, picked, lifted)
            continue
        if (ref, stride) not in picked:
            # A pool over one pixel: every runtime has it, and some make it part of what comes before.
            config: dict[str, Any] = {"pool_size": 1, "strides": stride, "dtype": node.config["dtype"]}
            new = picked[ref, stride] = graph.add(f"{before.name}_picked", layers.MaxPooling2D, ref, config)
            graph.shapes[new] = fewer(graph.shapes[ref], stride)
        graph.reread(key, ref, picked[ref, stride])
    if Ref(key) in graph.shapes:
        graph.shapes[Ref(key)] = fewer(graph.shapes[Ref(key)], stride)


def give_stride(graph: Graph, key: str, stride: Stride) -> None:
    """Multiply a convolution's stride; "same" would pad otherwise then, so its border becomes a layer."""
    node = graph.nodes[key]
    totals = [size - 1 for size in node.config["kernel_size"]]
    if node.config["padding"] == "same" and any(totals):
        (ref,) = node.inputs
        edges = tuple((total // 2, total - total // 2) for total in totals)
        config = {"padding": edges, "dtype": node.config["dtype"]}
        padded = graph.add(f"{node.name}_pad", layers.ZeroPadding2D, ref, config)
        graph.shapes[padded] = layers.ZeroPadding2D(edges).compute_output_shape(graph.shapes[ref])
        graph.reread(key, ref, padded)
    product = tuple(old * new for old, new in zip(node.config["strides"], stride, strict=True))
    node.config = {**node.config, "strides": product, "padding": "valid"}


def fewer(shape: tuple[int | None, ...], stride: Stride) -> tuple[int | None, ...]:
    """The shape of a feature map at every `stride`-th pixel: (N, ⌈H/stride⌉, ⌈W/stride⌉, C)."""
    return layers.MaxPooling2D(1, stride).compute_output_shape(shape)
