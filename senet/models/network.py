"""From a spec to a Keras model: input, trunk, and one of the three ends."""

from __future__ import annotations

import sys
from typing import Any

import keras
from keras import layers

from senet.layers.conv import require_channels_last
from senet.models.spec import Spec
from senet.models.tables import build_head, build_trunk

RECURSION_LIMIT = 20_000  # SE-ResNet-1202 has some six thousand layers one behind another
POOLINGS = {
    "avg": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
}


def build_network(
    spec: Spec,
    *,
    name: str,
    include_top: bool = True,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = None,
    features_only: bool = False,
) -> keras.Model:
    """The network of a row; the arguments are those of `senet.create_model`."""
    if features_only and (include_top is not True or pooling is not None):
        raise ValueError("`features_only` returns feature maps: leave `include_top` and `pooling` out.")
    if not (features_only or include_top) and pooling not in (None, *POOLINGS):
        raise ValueError(f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}.")
    classes = spec.classes if classes is None else classes
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise ValueError(f"`classes` must be an integer of at least 1. Received: classes={classes!r}.")
    inputs, x = make_input(spec, input_tensor, input_shape)
    features = build_trunk(x, spec)
    last = features[max(features)]
    if features_only:
        outputs: Any = {f"stride_{stride}": feature for stride, feature in features.items()}
    elif include_top:
        outputs = build_head(last, spec, classes=classes, activation=classifier_activation)
    else:
        outputs = POOLINGS[pooling](name="pool")(last) if pooling else last
    try:
        return keras.Model(inputs, outputs, name=name)
    except RecursionError:
        # Keras walks a graph layer by layer in a recursion: a thousand layers are deeper than Python's limit.
        # It stays raised, because saving and loading such a network walk it again.
        sys.setrecursionlimit(max(RECURSION_LIMIT, sys.getrecursionlimit()))
        return keras.Model(inputs, outputs, name=name)


def make_input(spec: Spec, input_tensor: Any, input_shape: tuple[int | None, ...] | None):
    """The model's input and the tensor to build upon, checked: 4-D, channels last, large enough."""
    require_channels_last()
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, such as keras.Input((224, 224, 3)). "
                f"Received: {type(input_tensor).__name__}."
            )
        if input_shape is not None and tuple(input_shape) != tuple(input_tensor.shape[1:]):
            raise ValueError(
                "Give `input_tensor` or `input_shape`, or two that agree. "
                f"Received: input_tensor of shape {input_tensor.shape}, input_shape={input_shape}."
            )
        input_shape = input_tensor.shape[1:]
    shape = (None, None, spec.channels) if input_shape is None else tuple(input_shape)
    check_input_shape(shape, spec.stride)
    if input_tensor is None:
        image = layers.Input(shape, name="image")
        return image, image
    sources = keras.utils.get_source_inputs(input_tensor)
    return sources[0] if len(sources) == 1 else sources, input_tensor


def check_input_shape(shape: tuple[int | None, ...], smallest: int) -> None:
    """Raise ValueError unless `shape` is (H, W, C) with sides of at least `smallest` pixels, or None."""
    rule = "`input_shape` must be (height, width, channels), channels last"
    if len(shape) != 3 or shape[2] is None or any(n is not None and n < 1 for n in shape):
        raise ValueError(f"{rule}, with the channels known. Received: input_shape={shape}.")
    height, width, channels = shape
    if height in (1, 3, 4) and channels not in (1, 2, 3, 4) and (width is None or width > 4):
        raise ValueError(
            f"{rule}; this looks like channels first. Received: input_shape={shape}. "
            f"Did you mean {(width, channels, height)}?"
        )
    if any(side is not None and side < smallest for side in (height, width)):
        raise ValueError(
            "`input_shape` is too small for the strides of this network: each side must be at least "
            f"{smallest} pixels. Received: input_shape={shape}. The `_cifar` networks take 4 and more."
        )
