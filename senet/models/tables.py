"""Every network by name: the merged tables, and the module that builds each kind of row."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from senet.errors import did_you_mean
from senet.models import (
    bn_inception,
    cifar,
    head,
    inception_resnet_v2,
    mobilenet,
    residual,
    resnet,
    resnext,
    senet154,
    shufflenet,
    vgg,
)
from senet.models.spec import ResidualSpec, Spec

# A module has `build_trunk(x, spec)` and, where it is not the common one, `build_head`.
FAMILIES: dict[type[Spec], ModuleType] = {
    ResidualSpec: residual,
    bn_inception.BNInceptionSpec: bn_inception,
    inception_resnet_v2.InceptionResNetV2Spec: inception_resnet_v2,
    vgg.VGGSpec: vgg,
    mobilenet.MobileNetSpec: mobilenet,
    shufflenet.ShuffleNetSpec: shufflenet,
}


def merge(*tables: Mapping[str, Spec]) -> dict[str, Spec]:
    """One table of all rows; a name that stands in two of them is refused."""
    merged: dict[str, Spec] = {}
    for table in tables:
        twice = merged.keys() & table.keys()
        if twice:
            raise RuntimeError(f"A model name must be unique. Defined twice: {sorted(twice)}.")
        merged.update(table)
    return merged


MODELS = merge(
    resnet.MODELS,
    resnext.MODELS,
    senet154.MODELS,
    bn_inception.MODELS,
    inception_resnet_v2.MODELS,
    vgg.MODELS,
    mobilenet.MODELS,
    shufflenet.MODELS,
    cifar.MODELS,
)
TWINS = {"senet_154": "resnext_152_64x4d"}  # where the plain twin has a name of its own


def get_spec(name: str) -> Spec:
    """The row of a network; ValueError with the nearest names where there is none."""
    if name in MODELS:
        return MODELS[name]
    raise ValueError(
        f"The model must be one of senet.list_models(). Received: {name!r}.{did_you_mean(str(name), MODELS)}"
    )


def plain_twin(name: str) -> str:
    """The same network without SE: "se_resnet_50" to "resnet_50". A plain name stays as it is."""
    return TWINS.get(name) or name.removeprefix("se_")


def build_trunk(x, spec: Spec) -> dict[int, object]:
    """The feature maps, keyed by their stride in input pixels, finest first."""
    return FAMILIES[type(spec)].build_trunk(x, spec)


def build_head(x, spec: Spec, *, classes: int, activation: str | None):
    """The last feature map (N, H, W, C) to (N, classes)."""
    build = getattr(FAMILIES[type(spec)], "build_head", head.build_head)
    return build(x, classes=classes, dropout=spec.dropout, activation=activation)
