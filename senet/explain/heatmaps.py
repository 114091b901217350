"""Grad-CAM of image files: heatmaps over the images, on one sheet and one page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from senet.data.preprocess import ImageLike, Preprocess
from senet.errors import did_you_mean
from senet.explain.grad_cam import AUTO, CLOSED_FORM, GRADIENT, LAST, GradCam, Maps
from senet.explain.names import readable
from senet.explain.sheets import Tile, draw_sheet, rgb
from senet.explain.tables import write_csv
from senet.page import Picture, Section, Table, write_page
from senet.predict import class_labels, find_preprocess, list_sources
from senet.scores import softmax

COLUMNS = ("file", "class", "probability", "layer", "way", "row", "column", "height", "width")
MAP = "inferno"
STRENGTH = 0.75  # of the colours, where the map is at its highest


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Heatmap:
    """Where a network sees a class in one image."""

    file: str
    label: str
    probability: float
    pixels: np.ndarray  # (H, W, C) uint8, as the network saw it
    map: np.ndarray  # (h, w), at least 0
    layer: str
    way: str

    @property
    def peak(self) -> tuple[int, int]:
        """(row, column) of the map's highest value."""
        row, column = np.unravel_index(int(self.map.argmax()), self.map.shape)
        return int(row), int(column)


def heatmaps(
    model: keras.Model,
    images: Sequence[ImageLike],
    *,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    label: str | None = None,
    layer: str = LAST,
    way: str = AUTO,
    batch: int = 16,
) -> list[Heatmap]:
    """Grad-CAM of images: files or folders, images of Pillow's, or arrays, as `senet.predict` has them.

    `label` is the class to look for, by name; default what the network says of each image. `layer` and `way`
    are those of `GradCam`. ValueError for an unknown class, an image that cannot be read, and as there.
    """
    preprocess = find_preprocess(model, preprocess)
    names = readable(class_labels(model, labels))
    wanted = None if label is None else find_label(label, names)
    sources = list_sources(images, channels=len(preprocess.mean))
    explain = GradCam(model, layer=layer, way=way)
    found: list[Heatmap] = []
    for start in range(0, len(sources), batch):
        part = sources[start : start + batch]
        pixels = [preprocess.pixels(source.image, source.name) for source in part]
        for run in same_shapes(pixels):
            maps = explain(preprocess(np.stack(pixels[run])), wanted)
            found += named(maps, [source.name for source in part[run]], pixels[run], names)
    return found


def named(
    maps: Maps, files: Sequence[str], pixels: Sequence[np.ndarray], names: Sequence[str]
) -> list[Heatmap]:
    """The maps of a batch, one by one."""
    p = softmax(maps.logits)
    return [
        Heatmap(
            file=file,
            label=names[index],
            probability=float(p[row, index]),
            pixels=pixels[row],
            map=maps.maps[row],
            layer=maps.layer,
            way=maps.way,
        )
        for row, (file, index) in enumerate(zip(files, maps.classes.tolist(), strict=True))
    ]


def find_label(label: str, names: Sequence[str]) -> int:
    """The index of a class by its name; ValueError where there is none such."""
    known = {name.lower(): index for index, name in reversed(list(enumerate(names)))}
    found = known.get(label.lower().replace("_", " "))
    if found is None:
        raise ValueError(
            f"The class must be one of the network's. Received: {label!r}.{did_you_mean(label, names)}"
        )
    return found


def same_shapes(images: Sequence[np.ndarray]) -> list[slice]:
    """Runs of images of one shape: uncut images may be of any size."""
    starts = [i for i in range(len(images)) if not i or images[i].shape != images[i - 1].shape]
    return [slice(*ends) for ends in zip(starts, [*starts[1:], len(images)], strict=True)]


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A map (h, w) over an image (H, W, C) as (H', W', 3) uint8, each image's highest value in full colour.

    A map of zeros, of a class that nothing speaks for, leaves the image as it is.
    """
    from matplotlib import colormaps
    from PIL import Image

    image = rgb(pixels)
    height, width = image.shape[:2]
    grown = Image.fromarray(heat.astype(np.float32), "F").resize((width, height), Image.Resampling.BICUBIC)
    share = np.clip(np.asarray(grown) / max(float(heat.max()), np.finfo(np.float32).tiny), 0, 1)[..., None]
    colours = 255 * colormaps[MAP](share[..., 0])[..., :3]
    grey = image.mean(axis=2, keepdims=True)  # colours of the image would be taken for those of the map
    if not heat.max():
        return image
    weight = STRENGTH * share
    return np.round((1 - weight) * (0.4 * grey + 0.6 * image) + weight * colours).astype(np.uint8)


def write_heatmaps(found: Sequence[Heatmap], out: Path, *, model: str) -> tuple[Path, ...]:
    """Write the sheet, heatmaps.csv and index.html into `out`; the files, the page first."""
    sheet, table, page = out / "heatmaps.png", out / "heatmaps.csv", out / "index.html"
    first = found[0]
    tiles = [
        Tile(
            [rgb(each.pixels), overlay(each.pixels, each.map)],
            (f"{each.label} {each.probability:.1%}", Path(each.file).name),
        )
        for each in found
    ]
    draw_sheet(tiles, sheet, title=f"Grad-CAM of {model} at {first.layer}")
    rows = [
        (each.file, each.label, each.probability, each.layer, each.way, *each.peak, *each.map.shape)
        for each in found
    ]
    write_csv(table, COLUMNS, rows)
    what = {
        CLOSED_FORM: "No gradient is needed here: behind this map come a global mean and one dense layer.",
        GRADIENT: "The channels are weighted by the mean gradient of the class's logit.",
    }
    section = Section(
        heading=f"At {first.layer}",
        text=f"What speaks for the class in each image, from a map of {first.map.shape[0]} × "
        f"{first.map.shape[1]} positions; each image has its own scale. {what[first.way]} Selvaraju et al. "
        "2017.",
        pictures=[
            Picture(source=sheet, alt="Images, each beside itself under a map of where its class is seen.")
        ],
        table=Table(
            columns=("Image", "Class", "Probability"),
            rows=[(Path(each.file).name, each.label, f"{each.probability:.1%}") for each in found],
        ),
    )
    write_page(page, f"Grad-CAM: {model}", [section])
    return page, sheet, table
