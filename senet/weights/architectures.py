"""The networks of the three sources: which row of ours each one is, what it changes, and its tensor names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from senet.errors import did_you_mean
from senet.layers.squeeze_excite import SESpec
from senet.models.spec import Spec
from senet.models.tables import get_spec
from senet.weights.names import caffe, inception, plain, pytorchcv, timm

SOURCES = ("caffe", "timm", "pytorchcv")
Names = Callable[[str], Sequence[str]]
Changes = dict[str, Any]
Table = dict[str, tuple[str, Changes]]  # a source's name → our row, and what it changes


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network as its source defines it.

    `names` gives, for one of our layers, the source's tensors that fill its variables, in their order.
    `changes` are the fields in which the source's network differs from our row `model`.
    """

    name: str  # "timm/seresnet50"
    model: str
    names: Names
    changes: Changes = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> str:
        return self.name.partition("/")[0]

    @cached_property
    def spec(self) -> Spec:
        """The row with the source's changes."""
        return get_spec(self.model).change(**self.changes)


PAD = {"stem_pool": "pad"}
DEEP = {**PAD, "stem": "deep", "shortcut": "avg"}  # timm's `d`
TIERED = {**DEEP, "stem_hidden": (24, 32)}  # timm's `t`
ANTIALIASED = {**DEEP, "stem_pool": "avg", "antialias": True}  # timm's `aa…d`
# timm rounds the hidden width to a multiple of 8; in a bottleneck network it is one already.
ROUNDED = {"se": SESpec(divisor=8)}

