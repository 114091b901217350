"""What a Keras model says about itself: its metadata."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import keras

from senet.deploy.metadata import Metadata
from senet.deploy.onnx_writer import output_names


def describe(
    model: keras.Model,
    *,
    input_shape: tuple[int | None, ...] | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Any = None,
    precision: str = "float32",
    baked: bool = False,
) -> Metadata:
    """The metadata of a model; the arguments, where given, in place of its own.

    Labels default to those of `senet.predict`. Raises ValueError for labels of another number than the
    classes, and for a model that does not take images.
    """
    check_functional(model)
    input_shape = tuple(input_shape or model.inputs[0].shape)
    answers = answers_of(model)
    preprocess = preprocess or getattr(model, "preprocess", None)
    return Metadata(
        model=model.name,
        precision=precision,
        answers=answers,
        outputs=tuple(output_names(model)),
        input_shape=input_shape,
        output_shapes=tuple(tuple(tensor.shape) for tensor in model.outputs),
        labels=labels_of(model, labels, answers),
        preprocess=preprocess and dataclasses.asdict(fitted(preprocess, input_shape)),
        baked=baked,
        senet=own_version(),
    )


def own_version() -> str:
    try:
        return importlib.metadata.version("senet")
    except importlib.metadata.PackageNotFoundError:  # a source tree that was not installed
        return "unknown"


def check_functional(model: Any) -> None:
    """Raise ValueError unless `model` is functional (or Sequential), built, with one input of images."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ValueError(
            f"`model` must be a functional keras.Model, or a Sequential that was built. Received: "
            f"{type(model).__name__}."
        )
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] is None:
        raise ValueError(f"`model` must take images (N, H, W, C). Received: inputs of shape {shapes}.")


def answers_of(model: keras.Model) -> str:
    """What the model's numbers are: "probabilities", "logits", or "features"."""
    from senet.predict import ends_in_softmax

    if output_names(model) != ["output"] or len(model.outputs[0].shape) != 2:
        return "features"
    try:
        return "probabilities" if ends_in_softmax(model) else "logits"
    except ValueError:  # a pool, or a layer that nobody knows
        return "features"


def labels_of(model: keras.Model, labels: Sequence[str] | None, answers: str) -> tuple[str, ...] | None:
    """Labels as text, checked; None for a model without classes."""
    from senet.predict import class_labels

    if answers == "features":
        if labels is not None:
            raise ValueError(f"`labels` are for classes. Received: labels for {model.name}, without any.")
        return None
    found = tuple(class_labels(model, labels))
    if any("\n" in label for label in found):
        raise ValueError("A label must be one line of text. Received: one with a line break in it.")
    return found


def fitted(preprocess: Any, input_shape: tuple[int | None, ...]) -> Any:
    """`preprocess` with the crop that a network of a fixed size takes.

    The resize keeps its proportion to the crop. An image of an oblong or unknown size is taken as it is.
    """
    height, width = input_shape[1:3]
    if height is None or width is None or preprocess.crop == height == width:
        return preprocess
    if height != width:
        return dataclasses.replace(preprocess, resize=None, crop=None)
    ratio = preprocess.resize / preprocess.crop if preprocess.resize and preprocess.crop else 1.0
    return dataclasses.replace(preprocess, resize=max(height, round(ratio * height)), crop=height)
