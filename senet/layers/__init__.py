"""Layers that work on every engine: the SE block and the convolution units around it."""

from senet.layers.squeeze_excite import SESpec as SESpec
from senet.layers.squeeze_excite import SqueezeExcite as SqueezeExcite
