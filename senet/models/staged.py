"""What the networks that are not `ResidualSpec`s share: stages, and SE at the end of a block."""

from __future__ import annotations

import dataclasses

from senet.layers.squeeze_excite import SESpec
from senet.models.spec import Spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedSpec(Spec):
    """A network of stages with one width each. The fields of `Spec`, and:

    Args:
        blocks: blocks in each stage.
        widths: channels after each stage.
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        for field in ("blocks", "widths"):
            object.__setattr__(self, field, tuple(getattr(self, field)))  # a list, from a recipe
        super().__post_init__()
        if not len(self.blocks) == len(self.widths) > 0 or min(*self.blocks, *self.widths) < 1:
            raise ValueError(
                "Network: `blocks` and `widths` must name the same stages, in numbers from 1. "
                f"Received: blocks={self.blocks}, widths={self.widths}."
            )
        check_se(self.se, len(self.blocks))


def check_se(se: SESpec | None, stages: int) -> None:
    """Raise ValueError for a position that only residual blocks have, or a stage out of 1..`stages`."""
    if se is None:
        return
    if se.position != "standard":
        raise ValueError(
            "SE: `position` names a place in a block of a ResNet; this network has one place for SE, "
            f"position='standard'. Received: position={se.position!r}."
        )
    outside = set(se.stages or ()) - set(range(1, stages + 1))
    if outside:
        raise ValueError(f"SE: `stages` must lie in 1..{stages} here. Received: {sorted(outside)}.")


def squeeze_excite(x, se: SESpec | None, *, stage: int, name: str):
    """`x` through an SE block where stage number `stage` carries SE, else as it is."""
    if se is None or (se.stages is not None and stage not in se.stages):
        return x
    return se.layer(f"{name}_se")(x)
