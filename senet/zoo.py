"""Every network by name: the merged tables, `list_models` and `create_model`."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras import layers

from senet.errors import did_you_mean
from senet.layers.conv import require_channels_last
from senet.models import cifar, resnet
from senet.models.residual import build_head, build_trunk
from senet.models.spec import ResidualSpec
from senet.models.weights_file import load_by_name

POOLINGS = {
    "avg": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
}


def merge(*tables: Mapping[str, ResidualSpec]) -> dict[str, ResidualSpec]:
    """One table of all rows; a name that stands in two of them is refused."""
    merged: dict[str, ResidualSpec] = {}
    for table in tables:
        twice = merged.keys() & table.keys()
        if twice:
            raise RuntimeError(f"A model name must be unique. Defined twice: {sorted(twice)}.")
        merged.update(table)
    return merged


MODELS = merge(resnet.MODELS, cifar.MODELS)


def list_models(pattern: str = "*", weights: bool = False) -> list[str]:
    """Names of the networks that match a shell pattern such as "se_*", in table order.

    With `weights=True` only those that have a published weight set (none in this version).
    """
    return [] if weights else [name for name in MODELS if fnmatch.fnmatchcase(name, pattern)]


def get_spec(name: str) -> ResidualSpec:
    """The row of a network; ValueError with the nearest names where there is none."""
    if name in MODELS:
        return MODELS[name]
    raise ValueError(
        f"The model must be one of senet.list_models(). Received: {name!r}.{did_you_mean(str(name), MODELS)}"
    )


def plain_twin(name: str) -> str:
    """The same network without SE: "se_resnet_50" to "resnet_50". A plain name stays as it is."""
    return name.removeprefix("se_")


def create_model(
    model: str,
    /,
    weights: str | Path | None = None,
    include_top: bool = True,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    *,
    features_only: bool = False,
    **changes: Any,
) -> keras.Model:
    """Build a network by name. The arguments are those of keras.applications, with their meaning.

    Args:
        model: a name from `list_models()`.
        weights: None (He initialisation) or the path of a Keras weights file.
        include_top: end in the classifier; otherwise in the last feature map, or what `pooling` makes of it.
        input_tensor: a Keras tensor (N, H, W, C) to build upon.
        input_shape: (H, W, C), channels last; H and W may be None. Default (None, None, 3).
        pooling: without the top: None (feature map, 4-D), "avg" or "max" (2-D).
        classes: number of classes; default 1000, 10 for the CIFAR networks.
        classifier_activation: "softmax", or None for logits.
        name: of the Keras model; default the network's.
        features_only: end in a dict of the stages' feature maps, "stride_4" … "stride_32".
        **changes: fields of the spec to change: `se=None`, `se=SESpec(ratio=8)`, `dropout=0.2`,
            `drop_path=0.1`, `stride_on="3x3"`, … (see `senet.models.spec.ResidualSpec`).

    Returns a functional keras.Model: (N, H, W, C) float to (N, classes), probabilities by default.
    Raises ValueError for an unknown name or option, or an input that does not fit.

    Source: Hu et al., arXiv:1709.01507, Table 1.
    """
    spec = get_spec(model).change(**changes)
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
        outputs = build_head(last, classes=classes, dropout=spec.dropout, activation=classifier_activation)
    else:
        outputs = POOLINGS[pooling](name="pool")(last) if pooling else last
    network = keras.Model(inputs, outputs, name=name or model)
    if weights is not None:
        load_weights(network, weights)
    return network


def make_input(spec: ResidualSpec, input_tensor: Any, input_shape: tuple[int | None, ...] | None):
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


def load_weights(network: keras.Model, weights: str | Path) -> None:
    """Fill every variable from a Keras weights file; never leave one random in silence."""
    path = Path(weights)
    if not str(weights).endswith((".weights.h5", ".keras")):
        raise ValueError(
            "`weights` must be None or the path of a Keras weights file (*.weights.h5, *.keras); this "
            f"version has no published weight sets. Received: weights={str(weights)!r}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"`weights` names a file that does not exist: {path}")
    load_by_name(network, path)
