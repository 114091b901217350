"""BN-Inception (Ioffe and Szegedy 2015, arXiv:1502.03167, Figure 5), and with SE.

The SE block is a whole module's: after its concatenation, ten of them (github.com/hujie-frank/SENet,
models/SE-BN-Inception.prototxt). Modules keep their published names: `stage3a_1x1_conv`,
`stage3a_3x3_reduce_conv`, `stage3a_3x3_conv`, `stage3a_double_reduce_conv`, `stage3a_double1_conv`,
`stage3a_double2_conv`, `stage3a_pool`, `stage3a_project_conv`, each convolution with `_bn` and `_act`;
`stage3a_concat`, `stage3a_se`. The stem is `stem1` (7×7), `stem2` (1×1), `stem3` (3×3).
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

from keras import layers

from senet.layers.conv import max_pool
from senet.layers.conv_units import conv_unit, counted_mean_pool
from senet.models.spec import SESpec, Spec
from senet.models.staged import check_se, squeeze_excite


class Module(NamedTuple):
    """Widths of one module's branches; 0 leaves a convolution out."""

    name: str
    stage: int
    one: int  # 1×1
    spatial: tuple[int, int]  # 1×1, 3×3
    double: tuple[int, int]  # 1×1, and twice 3×3
    pool: str  # "mean" or "max"; "halve" is max with stride 2, as are then the last 3×3 convolutions
    project: int  # 1×1 after the pool


MODULES = (
    Module("3a", 1, 64, (64, 64), (64, 96), "mean", 32),
    Module("3b", 1, 64, (64, 96), (64, 96), "mean", 64),
    Module("3c", 2, 0, (128, 160), (64, 96), "halve", 0),
    Module("4a", 2, 224, (64, 96), (96, 128), "mean", 128),
    Module("4b", 2, 192, (96, 128), (96, 128), "mean", 128),
    Module("4c", 2, 160, (128, 160), (128, 160), "mean", 128),
    Module("4d", 2, 96, (128, 192), (160, 192), "mean", 128),
    Module("4e", 3, 0, (128, 192), (192, 256), "halve", 0),
    Module("5a", 3, 352, (192, 320), (160, 224), "mean", 128),
    Module("5b", 3, 352, (192, 320), (192, 224), "max", 128),
)
STRIDES = {1: 8, 2: 16, 3: 32}  # of the stages


@dataclasses.dataclass(frozen=True, kw_only=True)
class BNInceptionSpec(Spec):
    """BN-Inception. The fields of `Spec`, and:

    Args:
        se: its stages are 1 (modules 3a, 3b), 2 (3c to 4d) and 3 (4e to 5b): one for each size.
        conv_bias: biases before BatchNorm (pytorchcv).
    """

    conv_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_se(self.se, len(STRIDES))


MODELS = {
    "bn_inception": BNInceptionSpec(),
    "se_bn_inception": BNInceptionSpec(se=SESpec()),
}


def build_trunk(x, spec: BNInceptionSpec) -> dict[int, object]:
    """The stem and the feature maps after each stage, keyed by their stride, finest first."""
    conv = partial(
        conv_unit, bias=spec.conv_bias, act=spec.act, epsilon=spec.bn_epsilon, decay=spec.bn_momentum
    )
    x = conv(x, 64, 7, stride=2, name="stem1")
    x = max_pool(x, "ceil", name="stem1_pool")
    x = conv(x, 64, 1, name="stem2")
    x = conv(x, 192, 3, name="stem3")
    features = {4: x}
    x = max_pool(x, "ceil", name="stem3_pool")
    for module in MODULES:
        x = build_module(x, module, conv, name=f"stage{module.name}")
        x = squeeze_excite(x, spec.se, stage=module.stage, name=f"stage{module.name}")
        features[STRIDES[module.stage]] = x
    return features


def build_module(x, module: Module, conv, *, name: str):
    """The branches of a module side by side: (N, H, W, ·) to the sum of their channels, same or half size."""
    stride = 2 if module.pool == "halve" else 1
    branches = [conv(x, module.one, 1, name=f"{name}_1x1")] if module.one else []
    reduce, width = module.spatial
    y = conv(x, reduce, 1, name=f"{name}_3x3_reduce")
    branches.append(conv(y, width, 3, stride=stride, name=f"{name}_3x3"))
    reduce, width = module.double
    y = conv(x, reduce, 1, name=f"{name}_double_reduce")
    y = conv(y, width, 3, name=f"{name}_double1")
    branches.append(conv(y, width, 3, stride=stride, name=f"{name}_double2"))
    y = pool_branch(x, module.pool, name=f"{name}_pool")
    branches.append(conv(y, module.project, 1, name=f"{name}_project") if module.project else y)
    return layers.Concatenate(name=f"{name}_concat")(branches)


def pool_branch(x, pool: str, *, name: str):
    """The 3×3 pool of a module."""
    if pool == "mean":
        return counted_mean_pool(x, name=name)
    # Caffe's rule on even sizes. On odd ones Caffe's pool gives a row less than the convolutions beside it
    # and its network ends in an error; this one has their centres. Its border is minus infinity and not
    # zero: gates other than the sigmoid make negative values.
    return layers.MaxPooling2D(3, 2 if pool == "halve" else 1, "same", name=name)(x)
