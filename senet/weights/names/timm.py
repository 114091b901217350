"""How timm names the tensors of its residual networks: three schemes, from three of its modules."""

from __future__ import annotations

from senet.weights.names.parts import batch_norm, conv, dense, split

NUMBER = {"reduce": 1, "spatial": 2, "expand": 3, "spatial1": 1, "spatial2": 2}
DEEP = {"stem1": ("conv1.0", "conv1.1"), "stem2": ("conv1.3", "conv1.4"), "stem3": ("conv1.6", "bn1")}
BYOB = {"reduce": "conv1_1x1", "spatial": "conv2_kxk", "expand": "conv3_1x1", "shortcut": "shortcut"}


def resnet(layer: str, *, se: str = "se", pooled: bool = False) -> list[str]:
    """timm.models.resnet. `pooled`: a shortcut has its pool at place 0, as in the `d` networks."""
    stage, block, _, place, kind = split(layer)
    if place == "classifier":
        return dense("fc")
    if stage == 0:
        module, norm = DEEP.get(place, ("conv1", "bn1"))
        return conv(module) if kind == "conv" else batch_norm(norm)
    unit = f"layer{stage}.{block - 1}"
    if kind == "se":
        return dense(f"{unit}.{se}.fc1") + dense(f"{unit}.{se}.fc2")
    if place == "shortcut":
        at, unit = (1 if pooled else 0), f"{unit}.downsample"
        return conv(f"{unit}.{at}") if kind == "conv" else batch_norm(f"{unit}.{at + 1}")
    number = NUMBER[place]
    return conv(f"{unit}.conv{number}") if kind == "conv" else batch_norm(f"{unit}.bn{number}")


def resnet_d(layer: str) -> list[str]:
    """timm.models.resnet with the average-pool shortcut."""
    return resnet(layer, pooled=True)


def senet(layer: str) -> list[str]:
    """timm.models.senet: the `legacy_` networks."""
    stage, _, _, place, kind = split(layer)
    if place == "classifier":
        return dense("last_linear")
    if stage == 0:
        number = place.removeprefix("stem") or "1"
        return conv(f"layer0.conv{number}") if kind == "conv" else batch_norm(f"layer0.bn{number}")
    return resnet(layer, se="se_module")


def byobnet(layer: str) -> list[str]:
    """timm.models.byobnet: the `ts` networks."""
    stage, block, _, place, kind = split(layer)
    if place == "classifier":
        return dense("head.fc")
    if place == "head":
        module = "final_conv"
    elif stage == 0:
        module = f"stem.conv{place.removeprefix('stem')}"
    else:
        unit = f"stages.{stage - 1}.{block - 1}"
        if kind == "se":
            return dense(f"{unit}.attn.fc1") + dense(f"{unit}.attn.fc2")
        module = f"{unit}.{BYOB[place]}"
    return conv(f"{module}.conv") if kind == "conv" else batch_norm(f"{module}.bn")
