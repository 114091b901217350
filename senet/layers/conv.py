"""Convolution units and pools whose padding is explicit."""

from __future__ import annotations

from functools import partial

import keras
from keras import layers

from senet.layers.batch_norm import BatchNorm
from senet.layers.grouped_conv import GroupedConv2D
from senet.layers.squeeze_excite import check_choice

POOLS = ("ceil", "pad")


def convolution(x, filters: int, kernel: int, *, stride: int = 1, groups: int = 1, name: str):
    """Convolution without bias, padded by `kernel // 2` on every side: (N, H, W, C) to (N, ⌈H/stride⌉, …).

    `kernel` is odd.
    """
    padding = "same"
    if stride > 1 and kernel > 1:
        # Caffe and PyTorch pad both sides; "same" pads an even image more on the far side,
        # so converted weights would see every window moved by one pixel.
        x, padding = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"
    layer = partial(GroupedConv2D, groups=groups) if groups > 1 else layers.Conv2D
    return layer(
        filters,
        kernel,
        stride,
        padding,
        use_bias=False,
        kernel_initializer="he_normal",  # He et al. 2015, which the paper trains from
        name=f"{name}_conv",
    )(x)


def norm_act(x, *, act: str | None = "relu", epsilon: float = 1e-5, decay: float = 0.9, name: str):
    """BatchNorm and activation. `decay` is the share of the running statistics that is kept at a step.

    It is Keras' momentum; PyTorch's is one minus it. `act=None` leaves the activation out.
    """
    x = BatchNorm(momentum=decay, epsilon=epsilon, name=f"{name}_bn")(x)
    return layers.Activation(act, name=f"{name}_act")(x) if act else x


def conv_bn(
    x,
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    act: str | None = "relu",
    epsilon: float = 1e-5,
    decay: float = 0.9,
    name: str,
):
    """`convolution`, then `norm_act`: (N, H, W, C) to (N, ⌈H/stride⌉, ⌈W/stride⌉, filters)."""
    x = convolution(x, filters, kernel, stride=stride, groups=groups, name=name)
    return norm_act(x, act=act, epsilon=epsilon, decay=decay, name=name)


def max_pool(x, rule: str, *, signed: bool = False, name: str):
    """Max pool 3×3, stride 2, by one of two rules; `signed`: the input may be negative (it is no ReLU's).

    "ceil" is Caffe's: windows start at the first pixel and the last one may hang over the far edge, ⌊H/2⌋
    rows. "pad" is PyTorch's padding of one: windows centred on even pixels, ⌈H/2⌉ rows.
    """
    check_choice("max_pool", "rule", rule, POOLS)
    if signed:
        # Keras pads with minus infinity for "same" alone, and with stride 2 places windows by H. So: every
        # window, then those of one parity. "ceil" has them centred on odd pixels.
        x = layers.MaxPooling2D(3, 1, "same", name=f"{name}_windows")(x)
        if rule == "ceil":
            x = layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}_odd")(x)
        return layers.MaxPooling2D(1, 2, "valid", name=name)(x)
    # Zeros stand for minus infinity: nothing here is negative. One row and column on the far side gives
    # Caffe's ceil mode on every size; Keras' "same" equals it on even sizes only.
    border = ((0, 1), (0, 1)) if rule == "ceil" else 1
    x = layers.ZeroPadding2D(border, name=f"{name}_pad")(x)
    return layers.MaxPooling2D(3, 2, "valid", name=name)(x)


def mean_pool(x, *, far_edge: bool = True, name: str):
    """Mean of 2×2 pixels, stride 2: (N, H, W, C) to (N, ⌈H/2⌉, ⌈W/2⌉, C); a last odd row is its own mean.

    Without `far_edge` an odd last row is left out: ⌊H/2⌋ rows.
    """
    # PyTorch's ceil_mode=True, count_include_pad=False: "same" pads the far side only, and does not count it.
    return layers.AveragePooling2D(2, 2, "same" if far_edge else "valid", name=name)(x)


def require_channels_last() -> None:
    """Raise ValueError where Keras is set to channels first."""
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "senet builds channels-last networks only. Received: image_data_format="
            f"{keras.config.image_data_format()!r}. Call keras.config.set_image_data_format('channels_last')."
        )
