"""Build a residual network from its spec: one stem, one stage loop, one head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from senet.layers.conv import conv_bn, convolution, max_pool, mean_pool, norm_act
from senet.models.blocks import BRANCHES, preactivation_block, residual_block
from senet.models.spec import ResidualSpec, Stage


def build_trunk(x, spec: ResidualSpec) -> dict[int, object]:
    """The feature maps after each stage, keyed by their stride in input pixels, finest first."""
    norm: dict[str, Any] = {"epsilon": spec.bn_epsilon, "decay": spec.bn_momentum}
    wrapper = preactivation_block if spec.preactivation else residual_block
    block = partial(wrapper, branch=BRANCHES[spec.block], norm=norm)
    x, stride, features = build_stem(x, spec, norm), spec.stem_stride, {}
    for stage in spec.stages:
        x = build_stage(x, stage, block)
        stride *= stage.stride
        features[stride] = x
    if spec.preactivation and spec.last_norm:
        features[stride] = norm_act(x, act=spec.act, **norm, name="last")
    if spec.head_width:
        features[stride] = conv_bn(features[stride], spec.head_width, 1, act=spec.act, **norm, name="head")
    return features


def build_stem(x, spec: ResidualSpec, norm: dict[str, Any]):
    """(N, H, W, ·) to the size of the first stage, `spec.stem_width` channels."""
    conv: Callable = partial(conv_bn, act=spec.act, **norm)
    if spec.stem == "conv":
        return convolution(x, spec.stem_width, 3, name="stem")
    if spec.stem == "cifar":
        return conv(x, spec.stem_width, 3, name="stem")
    if spec.stem == "deep":
        first, second = spec.stem_hidden
        x = conv(x, first, 3, stride=2, name="stem1")
        x = conv(x, second, 3, name="stem2")
        x = conv(x, spec.stem_width, 3, stride=2 if spec.stem_pool == "stride" else 1, name="stem3")
    else:
        x = conv(x, spec.stem_width, 7, stride=2, name="stem")
    return pool_stem(x, spec)


def pool_stem(x, spec: ResidualSpec):
    """The pool of a stem by the rule of the spec."""
    if spec.stem_pool == "stride":
        return x
    if spec.stem_pool == "avg":
        return mean_pool(x, far_edge=False, name="stem_pool")
    return max_pool(x, spec.stem_pool, signed=spec.act != "relu", name="stem_pool")


def build_stage(x, stage: Stage, block: Callable):
    """Stack the stage's blocks: (N, H, W, ·) to (N, ⌈H/stride⌉, ⌈W/stride⌉, stage.channels)."""
    for index, drop_path in enumerate(stage.drop_path):
        stride = stage.stride if index == 0 else 1
        x = block(x, stage, stride=stride, drop_path=drop_path, name=f"stage{stage.number}_block{index + 1}")
    return x
