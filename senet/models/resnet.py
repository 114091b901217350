"""ResNet and SE-ResNet for ImageNet-sized images.

The rows without a suffix are the authors' networks (github.com/hujie-frank/SENet, models/*.prototxt): the
stride on the first 1×1 convolution, Caffe's max pool, SE convolutions with bias. The rows ending in `b` are
the variant that most people train today: stride on the 3×3 convolution, PyTorch's max pool.
"""

from __future__ import annotations

from functools import partial

from senet.models.spec import ResidualSpec, SESpec

basic = partial(ResidualSpec, block="basic")
bottleneck = partial(ResidualSpec, block="bottleneck")
bottleneck_b = partial(ResidualSpec, block="bottleneck", stride_on="3x3", stem_pool="pad")

MODELS = {
    "resnet_18": basic(blocks=(2, 2, 2, 2)),
    "resnet_34": basic(blocks=(3, 4, 6, 3)),
    "resnet_50": bottleneck(blocks=(3, 4, 6, 3)),
    "resnet_101": bottleneck(blocks=(3, 4, 23, 3)),
    "resnet_152": bottleneck(blocks=(3, 8, 36, 3)),
    "resnet_50b": bottleneck_b(blocks=(3, 4, 6, 3)),
    "resnet_101b": bottleneck_b(blocks=(3, 4, 23, 3)),
    "resnet_152b": bottleneck_b(blocks=(3, 8, 36, 3)),
    "se_resnet_18": basic(blocks=(2, 2, 2, 2), se=SESpec()),
    "se_resnet_34": basic(blocks=(3, 4, 6, 3), se=SESpec()),
    "se_resnet_50": bottleneck(blocks=(3, 4, 6, 3), se=SESpec()),
    "se_resnet_101": bottleneck(blocks=(3, 4, 23, 3), se=SESpec()),
    "se_resnet_152": bottleneck(blocks=(3, 8, 36, 3), se=SESpec()),
    "se_resnet_50b": bottleneck_b(blocks=(3, 4, 6, 3), se=SESpec()),
    "se_resnet_101b": bottleneck_b(blocks=(3, 4, 23, 3), se=SESpec()),
    "se_resnet_152b": bottleneck_b(blocks=(3, 8, 36, 3), se=SESpec()),
}
