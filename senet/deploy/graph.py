"""A functional Keras model as a graph that can be changed, and back.

The graph is read from the model's own configuration, so that the model and its layers stay as they are; what
is built from a changed graph has layers of its own.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np


class Ref(NamedTuple):
    """One tensor: the call that makes it, and which of its outputs."""

    key: str
    output: int = 0


@dataclasses.dataclass(eq=False)
class Node:
    """One call of a layer or of a bare operation.

    Args:
        name: of the layer.
        kind, config: what `kind.from_config(config)` makes the layer of.
        args, kwargs: of the call, with a `Ref` for every tensor.
        source: the original's layer, whose variables the new one takes over; None for a layer that is new.
        weights: values of a new layer, in the order of its `weights`.
        shared: the layer is called more than once.
    """

    name: str
    kind: Any  # a class
    config: dict[str, Any]
    args: Any
    kwargs: dict[str, Any]
    source: Any = None
    weights: list[np.ndarray] | None = None
    shared: bool = False

    @property
    def inputs(self) -> list[Ref]:
        return flat((self.args, self.kwargs))

    @property
    def training(self) -> bool:
        """Whether the call says training=True: such a layer means its randomness or its batch statistics."""
        return bool(self.kwargs.get("training"))

    @property
    def dtype(self) -> str:
        """The layer's compute type."""
        return keras.dtype_policies.get(self.config["dtype"]).compute_dtype


