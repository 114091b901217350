"""Parameters, multiply-adds and activations, counted on the built model."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any

import keras
from keras import layers

from senet.layers.fused import ScaledSum, ScaleShift
from senet.layers.squeeze_excite import SqueezeExcite
from senet.models.tables import MODELS

Shape = tuple[int, ...]
TABLE = resources.files("senet") / "complexity.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Complexity:
    """What a network costs for one image.

    `multiply_adds` counts additions, each with the multiplication before it where there is one: convolutions,
    dense layers, the squeeze of an SE block, and the residual sum, whose multiplication is the SE scale where
    the block has one. Not counted: biases and BatchNorm (they fold into a convolution), activations, pools,
    one of which is the squeeze in a model from `senet.optimize_for_inference`. This count meets the paper's
    GFLOPs (Table 2); docs/complexity.md holds the two side by side.
    `activations` are the elements that convolutions write (Radosavovic et al. 2020, arXiv:2003.13678).
    """

    image_shape: Shape  # (H, W, C)
    trainable_parameters: int
    total_parameters: int  # with BatchNorm's moving statistics
    multiply_adds: int
    activations: int


def complexity(model: keras.Model, image_size: int | tuple[int, int] | None = None) -> Complexity:
    """Count a functional model for one image.

    `image_size` is the side or (H, W), needed where the model leaves them open: by default the model's own,
    then that of the network with the model's name, then 224. Raises ValueError for a model that is not
    functional, has several inputs, calls a layer twice, or holds a layer with weights that no rule counts.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ValueError(f"`model` must be a functional keras.Model. Received: {type(model).__name__}.")
    if len(model.inputs) != 1:
        raise ValueError(f"`model` must have one input. Received: {len(model.inputs)} inputs.")
    image_shape = resolve_image_shape(model, image_size)
    rows = per_layer(model, image_shape)
    return Complexity(
        image_shape=image_shape,
        trainable_parameters=sum(math.prod(w.shape) for w in model.trainable_weights),
        total_parameters=model.count_params(),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activations=sum(row.activations for row in rows),
    )


def counted() -> dict[str, Complexity]:
    """The counts of every network at its own image size, from the table that comes with the package.

    The suite counts the built models against this table; `python tests/golden/update.py` writes it again.
    """
    rows = json.loads(TABLE.read_text(encoding="utf-8"))
    return {
        name: Complexity(**{**row, "image_shape": tuple(row["image_shape"])}) for name, row in rows.items()
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One layer's share of the multiply-adds and activations, and its output shape without the batch."""

    name: str
    output_shape: Shape
    parameters: int
    multiply_adds: int
    activations: int


def per_layer(model: keras.Model, image_shape: Shape) -> list[LayerCost]:
    """The cost of every layer for an image of `image_shape` (H, W, C), in the order they run."""
    shapes: dict[int, Any] = {id(model.inputs[0]): (1, *image_shape)}
    rows: list[LayerCost] = []
    for layer in getattr(model, "operations", model.layers):  # a Sequential model has layers only
        if isinstance(layer, layers.InputLayer):
            continue
        # Asked of the base class: the `input` of a nested model is its own, not what it is called on here.
        into: Any = keras.tree.map_structure(partial(find, shapes), keras.Operation.input.__get__(layer))
        outputs = keras.Operation.output.__get__(layer)
        out = output_shape(layer, into, outputs)
        for tensor, shape in zip(keras.tree.flatten(outputs), flatten_shapes(out), strict=True):
            shapes[id(tensor)] = shape
        if isinstance(layer, keras.Model):
            rows += per_layer(layer, tuple(into)[1:])
            continue
        multiply_adds = count_multiply_adds(layer, into, out)
        convolution = isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D))
        rows.append(
            LayerCost(
                name=layer.name,
                output_shape=flatten_shapes(out)[0][1:],
                parameters=layer.count_params() if isinstance(layer, layers.Layer) else 0,
                multiply_adds=multiply_adds,
                activations=math.prod(out[1:]) if convolution else 0,
            )
        )
    for tensor in model.outputs:
        find(shapes, tensor)
    return rows


