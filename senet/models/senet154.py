"""SENet-154, the authors' entry of 2017, and its kin.

A ResNeXt-152 64×4d with SE, whose first 1×1 convolutions have half the width, whose stem is three 3×3
convolutions, and whose shortcuts are 3×3 where they halve the size (paper's appendix;
github.com/hujie-frank/SENet, models/SENet-154.prototxt). The smaller rows are pytorchcv's: the
same plan, 32 groups.
"""

from __future__ import annotations

from functools import partial

from senet.models.spec import ResidualSpec, SESpec

senet = partial(
    ResidualSpec,
    block="bottleneck",
    expansion=1,
    widths=(256, 512, 1024, 2048),
    halved_reduce=True,
    stem="deep",
    stem_width=128,
    stem_hidden=(64, 64),
    stride_on="3x3",
    shortcut="3x3",
    dropout=0.2,
)
senet_32 = partial(senet, groups=32, widths=(128, 256, 512, 1024), expansion=2, se=SESpec())

MODELS = {
    "resnext_152_64x4d": senet(blocks=(3, 8, 36, 3), groups=64),
    "senet_16": senet_32(blocks=(1, 1, 1, 1)),
    "senet_28": senet_32(blocks=(2, 2, 2, 2)),
    "senet_40": senet_32(blocks=(3, 3, 3, 3)),
    "senet_52": senet_32(blocks=(3, 4, 6, 3)),
    "senet_103": senet_32(blocks=(3, 4, 23, 3)),
    "senet_154": senet(blocks=(3, 8, 36, 3), groups=64, se=SESpec()),
}
