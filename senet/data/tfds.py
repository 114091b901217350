"""TensorFlow Datasets by name, read in any order from their ArrayRecord files."""

import functools
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senet.data.index import Arrays, digest_of, kept_index
from senet.data.records import Listed, Part
from senet.data.splits import split_off_test

log = logging.getLogger(__name__)

_TESTS = ("test", "validation")  # the first of these that exists holds the test images


@dataclass(frozen=True, eq=False)
class TfdsRecords:
    """The encoded images of one split; its files are opened by the process that reads."""

    dataset: str
    split: str
    labels: np.ndarray

    def name(self, index: int) -> str:
        return f"tfds:{self.dataset}/{self.split}:{index}"

    def read(self, index: int) -> bytes:
        image: bytes = _open(self.dataset, self.split)[index]["image"]
        return image


def tfds_listed(dataset: str, cache: Path) -> Listed:
    """The splits `train` and `test` (or `validation`) of a data set, downloaded and prepared if need be.

    Where there is no test split, a fifth of the images is the test part: see `split_off_test`. ImportError
    without the extra; ValueError for a data set that has no `image` and `label`, or is not known.
    """
    builder = _builder(dataset)
    info = builder.info
    if "train" not in info.splits or not {"image", "label"} <= set(info.features):
        raise ValueError(
            "A data set needs a split `train` with `image` and `label`. "
            f"Received: tfds:{dataset} with {', '.join(info.splits)} of {', '.join(info.features)}."
        )
    train = _part(dataset, "train", info.full_name, cache)
    tests = [split for split in _TESTS if split in info.splits]
    if tests:
        parts = train, _part(dataset, tests[0], info.full_name, cache)
    else:
        kept, split = split_off_test(train.labels)
        parts = train.take(kept), train.take(split)
    arrays = {f"labels{number}": part.labels for number, part in enumerate(parts)}
    key = digest_of({"name": np.array(info.full_name), **arrays})
    return Listed(info.name, tuple(info.features["label"].names), *parts, key)


def _part(dataset: str, split: str, full_name: str, cache: Path) -> Part:
    key = hashlib.sha256(f"1 {full_name} {split}".encode()).hexdigest()[:32]

    def read() -> Arrays:
        log.info("Reading the classes of tfds:%s/%s, once", dataset, split)
        source = _open(dataset, split)
        return {"labels": np.array([source[index]["label"] for index in range(len(source))], np.int32)}

    labels = kept_index(cache / "index" / f"{key}.npz", read, lambda arrays: True)["labels"]
    return Part(TfdsRecords(dataset, split, labels), np.arange(len(labels)))


@functools.cache
def _open(dataset: str, split: str) -> Any:
    """The records of a split: `[i]` is a mapping, its image as it is in the file."""
    import tensorflow_datasets

    skip = {"image": tensorflow_datasets.decode.SkipDecoding()}
    return _builder(dataset).as_data_source(split, decoders=skip)


@functools.cache
def _builder(dataset: str) -> Any:
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError("TensorFlow Datasets are an extra: pip install 'senet[tfds]'") from error
    try:
        builder = tensorflow_datasets.builder(dataset, file_format="array_record")
    except tensorflow_datasets.core.registered.DatasetNotFoundError as error:
        raise ValueError(
            f"tfds:{dataset} is not a data set that TensorFlow Datasets knows: {error}"
        ) from error
    builder.download_and_prepare()
    return builder
