"""Residual blocks: the branches, and the two wrappers that put shortcut, SE and sum around them.

A branch is written in units: convolution, BatchNorm, activation in a block of 2016 (`residual_block`),
BatchNorm, activation, convolution in one with pre-activation (`preactivation_block`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from keras import layers

from senet.layers.conv import conv_bn, convolution, mean_pool, norm_act
from senet.layers.shake import Shake
from senet.models.spec import Stage


def basic_branch(x, stage: Stage, *, stride: int, unit: Callable, name: str):
    """3×3, 3×3; the first carries the stride (He et al. 2016, Figure 5 left)."""
    x = spatial(x, stage, stride=stride, unit=partial(unit, first=True), name=f"{name}_spatial1")
    x = squeeze_excite(x, stage, at="3x3", name=name)
    return unit(x, stage.channels, 3, last=True, name=f"{name}_spatial2")


def bottleneck_branch(x, stage: Stage, *, stride: int, unit: Callable, name: str):
    """1×1, 3×3, 1×1 to `stage.channels` (He et al. 2016, Figure 5 right)."""
    first, second = (stride, 1) if stage.stride_on == "1x1" else (1, stride)
    x = unit(x, stage.reduce, 1, stride=first, first=True, name=f"{name}_reduce")
    x = spatial(x, stage, stride=second, unit=unit, name=f"{name}_spatial")
    x = squeeze_excite(x, stage, at="3x3", name=name)
    return unit(x, stage.channels, 1, last=True, name=f"{name}_expand")


BRANCHES = {"basic": basic_branch, "bottleneck": bottleneck_branch}


def spatial(x, stage: Stage, *, stride: int, unit: Callable, name: str):
    """The (first) 3×3 convolution of a branch, with its stride and groups."""
    if stride == 1 or not stage.antialias:
        return unit(x, stage.width, 3, stride=stride, groups=stage.groups, name=name)
    x = unit(x, stage.width, 3, groups=stage.groups, name=name)
    return mean_pool(x, name=f"{name}_pool")


def squeeze_excite(x, stage: Stage, *, at: str, name: str):
    """`x` through the stage's SE block where its position is `at`, else as it is."""
    if stage.se is None or stage.se.position != at:
        return x
    if stage.act_before_se:
        x = layers.Activation(stage.act, name=f"{name}_se_act")(x)
    return stage.se.layer(f"{name}_se")(x)


def residual_block(
    x, stage: Stage, *, branch: Callable, norm: dict, stride: int, drop_path: float, name: str
):
    """act(shortcut(x) + branch(x)), with SE at the position that its spec names.

    (N, H, W, ·) to (N, ⌈H/stride⌉, ⌈W/stride⌉, stage.channels). `branch` is one of `BRANCHES`, `norm` holds
    the `epsilon` and `decay` of BatchNorm. With `stage.mix` there are two branches, mixed.
    """
    unit = partial(conv_unit, act=stage.act, norm=norm)
    shortcut = x
    if stride > 1 or x.shape[-1] != stage.channels:
        shortcut = SHORTCUTS[stage.shortcut](x, stage, stride=stride, norm=norm, name=f"{name}_shortcut")
    shortcut = squeeze_excite(shortcut, stage, at="identity", name=name)
    x = squeeze_excite(x, stage, at="pre", name=name)
    if stage.mix:
        names = (f"{name}_branch1", f"{name}_branch2")
        x = [branch(x, stage, stride=stride, unit=unit, name=each) for each in names]
        x = Shake(stage.mix, name=f"{name}_mix")(x)
    else:
        x = branch(x, stage, stride=stride, unit=unit, name=name)
    x = squeeze_excite(x, stage, at="standard", name=name)
    x = layers.Add(name=f"{name}_add")([shortcut, skip_at_random(x, drop_path, name=name)])
    x = layers.Activation(stage.act, name=f"{name}_act")(x)
    return squeeze_excite(x, stage, at="post", name=name)


