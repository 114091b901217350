"""Every published set of weights this package knows: origin, licence, hash, input and published error.

The tables `timm.csv`, `pytorchcv.csv` and `caffe.csv` beside this module keep each source's own columns; a
row becomes a `WeightsEntry`. Nothing here needs an engine, a network or the internet.
"""

from __future__ import annotations

import csv
import fnmatch
import functools
import importlib.resources
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from senet.errors import did_you_mean

if TYPE_CHECKING:
    from senet.data.preprocess import Preprocess

Row = dict[str, str]

_TIMM = "https://github.com/huggingface/pytorch-image-models"
_PYTORCHCV = "https://github.com/osmr/imgclsmob"
_CAFFE = "https://github.com/hujie-frank/SENet"
_TIMM_DATASETS = {1000: "imagenet-1k", 11821: "imagenet-12k"}
# pytorchcv scales the small images of all three data sets by the statistics of CIFAR-10.
_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# What `weights="imagenet"` means for a model. Networks for CIFAR have no such weights.
DEFAULT_TAGS: Mapping[str, str] = MappingProxyType(
    {
        "se_bn_inception": "caffe/SE-BN-Inception",
        "se_resnet_18": "timm/legacy_seresnet18.in1k",
        "se_resnet_34": "timm/legacy_seresnet34.in1k",
        "se_resnet_50": "timm/legacy_seresnet50.in1k",
        "se_resnet_101": "timm/legacy_seresnet101.in1k",
        "se_resnet_152": "timm/legacy_seresnet152.in1k",
        "se_resnet_50b": "pytorchcv/seresnet50b",
        "se_resnet_101b": "pytorchcv/seresnet101b",
        "se_resnext_50_32x4d": "timm/legacy_seresnext50_32x4d.in1k",
        "se_resnext_101_32x4d": "timm/legacy_seresnext101_32x4d.in1k",
        "senet_154": "timm/legacy_senet154.in1k",
        "bn_inception": "pytorchcv/bninception",
        "inception_resnet_v2": "pytorchcv/inceptionresnetv2",
        "mobilenet": "pytorchcv/mobilenet_w1",
        "resnet_18": "pytorchcv/resnet18",
        "resnet_34": "pytorchcv/resnet34",
        "resnet_50": "pytorchcv/resnet50",
        "resnet_101": "pytorchcv/resnet101",
        "resnet_152": "pytorchcv/resnet152",
        "resnet_50b": "pytorchcv/resnet50b",
        "resnet_101b": "pytorchcv/resnet101b",
        "resnet_152b": "pytorchcv/resnet152b",
        "resnext_50_32x4d": "pytorchcv/resnext50_32x4d",
        "resnext_101_32x4d": "pytorchcv/resnext101_32x4d",
        "shufflenet_g3": "pytorchcv/shufflenet_g3_w1",
        "vgg_16": "pytorchcv/bn_vgg16",
    }
)


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One published set of weights, or an architecture whose weights were never published (`published`).

    Sizes are pixels, `mean` and `std` RGB in 0..255, errors percent (single crop, as published; None where
    the source gives none). A caller shrinks the short side to `resize` with the filter `interpolation` and
    cuts the central square of `image_size`; `crop_pct` is that share as the source writes it. `test_*` is
    the larger input at which timm also tests, where it does.

    `hash` is "sha256:…" or "sha1:…" of the file at `url`, for a `.zip` of the one file in it; the digits may
    be only the first ones. A file of `hf_repo` has none here: the hub states its SHA-256.
    """

    tag: str
    source: str
    architecture: str
    dataset: str
    classes: int
    parameters: int
    licence: str
    origin: str
    page: str | None = None
    url: str | None = None
    hf_repo: str | None = None
    hash: str | None = None
    image_size: int
    resize: int
    crop_pct: float
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    top1_error: float | None = None
    top5_error: float | None = None
    test_image_size: int | None = None
    test_crop_pct: float | None = None
    test_top1_error: float | None = None
    test_top5_error: float | None = None

    @property
    def published(self) -> bool:
        """Whether such weights exist; without, the architecture can only be built and trained."""
        return bool(self.url or self.hf_repo or self.page)

    @property
    def downloadable(self) -> bool:
        """Whether they have an address that a program can read."""
        return bool(self.url or self.hf_repo)

    @property
    def file_name(self) -> str:
        """What the original file is called in the cache."""
        return self.download_name.removesuffix(".zip")

    @property
    def download_name(self) -> str:
        """What it is called on a mirror: as at its address; all files of the hub have one name there."""
        if self.url and not self.hf_repo:
            return self.url.rpartition("/")[2]
        return f"{self.tag.partition('/')[2]}.{'safetensors' if self.hf_repo else 'caffemodel'}"

    @property
    def preprocess(self) -> Preprocess:
        """From an image to what the network reads, as its authors tested it."""
        return self._preprocess(self.image_size, self.resize)

    @property
    def test_preprocess(self) -> Preprocess | None:
        """The same at the size of `test_top1_error`; None where the source has no second size."""
        if self.test_image_size is None or self.test_crop_pct is None:
            return None
        return self._preprocess(
            self.test_image_size, _short_side(self.test_image_size, self.test_crop_pct, math.floor)
        )

    def _preprocess(self, crop: int, resize: int) -> Preprocess:
        from senet.data.preprocess import Preprocess

        return Preprocess(resize=resize, crop=crop, filter=self.interpolation, mean=self.mean, std=self.std)


@functools.cache
def entries() -> Mapping[str, WeightsEntry]:
    """The whole catalogue by tag: timm, then pytorchcv, then the authors' Caffe models."""
    found: dict[str, WeightsEntry] = {}
    for source, read in (("timm", _timm), ("pytorchcv", _pytorchcv), ("caffe", _caffe)):
        table = importlib.resources.files("senet.weights").joinpath(f"{source}.csv")
        for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines()):
            entry = read(row)
            assert entry.tag not in found, entry.tag
            found[entry.tag] = entry
    return MappingProxyType(found)


