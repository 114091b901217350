"""Convolution units that only some networks need: with bias, without padding, oblong, depthwise."""

from __future__ import annotations

import math

from keras import initializers, layers

from senet.layers.conv import norm_act


def conv_unit(
    x,
    filters: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    padded: bool = True,
    bias: bool = False,
    act: str | None = "relu",
    epsilon: float = 1e-5,
    decay: float = 0.9,
    name: str,
):
    """Convolution, BatchNorm, activation, as `conv_bn`: (N, H, W, C) to (N, ⌈H/stride⌉, ⌈W/stride⌉, filters).

    Args:
        kernel: odd, or (rows, columns), both odd.
        padded: by half the kernel on every side; otherwise windows lie inside the image, and the result has
            ⌊(H − rows) / stride⌋ + 1 rows.
        bias: a bias before BatchNorm, where it changes nothing; some published weights have one.
    """
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    if padded and stride > 1 and (rows, columns) != (1, 1):
        # Not "same", which pads an even image more on the far side (see `convolution`).
        x, padded = layers.ZeroPadding2D((rows // 2, columns // 2), name=f"{name}_pad")(x), False
    x = layers.Conv2D(
        filters,
        (rows, columns),
        stride,
        "same" if padded else "valid",
        use_bias=bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return norm_act(x, act=act, epsilon=epsilon, decay=decay, name=name)


def depthwise_unit(
    x, *, stride: int = 1, act: str | None = "relu", epsilon: float = 1e-5, decay: float = 0.9, name: str
):
    """Depthwise 3×3 convolution, BatchNorm, activation: (N, H, W, C) to (N, ⌈H/stride⌉, ⌈W/stride⌉, C)."""
    padding = "same"
    if stride > 1:
        x, padding = layers.ZeroPadding2D(1, name=f"{name}_pad")(x), "valid"
    # "he_normal" would take C times too many inputs for each output: one channel has nine.
    initializer = initializers.RandomNormal(stddev=math.sqrt(2 / 9))
    x = layers.DepthwiseConv2D(
        3, stride, padding, use_bias=False, depthwise_initializer=initializer, name=f"{name}_conv"
    )(x)
    return norm_act(x, act=act, epsilon=epsilon, decay=decay, name=name)


def counted_mean_pool(x, *, stride: int = 1, name: str):
    """Mean of 3×3 pixels, the border of zeros counted: (N, H, W, C) to (N, ⌈H/stride⌉, ⌈W/stride⌉, C).

    Caffe's average pool with pad 1, and PyTorch's by default; Keras' "same" leaves the border out.
    """
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return layers.AveragePooling2D(3, stride, "valid", name=name)(x)
