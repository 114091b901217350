"""ResNet and SE-ResNet for ImageNet-sized images.

The rows without a suffix are the authors' networks (github.com/hujie-frank/SENet, models/*.prototxt): the
stride on the first 1×1 convolution, Caffe's max pool, SE convolutions with bias. The rows ending in `b` are
the variant that most people train today: stride on the 3×3 convolution, PyTorch's max pool. The depths that
the paper does not have (10 to 16, 26, 38, 200) and the rows with pre-activation are those of pytorchcv, the
row 33ts that of timm.
"""

from __future__ import annotations

from functools import partial

from senet.models.spec import ResidualSpec, SESpec

basic = partial(ResidualSpec, block="basic")
bottleneck = partial(ResidualSpec, block="bottleneck")
bottleneck_b = partial(ResidualSpec, block="bottleneck", stride_on="3x3", stem_pool="pad")
preact = partial(ResidualSpec, preactivation=True, stem_pool="pad")
SE = SESpec()

MODELS = {
    "resnet_18": basic(blocks=(2, 2, 2, 2)),
    "resnet_34": basic(blocks=(3, 4, 6, 3)),
    "resnet_50": bottleneck(blocks=(3, 4, 6, 3)),
    "resnet_101": bottleneck(blocks=(3, 4, 23, 3)),
    "resnet_152": bottleneck(blocks=(3, 8, 36, 3)),
    "resnet_50b": bottleneck_b(blocks=(3, 4, 6, 3)),
    "resnet_101b": bottleneck_b(blocks=(3, 4, 23, 3)),
    "resnet_152b": bottleneck_b(blocks=(3, 8, 36, 3)),
    "se_resnet_10": basic(blocks=(1, 1, 1, 1), se=SE),
    "se_resnet_12": basic(blocks=(2, 1, 1, 1), se=SE),
    "se_resnet_14": basic(blocks=(2, 2, 1, 1), se=SE),
    "se_resnet_16": basic(blocks=(2, 2, 2, 1), se=SE),
    "se_resnet_18": basic(blocks=(2, 2, 2, 2), se=SE),
    "se_resnet_26": basic(blocks=(3, 3, 3, 3), se=SE),
    "se_resnet_34": basic(blocks=(3, 4, 6, 3), se=SE),
    "se_resnet_50": bottleneck(blocks=(3, 4, 6, 3), se=SE),
    "se_resnet_101": bottleneck(blocks=(3, 4, 23, 3), se=SE),
    "se_resnet_152": bottleneck(blocks=(3, 8, 36, 3), se=SE),
    "se_resnet_200": bottleneck(blocks=(3, 24, 36, 3), se=SE),
    "se_resnet_bc_26b": bottleneck_b(blocks=(2, 2, 2, 2), se=SE),
    "se_resnet_bc_38b": bottleneck_b(blocks=(3, 3, 3, 3), se=SE),
    "se_resnet_50b": bottleneck_b(blocks=(3, 4, 6, 3), se=SE),
    "se_resnet_101b": bottleneck_b(blocks=(3, 4, 23, 3), se=SE),
    "se_resnet_152b": bottleneck_b(blocks=(3, 8, 36, 3), se=SE),
    "se_resnet_200b": bottleneck_b(blocks=(3, 24, 36, 3), se=SE),
    "se_resnet_33ts": bottleneck_b(
        blocks=(2, 3, 3, 2),
        widths=(64, 128, 384, 384),
        stem="deep",
        stem_hidden=(24, 32),
        stem_pool="stride",
        act="silu",
        se=SESpec(divisor=8, position="3x3"),
        head_width=1280,
        image_size=256,
    ),
    "se_preact_resnet_10": preact(block="basic", blocks=(1, 1, 1, 1), se=SE),
    "se_preact_resnet_12": preact(block="basic", blocks=(2, 1, 1, 1), se=SE),
    "se_preact_resnet_14": preact(block="basic", blocks=(2, 2, 1, 1), se=SE),
    "se_preact_resnet_16": preact(block="basic", blocks=(2, 2, 2, 1), se=SE),
    "se_preact_resnet_18": preact(block="basic", blocks=(2, 2, 2, 2), se=SE),
    "se_preact_resnet_26": preact(block="basic", blocks=(3, 3, 3, 3), se=SE),
    "se_preact_resnet_34": preact(block="basic", blocks=(3, 4, 6, 3), se=SE),
    "se_preact_resnet_50": preact(block="bottleneck", blocks=(3, 4, 6, 3), se=SE),
    "se_preact_resnet_101": preact(block="bottleneck", blocks=(3, 4, 23, 3), se=SE),
    "se_preact_resnet_152": preact(block="bottleneck", blocks=(3, 8, 36, 3), se=SE),
    "se_preact_resnet_200": preact(block="bottleneck", blocks=(3, 24, 36, 3), se=SE),
    "se_preact_resnet_bc_26b": preact(block="bottleneck", blocks=(2, 2, 2, 2), stride_on="3x3", se=SE),
    "se_preact_resnet_bc_38b": preact(block="bottleneck", blocks=(3, 3, 3, 3), stride_on="3x3", se=SE),
    "se_preact_resnet_50b": preact(block="bottleneck", blocks=(3, 4, 6, 3), stride_on="3x3", se=SE),
    "se_preact_resnet_101b": preact(block="bottleneck", blocks=(3, 4, 23, 3), stride_on="3x3", se=SE),
    "se_preact_resnet_152b": preact(block="bottleneck", blocks=(3, 8, 36, 3), stride_on="3x3", se=SE),
    "se_preact_resnet_200b": preact(block="bottleneck", blocks=(3, 24, 36, 3), stride_on="3x3", se=SE),
}
