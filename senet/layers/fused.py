"""Elementwise ends of an optimised network, each in one pass over the feature map.

Written as several operations they read and write the whole map several times, and at inference memory is what
these operations wait for. On TensorFlow they are compiled into one loop by XLA, on JAX XLA fuses them anyway,
and PyTorch has a kernel for product and sum.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import activations, layers, ops


def scaled_sum(activation, x, scale, shift):
    """`activation(shift + scale * x)`; the last two broadcast."""
    return activation(shift + scale * x)


@functools.cache
def _on_tensorflow(activation):
    """`scaled_sum` as one compiled loop."""
    import tensorflow as tf

    return tf.function(functools.partial(scaled_sum, activation), jit_compile=True)


def fused_scaled_sum(activation, x, scale, shift, *, compiled: bool):
    """`scaled_sum` in the way that fits the engine; `compiled`: TensorFlow may ask XLA."""
    engine = keras.backend.backend()
    if engine == "tensorflow" and compiled:
        return _on_tensorflow(activation)(x, scale, shift)
    if engine == "torch":
        import torch

        return activation(torch.addcmul(shift, scale, x))
    return scaled_sum(activation, x, scale, shift)


class _Fused(layers.Layer):
    """What the layers here share: an activation, and whether TensorFlow may compile.

    Args:
        activation: name of a Keras activation, or None.
        compiled: on TensorFlow, compile with XLA. Set the attribute to False before tracing for a runtime
            that has no XLA (LiteRT); the numbers are the same to rounding.
    """

    def __init__(self, activation: Any = None, *, compiled: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.compiled = compiled

    def fused(self, x, scale, shift):
        return fused_scaled_sum(self.activation, x, scale, shift, compiled=self.compiled)

    def get_config(self) -> dict[str, Any]:
        own = {"activation": activations.serialize(self.activation), "compiled": self.compiled}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="senet")
class ScaledSum(_Fused):
    """The end of a residual block with SE: scale, sum and activation.

    Takes `[x, gates, shortcut]`, shapes (N, H, W, C), (N, 1, 1, C) and (N, H, W, C), and returns
    `activation(shortcut + gates * x)`, (N, H, W, C). No weights. Arguments: `activation`, `compiled`.
    """

    def build(self, input_shape) -> None:
        shapes = [tuple(shape) for shape in input_shape] if len(input_shape) == 3 else []
        if len(shapes) != 3 or any(len(shape) != 4 for shape in shapes) or len({s[-1] for s in shapes}) != 1:
            raise ValueError(
                f"{self.name}: the inputs must be [x, gates, shortcut], (N, H, W, C), (N, 1, 1, C) and "
                f"(N, H, W, C). Received: input_shape={input_shape}."
            )

    def call(self, inputs):
        x, gates, shortcut = inputs
        return self.fused(x, gates, shortcut)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])


@keras.saving.register_keras_serializable(package="senet")
class ScaleShift(_Fused):
    """A BatchNorm that could not be folded, and the activation behind it.

    (..., C) to the same shape: `activation(x * scale + shift)`, with the weights `scale` and `shift`, (C,).
    Arguments: `activation`, `compiled`.
    """

    def build(self, input_shape) -> None:
        if input_shape[-1] is None:
            raise ValueError(f"{self.name}: the channels must be known. Received: input_shape={input_shape}.")
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        self.shift = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="shift")

    def call(self, x):
        scale, shift = (ops.cast(weight, x.dtype) for weight in (self.scale, self.shift))
        return self.fused(x, scale, shift)

    def compute_output_shape(self, input_shape):
        return input_shape
