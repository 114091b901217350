"""MobileNet 1.0 (Howard et al. 2017, arXiv:1704.04861, Table 1), and with SE.

The SE block follows the non-linearity of every 1×1 convolution: 13 of them. The paper does not say where;
so placed they add the 0.5 M weights of arXiv:1709.01507, Table 3. Layers are called
`stage2_block1_depthwise_conv`, `stage2_block1_pointwise_conv`, each with `_bn` and `_act`, and
`stage2_block1_se`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from senet.layers.conv import conv_bn
from senet.layers.conv_units import depthwise_unit
from senet.models.spec import SESpec
from senet.models.staged import StagedSpec, squeeze_excite


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileNetSpec(StagedSpec):
    """A MobileNet. The fields of `StagedSpec` (every stage but the first halves the size), and:

    Args:
        stem_width: channels of the 3×3 convolution with stride 2 before the first stage.
    """

    blocks: tuple[int, ...] = (1, 2, 2, 6, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    stem_width: int = 32

    @property
    def stride(self) -> int:
        return 2 ** len(self.blocks)


MODELS = {
    "mobilenet": MobileNetSpec(),
    "se_mobilenet": MobileNetSpec(se=SESpec()),
}


def build_trunk(x, spec: MobileNetSpec) -> dict[int, object]:
    """The feature maps after each stage but the first, keyed by their stride, finest first."""
    norm: dict[str, Any] = {"act": spec.act, "epsilon": spec.bn_epsilon, "decay": spec.bn_momentum}
    features = {}
    x = conv_bn(x, spec.stem_width, 3, stride=2, **norm, name="stem")
    for stage, (blocks, width) in enumerate(zip(spec.blocks, spec.widths, strict=True), start=1):
        for block in range(1, blocks + 1):
            name, stride = f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1
            x = depthwise_unit(x, stride=stride, **norm, name=f"{name}_depthwise")
            x = conv_bn(x, width, 1, **norm, name=f"{name}_pointwise")
            x = squeeze_excite(x, spec.se, stage=stage, name=name)
        features[2**stage] = x
    return {stride: feature for stride, feature in features.items() if stride >= min(4, spec.stride)}
