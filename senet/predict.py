"""Images to the names of what is in them."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import keras
import numpy as np

if TYPE_CHECKING:
    from senet.data.preprocess import ImageLike, Preprocess

_THREADS = 8  # decoders at most; each may hold an image of 16 million pixels
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Prediction:
    """One class: its label, its index in the network's output, its probability in [0, 1]."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class ImagePredictions(Sequence[Prediction]):
    """The likeliest classes of one image, best first: a sequence of `Prediction`.

    `source` is the path as it was given or found in a folder; without one, "images[3]". Where the image
    could not be read the sequence is empty and `error` says why, in a sentence that names it.
    """

    source: str
    predictions: tuple[Prediction, ...] = ()
    error: str | None = None

    def __getitem__(self, index):
        return self.predictions[index]

    def __len__(self) -> int:
        return len(self.predictions)


class Source(NamedTuple):
    """An image that is still to be read, and its name."""

    name: str
    image: ImageLike


class Network(Protocol):
    """What `predict` needs of a network: a Keras model has it, and so has an exported file in its runtime.

    It may say more: `preprocess`, `labels`, and in `answers` whether it gives "probabilities" or "logits".
    """

    name: Any
    input_shape: Any
    output_shape: Any

    def predict_on_batch(self, x: Any) -> Any:
        """Images (N, H, W, C) float32 to (N, classes)."""


def predict(
    model: keras.Model | Network,
    images: ImageLike | Iterable[ImageLike],
    top: int = 5,
    *,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    batch_size: int = 32,
    progress: bool = False,
) -> list[ImagePredictions]:
    """The `top` likeliest classes of each image, in the order of the images.

    Args:
        model: a classifier, images (N, H, W, C) to (N, classes). Its last layer decides what its numbers are:
            a softmax (Activation, Dense or Softmax layer) probabilities, a linear Activation or Dense layer
            logits, which the softmax is taken of here. Anything else is refused. Or an exported file, opened
            by `senet.deploy.runtimes.open_runtime`, which knows all this of itself.
        images: paths of files or folders, images of Pillow's, uint8 arrays (H, W, 3); or one of these. A
            folder stands for all image files in it, at any depth, sorted, those that are hidden left out.
        top: classes an image; all, where the network has fewer.
        preprocess: resize, crop and normalisation; default `model.preprocess`, which published weights bring.
        labels: name of each class; default those of an exported file, else the English names of ImageNet-1k
            (sorted WordNet ids, the order of Keras and timm) where there are 1000 classes, otherwise the
            indices as text.
        batch_size: images a step. The last batch is filled up, so that nothing is compiled twice.
        progress: show a bar on stderr, where that is a terminal.

    Returns one `ImagePredictions` an image. A file that cannot be read stops nothing: its entry is empty and
    has an `error`. See `senet.data.reading.opened` for how grey, 16-bit, CMYK, transparent and turned images
    are read. Equal probabilities are in the order of their indices.

    Raises ValueError for an option or network that does not fit, an array of other type or shape, and a
    folder without images.
    """
    check_positive("batch_size", batch_size)
    classifier = make_classifier(model, top, preprocess, labels)
    sources = list_sources(images, channels=len(classifier.preprocess.mean))
    with warnings.catch_warnings(), bar(len(sources), progress) as advance:
        # Pillow warns of damage that it reads around; what it cannot read stands in the results.
        warnings.filterwarnings("ignore", module="PIL")
        return classify(classifier, sources, min(batch_size, len(sources)), advance)


