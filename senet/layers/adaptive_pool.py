"""A mean pool to a fixed number of rows and columns, whatever the size of the image."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="senet")
class AdaptiveMeanPool(layers.Layer):
    """Means over a grid of `side` × `side` cells: (N, H, W, C) to (N, side, side, C); H, W may be unknown.

    Row i of the result is the mean of the input's rows from ⌊i·H/side⌋ up to, not including,
    ⌈(i + 1)·H/side⌉, and columns likewise: PyTorch's AdaptiveAvgPool2d. Cells overlap where `side` does not
    divide H, and repeat rows where H is smaller. An input of `side` × `side` is returned as it is.
    """

    def __init__(self, side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise ValueError(
                f"AdaptiveMeanPool: `side` must be an integer of at least 1. Received: side={side!r}."
            )
        self.side = side

    def call(self, x):
        if tuple(x.shape[1:3]) == (self.side, self.side):
            return x
        _, height, width, _ = ops.shape(x)
        rows = ops.cast(self.means(height), x.dtype)
        columns = ops.cast(self.means(width), x.dtype)
        return ops.einsum("ph,nhwc,qw->npqc", rows, x, columns)

    def means(self, size):
        """The matrix (side, size) whose rows average the cells along one axis, float32."""
        cell = ops.reshape(ops.arange(self.side, dtype="int32"), (-1, 1))
        start, stop = cell * size // self.side, ((cell + 1) * size + self.side - 1) // self.side
        place = ops.reshape(ops.arange(size, dtype="int32"), (1, -1))
        inside = ops.cast(ops.logical_and(place >= start, place < stop), "float32")
        return inside / ops.cast(stop - start, "float32")

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.side, self.side, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side": self.side}
