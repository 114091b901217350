"""A picture of what the network will see."""

import contextlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from senet.data.dataset import Dataset
from senet.data.vary import as_image
from senet.files import written_aside

if TYPE_CHECKING:
    from PIL import ImageFont

_ROWS, _COLUMNS, _GAP = 4, 8, 6
_SHOWN = 128  # pixels of the side of a picture, about
_LINE = 16  # pixels of height of a line of text


def draw_preview(data: Dataset, seed: int, path: Path) -> None:
    """The first training images of a run with `seed`, varied as they will be, with their classes, as a PNG.

    Pixels are those of the batch, with the normalisation taken back. Where images are mixed, the classes
    stand with their shares.
    """
    from PIL import Image, ImageDraw, ImageFont

    images, labels = _first(data, seed, _ROWS * _COLUMNS)
    scale = max(1, round(_SHOWN / images.shape[2]))
    width, height = images.shape[2] * scale, images.shape[1] * scale
    title = _LINE * labels.ndim  # a line for a class, two for shares of two classes
    cell = (width + _GAP, height + _GAP + title)
    sheet = Image.new("RGB", (_COLUMNS * cell[0] + _GAP, _ROWS * cell[1] + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, (image, label) in enumerate(zip(images, labels, strict=False)):
        left, top = _GAP + number % _COLUMNS * cell[0], _GAP + number // _COLUMNS * cell[1]
        for line, text in enumerate(caption(label, data.class_names)):
            draw.text((left, top + line * _LINE), _shortened(text, width, font), "black", font)
        picture = as_image(image).convert("RGB").resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(picture, (left, top + title))
    with written_aside(path) as aside:
        sheet.save(aside, "PNG")


def caption(label: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """The class of a label; of shares, (classes,), up to two with percentages, the larger first."""
    if label.ndim == 0:
        return [names[int(label)]]
    best = [index for index in np.argsort(-label, kind="stable")[:2] if label[index] > 0]
    return [f"{label[index]:.0%} {names[index]}" for index in best]


def _shortened(text: str, width: int, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    """`text`, cut where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def _first(data: Dataset, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(pixels (N, H, W, C) uint8, labels) of the first `count` images, fewer where there are fewer."""
    batch = max(2, min(8, data.train_images) // 2 * 2)  # even, so that images can be mixed
    training = data.training(batch, seed)
    with contextlib.closing(training.stream()) as stream:
        batches = list(itertools.islice(stream, min(-(-count // batch), training.steps)))
    images, labels = (np.concatenate(part)[:count] for part in zip(*batches, strict=True))
    mean, std = (np.array(values, np.float32) for values in (data.preprocess.mean, data.preprocess.std))
    return np.clip(np.round(images * std + mean), 0, 255).astype(np.uint8), labels
