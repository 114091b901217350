"""Shake-Shake regularisation: two branches, mixed at random, one way forward and another backward."""

from __future__ import annotations

import random
from typing import Any

import keras
from keras import layers, ops

from senet.layers.squeeze_excite import check_choice

MIXES = ("shake_shake", "shake_even")


@keras.saving.register_keras_serializable(package="senet")
class Shake(layers.Layer):
    """Mix two branches, each image with its own draw.

    Two tensors (N, H, W, C) to one of the same shape. In training `a·x + (1 − a)·y`, a uniform in (0, 1) for
    each image; the gradient takes weights b and 1 − b, where b is a second, independent draw
    ("shake_shake") or 1/2 ("shake_even"). Otherwise the mean of the two.

    Source: Gastaldi 2017, arXiv:1705.07485, section 2; the variants are its "Shake-Shake-Image" and
    "Shake-Even-Image".
    """

    def __init__(self, mix: str = "shake_shake", seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("Shake", "mix", mix, MIXES)
        self.mix = mix
        self.seed = random.randrange(2**31) if seed is None else seed
        self.draws = keras.random.SeedGenerator(self.seed)  # holds the state, so that checkpoints find it

    def call(self, branches, training: bool = False):
        left, right = branches
        if not training:
            return 0.5 * (left + right)
        forward, backward = self.draw(left), 0.5 if self.mix == "shake_even" else self.draw(left)
        mixed = backward * left + (1.0 - backward) * right
        # The value is mixed by `forward`, the slope by `backward`: stop_gradient carries the difference, and
        # no engine needs a gradient of its own.
        return mixed + ops.stop_gradient((forward - backward) * (left - right))

    def draw(self, x):
        """Uniform in (0, 1), one number an image: (N, 1, 1, 1)."""
        shape = (ops.shape(x)[0], 1, 1, 1)
        return ops.cast(keras.random.uniform(shape, dtype="float32", seed=self.draws), x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mix": self.mix, "seed": self.seed}