CAFFE = {
    "SE-ResNet-50": ("se_resnet_50", caffe.resnet),
    "SE-ResNet-101": ("se_resnet_101", caffe.resnet),
    "SE-ResNet-152": ("se_resnet_152", caffe.resnet),
    "SE-ResNeXt-50": ("se_resnext_50_32x4d", caffe.resnet),
    "SE-ResNeXt-101": ("se_resnext_101_32x4d", caffe.resnet),
    "SENet-154": ("senet_154", caffe.resnet),
}
TIMM_LEGACY: Table = {
    "legacy_senet154": ("senet_154", {}),
    "legacy_seresnet18": ("se_resnet_18", {"act_before_se": True}),
    "legacy_seresnet34": ("se_resnet_34", {"act_before_se": True}),
    "legacy_seresnet50": ("se_resnet_50", {}),
    "legacy_seresnet101": ("se_resnet_101", {}),
    "legacy_seresnet152": ("se_resnet_152", {}),
    "legacy_seresnext26_32x4d": ("se_resnext_26_32x4d", {}),
    "legacy_seresnext50_32x4d": ("se_resnext_50_32x4d", {}),
    "legacy_seresnext101_32x4d": ("se_resnext_101_32x4d", {}),
}
TIMM: Table = {
    "resnet18": ("resnet_18", PAD),
    "resnet34": ("resnet_34", PAD),
    "resnet50": ("resnet_50b", {}),
    "resnet101": ("resnet_101b", {}),
    "resnet152": ("resnet_152b", {}),
    "resnext50_32x4d": ("resnext_50_32x4d", PAD),
    "resnext101_32x4d": ("resnext_101_32x4d", PAD),
    "resnext101_32x8d": ("resnext_101_32x8d", PAD),
    "resnext101_64x4d": ("resnext_101_64x4d", PAD),
    "seresnet18": ("se_resnet_18", {**PAD, **ROUNDED}),
    "seresnet34": ("se_resnet_34", {**PAD, **ROUNDED}),
    "seresnet50": ("se_resnet_50b", ROUNDED),
    "seresnet101": ("se_resnet_101b", ROUNDED),
    "seresnet152": ("se_resnet_152b", ROUNDED),
    "seresnext50_32x4d": ("se_resnext_50_32x4d", {**PAD, **ROUNDED}),
    "seresnext101_32x4d": ("se_resnext_101_32x4d", {**PAD, **ROUNDED}),
    "seresnext101_32x8d": ("se_resnext_101_32x8d", {**PAD, **ROUNDED}),
    "seresnext101_64x4d": ("se_resnext_101_64x4d", {**PAD, **ROUNDED}),
    "senet154": ("senet_154", {**PAD, **ROUNDED}),
}
TIMM_AVERAGED: Table = {
    "resnet50d": ("resnet_50b", DEEP),
    "resnet101d": ("resnet_101b", DEEP),
    "resnet152d": ("resnet_152b", DEEP),
    "seresnet152d": ("se_resnet_152b", {**DEEP, **ROUNDED}),
    "seresnet200d": ("se_resnet_200b", {**DEEP, **ROUNDED}),
    "seresnext26d_32x4d": ("se_resnext_26_32x4d", {**DEEP, **ROUNDED}),
    "seresnext26t_32x4d": ("se_resnext_26_32x4d", {**TIERED, **ROUNDED}),
    "seresnext101d_32x8d": ("se_resnext_101_32x8d", {**DEEP, **ROUNDED}),
    "seresnextaa101d_32x8d": ("se_resnext_101_32x8d", {**ANTIALIASED, **ROUNDED}),
    "seresnextaa201d_32x8d": (
        "se_resnext_201_32x8d",
        {**ANTIALIASED, **ROUNDED, "stem_hidden": (64, 64), "stem_width": 128},
    ),
}
TIMM_BYOB: Table = {
    "seresnet33ts": ("se_resnet_33ts", {}),
    "seresnext26ts": ("se_resnext_26ts", {}),
}
PYTORCHCV: Table = {
    "resnet18": ("resnet_18", PAD),
    "resnet34": ("resnet_34", PAD),
    "resnet50": ("resnet_50", PAD),
    "resnet50b": ("resnet_50b", {}),
    "resnet101": ("resnet_101", PAD),
    "resnet101b": ("resnet_101b", {}),
    "resnet152": ("resnet_152", PAD),
    "resnet152b": ("resnet_152b", {}),
    "resnext50_32x4d": ("resnext_50_32x4d", PAD),
    "resnext101_32x4d": ("resnext_101_32x4d", PAD),
    "resnext101_64x4d": ("resnext_101_64x4d", PAD),
    "seresnet10": ("se_resnet_10", PAD),
    "seresnet12": ("se_resnet_12", PAD),
    "seresnet14": ("se_resnet_14", PAD),
    "seresnet16": ("se_resnet_16", PAD),
    "seresnet18": ("se_resnet_18", PAD),
    "seresnet26": ("se_resnet_26", PAD),
    "seresnetbc26b": ("se_resnet_bc_26b", {}),
    "seresnet34": ("se_resnet_34", PAD),
    "seresnetbc38b": ("se_resnet_bc_38b", {}),
    "seresnet50": ("se_resnet_50", PAD),
    "seresnet50b": ("se_resnet_50b", {}),
    "seresnet101": ("se_resnet_101", PAD),
    "seresnet101b": ("se_resnet_101b", {}),
    "seresnet152": ("se_resnet_152", PAD),
    "seresnet152b": ("se_resnet_152b", {}),
    "seresnet200": ("se_resnet_200", PAD),
    "seresnet200b": ("se_resnet_200b", {}),
    "seresnext50_32x4d": ("se_resnext_50_32x4d", PAD),
    "seresnext101_32x4d": ("se_resnext_101_32x4d", PAD),
    "seresnext101_64x4d": ("se_resnext_101_64x4d", PAD),
}
PYTORCHCV_SENET: Table = {
    "senet16": ("senet_16", PAD),
    "senet28": ("senet_28", PAD),
    "senet40": ("senet_40", PAD),
    "senet52": ("senet_52", PAD),
    "senet103": ("senet_103", PAD),
    "senet154": ("senet_154", PAD),
}
PYTORCHCV_PREACT: Table = {
    "sepreresnet10": ("se_preact_resnet_10", {}),
    "sepreresnet12": ("se_preact_resnet_12", {}),
    "sepreresnet14": ("se_preact_resnet_14", {}),
    "sepreresnet16": ("se_preact_resnet_16", {}),
    "sepreresnet18": ("se_preact_resnet_18", {}),
    "sepreresnet26": ("se_preact_resnet_26", {}),
    "sepreresnetbc26b": ("se_preact_resnet_bc_26b", {}),
    "sepreresnet34": ("se_preact_resnet_34", {}),
    "sepreresnetbc38b": ("se_preact_resnet_bc_38b", {}),
    "sepreresnet50": ("se_preact_resnet_50", {}),
    "sepreresnet50b": ("se_preact_resnet_50b", {}),
    "sepreresnet101": ("se_preact_resnet_101", {}),
    "sepreresnet101b": ("se_preact_resnet_101b", {}),
    "sepreresnet152": ("se_preact_resnet_152", {}),
    "sepreresnet152b": ("se_preact_resnet_152b", {}),
    "sepreresnet200": ("se_preact_resnet_200", {}),
    "sepreresnet200b": ("se_preact_resnet_200b", {}),
}
OTHER_ENDS = {"stem": "cifar", "last_norm": False}
# Each of these exists three times: the name with _cifar10, _cifar100 and _svhn behind it.
PYTORCHCV_CIFAR: dict[str, tuple[str, Names, Changes]] = {
    "resnet20": ("resnet_20_cifar", pytorchcv.cifar, {}),
    "resnet56": ("resnet_56_cifar", pytorchcv.cifar, {}),
    "resnet110": ("resnet_110_cifar", pytorchcv.cifar, {}),
    "resnet164bn": ("resnet_164_cifar", pytorchcv.cifar, {}),
    "seresnet20": ("se_resnet_20_cifar", pytorchcv.cifar, {}),
    "seresnet56": ("se_resnet_56_cifar", pytorchcv.cifar, {}),
    "seresnet110": ("se_resnet_110_cifar", pytorchcv.cifar, {}),
    "seresnet164bn": ("se_resnet_164_cifar", pytorchcv.cifar, {}),
    "seresnet272bn": ("se_resnet_272_cifar", pytorchcv.cifar, {}),
    "seresnet542bn": ("se_resnet_542_cifar", pytorchcv.cifar, {}),
    "seresnet1001": ("se_resnet_1001_cifar", pytorchcv.cifar, {}),
    "seresnet1202": ("se_resnet_1202_cifar", pytorchcv.cifar, {}),
    "preresnet20": ("preact_resnet_20_cifar", pytorchcv.preresnet_bare, {}),
    "preresnet56": ("preact_resnet_56_cifar", pytorchcv.preresnet_bare, {}),
    "preresnet110": ("preact_resnet_110_cifar", pytorchcv.preresnet_bare, {}),
    "preresnet164bn": ("preact_resnet_164_cifar", pytorchcv.preresnet_bare, {}),
    "sepreresnet20": ("se_preact_resnet_20_cifar", pytorchcv.preresnet, OTHER_ENDS),
    "sepreresnet56": ("se_preact_resnet_56_cifar", pytorchcv.preresnet, OTHER_ENDS),
    "sepreresnet110": ("se_preact_resnet_110_cifar", pytorchcv.preresnet, OTHER_ENDS),
    "sepreresnet164bn": ("se_preact_resnet_164_cifar", pytorchcv.preresnet, OTHER_ENDS),
    "sepreresnet272bn": ("se_preact_resnet_272_cifar", pytorchcv.preresnet, OTHER_ENDS),
    "sepreresnet542bn": ("se_preact_resnet_542_cifar", pytorchcv.preresnet, OTHER_ENDS),
    "sepreresnet1001": ("se_preact_resnet_1001_cifar", pytorchcv.preresnet, OTHER_ENDS),
    "sepreresnet1202": ("se_preact_resnet_1202_cifar", pytorchcv.preresnet, OTHER_ENDS),
    "wrn16_10": ("wide_resnet_16_10_cifar", pytorchcv.preresnet_bare, {}),
    "shakeshakeresnet20_2x16d": ("shake_shake_20_2x16d_cifar", pytorchcv.shake_shake, {}),
    "shakeshakeresnet26_2x32d": ("shake_shake_26_2x32d_cifar", pytorchcv.shake_shake, {}),
}
DATASETS = {"cifar10": 10, "cifar100": 100, "svhn": 10}


