"""Build a residual network from its spec: one stem, one stage loop, one head."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from keras import layers

from senet.layers.conv import conv_bn, max_pool
from senet.models.blocks import BRANCHES, residual_block
from senet.models.spec import ResidualSpec, Stage


def build_trunk(x, spec: ResidualSpec) -> dict[int, object]:
    """The feature maps after each stage, keyed by their stride in input pixels, finest first."""
    conv = partial(conv_bn, act=spec.act, epsilon=spec.bn_epsilon, decay=spec.bn_momentum)
    block = partial(residual_block, branch=BRANCHES[spec.block], conv=conv)
    x, stride, features = build_stem(x, spec, conv), spec.stem_stride, {}
    for stage in spec.stages:
        x = build_stage(x, stage, block)
        stride *= stage.stride
        features[stride] = x
    return features


def build_stem(x, spec: ResidualSpec, conv: Callable):
    """(N, H, W, ·) to the size of the first stage, `spec.stem_width` channels."""
    if spec.stem == "cifar":
        return conv(x, spec.stem_width, 3, name="stem")
    x = conv(x, spec.stem_width, 7, stride=2, name="stem")
    return max_pool(x, spec.stem_pool, name="stem_pool")


def build_stage(x, stage: Stage, block: Callable):
    """Stack the stage's blocks: (N, H, W, ·) to (N, ⌈H/stride⌉, ⌈W/stride⌉, stage.channels)."""
    for index, drop_path in enumerate(stage.drop_path):
        stride = stage.stride if index == 0 else 1
        x = block(x, stage, stride=stride, drop_path=drop_path, name=f"stage{stage.number}_block{index + 1}")
    return x


def build_head(x, *, classes: int, dropout: float, activation: str | None):
    """Global mean, dropout, classifier: (N, H, W, C) to (N, classes)."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        # With a seed of its own the layer holds its random state, where checkpoints find it: without one,
        # Keras draws from PyTorch's global generator. The seed follows keras.utils.set_random_seed.
        x = layers.Dropout(dropout, seed=random.randrange(2**31), name="dropout")(x)
    x = layers.Dense(classes, name="classifier")(x)
    # float32 whatever the policy: a half-precision softmax loses the small probabilities.
    return layers.Activation(activation or "linear", dtype="float32", name="predictions")(x)