def check_positive(name: str, value: object) -> None:
    """Raise ValueError unless the option `name` is a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}.")


def make_classifier(
    model: keras.Model | Network, top: int, preprocess: Preprocess | None, labels: Sequence[str] | None
) -> Classifier:
    """A network with all that turns images into predictions; the arguments are those of `predict`."""
    check_positive("top", top)
    preprocess = find_preprocess(model, preprocess)
    return Classifier(model, preprocess, class_labels(model, labels), ends_in_softmax(model), top)


@dataclass(frozen=True)
class Classifier:
    """A network with all that turns images into predictions."""

    model: keras.Model | Network
    preprocess: Preprocess
    labels: Sequence[str]
    softmax: bool  # the network ends in it
    top: int

    def read(self, source: Source) -> np.ndarray | str:
        """The pixels (H, W, C) uint8 of an image, or why there are none."""
        try:
            pixels = self.preprocess.pixels(source.image, source.name)
        except ValueError as error:
            return str(error)
        shape = self.model.input_shape[1:]
        if any(own not in (None, side) for own, side in zip(shape, pixels.shape, strict=True)):
            return (
                f"{source.name} has {pixels.shape[1]}x{pixels.shape[0]} pixels, and the network takes "
                f"{shape[1]}x{shape[0]}. Give a Preprocess that resizes and crops."
            )
        return pixels

    def __call__(
        self, images: list[np.ndarray], size: int
    ) -> list[tuple[tuple[Prediction, ...], str | None]]:
        """Predictions for each of up to `size` images of one shape, or the reason why there are none."""
        # Filled up with the last image: a new batch size would be traced or compiled anew.
        padded = np.stack(images + images[-1:] * (size - len(images)))
        output = np.asarray(self.model.predict_on_batch(self.preprocess(padded)))[: len(images)]
        output = output.astype(np.float64)
        if not self.softmax:
            from scipy.special import softmax

            output = softmax(output, axis=-1)
        return [self._best(row) for row in output]

    def _best(self, row: np.ndarray) -> tuple[tuple[Prediction, ...], str | None]:
        if not np.isfinite(row).all():
            return (), "the network's answer holds numbers that are not finite"
        best = np.argsort(-row, kind="stable")[: self.top]
        return tuple(Prediction(self.labels[i], int(i), float(row[i])) for i in best), None


def classify(
    classifier: Classifier, sources: Sequence[Source], size: int, advance: Callable[[int], None]
) -> list[ImagePredictions]:
    """The result of each source, in their order, `size` images a step; `advance` is told of those done."""
    results: dict[int, ImagePredictions] = {}
    waiting: list[tuple[int, np.ndarray]] = []

    def answer() -> None:
        found = classifier([pixels for _, pixels in waiting], size)
        for (index, _), (predictions, error) in zip(waiting, found, strict=True):
            name = sources[index].name
            results[index] = ImagePredictions(name, predictions, error and f"{name}: {error}.")
        advance(len(waiting))
        waiting.clear()

    # Uncut images may be of any size: only few are held.
    ahead = 2 * size if classifier.preprocess.crop else 2
    with contextlib.closing(read_ahead(sources, classifier.read, ahead)) as read:
        for index, pixels in enumerate(read):
            if isinstance(pixels, str):
                results[index] = ImagePredictions(sources[index].name, error=pixels)
                advance(1)
                continue
            if waiting and waiting[0][1].shape != pixels.shape:
                answer()
            waiting.append((index, pixels))
            if len(waiting) == size:
                answer()
        if waiting:
            answer()
    return [results[index] for index in range(len(sources))]


def find_preprocess(model: keras.Model | Network, preprocess: Preprocess | None) -> Preprocess:
    """`preprocess`, or the model's own; ValueError where there is none or it does not fit the input."""
    preprocess = preprocess or getattr(model, "preprocess", None)
    if preprocess is None:
        raise ValueError(
            f"`preprocess` must be given: {model.name} does not say what its images must look like. For the "
            "rule of most ImageNet networks: preprocess=senet.data.Preprocess.timm(size=224)."
        )
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(f"The network must take images (N, H, W, C). Received: input shape {shape}.")
    given = (preprocess.crop, preprocess.crop, len(preprocess.mean))
    if any(None not in (own, side) and own != side for own, side in zip(shape[1:], given, strict=True)):
        raise ValueError(
            f"`preprocess` must give what the network takes: {shape[1:]}. Received: {given}, from "
            f"crop={preprocess.crop} and a mean of {len(preprocess.mean)} numbers."
        )
    return preprocess


