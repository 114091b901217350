"""Residual blocks: the branches, and the one wrapper that puts shortcut, SE and sum around them."""

from __future__ import annotations

from collections.abc import Callable

from keras import layers

from senet.models.spec import Stage


def basic_branch(x, stage: Stage, *, stride: int, conv: Callable, se: Callable, name: str):
    """3×3, 3×3; the first carries the stride (He et al. 2016, Figure 5 left)."""
    x = conv(x, stage.width, 3, stride=stride, name=f"{name}_spatial1")
    x = se(x, at="3x3")
    return conv(x, stage.channels, 3, act=None, name=f"{name}_spatial2")


def bottleneck_branch(x, stage: Stage, *, stride: int, conv: Callable, se: Callable, name: str):
    """1×1 to the width, 3×3, 1×1 to four times the width (He et al. 2016, Figure 5 right)."""
    first, second = (stride, 1) if stage.stride_on == "1x1" else (1, stride)
    x = conv(x, stage.width, 1, stride=first, name=f"{name}_reduce")
    x = conv(x, stage.width, 3, stride=second, name=f"{name}_spatial")
    x = se(x, at="3x3")
    return conv(x, stage.channels, 1, act=None, name=f"{name}_expand")


BRANCHES = {"basic": basic_branch, "bottleneck": bottleneck_branch}


def residual_block(
    x, stage: Stage, *, branch: Callable, conv: Callable, stride: int, drop_path: float, name: str
):
    """act(shortcut(x) + branch(x)), with SE at the position that its spec names.

    (N, H, W, ·) to (N, ⌈H/stride⌉, ⌈W/stride⌉, stage.channels). `branch` is one of `BRANCHES`, `conv` is
    `conv_bn` with the constants of the network bound.
    """

    def se(y, at: str):
        if stage.se is None or stage.se.position != at:
            return y
        return stage.se.layer(f"{name}_se")(y)

    shortcut = x
    if stride > 1 or x.shape[-1] != stage.channels:
        shortcut = conv(x, stage.channels, 1, stride=stride, act=None, name=f"{name}_shortcut")
    shortcut = se(shortcut, at="identity")
    x = se(x, at="pre")
    x = branch(x, stage, stride=stride, conv=conv, se=se, name=name)
    x = se(x, at="standard")
    if drop_path:
        # One draw an image for the whole branch: stochastic depth is dropout with this noise shape.
        x = layers.Dropout(drop_path, noise_shape=(None, 1, 1, 1), name=f"{name}_drop_path")(x)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    x = layers.Activation(stage.act, name=f"{name}_act")(x)
    return se(x, at="post")
