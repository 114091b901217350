"""CIFAR-10 and CIFAR-100 in their original form: pickled batches of 32x32 RGB images.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import contextlib
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from senet.data.splits import Read, Source, Split


@dataclass(frozen=True)
class Layout:
    """Where one release keeps its parts; `names_key` and `label_key` are keys of the pickled dictionaries."""

    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    names_key: str
    label_key: str
    sha256: str  # of the archive

    @property
    def url(self) -> str:
        return f"https://www.cs.toronto.edu/~kriz/{self.archive}"

    @property
    def archive(self) -> str:
        return f"{self.folder.removesuffix('-batches-py').removesuffix('-python')}-python.tar.gz"


LAYOUTS = {
    "cifar10": Layout(
        folder="cifar-10-batches-py",
        train=("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
        test="test_batch",
        names="batches.meta",
        names_key="label_names",
        label_key="labels",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    "cifar100": Layout(
        folder="cifar-100-python",
        train=("train",),
        test="test",
        names="meta",
        names_key="fine_label_names",
        label_key="fine_labels",
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
}


def keras_source(name: str) -> Source:
    """`"cifar10"` or `"cifar100"` (fine labels) from the Keras cache, downloaded into it if need be.

    The same cache entry as `keras.datasets.cifar10.load_data`, which cannot read one part without the other.
    """
    import keras

    layout = LAYOUTS[name]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a progress bar
            found = keras.utils.get_file(
                fname=f"{layout.folder}-target", origin=layout.url, extract=True, file_hash=layout.sha256
            )
    except Exception as error:  # Keras raises the bare class for a failed download
        raise OSError(
            f"{name} is not in the Keras cache and could not be downloaded from {layout.url}: {error}. Fetch "
            f"{layout.archive} by other means and give its path, or that of the folder {layout.folder}, "
            'as the data source; source="digits" needs no download'
        ) from error
    return batches_source(Path(found), name=name) or _refuse(Path(found), layout)


def batches_source(root: Path, *, name: str) -> Source | None:
    """The python batches in `root` or in the usual folder inside it; None where there are none.

    Raises ValueError for both releases at once, FileNotFoundError where a part is missing.
    """
    places = [
        (place, layout)
        for layout in LAYOUTS.values()
        for place in (root, root / layout.folder)
        if any((place / part).is_file() for part in (*layout.train, layout.test))
    ]
    if not places:
        return None
    if len(places) > 1:
        raise ValueError(
            f"A folder must hold one data set. Received: {root}, which holds {len(places)}. "
            f"Give one of {[str(place) for place, _ in places]}."
        )
    folder, layout = places[0]
    missing = [part for part in (*layout.train, layout.test, layout.names) if not (folder / part).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} must hold all of {layout.archive}. Missing: {', '.join(missing)}. "
            "Unpack the archive again."
        )
    class_names = _read_names(folder / layout.names, layout.names_key)
    read = partial(_read_parts, folder, label_key=layout.label_key, classes=len(class_names))
    return Source(name, class_names, partial(read, layout.train), partial(read, (layout.test,)))


def load_pickle(path: Path) -> dict[str, Any]:
    """The dictionary pickled in `path`, by Python 2 or 3, without running any code the file may ask for.

    Raises ValueError for a file that asks for more than arrays, and for a damaged one.
    """
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()
    except OSError:
        raise
    except _Forbidden as error:
        raise ValueError(
            f"{path} is refused: a data file may hold arrays, lists, text and numbers only; this one asks to "
            f"load {error}. Unpickling it could run any program. Get the data from its original place."
        ) from error
    except Exception as error:  # a damaged pickle can raise almost anything
        raise ValueError(
            f"{path} is damaged, or is no CIFAR python batch: {error!r}. Unpack it again."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary. Received: {type(content).__name__}.")
    return {_text(key): value for key, value in content.items()}


class _Forbidden(Exception):
    """A pickle asks for a name that is not on the list."""


class _ArraysOnly(pickle.Unpickler):
    """Loads built-in values and NumPy arrays; any other name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        # NumPy 2 renamed its inner modules; both names occur in files.
        known = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("multiarray", "_reconstruct"): _empty_array,
            ("numeric", "_frombuffer"): _array_of_buffer,
            ("_codecs", "encode"): _latin_bytes,
        }
        short = module.removeprefix("numpy.core.").removeprefix("numpy._core.")
        if (short, name) not in known:
            raise _Forbidden(f"{module}.{name}")
        return known[short, name]


def _empty_array(kind: Any, shape: Any, dtype: Any) -> np.ndarray:
    # What NumPy's own function does for the only arguments a pickled array has.
    if kind is not np.ndarray or tuple(shape) != (0,):
        raise ValueError("not the beginning of a pickled array")
    return np.ndarray((0,), "b")


def _array_of_buffer(buffer: Any, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _latin_bytes(text: str, encoding: Any) -> bytes:
    # Python 3 writes bytes so for Python 2; the encoding is always this one.
    return text.encode("latin1")


def _read_parts(folder: Path, parts: Sequence[str], *, label_key: str, classes: int) -> Read:
    read = [_read_batch(folder / part, label_key, classes) for part in parts]
    images = np.concatenate([images for images, _ in read])
    return Read(Split(images, np.concatenate([labels for _, labels in read])))


def _read_batch(path: Path, label_key: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    content = load_pickle(path)
    pixels = content.get("data")
    labels = np.asarray(content.get(label_key, ()))
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3072,):
        shape = getattr(pixels, "shape", None)
        raise ValueError(f"{path} must hold uint8 `data` of shape (N, 3072). Received: shape={shape}.")
    fits = labels.shape == (len(pixels),) and np.issubdtype(labels.dtype, np.integer)
    if not fits or not len(labels) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{path} must hold `{label_key}` in 0..{classes - 1}, whole numbers, for each of {len(pixels)} "
            f"images. Received: {labels.dtype} of shape {labels.shape}, {labels[:3].tolist()} …"
        )
    # Stored plane by plane; contiguous afterwards, since batches copy whole images.
    images = np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, labels.astype(np.int32)


def _read_names(path: Path, key: str) -> tuple[str, ...]:
    names = load_pickle(path).get(key)
    if not isinstance(names, list) or len(names) < 2:
        raise ValueError(
            f"{path} must hold the list `{key}` of at least two class names. Received: {names!r}."
        )
    return tuple(_text(name) for name in names)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _refuse(folder: Path, layout: Layout) -> Source:
    raise FileNotFoundError(
        f"{folder} must hold {layout.archive} unpacked. Delete it to have it downloaded again."
    )
