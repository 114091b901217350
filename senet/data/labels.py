"""The classes of ImageNet-1k, in the order of every Keras and timm network."""

import csv
import functools
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class ImageNetClass:
    """One class: `index` counts the WordNet ids in sorted order, from 0.

    `ilsvrc2012_id` (from 1) is the number in the challenge's development kit; Caffe's networks answer in the
    order of it. `name` has underscores for blanks; "crane" and "maillot" each name two classes.
    """

    index: int
    wnid: str
    ilsvrc2012_id: int
    name: str


@functools.cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """The 1000 classes, by index."""
    text = resources.files("senet.data").joinpath("imagenet_classes.csv").read_text(encoding="utf-8")
    return tuple(
        ImageNetClass(int(row["index"]), row["wnid"], int(row["ilsvrc2012_id"]), row["name"])
        for row in csv.DictReader(text.splitlines())
    )


def imagenet_labels() -> tuple[str, ...]:
    """The 1000 English names, by index."""
    return tuple(row.name for row in imagenet_classes())
