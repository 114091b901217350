"""ShuffleNet 1× with three groups (Zhang et al. 2017, arXiv:1707.01083, Table 1), and with SE.

The SE block is on the branch, before the sum, or before the concatenation in a block that halves the size.
The paper does not say where; so placed they add the 0.6 M weights of arXiv:1709.01507, Table 3. Layers are
called `stage1_block1_reduce_conv`, `_shuffle`, `_depthwise_conv`, `_expand_conv`, `_se`, then `_add` or
`_concat`, and `_act`.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from keras import layers

from senet.layers.channel_shuffle import ChannelShuffle
from senet.layers.conv import conv_bn, max_pool
from senet.layers.conv_units import counted_mean_pool, depthwise_unit
from senet.models.spec import SESpec
from senet.models.staged import StagedSpec, squeeze_excite


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShuffleNetSpec(StagedSpec):
    """A ShuffleNet. The fields of `StagedSpec` (every stage halves the size), and:

    Args:
        groups: of the 1×1 convolutions.
        stem_width: channels of the 3×3 convolution with stride 2, which a max pool follows.
    """

    groups: int = 3
    blocks: tuple[int, ...] = (4, 8, 4)
    widths: tuple[int, ...] = (240, 480, 960)
    stem_width: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        before = (self.stem_width, *self.widths)
        # A block that halves the size concatenates its input: the branch has the channels that are left.
        branches = [width - first for first, width in zip(before, self.widths, strict=False)]
        hidden = [width // 4 for width in self.widths]
        if self.groups < 1 or min(branches) < 1 or any(n % self.groups for n in (*branches, *hidden)):
            raise ValueError(
                "Network: `groups` must divide a quarter of every width, and what each stage adds to the "
                f"channels before it. Received: groups={self.groups}, stem_width={self.stem_width}, "
                f"widths={self.widths}."
            )

    @property
    def stride(self) -> int:
        return 4 * 2 ** len(self.blocks)


MODELS = {
    "shufflenet_g3": ShuffleNetSpec(),
    "se_shufflenet_g3": ShuffleNetSpec(se=SESpec()),
}


def build_trunk(x, spec: ShuffleNetSpec) -> dict[int, object]:
    """The stem and the feature maps after each stage, keyed by their stride, finest first."""
    norm: dict[str, Any] = {"epsilon": spec.bn_epsilon, "decay": spec.bn_momentum}
    x = conv_bn(x, spec.stem_width, 3, stride=2, act=spec.act, **norm, name="stem")
    x = max_pool(x, "pad", name="stem_pool")
    features, stride = {4: x}, 4
    for stage, (blocks, width) in enumerate(zip(spec.blocks, spec.widths, strict=True), start=1):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            x = build_block(x, width, spec, stage=stage, halve=block == 1, name=name)
        stride *= 2
        features[stride] = x
    return features


def build_block(x, width: int, spec: ShuffleNetSpec, *, stage: int, halve: bool, name: str):
    """1×1, shuffle, depthwise 3×3, 1×1, SE beside a shortcut: (N, H, W, ·) to (N, H, W, width).

    With `halve` to (N, ⌈H/2⌉, ⌈W/2⌉, width).
    """
    conv = partial(conv_bn, kernel=1, epsilon=spec.bn_epsilon, decay=spec.bn_momentum)
    depthwise = partial(depthwise_unit, act=None, epsilon=spec.bn_epsilon, decay=spec.bn_momentum)
    shortcut, hidden = x, width // 4
    # The first 1×1 of all has few input channels, and so no groups (section 3.2).
    groups = 1 if stage == 1 and halve else spec.groups
    x = conv(x, hidden, groups=groups, act=spec.act, name=f"{name}_reduce")
    x = ChannelShuffle(spec.groups, name=f"{name}_shuffle")(x)
    x = depthwise(x, stride=2 if halve else 1, name=f"{name}_depthwise")
    filters = width - shortcut.shape[-1] if halve else width
    x = conv(x, filters, groups=spec.groups, act=None, name=f"{name}_expand")
    x = squeeze_excite(x, spec.se, stage=stage, name=name)
    if halve:
        shortcut = counted_mean_pool(shortcut, stride=2, name=f"{name}_shortcut_pool")
        x = layers.Concatenate(name=f"{name}_concat")([x, shortcut])
    else:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation(spec.act, name=f"{name}_act")(x)
