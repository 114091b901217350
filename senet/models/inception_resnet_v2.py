"""Inception-ResNet-v2 (Szegedy et al. 2016, arXiv:1602.07261), and with SE.

The network is the released one (github.com/tensorflow/models, slim), which has another stem than the paper's
Figure 3 and 10, 20, 10 residual blocks. The SE block is on the residual branch, before its scale and the sum;
in the module without a shortcut that opens each stage it follows the concatenation: 43 of them.
arXiv:1709.01507 says no more than that the scheme is similar to that of its other networks.

Layers: `stem1` to `stem5`; block 1 of a stage is the module that opens it, with
`stage2_block1_branch2_unit1_conv`, `_bn`, `_act`, `stage2_block1_pool`, `_concat`, `_se`; residual blocks
follow, with `stage2_block2_branch2_unit1_conv`, ..., `_concat`, `_expand_conv` (biases, no BatchNorm), `_se`,
`_scale`, `_add`, `_act`. `head_conv` is the 1×1 convolution before the pool.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

from keras import layers

from senet.layers.conv_units import conv_unit
from senet.models.spec import SESpec, Spec
from senet.models.staged import check_se, squeeze_excite


class Unit(NamedTuple):
    """A convolution with BatchNorm and activation. With stride 2 it is not padded."""

    filters: int
    kernel: int | tuple[int, int]
    stride: int = 1


Branches = tuple[tuple[Unit, ...], ...]

# A stage opens with these beside a pool: a mean and a 1×1 convolution (Mixed-5b), or a max with stride 2.
OPENINGS: dict[int, Branches] = {
    1: (
        (Unit(96, 1),),
        (Unit(48, 1), Unit(64, 5)),
        (Unit(64, 1), Unit(96, 3), Unit(96, 3)),
    ),
    2: (
        (Unit(384, 3, 2),),
        (Unit(256, 1), Unit(256, 3), Unit(384, 3, 2)),
    ),
    3: (
        (Unit(256, 1), Unit(384, 3, 2)),
        (Unit(256, 1), Unit(288, 3, 2)),
        (Unit(256, 1), Unit(288, 3), Unit(320, 3, 2)),
    ),
}
RESIDUALS: dict[int, Branches] = {
    1: ((Unit(32, 1),), (Unit(32, 1), Unit(32, 3)), (Unit(32, 1), Unit(48, 3), Unit(64, 3))),
    2: ((Unit(192, 1),), (Unit(128, 1), Unit(160, (1, 7)), Unit(192, (7, 1)))),
    3: ((Unit(192, 1),), (Unit(192, 1), Unit(224, (1, 3)), Unit(256, (3, 1)))),
}
SCALES = {1: 0.17, 2: 0.1, 3: 0.2}  # of the residual branches
STRIDES = {1: 8, 2: 16, 3: 32}  # of the stages
SMALLEST = 75  # side of an image: the convolutions without padding leave nothing of a smaller one


@dataclasses.dataclass(frozen=True, kw_only=True)
class InceptionResNetV2Spec(Spec):
    """Inception-ResNet-v2. The fields of `Spec`, and:

    Args:
        blocks: residual blocks in each of the three stages.
    """

    bn_epsilon: float = 1e-3  # as in the released network
    dropout: float = 0.2
    image_size: int = 299
    blocks: tuple[int, int, int] = (10, 20, 10)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))  # a list, from a recipe
        super().__post_init__()
        if len(self.blocks) != len(STRIDES) or min(self.blocks) < 1:
            raise ValueError(
                f"Network: `blocks` must be three numbers from 1. Received: blocks={self.blocks}."
            )
        check_se(self.se, len(STRIDES))


MODELS = {
    "inception_resnet_v2": InceptionResNetV2Spec(),
    "se_inception_resnet_v2": InceptionResNetV2Spec(se=SESpec()),
}


def build_trunk(x, spec: InceptionResNetV2Spec) -> dict[int, object]:
    """The stem and the feature maps after each stage, keyed by their stride, finest first.

    Raises ValueError for an image that is known to be smaller than 75×75.
    """
    if any(side is not None and side < SMALLEST for side in x.shape[1:3]):
        raise ValueError(
            f"`input_shape` is too small for Inception-ResNet-v2: each side must be at least {SMALLEST} "
            f"pixels. Received: {tuple(x.shape[1:])}."
        )
    conv = partial(conv_unit, act=spec.act, epsilon=spec.bn_epsilon, decay=spec.bn_momentum)
    x = build_stem(x, conv)
    features = {4: x}
    x = layers.MaxPooling2D(3, 2, name="stem5_pool")(x)
    for stage, stride in STRIDES.items():
        x = build_stage(x, spec, conv, stage=stage)
        features[stride] = x
    features[stride] = conv(x, 1536, 1, name="head")
    return features


def build_stem(x, conv):
    """Five convolutions, three of them without padding, and a pool: (N, 299, 299, ·) to (N, 71, 71, 192)."""
    x = conv(x, 32, 3, stride=2, padded=False, name="stem1")
    x = conv(x, 32, 3, padded=False, name="stem2")
    x = conv(x, 64, 3, name="stem3")
    x = layers.MaxPooling2D(3, 2, name="stem3_pool")(x)
    x = conv(x, 80, 1, name="stem4")
    return conv(x, 192, 3, padded=False, name="stem5")


def build_stage(x, spec: InceptionResNetV2Spec, conv, *, stage: int):
    """The module that opens the stage, and its residual blocks."""
    x = opening(x, conv, stage=stage, name=f"stage{stage}_block1")
    x = squeeze_excite(x, spec.se, stage=stage, name=f"stage{stage}_block1")
    final = spec.blocks[stage - 1] + 1
    for block in range(2, final + 1):
        last = stage == len(STRIDES) and block == final
        x = residual(x, spec, conv, stage=stage, last=last, name=f"stage{stage}_block{block}")
    return x


def opening(x, conv, *, stage: int, name: str):
    """Branches and a pool side by side: (N, H, W, ·) to the same size, from stage 2 on ⌊(H − 1)/2⌋ rows."""
    branches = convolve(x, OPENINGS[stage], conv, name=name)
    if stage == 1:
        y = layers.AveragePooling2D(3, 1, "same", name=f"{name}_pool")(x)  # does not count the border
        y = conv(y, 64, 1, name=f"{name}_project")
    else:
        y = layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)
    return concat([*branches, y], name=name)


def residual(x, spec: InceptionResNetV2Spec, conv, *, stage: int, last: bool, name: str):
    """act(x + scale · branch(x)), the same shape. The last block of all has neither scale nor activation."""
    y = concat(convolve(x, RESIDUALS[stage], conv, name=name), name=name)
    y = layers.Conv2D(x.shape[-1], 1, kernel_initializer="he_normal", name=f"{name}_expand_conv")(y)
    y = squeeze_excite(y, spec.se, stage=stage, name=name)
    if not last:
        y = layers.Rescaling(SCALES[stage], name=f"{name}_scale")(y)
    x = layers.Add(name=f"{name}_add")([x, y])
    return x if last else layers.Activation(spec.act, name=f"{name}_act")(x)


def convolve(x, branches: Branches, conv, *, name: str) -> list:
    """The output of each branch of `x`."""
    outputs = []
    for number, units in enumerate(branches, start=1):
        y = x
        for index, (filters, kernel, stride) in enumerate(units, start=1):
            unit = f"{name}_branch{number}_unit{index}"
            y = conv(y, filters, kernel, stride=stride, padded=stride == 1, name=unit)
        outputs.append(y)
    return outputs


def concat(branches: list, *, name: str):
    return layers.Concatenate(name=f"{name}_concat")(branches)