def find(tag: str) -> WeightsEntry:
    """The entry of a tag such as "timm/seresnet50.ra2_in1k"; ValueError with the nearest ones."""
    if tag in entries():
        return entries()[tag]
    raise ValueError(
        "A weights tag must be one of senet.weights.catalogue.entries() (`senet list --weights`). "
        f"Received: {tag!r}.{did_you_mean(tag, entries()) or _same_name(tag)}"
    )


def matching(pattern: str = "*") -> list[WeightsEntry]:
    """The entries whose tag fits a shell pattern such as "timm/*50*", in the order of the catalogue."""
    return [entry for tag, entry in entries().items() if fnmatch.fnmatchcase(tag, pattern)]


def default_tag(model: str) -> str:
    """The tag that `weights="imagenet"` means for a model; ValueError where there is none."""
    if model in DEFAULT_TAGS:
        return DEFAULT_TAGS[model]
    raise ValueError(
        f"There are no default ImageNet weights for {model!r}. Models that have some: "
        f"{', '.join(DEFAULT_TAGS)}. Give a tag of `senet list --weights`, a file, or weights=None."
    )


def _same_name(tag: str) -> str:
    """A hint for a tag that is near to none as a whole: those that hold its name."""
    name = tag.rpartition("/")[2].partition(".")[0].lower()
    near = [known for known in entries() if name and name in known.lower()]
    return f" Did you mean {' or '.join(map(repr, near[:3]))}?" if near else ""


