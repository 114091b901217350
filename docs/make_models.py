"""Write docs/models.md: every network with what it costs, and every published weight set.

python docs/make_models.py
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from senet.bench.report import markdown_table
from senet.complexity import counted
from senet.files import write_text
from senet.models import (
    bn_inception,
    cifar,
    inception_resnet_v2,
    mobilenet,
    resnet,
    resnext,
    senet154,
    shufflenet,
    vgg,
)
from senet.models.spec import Spec
from senet.models.tables import MODELS
from senet.weights import catalogue
from senet.weights.architectures import ARCHITECTURES

PAGE = Path(__file__).with_name("models.md")
TABLES: Mapping[str, ModuleType] = {
    "ResNet": resnet,
    "ResNeXt": resnext,
    "SENet-154": senet154,
    "BN-Inception": bn_inception,
    "Inception-ResNet-v2": inception_resnet_v2,
    "VGG-16": vgg,
    "MobileNet": mobilenet,
    "ShuffleNet": shufflenet,
    "32×32 images": cifar,
}

TEXT = """# Networks and weights

Written by `python docs/make_models.py` from the tables in `senet/models/`, the counts in `senet/complexity.json` and
the catalogue in `senet/weights/`. Multiply-adds are for one image of the network's own size; parameters are the
trainable ones. `senet list`, `senet list --weights` and `senet info NETWORK` show the same in a terminal.

Every row is a frozen spec; any of its fields can be changed when a network is built
(`senet.create_model("se_resnet_50", stem="deep", shortcut="avg")`), and `se=` takes any block of the paper
(`SESpec(ratio=8, position="pre", gate="tanh", squeeze="max", …)`). `Source's variants` are the networks of timm,
pytorchcv and the authors' Caffe files that are this row with some fields changed: `senet.from_checkpoint(path,
"timm/seresnet50")` reads their checkpoints.

{families}
## Published weights

`create_model(NETWORK, weights=TAG)` downloads, verifies, converts and caches; a star marks what
`weights="imagenet"` means for its network. Errors are in percent, single crop, as their source states them. "By hand"
sets have no address that a program can read: fetch the file from [the authors' page]({caffe}) and use
`senet.from_checkpoint`. Architectures whose weights were never published are left out here; they can be built.

{weights}
"""


def page() -> str:
    """The page as text."""
    assert sum(len(module.MODELS) for module in TABLES.values()) == len(MODELS), "a family is missing"
    families = "".join(family(title, module) for title, module in TABLES.items())
    caffe = catalogue.matching("caffe/*")[0].page
    return TEXT.format(families=families, weights=weights_table(), caffe=caffe)


def family(title: str, module: ModuleType) -> str:
    """One family: what its module says, and its rows."""
    counts, variants = counted(), variants_by_model()
    rows = []
    for name, spec in module.MODELS.items():
        row = counts[name]
        rows.append(
            [
                f"`{name}`",
                "×".join(map(str, row.image_shape[:2])),
                f"{row.trainable_parameters:,}",
                f"{row.multiply_adds / 1e6:,.0f} M",
                se(spec),
                ", ".join(variants.get(name, [])),
            ]
        )
    columns = ("Network", "Image", "Parameters", "Multiply-adds", "SE", "Source's variants")
    table = "\n".join(markdown_table(columns, rows))
    text = inspect.getdoc(module) or ""
    source = Path(module.__file__ or "").name
    return f"## {title}\n\n{text}\n\n(`senet/models/{source}`)\n\n{table}\n\n"


def se(spec: Spec) -> str:
    """The SE block of a row in a few words."""
    if spec.se is None:
        return "none"
    rounded = f", rounded to {spec.se.divisor}" if spec.se.divisor > 1 else ""
    return f"r = {spec.se.ratio}{rounded}" + (
        "" if spec.se.position == "standard" else f", {spec.se.position}"
    )


def variants_by_model() -> dict[str, list[str]]:
    """The sources' names of each row, the three data sets of a CIFAR network as one."""
    found: dict[str, list[str]] = {}
    for architecture in ARCHITECTURES.values():
        name = architecture.name
        if name.endswith(("_cifar100", "_svhn")):
            continue
        name = name.replace("_cifar10", "_{cifar10,cifar100,svhn}")
        found.setdefault(architecture.model, []).append(f"`{name}`")
    return found


def weights_table() -> str:
    """The published sets of the catalogue."""
    defaults = set(catalogue.DEFAULT_TAGS.values())
    rows = [
        [
            f"`{entry.tag}`" + " ★" * (entry.tag in defaults),
            f"`{ARCHITECTURES[f'{entry.source}/{entry.architecture}'].model}`",
            entry.dataset,
            str(entry.image_size),
            "" if entry.top1_error is None else f"{entry.top1_error:.2f}",
            "" if entry.top5_error is None else f"{entry.top5_error:.2f}",
            entry.licence,
            "" if entry.downloadable else "by hand",
        ]
        for entry in catalogue.matching()
        if entry.published
    ]
    columns = ("Tag", "Network", "Data", "Image", "Top-1 error", "Top-5 error", "Licence", "")
    return "\n".join(markdown_table(columns, rows))


if __name__ == "__main__":
    write_text(PAGE, page())
    print(PAGE)
