"""The channel shuffle of ShuffleNet."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="senet")
class ChannelShuffle(layers.Layer):
    """Deal the channels of `groups` groups out in turn: (N, H, W, C) to the same shape; H, W may be unknown.

    Channel j of group i goes to place `j · groups + i`, so that each group of the next grouped convolution
    sees channels of all groups. Source: Zhang et al. 2017, arXiv:1707.01083, section 3.1.
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
            raise ValueError(
                f"ChannelShuffle: `groups` must be an integer of at least 1. Received: groups={groups!r}."
            )
        self.groups = groups

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if channels is None or channels % self.groups:
            raise ValueError(
                f"{self.name}: the channels must be known, and a multiple of groups={self.groups}. "
                f"Received: input_shape={tuple(input_shape)}."
            )

    def call(self, x):
        grouped = ops.reshape(x, (-1, self.groups, x.shape[-1] // self.groups))
        return ops.reshape(ops.transpose(grouped, (0, 2, 1)), ops.shape(x))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}