def preactivation_block(
    x, stage: Stage, *, branch: Callable, norm: dict, stride: int, drop_path: float, name: str
):
    """shortcut(x) + branch(act(bn(x))): arguments and shapes as in `residual_block`.

    A shortcut that changes the shape is a convolution of the activated input. Source: He et al. 2016b,
    arXiv:1603.05027, Figure 1.
    """
    unit = partial(preactivation_unit, act=stage.act, norm=norm)
    activated = norm_act(x, act=stage.act, **norm, name=f"{name}_preact")
    shortcut = x
    if stride > 1 or x.shape[-1] != stage.channels:
        shortcut = convolution(activated, stage.channels, 1, stride=stride, name=f"{name}_shortcut")
    shortcut = squeeze_excite(shortcut, stage, at="identity", name=name)
    x = squeeze_excite(activated, stage, at="pre", name=name)
    x = branch(x, stage, stride=stride, unit=unit, name=name)
    x = squeeze_excite(x, stage, at="standard", name=name)
    x = layers.Add(name=f"{name}_add")([shortcut, skip_at_random(x, drop_path, name=name)])
    return squeeze_excite(x, stage, at="post", name=name)


def conv_unit(
    x, filters: int, kernel: int, *, act: str, norm: dict, first=False, last=False, name: str, **conv
):
    """Convolution, BatchNorm and, but for the branch's last one, activation."""
    return conv_bn(x, filters, kernel, act=None if last else act, **norm, name=name, **conv)


def preactivation_unit(
    x, filters: int, kernel: int, *, act: str, norm: dict, first=False, last=False, name: str, **conv
):
    """BatchNorm, activation, convolution; the branch's first one takes an input that is activated already."""
    if not first:
        x = norm_act(x, act=act, **norm, name=name)
    return convolution(x, filters, kernel, name=name, **conv)


def convolved_shortcut(x, stage: Stage, *, stride: int, norm: dict, name: str, kernel: int = 1):
    """Convolution with the stride, BatchNorm."""
    return conv_bn(x, stage.channels, kernel, stride=stride, act=None, **norm, name=name)


def averaged_shortcut(x, stage: Stage, *, stride: int, norm: dict, name: str):
    """Mean of 2×2 where the size changes, 1×1 convolution, BatchNorm (He et al. 2019, ResNet-D)."""
    x = mean_pool(x, name=f"{name}_pool") if stride > 1 else x
    return convolved_shortcut(x, stage, stride=1, norm=norm, name=name)


def shifted_shortcut(x, stage: Stage, *, stride: int, norm: dict, name: str):
    """Two 1×1 convolutions to half the channels each, of every second pixel and of those one up and left."""
    half = stage.channels // 2
    moved = layers.Cropping2D(((0, 1), (0, 1)), name=f"{name}_crop")(x)
    moved = layers.ZeroPadding2D(((1, 0), (1, 0)), name=f"{name}_pad")(moved)
    left = convolution(x, half, 1, stride=stride, name=f"{name}1")
    right = convolution(moved, half, 1, stride=stride, name=f"{name}2")
    x = layers.Concatenate(name=f"{name}_concat")([left, right])
    return norm_act(x, act=None, **norm, name=name)


SHORTCUTS: dict[str, Callable] = {
    "1x1": convolved_shortcut,
    "3x3": partial(convolved_shortcut, kernel=3),
    "avg": averaged_shortcut,
    "shifted": shifted_shortcut,
}


def skip_at_random(x, rate: float, *, name: str):
    """Stochastic depth: in training, the branch of an image is dropped with probability `rate`."""
    if not rate:
        return x
    # One draw an image for the whole branch: stochastic depth is dropout with this noise shape. With a seed
    # of its own the layer holds its random state, where checkpoints find it.
    seed = random.randrange(2**31)
    return layers.Dropout(rate, noise_shape=(None, 1, 1, 1), seed=seed, name=f"{name}_drop_path")(x)
