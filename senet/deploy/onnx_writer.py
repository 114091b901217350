"""A functional Keras model as an ONNX graph, written from the layers themselves.

Independent of the engine, since only configurations and weights are read. The input stays (N, H, W, C), as
in Keras; one Transpose follows, and inside all images are (N, C, H, W), which ONNX operators expect. Nodes
and tensors have the names of the layers. What a layer becomes stands in `senet.deploy.onnx_rules`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import layers

from senet.deploy.extras import need

if TYPE_CHECKING:
    from senet.data.preprocess import Preprocess

OPSET, IR_VERSION = 17, 8  # the oldest that have all operators used here; each runtime since 2022 reads them
INPUT = "image"
Pads = tuple[int, int, int, int]  # top, left, bottom, right
MANY = 16  # numbers: smaller tensors stay float32 in a file of half precision


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor of the ONNX graph: (N, C, H, W) where Keras has (N, H, W, C), else as in Keras.

    `shape` is Keras' own. `pads` are zeros that belong around the tensor and are not there yet, since most
    operators add them by themselves. `nonnegative`: no element is below zero, whatever the image.
    """

    name: str
    shape: tuple[int | None, ...]
    nonnegative: bool = False
    pads: Pads | None = None

    @property
    def is_map(self) -> bool:
        return len(self.shape) == 4


class Call(NamedTuple):
    """One layer with the symbolic tensors it reads and writes."""

    layer: Any
    inputs: list[Any]
    outputs: list[Any]


class Graph:
    """Nodes and constants, as they are added."""

    def __init__(self, reserved: Sequence[str] = ()) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.gates: list[str] = []  # nodes that work out the gates of SE blocks, or apply them
        self._names: set[str] = {INPUT, *reserved}
        self._padded: dict[tuple[str, Pads], Value] = {}

    def unique(self, name: str) -> str:
        """`name`, with a number where it is taken: inner models have layers with the names of outer ones."""
        found, number = name, 2
        while found in self._names:
            found, number = f"{name}_{number}", number + 1
        self._names.add(found)
        return found

    def constant(self, name: str, values: Any) -> str:
        """A tensor of weights; floats become float32."""
        array = np.asarray(values)
        name = self.unique(name)
        self.constants[name] = array.astype(np.float32) if array.dtype.kind == "f" else array
        return name

    def add(
        self, operator: str, inputs: Sequence[str], name: str, *, gate: bool = False, **attributes
    ) -> str:
        """A node with one output; its name, which is also that of the output."""
        from onnx import helper

        name = self.unique(name)
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        if gate:
            self.gates.append(name)
        return name

    def settled(self, value: Value) -> Value:
        """`value` with the zeros around it in place."""
        if value.pads is None:
            return value
        key = (value.name, value.pads)
        if key not in self._padded:
            top, left, bottom, right = value.pads
            pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
            name = f"{value.name}/padded"
            found = self.add("Pad", [value.name, self.constant(f"{name}/pads", pads)], name)
            self._padded[key] = dataclasses.replace(value, name=found, pads=None)
        return self._padded[key]


Rule = Callable[[Graph, Any, list[Value], tuple[int | None, ...]], Value]


def calls(model: keras.Model) -> Iterator[Call]:
    """The layers in the order they run; ValueError for one that is called twice."""
    for layer in getattr(model, "operations", model.layers):  # a Sequential model has layers only
        if isinstance(layer, layers.InputLayer):
            continue
        try:
            # Asked of the base class: the `input` of an inner model is its own, not what it is called on.
            inputs, outputs = (end.__get__(layer) for end in (keras.Operation.input, keras.Operation.output))
        except (AttributeError, ValueError) as error:
            raise ValueError(
                f"A layer must be called once to be written as ONNX. Received: {layer.name!r} in "
                f"{model.name!r}, called more often or never. {WAY_OUT}"
            ) from error
        yield Call(layer, keras.tree.flatten(inputs), keras.tree.flatten(outputs))


WAY_OUT = "Likely fix: format='tf_saved_model', which takes any model."


def write_calls(
    graph: Graph, model: keras.Model, inputs: Sequence[Value], rules: dict[type, Rule]
) -> list[Value]:
    """Add the nodes of every layer of `model`, called on `inputs`; its outputs, in Keras' flat order."""
    known = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
    for layer, reads, writes in calls(model):
        values = [find(known, tensor) for tensor in reads]
        if isinstance(layer, keras.Model):
            found = write_calls(graph, layer, values, rules)
        else:
            found = [find_rule(layer, rules)(graph, layer, values, tuple(writes[0].shape))]
        known.update(zip(map(id, writes), found, strict=True))
    return [graph.settled(find(known, tensor)) for tensor in model.outputs]


