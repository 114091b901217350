"""Convert published checkpoints: every tensor is used exactly once, or the conversion is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from senet.files import digest
from senet.models.network import build_network
from senet.models.weights_file import HEAD, first_convolution, shapes, variables_by_layer
from senet.weights.architectures import Architecture
from senet.weights.layouts import to_keras, to_torch
from senet.weights.tensors import read_tensors, write_tensors

COUNTER = ".num_batches_tracked"  # PyTorch's BatchNorm counts its steps; Keras' has no such state
Tensors = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One tensor and the variable it fills."""

    source: str  # "layer1.0.conv1.weight"
    layer: str  # the network's layer: "stage1_block1_reduce_conv"
    variable: str  # its path in Keras: "stage1_block1_reduce_conv/kernel"
    shape: tuple[int, ...]  # in Keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a conversion did. `to_json` gives it as plain data."""

    architecture: str
    model: str
    changes: dict[str, Any]
    file: str
    sha256: str
    rules: tuple[Rule, ...]
    left_out: tuple[str, ...]  # counters of PyTorch's BatchNorm
    mended: tuple[str, ...]  # in words: channel order, class order
    difference: Mapping[str, Any] | None = None  # what `senet.weights.peers.compare` measured

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def source_network(architecture: Architecture, tensors: Tensors | None = None) -> keras.Model:
    """The architecture's own network, ending in logits, with the classes and input channels of `tensors`."""
    spec, build = architecture.spec, partial(build_network, architecture.spec, name=architecture.model)
    head = architecture.names(HEAD)[-1]
    classes = len(tensors[head]) if tensors and head in tensors else spec.classes
    network = build(classes=classes)
    stem = architecture.names(first_convolution(network))[0]
    kernel = tensors.get(stem) if tensors else None
    if kernel is None or kernel.ndim != 4 or kernel.shape[1] == spec.channels:
        return network
    return build(classes=classes, input_shape=(None, None, kernel.shape[1]))


def make_plan(network: keras.Model, architecture: Architecture) -> list[Rule]:
    """The rules of every variable of `network`, in the order of its layers."""
    rules = []
    for layer in network.layers:
        if layer.weights:
            sources = architecture.names(layer.name)
            for source, variable in zip(sources, layer.weights, strict=True):
                rules.append(Rule(source, layer.name, variable.path, tuple(variable.shape)))
    return rules


def check_plan(
    plan: Sequence[Rule], tensors: Tensors, architecture: Architecture, file: str
) -> tuple[str, ...]:
    """The tensors that no rule may read, or ValueError unless plan and tensors are one to one."""
    counters = tuple(name for name in tensors if name.endswith(COUNTER))
    wanted = [rule.source for rule in plan]
    unread = sorted(tensors.keys() - set(wanted) - set(counters))
    unfilled = sorted(set(wanted) - tensors.keys())
    if unread or unfilled or len(set(wanted)) < len(wanted):
        raise ValueError(
            f"{file} does not hold {architecture.name}: the conversion is not one to one. "
            f"Unread tensors: {listed(unread)}. Unfilled variables: {listed(unfilled)}."
        )
    return counters


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    if not names:
        return "none"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def convert_tensors(
    tensors: Tensors, network: keras.Model, architecture: Architecture, file: str
) -> tuple[dict[str, list[np.ndarray]], Report]:
    """The values of every layer of `network` from a source's tensors, and the report.

    Raises ValueError unless every tensor is used exactly once and fits; nothing is assigned.
    """
    plan = make_plan(network, architecture)
    counters = check_plan(plan, tensors, architecture, file)
    values: dict[str, list[np.ndarray]] = {}
    wrong: list[str] = []
    mended: list[str] = []
    first = first_convolution(network)
    for rule in plan:
        layer = network.get_layer(rule.layer)
        value = to_keras(np.asarray(tensors[rule.source]), layer, rule.shape)
        if value.shape != rule.shape:
            wrong.append(
                f"{rule.source} {tuple(tensors[rule.source].shape)} for {rule.variable} {rule.shape}"
            )
            continue
        if architecture.source == "caffe":
            value = mend(value, rule, first, mended)
        values.setdefault(rule.variable.split("/")[-2], []).append(value)
    if wrong:
        raise ValueError(
            f"{file} does not hold {architecture.name}: {len(wrong)} tensors have another shape: "
            f"{listed(wrong)}."
        )
    report = Report(
        architecture=architecture.name,
        model=architecture.model,
        changes={key: to_plain(value) for key, value in architecture.changes.items()},
        file=file,
        sha256="",
        rules=tuple(plan),
        left_out=counters,
        mended=tuple(mended),
    )
    return values, report


