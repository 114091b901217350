"""Copies of a network to look into: taps and switches would leave traces in the original's graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from senet.data.dataset import EvaluationBatches
from senet.layers.squeeze_excite import SqueezeExcite


def copied(model: keras.Model, change: Callable[[Any], Any] | None = None) -> keras.Model:
    """A network with layers and weights of its own and the names of `model`'s.

    `change` gives the layer to put in place of one, or None to keep its kind; a layer that is put in place
    of an SE block must be one too. ValueError for a model that is not functional or has several inputs.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ValueError(f"`model` must be a functional keras.Model. Received: {type(model).__name__}.")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`model` must have one input and one output. "
            f"Received: {len(model.inputs)} inputs, {len(model.outputs)} outputs."
        )

    def make(layer: Any) -> Any:
        return (change and change(layer)) or type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=make)
    for layer in model.layers:
        if isinstance(layer, SqueezeExcite):  # one that was put in place may have weights besides
            twin = copy.get_layer(layer.name)
            twin.reduce.set_weights(layer.reduce.get_weights())
            twin.expand.set_weights(layer.expand.get_weights())
        elif layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def kept_rows(batches: EvaluationBatches) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(images (B, H, W, C), labels (B,), which rows hold an image (B,) bool) of each batch.

    All rows go through a network, so that no batch has a size of its own; some are to be dropped after it.
    """
    for images, labels, weights in batches:
        yield images, labels, weights > 0
