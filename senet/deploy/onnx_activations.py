"""What Keras' activation functions become in ONNX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from senet.deploy.onnx_writer import WAY_OUT, Graph, Value


def node(operator: str, **attributes: Any) -> Callable[..., str]:
    """An activation that is one operator."""
    return lambda graph, x, name, gate: graph.add(operator, [x], name, gate=gate, **attributes)


def times_gate(gate_of: Callable[..., str]) -> Callable[..., str]:
    """An activation `x * gate_of(x)`, such as SiLU."""

    def write(graph: Graph, x: str, name: str, gate: bool) -> str:
        return graph.add("Mul", [x, gate_of(graph, x, f"{name}/gate", gate)], name, gate=gate)

    return write


def relu6(graph: Graph, x: str, name: str, gate: bool) -> str:
    ends = [graph.constant(f"{name}/{end}", np.float32(value)) for end, value in (("min", 0), ("max", 6))]
    return graph.add("Clip", [x, *ends], name, gate=gate)


HARD_SIGMOID = node("HardSigmoid", alpha=1 / 6, beta=0.5)  # Keras' own: relu6(x + 3) / 6
ACTIVATIONS: dict[Any, Callable[..., str]] = {
    keras.activations.relu: node("Relu"),
    keras.activations.relu6: relu6,
    keras.activations.sigmoid: node("Sigmoid"),
    keras.activations.tanh: node("Tanh"),
    keras.activations.silu: times_gate(node("Sigmoid")),
    keras.activations.hard_sigmoid: HARD_SIGMOID,
    keras.activations.hard_silu: times_gate(HARD_SIGMOID),
    keras.activations.elu: node("Elu"),
    keras.activations.selu: node("Selu"),
    keras.activations.softplus: node("Softplus"),
    keras.activations.softsign: node("Softsign"),
    keras.activations.exponential: node("Exp"),
    keras.activations.softmax: node("Softmax", axis=1),  # channels, and of (N, classes) the classes
}
NONNEGATIVE = (
    keras.activations.relu,
    keras.activations.relu6,
    keras.activations.sigmoid,
    keras.activations.hard_sigmoid,
    keras.activations.softmax,
    keras.activations.softplus,
    keras.activations.exponential,
)


def activate(graph: Graph, value: Value, function: Any, name: str, *, gate: bool = False) -> Value:
    """`function` of a value; ValueError for one without a rule."""
    if function is None or function is keras.activations.linear:
        return value
    if function not in ACTIVATIONS or (
        function is keras.activations.softmax and len(value.shape) not in (2, 4)
    ):
        known = ", ".join(kind.__name__ for kind in ACTIVATIONS)
        raise ValueError(
            f"No rule writes the activation of layer {name!r} as ONNX: {function!r} of {value.shape}. "
            f"Rules exist for {known}. {WAY_OUT}"
        )
    value = graph.settled(value)
    kept = value.nonnegative and function in (keras.activations.silu, keras.activations.tanh)
    found = ACTIVATIONS[function](graph, value.name, f"{name}/{function.__name__}", gate)
    return dataclasses.replace(value, name=found, nonnegative=kept or function in NONNEGATIVE)
