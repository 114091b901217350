"""Scores of a finished run or of published weights on test images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from senet.data import Dataset, EvaluationBatches, load_data
from senet.data.cifar import batches_source
from senet.data.config import NAMED_SOURCES, DataConfig
from senet.data.labels import imagenet_classes, imagenet_labels
from senet.data.makers import Geometry
from senet.data.pipeline import find_listed
from senet.data.preprocess import Preprocess
from senet.data.records import FileRecords, Listed, Part
from senet.data.stream import StreamDataset
from senet.errors import did_you_mean
from senet.files import read_json
from senet.scores import scores, softmax
from senet.training.run_folder import RunFolder
from senet.weights import catalogue
from senet.weights.catalogue import WeightsEntry
from senet.zoo import create_model

CROPS = 10
IMAGENET = "imagenet-1k"
# The data set that weights are scored on where none is named, and the classes of those that have few.
USUAL_SOURCES = {"cifar-10": "cifar10", "cifar-100": "cifar100"}
SMALL_CLASSES = {
    "cifar-10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    "svhn": tuple("0123456789"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores on the test images; accuracies are shares in [0, 1]."""

    model: str
    data: str
    images: int
    loss: float  # mean cross-entropy
    top1: float
    top5: float  # nan for networks of five classes or fewer
    ece: float  # expected calibration error, a share; see `senet.scores.calibration_error`


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A network and the images it is to be scored on, which come as it wants them.

    `classes` (K,) holds, for each class of the data, its index in the network's answer; `class_names` are
    those of the answer. `weights` is where the network is from: a tag or a run folder.
    """

    model: str
    weights: str
    network: keras.Model  # to logits
    data: Dataset
    class_names: Sequence[str]
    classes: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """The scores of a subject, and what was said of each image (N,) with its class (N,), as indices."""

    evaluation: Evaluation
    said: np.ndarray
    labels: np.ndarray


def evaluate(
    run: str | Path, data: DataConfig | None = None, *, batch: int = 256, which: str = "last"
) -> Evaluation:
    """Score the network of a finished run on test images, by default those of its own data source.

    `run` is a run folder; `which` of its networks: "last", "averaged" (EMA) or "best" (by validation). The
    images are normalised as the run's training images were. Raises ConfigError for a folder that holds no
    run, FileNotFoundError for one that is not finished, ValueError for data of another shape or other classes
    and for averaged weights that the run did not keep.
    """
    return score(open_run(run, data, which), batch).evaluation


def evaluate_weights(tag: str, source: str | None = None, *, batch: int = 64) -> Evaluation:
    """Score a published weight set on the images of `source`, prepared as its authors tested it.

    Of class folders without a test part all images are taken. Folders are named by WordNet ids or, for
    ImageNet, by the names of `senet.data.labels`. ValueError for an unknown tag or class; OSError without the
    weights.
    """
    return score(open_weights(tag, source), batch).evaluation


def score(subject: Subject, batch: int, *, ten_crop: bool = False) -> Scored:
    """Run the network over all test images, `batch` of them a step.

    `ten_crop`: of each image the four corners and the centre of the square that its centre is cut from, and
    their mirror images; their probabilities are averaged, as in Krizhevsky et al. 2012, section 4.1, because
    a mean of logits would weigh a crop by how large its logits happen to be. ValueError where the square is
    no larger than the crop.
    """
    data, network = subject.data, subject.network
    if ten_crop:
        side, data = data.image_shape[0], uncut(data)
        logits, labels = predict_batches(network, data.test(max(1, batch // CROPS)), crop=side)
    else:
        logits, labels = predict_batches(network, data.test(batch))
    labels = subject.classes[labels]
    evaluation = Evaluation(model=subject.model, data=data.name, **scores(logits, labels))
    return Scored(evaluation, logits.argmax(axis=1), labels)


# Runs


def open_run(run: str | Path, data: DataConfig | None = None, which: str = "last") -> Subject:
    """A network of a finished run, and its test images or those of `data`. Raises as `evaluate` does."""
    model, preprocess, class_names = load_run(run, which)
    dataset = load_data(data or RunFolder(Path(run)).read_config().data)
    check_fit(model, class_names, dataset)
    return Subject(
        model=model.name,
        weights=str(run) if which == "last" else f"{run} ({which})",
        network=model,
        data=dataclasses.replace(dataset, preprocess=preprocess),
        class_names=class_names,
        classes=np.arange(len(class_names)),
    )


def load_run(run: str | Path, which: str = "last") -> tuple[keras.Model, Preprocess, tuple[str, ...]]:
    """A network of a finished run (logits), its preprocessing, and the names of its classes."""
    folder = RunFolder(Path(run))
    folder.read_config()  # first: a folder that is no run says so
    path = folder.model_of(which)
    stored = read_json(folder.preprocess)
    class_names = tuple(stored.pop("class_names"))
    preprocess = Preprocess(**stored)
    return keras.saving.load_model(path, compile=False), preprocess, class_names


def as_tested(preprocess: Preprocess, data: DataConfig, side: int | None) -> Preprocess:
    """`preprocess` with images resized and cut as the run's test images were.

    `data` is the run's own, `side` what its network takes, None: any, and so the size of the data. Where
    those keep their size too, images keep theirs.
    """
    side = side or data.image_size
    if side is None:
        return preprocess
    cut = Geometry.of(side, data.crop_fraction if data.streaming else 1.0, data.filter)
    return dataclasses.replace(preprocess, resize=cut.short, crop=cut.side, filter=cut.filter)


def check_fit(model: keras.Model, class_names: tuple[str, ...], dataset: Dataset) -> None:
    """Raise ValueError unless the network takes these images and knows these classes."""
    wanted = model.input_shape[1:]
    if any(own not in (None, side) for own, side in zip(wanted, dataset.image_shape, strict=True)):
        raise ValueError(f"The network takes images of {wanted}; {dataset.name} has {dataset.image_shape}.")
    if class_names != dataset.class_names:
        raise ValueError(
            f"The network was trained on {len(class_names)} classes ({', '.join(class_names[:3])}, …); "
            f"{dataset.name} has {dataset.classes} ({', '.join(dataset.class_names[:3])}, …)."
        )


# Published weights


def open_weights(tag: str, source: str | None = None, model: str | None = None) -> Subject:
    """A published weight set and the images of `source`, as `evaluate_weights` has them.

    `model` is the network to build, by default the tag's own. The data are looked at before anything is
    downloaded.
    """
    entry = catalogue.find(tag)
    source = source or USUAL_SOURCES.get(entry.dataset)
    if source is None:
        raise ValueError(
            f"Name the images to score {tag!r} on, for instance --data imagenet/val: there are none of "
            f"{entry.dataset} to be had for everyone."
        )
    data = dataset_for(entry, source)
    class_names, classes = match_classes(entry, data)
    model = model or architecture_model(entry)
    network = create_model(model, weights=tag, classifier_activation=None)
    return Subject(
        model=model, weights=tag, network=network, data=data, class_names=class_names, classes=classes
    )


def architecture_model(entry: WeightsEntry) -> str:
    """The name of an entry's network."""
    from senet.weights.architectures import ARCHITECTURES
    from senet.zoo import key

    return ARCHITECTURES[key(entry)].model


