"""Convolution units and pools whose padding is explicit."""

from __future__ import annotations

import keras
from keras import layers

from senet.layers.squeeze_excite import check_choice

POOLS = ("ceil", "pad")


def conv_bn(
    x,
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    act: str | None = "relu",
    epsilon: float = 1e-5,
    decay: float = 0.9,
    name: str,
):
    """Convolution without bias, BatchNorm, activation: (N, H, W, C) to (N, ⌈H/stride⌉, ⌈W/stride⌉, filters).

    `kernel` is odd. `decay` is the share of the running statistics that is kept at a step (Keras'
    momentum; PyTorch's is one minus it). `act=None` leaves the activation out.
    """
    padding = "same"
    if stride > 1 and kernel > 1:
        # Caffe and PyTorch pad both sides; "same" pads an even image more on the far side,
        # so converted weights would see every window moved by one pixel.
        x, padding = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        padding,
        use_bias=False,
        kernel_initializer="he_normal",  # He et al. 2015, which the paper trains from
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(momentum=decay, epsilon=epsilon, name=f"{name}_bn")(x)
    return layers.Activation(act, name=f"{name}_act")(x) if act else x


def max_pool(x, rule: str, *, name: str):
    """Max pool 3×3, stride 2, of a non-negative input (after a ReLU), by one of two rules.

    "ceil" is Caffe's: windows start at the first pixel and the last one may hang over the far edge, ⌊H/2⌋
    rows. "pad" is PyTorch's padding of one: windows centred on even pixels, ⌈H/2⌉ rows.
    """
    check_choice("max_pool", "rule", rule, POOLS)
    # Zeros stand for minus infinity: nothing here is negative. One row and column on the far side gives
    # Caffe's ceil mode on every size; Keras' "same" equals it on even sizes only.
    border = ((0, 1), (0, 1)) if rule == "ceil" else 1
    x = layers.ZeroPadding2D(border, name=f"{name}_pad")(x)
    return layers.MaxPooling2D(3, 2, "valid", name=name)(x)


def require_channels_last() -> None:
    """Raise ValueError where Keras is set to channels first."""
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "senet builds channels-last networks only. Received: image_data_format="
            f"{keras.config.image_data_format()!r}. Call keras.config.set_image_data_format('channels_last')."
        )