def find(known: dict[int, Value], tensor: Any) -> Value:
    """The value of a symbolic tensor; ValueError for one from the second call of a layer."""
    if id(tensor) not in known:
        raise ValueError(
            "A layer must be called once to be written as ONNX. Received: the tensor of another call, "
            f"{tensor.name}. {WAY_OUT}"
        )
    return known[id(tensor)]


def find_rule(layer: Any, rules: dict[type, Rule]) -> Rule:
    """The rule of a layer's class; ValueError for a class without one."""
    # The class itself: a subclass may compute something else.
    rule = rules.get(type(layer))
    if rule is None:
        raise ValueError(
            f"No rule writes layer {layer.name!r}, a {type(layer).__name__}, as ONNX. Rules exist for "
            f"{', '.join(sorted(kind.__name__ for kind in rules))}. {WAY_OUT}"
        )
    if getattr(layer, "data_format", None) == "channels_first":
        raise ValueError(f"Layers must be channels last. Received: {layer.name!r}, channels first.")
    if getattr(layer, "quantization_mode", None):
        raise ValueError(
            f"Weights must be floating-point. Received: layer {layer.name!r}, quantized by Keras. Export the "
            "model as it was before, with precision='int8'."
        )
    return rule


def write_onnx(
    model: keras.Model,
    shape: tuple[int | None, ...],
    *,
    baked: Preprocess | None = None,
    half: bool = False,
) -> tuple[Any, list[str]]:
    """An `onnx.ModelProto` that computes `model`, and the names of the nodes that make and apply gates.

    Args:
        model: functional, one input (N, H, W, C), channels last.
        shape: of the input, None where it is open.
        baked: normalisation at the head: the graph then takes pixels, 0 to 255.
        half: weights in half precision, which the runtime widens when it loads them.

    Inputs and outputs are float32 and shaped as in Keras; the input is called "image", outputs as
    `output_names` has them. Raises ValueError for a layer that no rule covers.
    """
    need("onnx")
    from senet.deploy.onnx_rules import RULES

    graph = Graph(output_names(model))
    start = Value(INPUT, shape)
    if baked is not None:
        mean, std = (graph.constant(f"{INPUT}/{key}", getattr(baked, key)) for key in ("mean", "std"))
        centred = graph.add("Sub", [INPUT, mean], f"{INPUT}/centred")
        start = Value(graph.add("Div", [centred, std], f"{INPUT}/normalised"), shape)
    first = graph.add("Transpose", [start.name], f"{INPUT}/channels_first", perm=[0, 3, 1, 2])
    outputs = write_calls(graph, model, [Value(first, shape)], RULES)
    return finish(graph, model, shape, outputs, half), graph.gates


def finish(graph: Graph, model: keras.Model, shape: tuple, outputs: list[Value], half: bool) -> Any:
    """The `ModelProto` of a graph whose layers are written."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = []
    for name, value in zip(output_names(model), outputs, strict=True):
        turn: dict[str, Any] = {"perm": [0, 2, 3, 1]} if value.is_map else {}
        kind = "Transpose" if value.is_map else "Identity"
        graph.nodes.append(helper.make_node(kind, [value.name], [name], name=name, **turn))
        ends.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, open_sides(value.shape, name)))
    constants = dict(graph.constants)
    head = widened(constants) if half else []
    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, open_sides(shape, INPUT))
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    written = helper.make_model(
        helper.make_graph([*head, *graph.nodes], model.name, [image], ends, weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="senet",
    )
    onnx.checker.check_model(written)
    return written


def widened(constants: dict[str, np.ndarray]) -> list[Any]:
    """Store every large tensor of floats as float16, under another name, with the node that widens it."""
    from onnx import TensorProto, helper

    nodes = []
    for name, array in list(constants.items()):
        if array.dtype == np.float32 and array.size > MANY:
            constants[f"{name}/half"] = constants.pop(name).astype(np.float16)
            nodes.append(helper.make_node("Cast", [f"{name}/half"], [name], name=name, to=TensorProto.FLOAT))
    return nodes


def output_names(model: keras.Model) -> list[str]:
    """The keys of a dict of outputs; else "output", numbered from the second on."""
    outputs = None if isinstance(model, keras.Sequential) else model.output
    if isinstance(outputs, dict):
        return list(keras.tree.flatten({key: key for key in outputs}))
    return ["output" if index == 0 else f"output_{index + 1}" for index in range(len(model.outputs))]


def open_sides(shape: tuple[int | None, ...], name: str) -> list[int | str]:
    """The shape for ONNX: an open batch is "batch", another open side is named after its tensor."""
    return [
        size if size is not None else "batch" if axis == 0 else f"{name}_axis_{axis}"
        for axis, size in enumerate(shape)
    ]