def dataset_for(entry: WeightsEntry, source: str) -> Dataset:
    """The images of `source`, resized, cut and normalised as `entry` says; its test part holds them."""
    preprocess, folder = entry.preprocess, Path(source).expanduser()
    if source in NAMED_SOURCES or (folder.is_dir() and batches_source(folder, name=source)):
        data = load_data(DataConfig(source=source))
        if data.image_shape != (entry.image_size, entry.image_size, 3):
            raise ValueError(
                f"{entry.tag!r} takes images of {entry.image_size}x{entry.image_size}x3. "
                f"Received: {source}, of {'x'.join(map(str, data.image_shape))}."
            )
        return dataclasses.replace(data, preprocess=preprocess)
    config = DataConfig(
        source=folder_to_score(source),
        streaming=True,
        image_size=entry.image_size,
        crop_fraction=entry.image_size / entry.resize,
        filter=entry.interpolation,
    )
    listed = find_listed(config)
    nothing = listed.train.take(np.arange(0))
    return StreamDataset(
        name=listed.name,
        class_names=listed.class_names,
        preprocess=preprocess,
        train_part=nothing,
        validation_part=nothing,
        test_part=part_to_score(listed),
        config=config,
    )


def folder_to_score(source: str) -> str:
    """`source`, or the folder of test images in one that holds no training images."""
    folder = Path(source).expanduser()
    inner = [folder / name for name in ("test", "val", "validation") if (folder / name).is_dir()]
    return str(inner[0]) if len(inner) == 1 and not (folder / "train").is_dir() else source


