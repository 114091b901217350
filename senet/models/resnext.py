"""ResNeXt and SE-ResNeXt for ImageNet-sized images (Xie et al. 2017).

The stride is on the grouped 3×3 convolution, the max pool is Caffe's: the authors' networks
(github.com/hujie-frank/SENet, models/SE-ResNeXt-*.prototxt). 32×4d stands for 32 groups of 4 channels in the
first stage. The rows of depth 26 are timm's.
"""

from __future__ import annotations

from functools import partial

from senet.models.spec import ResidualSpec, SESpec

resnext = partial(ResidualSpec, block="bottleneck", stride_on="3x3")
resnext_32x4d = partial(resnext, groups=32, widths=(128, 256, 512, 1024), expansion=2)
resnext_64x4d = partial(resnext, groups=64, widths=(256, 512, 1024, 2048), expansion=1)
resnext_32x8d = partial(resnext, groups=32, widths=(256, 512, 1024, 2048), expansion=1)
SE = SESpec()

MODELS = {
    "resnext_50_32x4d": resnext_32x4d(blocks=(3, 4, 6, 3)),
    "resnext_101_32x4d": resnext_32x4d(blocks=(3, 4, 23, 3)),
    "resnext_101_64x4d": resnext_64x4d(blocks=(3, 4, 23, 3)),
    "resnext_101_32x8d": resnext_32x8d(blocks=(3, 4, 23, 3)),
    "se_resnext_26_32x4d": resnext_32x4d(blocks=(2, 2, 2, 2), se=SE),
    "se_resnext_50_32x4d": resnext_32x4d(blocks=(3, 4, 6, 3), se=SE),
    "se_resnext_101_32x4d": resnext_32x4d(blocks=(3, 4, 23, 3), se=SE),
    "se_resnext_101_64x4d": resnext_64x4d(blocks=(3, 4, 23, 3), se=SE),
    "se_resnext_101_32x8d": resnext_32x8d(blocks=(3, 4, 23, 3), se=SE),
    "se_resnext_201_32x8d": resnext_32x8d(blocks=(3, 24, 36, 4), se=SE),
    "se_resnext_26ts": resnext(
        blocks=(2, 2, 2, 2),
        group_width=32,
        stem="deep",
        stem_hidden=(24, 32),
        stem_pool="pad",
        act="silu",
        se=SESpec(divisor=8, position="3x3"),
        image_size=256,
    ),
}