def substitute(structure: Any, change: Callable[[Ref], Any]) -> Any:
    """A structure of lists, tuples and dicts with every Ref in it changed."""
    if isinstance(structure, Ref):
        return change(structure)
    if isinstance(structure, dict):
        return {key: substitute(value, change) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(substitute(value, change) for value in structure)
    return structure


class Graph:
    """The calls of a model, by key: a layer's name, and "NAME:1" for its second call."""

    def __init__(self, model: keras.Model) -> None:
        config = model.get_config()
        operations = {operation.name: operation for operation in model.operations}
        self.model = model
        self.names = set(operations)
        self.nodes: dict[str, Node] = {}
        self.users: dict[str, list[str]] = {}
        self.shapes: dict[Ref, tuple[int | None, ...]] = {}
        self.dtypes: dict[Ref, str] = {}
        for layer in config["layers"]:
            self._read_layer(layer, operations[layer["name"]])
        self.inputs = self._read_ends(config["input_layers"], operations)
        self.outputs = self._read_ends(config["output_layers"], operations)
        for key in self.nodes:
            self._read_by(key)

    def _read_layer(self, layer: dict[str, Any], operation: Any) -> None:
        calls = layer["inbound_nodes"] or [{"args": (), "kwargs": {}}]
        for index, call in enumerate(calls):
            self.nodes[key_of(layer["name"], index)] = Node(
                name=layer["name"],
                kind=type(operation),
                config=layer["config"],
                args=self._read(call["args"]),
                kwargs=self._read(call["kwargs"]),
                source=operation,
                shared=len(calls) > 1,
            )

    def _read(self, value: Any) -> Any:
        """The arguments of a call, out of their serialised form."""
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            name, call, index = value["config"]["keras_history"]
            ref = Ref(key_of(name, call), index)
            self.shapes[ref] = tuple(value["config"]["shape"])
            self.dtypes[ref] = value["config"]["dtype"]
            return ref
        if isinstance(value, dict) and "class_name" in value:
            return keras.saving.deserialize_keras_object(value)
        if isinstance(value, dict):
            return {key: self._read(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._read(item) for item in value)
        return value

    def _read_ends(self, ends: Any, operations: dict[str, Any]) -> Any:
        if isinstance(ends, dict):
            return {key: self._read_ends(value, operations) for key, value in ends.items()}
        if len(ends) == 3 and isinstance(ends[0], str):
            name, call, index = ends
            # Here, and not in the arguments of calls, Keras counts a nested model's own graph as a call.
            return Ref(key_of(name, call - isinstance(operations[name], type(self.model))), index)
        return type(ends)(self._read_ends(value, operations) for value in ends)

    def of_kind(self, *kinds: type) -> Iterator[tuple[str, Node]]:
        """The calls of layers that are of these very classes (a subclass may mean something else)."""
        for key, node in list(self.nodes.items()):
            if node.kind in kinds and key in self.nodes:
                yield key, node

    def is_output(self, key: str) -> bool:
        return key in self._output_keys()

    def _output_keys(self) -> set[str]:
        return {ref.key for ref in flat((self.inputs, self.outputs))}

    def only_user(self, key: str) -> str | None:
        """The one call that reads what `key` makes; None where there are several, or it leaves the model."""
        users = self.users.get(key, [])
        return users[0] if len(users) == 1 and not self.is_output(key) else None

    def add(self, name: str, kind: type, inputs: Any, config: dict[str, Any], weights: Any = None) -> Ref:
        """A new layer `kind` called on `inputs`, a structure of Refs."""
        name = self.free_name(name)
        config = {**config, "name": name}
        self.nodes[name] = Node(
            name=name, kind=kind, config=config, args=(inputs,), kwargs={}, weights=weights
        )
        self._read_by(name)
        return Ref(name)

    def become(self, key: str, kind: type, inputs: Any, config: dict[str, Any], weights: Any = None) -> None:
        """Make a call that of another, new layer of the same name."""
        old = self.nodes[key]
        config = {**config, "name": old.name}
        self.nodes[key] = Node(
            name=old.name, kind=kind, config=config, args=(inputs,), kwargs={}, weights=weights
        )
        self._read_by(key)
        for ref in old.inputs:
            self.users[ref.key].remove(key)
            self.remove(ref.key)

    def reread(self, key: str, old: Ref, new: Ref) -> None:
        """Let one call read `new` where it read `old`."""
        node = self.nodes[key]
        node.args, node.kwargs = substitute((node.args, node.kwargs), lambda ref: new if ref == old else ref)
        self.users[old.key].remove(key)
        self.users.setdefault(new.key, []).append(key)
        self.remove(old.key)

    def _read_by(self, key: str) -> None:
        for ref in self.nodes[key].inputs:
            self.users.setdefault(ref.key, []).append(key)

    def free_name(self, name: str) -> str:
        """`name`, with a number behind it where a layer has that name."""
        free = name
        for number in itertools.count(2):
            if free not in self.names:
                self.names.add(free)
                return free
            free = f"{name}_{number}"
        raise AssertionError

    def replace(self, old: str, new: Ref) -> None:
        """Let everything that reads the call `old` read `new` instead, and take the call out."""

        def change(ref: Ref) -> Ref:
            return new if ref == Ref(old) else ref

        for user in dict.fromkeys(self.users.get(old, [])):
            node = self.nodes[user]
            node.args, node.kwargs = substitute(node.args, change), substitute(node.kwargs, change)
        self.users.setdefault(new.key, []).extend(self.users.pop(old, []))
        self.outputs = substitute(self.outputs, change)
        if Ref(old) in self.shapes:
            self.shapes.setdefault(new, self.shapes[Ref(old)])
            self.dtypes.setdefault(new, self.dtypes[Ref(old)])
        self.remove(old)

    def merge(self, old: str, into: str) -> str:
        """`replace` the call `old` by the one before it, under its name where it is an output."""
        named = self.is_output(old)
        name = self.nodes[old].name
        self.replace(old, Ref(into))
        return self.rename(into, name) if named else into

    def remove(self, key: str) -> None:
        """Take out a call that nothing reads, and those before it that nothing else reads."""
        waiting = [key]
        while waiting:
            key = waiting.pop()
            if self.users.get(key) or self.is_output(key):
                continue
            for ref in self.nodes.pop(key).inputs:
                self.users[ref.key].remove(key)
                waiting.append(ref.key)

    def rename(self, key: str, name: str) -> str:
        """Give the layer of a call another name, which is then the key too."""
        node = self.nodes[key]
        self.nodes[name] = dataclasses.replace(node, name=name, config={**node.config, "name": name})
        self._read_by(name)
        self.replace(key, Ref(name))
        return name

    def in_order(self) -> list[str]:
        """Keys of the calls, each behind those that it reads."""
        done: dict[str, None] = {}
        waiting = [ref.key for ref in reversed(flat(self.outputs))] + [ref.key for ref in flat(self.inputs)]
        while waiting:
            before = [ref.key for ref in self.nodes[waiting[-1]].inputs if ref.key not in done]
            if before:
                waiting += before
            else:
                done.setdefault(waiting.pop())
        return list(done)

    def build(self, nested: Callable[[Node], keras.Model | None]) -> keras.Model:
        """The model of the graph, with new layers; `nested` makes those that are to be optimised models."""
        made: dict[str, Any] = {}
        inner: set[str] = set()
        tensors: dict[str, list[Any]] = {}
        for key in self.in_order():
            node = self.nodes[key]
            if node.name not in made:
                model = nested(node)
                made[node.name] = model or make(node)
                inner |= {node.name} if model else set()
            layer = made[node.name]
            if isinstance(layer, keras.layers.InputLayer):
                tensors[key] = [layer.output]
                continue
            args, kwargs = substitute((node.args, node.kwargs), lambda ref: tensors[ref.key][ref.output])
            tensors[key] = keras.tree.flatten(layer(*args, **kwargs))
        ends = substitute((self.inputs, self.outputs), lambda ref: tensors[ref.key][ref.output])
        model = keras.Model(*ends, name=self.model.name)
        for name, node in {node.name: node for node in self.nodes.values()}.items():
            if name in made and name not in inner:
                fill(made[name], node)
        return model


def key_of(name: str, call: int) -> str:
    return f"{name}:{call}" if call else name


def flat(structure: Any) -> list[Ref]:
    """All Refs in a structure of lists, tuples and dicts, in order."""
    found: list[Ref] = []

    def note(ref: Ref) -> Ref:
        found.append(ref)
        return ref

    substitute(structure, note)
    return found


def functional_form(model: Any) -> keras.Model:
    """`model` itself where it is functional, a functional model of the same layers where it is a Sequential.

    A subclass with another `call` is no graph: ValueError, as for anything else.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "built", False) or not has_graph(model):
        raise ValueError(
            "`model` must be a functional keras.Model, such as senet.create_model(...) or "
            "keras.Model(inputs, outputs) makes, or a Sequential that has been built. "
            f"Received: {describe(model)}."
        )
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    functional = keras.Model(model.input, model.output, name=model.name)
    if type(model).call is not type(functional).call:
        raise ValueError(
            f"`model` must be what its graph says. Received: {describe(model)} with a `call` of its own. "
            "What keras.Model(model.input, model.output) makes of it can be optimised."
        )
    return model if type(model) is type(functional) else functional


def has_graph(model: keras.Model) -> bool:
    return bool(model.built and getattr(model, "inputs", None))


def describe(model: Any) -> str:
    """What something is, in an error."""
    name = getattr(model, "name", None)
    return f"{type(model).__name__} {name!r}" if isinstance(name, str) else f"{type(model).__name__}"


def make(node: Node) -> Any:
    """The layer of a node, without values."""
    try:
        return node.kind.from_config(copy.deepcopy(node.config))
    except Exception as error:
        raise ValueError(
            f"Layer {node.name!r}, a {node.kind.__name__}, cannot be copied: {error}. Its class needs a "
            "get_config() from which from_config() makes the same layer."
        ) from error


def fill(layer: Any, node: Node) -> None:
    """The values of a layer: the node's, or those of the layer that it is a copy of."""
    if node.weights is not None:
        layer.set_weights(node.weights)
        return
    old, new = getattr(node.source, "variables", []), getattr(layer, "variables", [])
    if [tuple(v.shape) for v in old] != [tuple(v.shape) for v in new]:
        raise ValueError(
            f"Layer {node.name!r}, a {node.kind.__name__}, cannot be copied: its copy has other variables. "
            f"Received: {[v.path for v in old]}, and in the copy {[v.path for v in new]}."
        )
    for target, value in zip(new, old, strict=True):
        target.assign(value)
