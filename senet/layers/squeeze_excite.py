"""The Squeeze-and-Excitation block, the only one in this package.

Hu, Shen, Albanie, Sun, Wu: "Squeeze-and-Excitation Networks", arXiv:1709.01507. Section and table numbers
in this file are those of its fourth version (TPAMI 2020).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
from keras import layers, ops

SQUEEZES = ("avg", "max", "none")
GATES = ("sigmoid", "tanh", "relu")
POSITIONS = ("standard", "pre", "post", "identity", "3x3")


def check_choice(owner: str, field: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"{owner}: `{field}` must be one of {', '.join(map(repr, choices))}. Received: {field}={value!r}."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SESpec:
    """What an SE block is, and where it sits. The defaults are the authors' released networks.

    Args:
        ratio: reduction ratio r; the hidden width is `C // ratio` (Table 10 tries 2 to 32).
        divisor: round the hidden width to the nearest multiple, never below it. timm's `seresnet*` use 8,
            so that 64 channels get 8 hidden units where the paper has 4.
        min_width: the least hidden width.
        bias: biases in the two layers. The released networks have them, the ablations of the paper do not.
        squeeze: "avg" (eq. 2) or "max" over all positions (Table 11), or "none": no squeeze, 1×1
            convolutions in place of the dense layers and so a gate for every position (Table 16).
        gate: "sigmoid" (eq. 3), "tanh" or "relu" (Table 12).
        position: where in a residual block (Figure 5, Table 14): "standard" on the branch before the sum,
            "pre" on the branch's input, "post" after the sum and its activation, "identity" on the
            shortcut (after its projection, where it has one), "3x3" after the block's (first) 3×3
            convolution with its BatchNorm and activation (Table 15).
        stages: residual stages that carry SE, counted from 1, or None for all of them (Table 13, whose
            "stage 2" is the first residual stage: 1 here).
    """

    ratio: int = 16
    divisor: int = 1
    min_width: int = 1
    bias: bool = True
    squeeze: str = "avg"
    gate: str = "sigmoid"
    position: str = "standard"
    stages: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for field in ("ratio", "divisor", "min_width"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"SE: `{field}` must be an integer of at least 1. Received: {field}={value!r}."
                )
        check_choice("SE", "squeeze", self.squeeze, SQUEEZES)
        check_choice("SE", "gate", self.gate, GATES)
        check_choice("SE", "position", self.position, POSITIONS)
        if self.stages is not None:
            stages = tuple(self.stages) if isinstance(self.stages, Iterable) else ()
            if not stages or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in stages):
                raise ValueError(
                    "SE: `stages` must be None (all) or stage numbers from 1; for a network without SE use "
                    f"se=None. Received: stages={self.stages!r}."
                )
            object.__setattr__(self, "stages", stages)  # a tuple, where a recipe file gave a list

    def hidden_width(self, channels: int) -> int:
        """Units between the two layers, for a block of `channels` channels."""
        if self.divisor == 1:
            width = channels // self.ratio
        else:
            width = int(channels / self.ratio + self.divisor / 2) // self.divisor * self.divisor
        return max(self.min_width, self.divisor, width)

    def layer(self, name: str) -> SqueezeExcite:
        """The layer this spec describes; `position` and `stages` are the block's business."""
        return SqueezeExcite(**{field: getattr(self, field) for field in LAYER_FIELDS}, name=name)


LAYER_FIELDS = ("ratio", "divisor", "min_width", "bias", "squeeze", "gate")


@keras.saving.register_keras_serializable(package="senet")
class SqueezeExcite(layers.Layer):
    """Scale each channel by a gate that is read from the whole image.

    `(N, H, W, C)` to the same shape, channels last; H and W may be unknown. Squeeze: the mean over all
    positions (eq. 2). Excitation: `gate(W2 relu(W1 z))` (eq. 3), in (0, 1) for the sigmoid. Scale: the
    input times its gate (eq. 4). The arguments are those of `SESpec` with the same names.

    The sub-layers `NAME_reduce`, C to `hidden_width(C)`, and `NAME_expand`, back to C, are plain Dense
    layers with (in, out) kernels. Reference: arXiv:1709.01507, section 3.
    """

    def __init__(
        self,
        ratio: int = SESpec.ratio,
        *,
        divisor: int = SESpec.divisor,
        min_width: int = SESpec.min_width,
        bias: bool = SESpec.bias,
        squeeze: str = SESpec.squeeze,
        gate: str = SESpec.gate,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = SESpec(
            ratio=ratio, divisor=divisor, min_width=min_width, bias=bias, squeeze=squeeze, gate=gate
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise ValueError(
                f"{self.name}: the input must be (N, H, W, C), channels last, with C known. "
                f"Received: input_shape={tuple(input_shape)}."
            )
        channels, spec = input_shape[-1], self.spec
        hidden = spec.hidden_width(channels)
        # Names carry the owner's: two SE layers tapped in one graph must not collide.
        dense = {"use_bias": spec.bias, "kernel_initializer": "he_normal", "dtype": self.dtype_policy}
        self.reduce = layers.Dense(hidden, activation="relu", name=f"{self.name}_reduce", **dense)
        self.expand = layers.Dense(channels, activation=spec.gate, name=f"{self.name}_expand", **dense)
        self.reduce.build((None, 1, 1, channels))
        self.expand.build((None, 1, 1, hidden))

    def squeeze(self, x):
        """The descriptor z, `(N, 1, 1, C)` in float32; the input itself where the squeeze is "none"."""
        if self.spec.squeeze == "none":
            return x
        # float32: a half-precision sum over 56 × 56 positions can overflow, and loses digits before that.
        x = ops.cast(x, "float32")
        pool = ops.mean if self.spec.squeeze == "avg" else ops.max
        return pool(x, axis=(1, 2), keepdims=True)

    def gates(self, x):
        """The gates of `x`: `(N, 1, 1, C)`, or `(N, H, W, C)` where the squeeze is "none"."""
        if not self.built:
            self.build(x.shape)
        return self.expand(self.reduce(self.squeeze(x)))

    def call(self, x):
        return x * self.gates(x)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{field: getattr(self.spec, field) for field in LAYER_FIELDS}}
