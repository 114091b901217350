"""Layers that work on every engine: the SE block, grouped convolution, BatchNorm,
Shake-Shake, and convolution units."""

from senet.layers.batch_norm import BatchNorm as BatchNorm
from senet.layers.grouped_conv import GroupedConv2D as GroupedConv2D
from senet.layers.shake import Shake as Shake
from senet.layers.squeeze_excite import SESpec as SESpec
from senet.layers.squeeze_excite import SqueezeExcite as SqueezeExcite