def find(shapes: dict[int, Any], tensor: Any) -> Shape:
    """The shape of a tensor; ValueError for one that comes from the second call of some layer."""
    if id(tensor) not in shapes:
        raise ValueError(f"A model that calls a layer more than once cannot be counted. Received: {tensor}.")
    return shapes[id(tensor)]


def conv(layer: Any, into: Shape, out: Shape) -> int:
    # Each output element takes kernel height × width × input channels of its group.
    return math.prod(out[1:]) * math.prod(layer.kernel.shape[:3])


def depthwise(layer: Any, into: Shape, out: Shape) -> int:
    return math.prod(out[1:]) * math.prod(layer.kernel.shape[:2])


def dense(layer: Any, into: Shape, out: Shape) -> int:
    return math.prod(out[1:]) * into[-1]


def squeeze_excite(layer: Any, into: Shape, out: Shape) -> int:
    _, height, width, channels = into
    hidden = layer.spec.hidden_width(channels)
    squeezed = layer.spec.squeeze != "none"
    gates = 1 if squeezed else height * width
    return 2 * channels * hidden * gates + (height * width * channels if squeezed else 0)


def add(layer: Any, into: list[Shape], out: Shape) -> int:
    return (len(into) - 1) * math.prod(out[1:])


def scaled_sum(layer: Any, into: list[Shape], out: Shape) -> int:
    return math.prod(out[1:])


RULES: dict[type, Callable[[Any, Any, Shape], int]] = {
    SqueezeExcite: squeeze_excite,
    layers.DepthwiseConv2D: depthwise,  # before Conv2D, in case one is the other's subclass
    layers.Conv2D: conv,
    layers.Dense: dense,
    layers.Add: add,
    ScaledSum: scaled_sum,
}
FREE = (layers.BatchNormalization, ScaleShift)


def count_multiply_adds(layer: Any, into: Any, out: Any) -> int:
    """Multiply-adds of one layer; ValueError for a layer with weights that no rule covers."""
    for kind, rule in RULES.items():
        if isinstance(layer, kind):
            return rule(layer, into, out)
    if isinstance(layer, FREE) or not getattr(layer, "weights", None):
        return 0
    raise ValueError(
        f"No rule counts the multiply-adds of layer {layer.name!r}, a {type(layer).__name__}. "
        f"Rules exist for {', '.join(kind.__name__ for kind in RULES)}."
    )


def output_shape(operation: Any, into: Any, outputs: Any) -> Any:
    """The output shape of a layer, or of a bare operation such as `x + y`, for the input shape(s) `into`."""
    if isinstance(operation, layers.Layer):
        return operation.compute_output_shape(into)
    if all(None not in tensor.shape[1:] for tensor in keras.tree.flatten(outputs)):
        return keras.tree.map_structure(lambda tensor: (1, *tensor.shape[1:]), outputs)
    tensors = keras.tree.map_shape_structure(lambda shape: keras.KerasTensor(shape), into)
    try:
        return operation.compute_output_spec(*keras.tree.flatten(tensors)).shape
    except (TypeError, AttributeError) as error:  # it takes a list or a constant too, or returns a list
        raise ValueError(
            f"The output shape of {operation.name!r}, a bare {type(operation).__name__} operation, is known "
            "only where the model's input size is: build the model with a fixed input shape."
        ) from error


def flatten_shapes(shapes: Any) -> list[Shape]:
    """A shape, or a structure of shapes, as a flat list of shapes."""
    found: list[Shape] = []
    keras.tree.map_shape_structure(lambda shape: found.append(tuple(shape)), shapes)
    return found


def resolve_image_shape(model: keras.Model, image_size: int | tuple[int, int] | None) -> Shape:
    """(H, W, C) to count at; ValueError where `image_size` is not what a fixed-size model takes."""
    if len(model.inputs[0].shape) != 4:
        raise ValueError(f"`model` must take (N, H, W, C) images. Received: {model.inputs[0].shape} inputs.")
    height, width, channels = model.inputs[0].shape[1:]
    if image_size is None:
        side = MODELS[model.name].image_size if model.name in MODELS else 224
        return (height or side, width or side, channels)
    wanted = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if any(own not in (None, side) for own, side in zip((height, width), wanted, strict=True)):
        raise ValueError(
            f"`image_size` must be what the model was built for, {(height, width)}. Received: {image_size}."
        )
    return (*wanted, channels)