def mend(value: np.ndarray, rule: Rule, first: str, mended: list[str]) -> np.ndarray:
    """A Caffe tensor as an RGB network with sorted classes has it; what was done goes into `mended`."""
    if rule.layer == first and value.ndim == 4 and value.shape[2] == 3:
        mended.append(f"{rule.variable}: input channels from BGR to RGB")
        return value[:, :, ::-1]
    if rule.layer == HEAD and value.shape[-1] == 1000:
        from senet.data.labels import imagenet_classes

        mended.append(f"{rule.variable}: classes from the ILSVRC-2012 order to sorted synsets")
        return value[..., [row.ilsvrc2012_id - 1 for row in imagenet_classes()]]
    return value


def to_plain(value: Any) -> Any:
    """A spec's field as JSON has it."""
    return (
        dataclasses.asdict(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else value
    )


def read_checkpoint(
    path: str | Path, architecture: Architecture
) -> tuple[keras.Model, dict[str, list[np.ndarray]], Report]:
    """The source's own network, not yet filled, and `convert_tensors` of a checkpoint file."""
    path = Path(path)
    tensors = read_tensors(path)
    network = source_network(architecture, tensors)
    values, report = convert_tensors(tensors, network, architecture, str(path))
    return network, values, dataclasses.replace(report, sha256=digest(path))


def write_checkpoint(network: keras.Model, path: str | Path, architecture: Architecture) -> Report:
    """Write `network` as its source has it: .safetensors or .pth, for timm and pytorchcv.

    Raises ValueError for a Caffe architecture, and unless the network's layers and shapes are those of the
    architecture (its classes and input channels may differ). BatchNorm's counters of steps, which Keras does
    not have, are written as 0.
    """
    if architecture.source == "caffe":
        raise ValueError(
            f"to_checkpoint writes timm and pytorchcv checkpoints. Received: {architecture.name!r}."
        )
    check_same_network(network, architecture)
    plan = make_plan(network, architecture)
    tensors: dict[str, np.ndarray] = {}
    for rule in plan:
        layer = network.get_layer(rule.layer)
        variable = next(variable for variable in layer.weights if variable.path == rule.variable)
        value = keras.ops.convert_to_numpy(variable)
        tensors[rule.source] = np.ascontiguousarray(to_torch(value, layer), dtype=np.float32)
        if rule.source.endswith(".running_var"):
            tensors[rule.source.removesuffix(".running_var") + COUNTER] = np.zeros((), np.int64)
    write_tensors(Path(path), tensors)
    return Report(
        architecture=architecture.name,
        model=architecture.model,
        changes={key: to_plain(value) for key, value in architecture.changes.items()},
        file=str(path),
        sha256=digest(Path(path)),
        rules=tuple(plan),
        left_out=tuple(name for name in tensors if name.endswith(COUNTER)),
        mended=(),
    )


def check_same_network(network: keras.Model, architecture: Architecture) -> None:
    """Raise ValueError unless `network` is the architecture's, but for classes and input channels."""
    has = variables_by_layer(network)
    classes = has[HEAD][-1].shape[0] if HEAD in has else None
    wanted = build_network(
        architecture.spec,
        name=architecture.model,
        include_top=classes is not None,
        classes=classes,
        input_shape=(None, None, network.inputs[0].shape[-1]),
    )
    needs = variables_by_layer(wanted)
    different = [
        name
        for name in dict.fromkeys([*needs, *has])
        if shapes(has.get(name, [])) != shapes(needs.get(name, []))
    ]
    if different or classes is None:
        what = f"These layers differ: {listed(different)}." if different else "It has no classifier."
        raise ValueError(f"{network.name!r} is not a {architecture.name}. {what}")