def architectures() -> Iterator[Architecture]:
    """All rows of the tables above."""
    for name, (model, names) in CAFFE.items():
        yield Architecture(f"caffe/{name}", model, names)
    for source, table, names in (
        ("timm", TIMM_LEGACY, timm.senet),
        ("timm", TIMM, timm.resnet),
        ("timm", TIMM_AVERAGED, timm.resnet_d),
        ("timm", TIMM_BYOB, timm.byobnet),
        ("pytorchcv", PYTORCHCV, pytorchcv.resnet),
        ("pytorchcv", PYTORCHCV_SENET, pytorchcv.senet),
        ("pytorchcv", PYTORCHCV_PREACT, pytorchcv.preresnet),
    ):
        for name, (model, changes) in table.items():
            yield Architecture(f"{source}/{name}", model, names, changes)
    for name, (model, own_names, changes) in PYTORCHCV_CIFAR.items():
        for dataset, classes in DATASETS.items():
            yield Architecture(
                f"pytorchcv/{name}_{dataset}", model, own_names, {**changes, "classes": classes}
            )
    for family in (inception, plain):
        for name, (model, changes) in family.PINS.items():
            yield Architecture(name, model, family.NAMES[name], changes)


ARCHITECTURES = {architecture.name: architecture for architecture in architectures()}


def find_architecture(name: str) -> Architecture:
    """The row "SOURCE/NAME"; ValueError with the nearest names where there is none."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    raise ValueError(
        "The architecture must be a source's own name, 'caffe/…', 'timm/…' or 'pytorchcv/…'. "
        f"Received: {name!r}.{did_you_mean(str(name), ARCHITECTURES)}"
    )