def _timm(row: Row) -> WeightsEntry:
    size, crop_pct = int(row["input_size"]), float(row["crop_pct"])
    # PyTorch's convention: the file is named by the first digits of its SHA-256.
    digits = re.search(r"-([0-9a-f]{8,})\.pth$", row["url"])
    return WeightsEntry(
        tag=f"timm/{row['architecture']}.{row['tag']}",
        source="timm",
        architecture=row["architecture"],
        dataset=_TIMM_DATASETS[int(row["classes"])],
        classes=int(row["classes"]),
        parameters=int(row["params"]),
        licence={"apache-2.0": "Apache-2.0"}[row["license"]],
        origin=row["origin"] or _TIMM,
        url=row["url"] or None,
        hf_repo=row["hf_repo"] or None,
        hash=f"sha256:{digits[1]}" if digits else None,
        image_size=size,
        resize=_short_side(size, crop_pct, math.floor),
        crop_pct=crop_pct,
        interpolation=row["interpolation"],
        mean=_pixels(tuple(map(float, row["mean"].split()))),
        std=_pixels(tuple(map(float, row["std"].split()))),
        top1_error=_error(row["top1"]),
        top5_error=_error(row["top5"]),
        test_image_size=int(row["test_input_size"]) if row["test_input_size"] else None,
        test_crop_pct=float(row["test_crop_pct"]) if row["test_crop_pct"] else None,
        test_top1_error=_error(row["test_top1"]),
        test_top5_error=_error(row["test_top5"]),
    )


def _pytorchcv(row: Row) -> WeightsEntry:
    published = row["sha1"] != "NA"
    imagenet = row["dataset"] == "in1k"
    suffix = row["architecture"].rpartition("_")[2]
    dataset, classes = {
        "cifar10": ("cifar-10", 10),
        "cifar100": ("cifar-100", 100),
        "svhn": ("svhn", 10),
    }.get(suffix, ("imagenet-1k", 1000))
    # Images of 32 x 32 are taken as they are: resizing and cropping them to 32 changes nothing.
    size, crop_pct = (int(row["input_size"]), float(row["input_scale"])) if imagenet else (32, 1.0)
    return WeightsEntry(
        tag=f"pytorchcv/{row['architecture']}",
        source="pytorchcv",
        architecture=row["architecture"],
        dataset=dataset,
        classes=classes,
        parameters=int(row["params"]),
        licence="MIT",
        origin=_PYTORCHCV,
        url=row["url"] if published else None,
        hash=f"sha1:{row['sha1']}" if published else None,
        image_size=size,
        resize=_short_side(size, crop_pct, math.ceil),  # 342 for 299, where timm would take 341
        crop_pct=crop_pct,
        interpolation="bilinear",
        mean=_pixels(_IMAGENET_MEAN if imagenet else _CIFAR_MEAN),
        std=_pixels(_IMAGENET_STD if imagenet else _CIFAR_STD),
        top1_error=float(row["top1_error"]) if published else None,
        # The code in a file's name is the error that its network was chosen by: top-5 on ImageNet.
        top5_error=int(row["error_code"]) / 100 if published and imagenet else None,
    )


def _caffe(row: Row) -> WeightsEntry:
    return WeightsEntry(
        tag=f"caffe/{row['architecture']}",
        source="caffe",
        architecture=row["architecture"],
        dataset="imagenet-1k",
        classes=1000,
        parameters=int(row["params"]),
        licence="Apache-2.0",
        origin=_CAFFE,
        page=row["page"],
        image_size=224,
        resize=256,
        crop_pct=0.875,
        interpolation="bilinear",
        mean=(123.0, 117.0, 104.0),
        std=(1.0, 1.0, 1.0),
        top1_error=float(row["top1_error"]),
        top5_error=float(row["top5_error"]),
    )


def _short_side(size: int, crop_pct: float, whole: Callable[[float], int]) -> int:
    return whole(size / crop_pct)


def _pixels(shares: tuple[float, ...]) -> tuple[float, float, float]:
    """Statistics of pixels in 0..1 as those of pixels in 0..255."""
    red, green, blue = (255.0 * share for share in shares)
    return red, green, blue


def _error(accuracy: str) -> float | None:
    """Percent wrong from percent right, to the three decimals that are published."""
    return round(100 - float(accuracy), 3) if accuracy else None
