"""The one place that knows the signature of keras.applications."""

from __future__ import annotations

from typing import Any, Protocol

import keras

from senet.zoo import create_model, get_spec

DOC = """{title} in the manner of keras.applications.

    Args:
        include_top: end in the classifier; otherwise in the last feature map, or what `pooling` makes of it.
        weights: None (He initialisation), a tag of `senet list --weights`, "imagenet" (the network's default
            tag), or the path of a Keras weights file.
        input_tensor: a Keras tensor (N, H, W, C) to build upon.
        input_shape: (H, W, C), channels last; default (None, None, 3), any size from {smallest} pixels.
        pooling: without the top: None (4-D), "avg" or "max" (2-D).
        classes: number of classes.
        classifier_activation: "softmax", or None for logits.
        name: of the Keras model.
        **changes: spec changes, see `senet.create_model`.

    Returns a functional keras.Model. Source: Hu et al., arXiv:1709.01507, Table 1.
    """


class Constructor(Protocol):
    """A network as a function with the arguments of keras.applications."""

    def __call__(
        self,
        include_top: bool = True,
        weights: str | None = None,
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | None = "softmax",
        name: str = ...,
        **changes: Any,
    ) -> keras.Model: ...


def constructor(model: str, title: str, module: str) -> Constructor:
    """The function `title`, living in `module`, that builds the network `model`."""
    spec = get_spec(model)

    def build(
        include_top: bool = True,
        weights: str | None = None,
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = spec.classes,
        classifier_activation: str | None = "softmax",
        name: str = model,
        **changes: Any,
    ) -> keras.Model:
        return create_model(
            model,
            weights,
            include_top,
            input_tensor,
            input_shape,
            pooling,
            classes,
            classifier_activation,
            name,
            **changes,
        )

    build.__name__ = build.__qualname__ = title
    build.__module__ = module
    build.__doc__ = DOC.format(title=title, smallest=spec.stride)
    return build
