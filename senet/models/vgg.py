"""VGG-16 with BatchNorm after each convolution (Simonyan and Zisserman 2015), and with SE.

The SE block follows the non-linearity of every convolution (arXiv:1709.01507, section 3.3): 13 of them.
Layers are called `stage2_block1_spatial_conv`, `_bn`, `_act`, `stage2_block1_se`, then `stage2_pool`; the
head is `pool`, `fc1`, `fc2`, `classifier`.
"""

from __future__ import annotations

import dataclasses
import random
from functools import partial

from keras import layers

from senet.layers.adaptive_pool import AdaptiveMeanPool
from senet.layers.conv_units import conv_unit
from senet.models.head import classify
from senet.models.spec import SESpec
from senet.models.staged import StagedSpec, squeeze_excite

FINEST = 4  # stride of the first feature map that is returned, as in the other networks


@dataclasses.dataclass(frozen=True, kw_only=True)
class VGGSpec(StagedSpec):
    """VGG with BatchNorm. The fields of `StagedSpec` (a stage ends in a 2×2 max pool), and:

    Args:
        conv_bias: biases before BatchNorm (pytorchcv's `bn_vgg16b`).
        dropout: rate after both hidden dense layers.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    dropout: float = 0.5
    conv_bias: bool = False

    @property
    def stride(self) -> int:
        return 2 ** len(self.blocks)


MODELS = {
    "vgg_16": VGGSpec(blocks=(2, 2, 3, 3, 3)),
    "se_vgg_16": VGGSpec(blocks=(2, 2, 3, 3, 3), se=SESpec()),
}


def build_trunk(x, spec: VGGSpec) -> dict[int, object]:
    """The last convolution's map of each stage, and the last pool, keyed by stride, finest first."""
    conv = partial(
        conv_unit, bias=spec.conv_bias, act=spec.act, epsilon=spec.bn_epsilon, decay=spec.bn_momentum
    )
    features = {}
    for stage, (blocks, width) in enumerate(zip(spec.blocks, spec.widths, strict=True), start=1):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            x = conv(x, width, 3, name=f"{name}_spatial")
            x = squeeze_excite(x, spec.se, stage=stage, name=name)
        features[2 ** (stage - 1)] = x
        x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
    features[spec.stride] = x
    return {stride: feature for stride, feature in features.items() if stride >= min(FINEST, spec.stride)}


def build_head(x, *, classes: int, dropout: float, activation: str | None):
    """Two hidden layers of eight times the channels (4096 for 512), classifier: (N, H, W, C) to (N, classes).

    The first reads a map of 7×7, which an image of 224×224 gives; other sizes are pooled to it.
    """
    hidden = 8 * x.shape[-1]
    x = AdaptiveMeanPool(7, name="pool")(x)
    # A dense layer over the whole map, written as a convolution: its kernel keeps rows, columns and channels
    # apart, whatever order a published weight set flattens them in.
    x = layers.Conv2D(hidden, 7, kernel_initializer="he_normal", name="fc1")(x)
    x = layers.Flatten(name="flatten")(x)
    x = relu_dropout(x, dropout, act="fc1_act", name="fc1_dropout")
    x = layers.Dense(hidden, kernel_initializer="he_normal", name="fc2")(x)
    x = relu_dropout(x, dropout, act="fc2_act", name="dropout")
    return classify(x, classes=classes, activation=activation)


def relu_dropout(x, rate: float, *, act: str, name: str):
    """ReLU under the name `act`, dropout under `name`."""
    x = layers.Activation("relu", name=act)(x)
    # A seed of its own, as in senet.models.head: the layer then holds its random state.
    return layers.Dropout(rate, seed=random.randrange(2**31), name=name)(x) if rate else x