def class_labels(model: keras.Model | Network, labels: Sequence[str] | None) -> Sequence[str]:
    """A label for each class: `labels`, checked, or the default."""
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or not shape[1]:
        raise ValueError(
            f"The network must end in (N, classes). Received: {model.name} with output shape {shape}. "
            "Build it with its classifier: include_top=True."
        )
    labels = getattr(model, "labels", None) if labels is None else labels
    if labels is None:
        from senet.data.labels import imagenet_labels

        return imagenet_labels() if shape[1] == IMAGENET_CLASSES else [str(i) for i in range(shape[1])]
    if isinstance(labels, str) or len(labels) != shape[1]:
        raise ValueError(f"`labels` must name the {shape[1]} classes. Received: {len(labels)} labels.")
    return [str(label) for label in labels]


def ends_in_softmax(model: keras.Model | Network) -> bool:
    """Whether the network answers in probabilities; False: in logits. Its last operation decides.

    ValueError where that is neither: the values alone could not tell.
    """
    answers = getattr(model, "answers", None)
    if answers in ("probabilities", "logits"):
        return answers == "probabilities"
    # All operations, not the layers: `keras.ops.softmax` in a functional model is no layer.
    last = (getattr(model, "operations", None) or getattr(model, "layers", None) or [None])[-1]
    if isinstance(last, keras.Model):
        return ends_in_softmax(last)
    if isinstance(last, keras.layers.Softmax) and last.axis in (-1, 1):
        return True
    known = (keras.activations.softmax, keras.activations.linear)
    if isinstance(last, (keras.layers.Activation, keras.layers.Dense)) and last.activation in known:
        return last.activation is keras.activations.softmax
    raise ValueError(
        "The network must end in an Activation, Dense or Softmax layer, softmax or linear, so that its "
        f"numbers are known to be probabilities or logits. Received: {model.name}, which ends in "
        f"{getattr(last, 'name', last)!r}. Likely fix, for logits: keras.Sequential([model, "
        "keras.layers.Activation('linear')])."
    )


def list_sources(images: ImageLike | Iterable[ImageLike], *, channels: int) -> list[Source]:
    """Every image by itself, folders opened, with its name; ValueError for what is no image at all."""
    from PIL import Image

    from senet.data.preprocess import check_pixels, name_of
    from senet.data.reading import find_images

    single = isinstance(images, (str, os.PathLike, Image.Image))
    single = single or (isinstance(images, np.ndarray) and images.ndim == 3)
    given: Any = [images] if single else images
    sources = []
    for index, image in enumerate(given):
        if isinstance(image, (str, os.PathLike)):
            files: list[Any] = find_images(Path(image)) if Path(image).is_dir() else [image]
            sources += [Source(os.fspath(file), file) for file in files]
            continue
        if isinstance(image, np.ndarray):
            check_pixels(image, channels)
        elif not isinstance(image, Image.Image):
            raise ValueError(
                "`images` must be paths, images of Pillow's or uint8 arrays (H, W, 3). "
                f"Received: images[{index}] of type {type(image).__name__}."
            )
        sources.append(Source(name_of(image) or f"images[{index}]", image))
    return sources


def read_ahead(
    sources: Sequence[Source], read: Callable[[Source], np.ndarray | str], ahead: int
) -> Generator[np.ndarray | str, None, None]:
    """`read(source)` of each, in order, by threads that are up to `ahead` images further."""
    pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1))
    pending: deque[Future[np.ndarray | str]] = deque()
    try:
        for source in sources:
            pending.append(pool.submit(read, source))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def bar(total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, where that is a terminal; yields what moves it on."""
    if not shown:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as live:
        task = live.add_task("Images", total=total)
        yield lambda count: live.advance(task, count)