def part_to_score(listed: Listed) -> Part:
    """The test images; of a source without a test part all, since published weights saw none of them."""
    train, test = listed.train.records, listed.test.records
    if isinstance(train, FileRecords) and isinstance(test, FileRecords) and train.root == test.root:
        # Only parts split off lie in one folder. The sum is sorted by class and name, as they were.
        files = np.concatenate([train.files, test.files])
        order = np.argsort(files, kind="stable")
        records = FileRecords(train.root, files[order], np.concatenate([train.labels, test.labels])[order])
        return Part(records, np.arange(len(files)))
    if train is test:
        return Part(train, np.arange(len(train.labels)))
    return listed.test


def match_classes(entry: WeightsEntry, data: Dataset) -> tuple[Sequence[str], np.ndarray]:
    """(names of the network's classes, for each class of the data its index among them).

    ValueError names a class of the data that the network does not know. Of data sets without a list of
    names here, the classes must be as many, and are taken in their order.
    """
    if entry.dataset == IMAGENET:
        names: Sequence[str] = imagenet_labels()
        known: Mapping[str, int] = imagenet_folders()
    elif entry.dataset in SMALL_CLASSES:
        names = SMALL_CLASSES[entry.dataset]
        known = {name: index for index, name in enumerate(names)}
    else:
        if data.classes != entry.classes:
            raise ValueError(
                f"{entry.tag!r} knows the {entry.classes} classes of {entry.dataset}. "
                f"Received: {data.name}, with {data.classes}."
            )
        return data.class_names, np.arange(data.classes)
    return names, np.array([find_class(name, known, entry) for name in data.class_names])


def imagenet_folders() -> dict[str, int]:
    """Index of each ImageNet class by its WordNet id and by its name; names of two classes are left out."""
    rows = imagenet_classes()
    names = [row.name for row in rows]
    by_name = {row.name: row.index for row in rows if names.count(row.name) == 1}
    return by_name | {row.wnid: row.index for row in rows}


def find_class(name: str, known: Mapping[str, int], entry: WeightsEntry) -> int:
    """The index of a class of the data in the network's answer."""
    found = known.get(name, known.get(name.replace(" ", "_")))
    if found is None:
        raise ValueError(
            f"Every class of the data must be one that {entry.tag!r} knows, of {entry.dataset}. "
            f"Received: {name!r}.{did_you_mean(name, known)} Rename the folder: a WordNet id (n01440764) or "
            "a name of senet.data.labels, for ImageNet."
        )
    return found


# Images to answers


def uncut(data: Dataset) -> Dataset:
    """`data` with the whole central square of each resized image; ValueError where it is no larger."""
    short = data.geometry().short if isinstance(data, StreamDataset) else data.image_shape[0]
    if not isinstance(data, StreamDataset) or short == data.image_shape[0]:
        raise ValueError(
            "Ten crops need images that are resized to more than is cut out of them. Received: "
            f"{data.name}, images of {short} pixels for a crop of {data.image_shape[0]}. "
            "Leave --ten-crop out."
        )
    config = data.config.model_copy(update={"image_size": short, "crop_fraction": 1.0})
    return dataclasses.replace(data, config=config)


def ten_crops(images: np.ndarray, side: int) -> np.ndarray:
    """(B, H, W, C) to (B, 10, side, side, C): corners, centre, and the same mirrored left to right."""
    last, middle = images.shape[1] - side, (images.shape[1] - side) // 2
    places = ((0, 0), (0, last), (last, 0), (last, last), (middle, middle))
    crops = [images[:, top : top + side, left : left + side] for top, left in places]
    return np.stack(crops + [crop[:, :, ::-1] for crop in crops], axis=1)


def predict_logits(
    model: keras.Model, preprocess: Preprocess, images: np.ndarray, *, batch: int
) -> np.ndarray:
    """Logits (N, classes) of uint8 images (N, H, W, C)."""
    return np.asarray(model.predict(preprocess(images), batch_size=batch, verbose=0))


def predict_batches(
    model: keras.Model, batches: EvaluationBatches, *, crop: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, classes) and labels (N,) of the images that have weight.

    With `crop`, the side of ten crops, they are logarithms of the crops' mean probabilities.
    """
    logits, labels = [], []
    for images, truth, weights in batches:
        kept = weights > 0
        if crop is None:
            answers = np.asarray(model.predict_on_batch(images))
        else:
            cut = ten_crops(images, crop)
            found = np.asarray(model.predict_on_batch(cut.reshape(-1, *cut.shape[2:])))
            p = softmax(found).reshape(len(images), CROPS, -1).mean(axis=1)
            answers = np.log(np.maximum(p, np.finfo(np.float64).tiny))
        logits.append(answers[kept])
        labels.append(truth[kept])
    return np.concatenate(logits), np.concatenate(labels)
