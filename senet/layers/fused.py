"""Elementwise ends of an optimised network, in as few passes over the feature map as the engine has."""

from __future__ import annotations

from typing import Any

import keras
from keras import activations, layers, ops


class _Fused(layers.Layer):
    """A layer with an activation, by its Keras name, or None."""

    def __init__(self, activation: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


@keras.saving.register_keras_serializable(package="senet")
class ScaledSum(_Fused):
    """The end of a residual block with SE: scale, sum and activation.

    Takes `[x, gates, shortcut]`, shapes (N, H, W, C), (N, 1, 1, C) and (N, H, W, C), and returns
    `activation(shortcut + gates * x)`, (N, H, W, C). It has no weights; `activation` is a Keras name or None.
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
        if keras.backend.backend() == "torch":
            import torch

            return self.activation(torch.addcmul(shortcut, gates, x))  # one pass where there would be two
        return self.activation(shortcut + gates * x)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])


@keras.saving.register_keras_serializable(package="senet")
class ScaleShift(_Fused):
    """What BatchNorm is at inference, and the activation behind it.

    (..., C) to the same shape: `activation(x * scale + shift)`, with the weights `scale` and `shift`, (C,).
    `activation` is a Keras name or None.
    """

    def build(self, input_shape) -> None:
        if input_shape[-1] is None:
            raise ValueError(f"{self.name}: the channels must be known. Received: input_shape={input_shape}.")
        # In the precision of the weights, as BatchNorm does it: half precision would lose digits.
        shape = {"shape": (input_shape[-1],), "autocast": False}
        self.scale = self.add_weight(**shape, initializer="ones", name="scale")
        self.shift = self.add_weight(**shape, initializer="zeros", name="shift")

    def call(self, x):
        y = self.normalised(ops.cast(x, self.variable_dtype))
        return self.activation(ops.cast(y, self.compute_dtype))

    def normalised(self, x):
        engine = keras.backend.backend()
        if engine == "tensorflow" and len(x.shape) == 4 and x.dtype == "float32":
            return _tensorflow_norm(x, self.scale, self.shift)
        if engine == "torch":
            import torch

            return torch.addcmul(ops.convert_to_tensor(self.shift), x, ops.convert_to_tensor(self.scale))
        return x * self.scale + self.shift

    def compute_output_shape(self, input_shape):
        return input_shape


def _tensorflow_norm(x, scale, shift):
    """`x * scale + shift` by the kernel of BatchNorm, which takes a ReLU behind it into the same pass."""
    import tensorflow as tf

    # A mean of 0 and, with the least epsilon that the kernel takes, a variance of 1.
    epsilon, zeros = 1.001e-5, tf.zeros_like(shift)
    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=scale,
        offset=shift,
        mean=zeros,
        variance=zeros + (1 - epsilon),
        epsilon=epsilon,
        is_training=False,
    ).y
