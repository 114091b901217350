"""ResNet and SE-ResNet for 32×32 images: a 3×3 stem and three stages (He et al. 2016, section 4.2).

Depth is 6n + 2 for basic blocks and 9n + 2 for bottlenecks. Shortcuts that change the width are 1×1
projections, as in pytorchcv, whose parameter counts these rows meet exactly.
"""

from __future__ import annotations

from functools import partial

from senet.models.spec import ResidualSpec, SESpec

cifar = partial(
    ResidualSpec,
    widths=(16, 32, 64),
    stem="cifar",
    stem_width=16,
    stride_on="3x3",
    classes=10,
    image_size=32,
)

MODELS = {
    "resnet_20_cifar": cifar(block="basic", blocks=(3, 3, 3)),
    "resnet_32_cifar": cifar(block="basic", blocks=(5, 5, 5)),
    "resnet_44_cifar": cifar(block="basic", blocks=(7, 7, 7)),
    "resnet_56_cifar": cifar(block="basic", blocks=(9, 9, 9)),
    "resnet_110_cifar": cifar(block="basic", blocks=(18, 18, 18)),
    "resnet_164_cifar": cifar(block="bottleneck", blocks=(18, 18, 18)),
    "se_resnet_20_cifar": cifar(block="basic", blocks=(3, 3, 3), se=SESpec()),
    "se_resnet_32_cifar": cifar(block="basic", blocks=(5, 5, 5), se=SESpec()),
    "se_resnet_44_cifar": cifar(block="basic", blocks=(7, 7, 7), se=SESpec()),
    "se_resnet_56_cifar": cifar(block="basic", blocks=(9, 9, 9), se=SESpec()),
    "se_resnet_110_cifar": cifar(block="basic", blocks=(18, 18, 18), se=SESpec()),
    "se_resnet_164_cifar": cifar(block="bottleneck", blocks=(18, 18, 18), se=SESpec()),
}
