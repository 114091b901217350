"""Networks for 32×32 images: a 3×3 stem and three stages (He et al. 2016, section 4.2).

ResNet depth is 6n + 2 for basic blocks and 9n + 2 for bottlenecks. Shortcuts that change the width are 1×1
projections, as in pytorchcv, whose parameter counts the rows with SE blocks meet exactly. The paper's
ResNet-110 and 164 have pre-activation (He et al. 2016b), its Wide ResNet is 16-8 (Zagoruyko and Komodakis
2016), its Shake-Shake networks are Gastaldi's (2017).
"""

from __future__ import annotations

from functools import partial

from senet.models.spec import ResidualSpec, SESpec

common = partial(ResidualSpec, widths=(16, 32, 64), stem_width=16, stride_on="3x3", classes=10, image_size=32)
cifar = partial(common, stem="cifar")
preact = partial(common, stem="conv", preactivation=True)
shake_shake = partial(common, stem="cifar", block="basic", mix="shake_shake", shortcut="shifted")
shake_even = partial(
    common,
    stem="cifar",
    block="bottleneck",
    blocks=(3, 3, 3),
    widths=(256, 512, 1024),
    groups=4,
    expansion=1,
    mix="shake_even",
    shortcut="shifted",
    classes=100,  # the paper trains it on CIFAR-100 only
)
SE = SESpec()

MODELS = {
    "resnet_20_cifar": cifar(block="basic", blocks=(3, 3, 3)),
    "resnet_32_cifar": cifar(block="basic", blocks=(5, 5, 5)),
    "resnet_44_cifar": cifar(block="basic", blocks=(7, 7, 7)),
    "resnet_56_cifar": cifar(block="basic", blocks=(9, 9, 9)),
    "resnet_110_cifar": cifar(block="basic", blocks=(18, 18, 18)),
    "resnet_164_cifar": cifar(block="bottleneck", blocks=(18, 18, 18)),
    "se_resnet_20_cifar": cifar(block="basic", blocks=(3, 3, 3), se=SE),
    "se_resnet_32_cifar": cifar(block="basic", blocks=(5, 5, 5), se=SE),
    "se_resnet_44_cifar": cifar(block="basic", blocks=(7, 7, 7), se=SE),
    "se_resnet_56_cifar": cifar(block="basic", blocks=(9, 9, 9), se=SE),
    "se_resnet_110_cifar": cifar(block="basic", blocks=(18, 18, 18), se=SE),
    "se_resnet_164_cifar": cifar(block="bottleneck", blocks=(18, 18, 18), se=SE),
    "se_resnet_272_cifar": cifar(block="bottleneck", blocks=(30, 30, 30), se=SE),
    "se_resnet_542_cifar": cifar(block="bottleneck", blocks=(60, 60, 60), se=SE),
    "se_resnet_1001_cifar": cifar(block="bottleneck", blocks=(111, 111, 111), se=SE),
    "se_resnet_1202_cifar": cifar(block="basic", blocks=(200, 200, 200), se=SE),
    "preact_resnet_20_cifar": preact(block="basic", blocks=(3, 3, 3)),
    "preact_resnet_56_cifar": preact(block="basic", blocks=(9, 9, 9)),
    "preact_resnet_110_cifar": preact(block="basic", blocks=(18, 18, 18)),
    "preact_resnet_164_cifar": preact(block="bottleneck", blocks=(18, 18, 18)),
    "se_preact_resnet_20_cifar": preact(block="basic", blocks=(3, 3, 3), se=SE),
    "se_preact_resnet_56_cifar": preact(block="basic", blocks=(9, 9, 9), se=SE),
    "se_preact_resnet_110_cifar": preact(block="basic", blocks=(18, 18, 18), se=SE),
    "se_preact_resnet_164_cifar": preact(block="bottleneck", blocks=(18, 18, 18), se=SE),
    "se_preact_resnet_272_cifar": preact(block="bottleneck", blocks=(30, 30, 30), se=SE),
    "se_preact_resnet_542_cifar": preact(block="bottleneck", blocks=(60, 60, 60), se=SE),
    "se_preact_resnet_1001_cifar": preact(block="bottleneck", blocks=(111, 111, 111), se=SE),
    "se_preact_resnet_1202_cifar": preact(block="basic", blocks=(200, 200, 200), se=SE),
    "wide_resnet_16_8_cifar": preact(block="basic", blocks=(2, 2, 2), widths=(128, 256, 512)),
    "wide_resnet_16_10_cifar": preact(block="basic", blocks=(2, 2, 2), widths=(160, 320, 640)),
    "se_wide_resnet_16_8_cifar": preact(block="basic", blocks=(2, 2, 2), widths=(128, 256, 512), se=SE),
    "se_wide_resnet_16_10_cifar": preact(block="basic", blocks=(2, 2, 2), widths=(160, 320, 640), se=SE),
    "shake_shake_20_2x16d_cifar": shake_shake(blocks=(3, 3, 3)),
    "shake_shake_26_2x32d_cifar": shake_shake(blocks=(4, 4, 4), widths=(32, 64, 128)),
    "shake_shake_26_2x96d_cifar": shake_shake(blocks=(4, 4, 4), widths=(96, 192, 384)),
    "shake_even_29_2x4x64d_cifar": shake_even(),
    "se_shake_shake_20_2x16d_cifar": shake_shake(blocks=(3, 3, 3), se=SE),
    "se_shake_shake_26_2x32d_cifar": shake_shake(blocks=(4, 4, 4), widths=(32, 64, 128), se=SE),
    "se_shake_shake_26_2x96d_cifar": shake_shake(blocks=(4, 4, 4), widths=(96, 192, 384), se=SE),
    "se_shake_even_29_2x4x64d_cifar": shake_even(se=SE),
}
