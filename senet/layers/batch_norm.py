"""BatchNorm whose training step is one kernel of the engine.

Keras writes the training step of BatchNorm as a mean, a variance and their application: several passes over
the feature map on TensorFlow and PyTorch, and more for the gradient, where the engines have one kernel each
way. `benchmarks/training_step.py` measures what that gives.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

DTYPES = ("float32", "bfloat16")  # in float16 the kernels differ from engine to engine


@keras.saving.register_keras_serializable(package="senet")
class BatchNorm(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the engine's own kernel for training.

    `(N, H, W, C)`, channels last, to the same shape; arguments, configuration, weights and numbers (to
    rounding) are those of `keras.layers.BatchNormalization`, whose moving variance is that of the batch,
    without Bessel's correction. Keras' own formulation serves where there is no such kernel: on JAX, whose
    compiler fuses the passes; for inference; with a mask, over several devices (`synchronized=True`), without
    scale or shift, in float16.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        kernel = KERNELS.get(keras.backend.backend())
        fits = len(inputs.shape) == 4 and self.axis in (-1, 3) and self.scale and self.center
        single = tuple(inputs.shape[:3]) == (1, 1, 1)  # one value has no variance: PyTorch refuses it
        plain = not single and mask is None and not self.synchronized and self.compute_dtype in DTYPES
        if not (training and self.trainable and kernel and fits and plain):
            return super().call(inputs, training=training, mask=mask)
        inputs = ops.cast(inputs, self.compute_dtype)
        gamma, beta = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        outputs, mean, variance = kernel(inputs, gamma, beta, self.epsilon)
        for moving, found in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.cast(found, moving.dtype) * (1 - self.momentum))
        return outputs


def on_tensorflow(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """(normalised images, mean, variance), by FusedBatchNormV3."""
    import tensorflow as tf

    none = tf.zeros((0,), tf.float32)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.cast(gamma, tf.float32),
        offset=tf.cast(beta, tf.float32),
        mean=none,
        variance=none,
        epsilon=epsilon,
        is_training=True,
    )
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    # The kernel's variance, but not what it normalises with, has Bessel's correction.
    return outputs, mean, tf.stop_gradient(variance * ((count - 1) / count))


def on_torch(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """(normalised images, mean, variance), by torch.nn.functional.batch_norm."""
    import torch

    mean, variance = (torch.zeros_like(gamma, dtype=torch.float32) for _ in range(2))
    outputs = torch.nn.functional.batch_norm(
        inputs.permute(0, 3, 1, 2),  # a view: in memory the channels stay last
        mean,
        variance,
        gamma.float(),
        beta.float(),
        training=True,
        momentum=1.0,  # PyTorch's: the share of the new statistics
        eps=epsilon,
    )
    count = inputs.numel() // inputs.shape[-1]
    return outputs.permute(0, 2, 3, 1), mean, variance * ((count - 1) / count)


KERNELS = {"tensorflow": on_tensorflow, "torch": on_torch}
