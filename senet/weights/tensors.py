"""Read and write checkpoint files as NumPy arrays by name: .safetensors, PyTorch's .pth, .caffemodel."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from senet.files import written_aside
from senet.weights.caffemodel import caffe_tensors, read_caffemodel
from senet.weights.filetypes import DTYPES, HALVES, head, looks_like, other_type
from senet.weights.torch_file import ZIPPED, read_torch, read_zipped, write_torch

TORCH = (".pth", ".pt", ".bin")
READABLE = (".safetensors", *TORCH, ZIPPED, ".caffemodel")
WRITABLE = (".safetensors", *TORCH)


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """All tensors of a checkpoint by name, in the layouts of its source; the suffix says what it is.

    .safetensors; .pth, .pt and .bin (PyTorch, which must be installed): a state dict, or one under the key
    "state_dict_ema", "state_dict" or "model", without the prefix "module." where all names have it;
    .pth.zip (of pytorchcv): a zip with one .pth; .caffemodel: names as `caffe_tensors` gives them.

    float16 and bfloat16 become float32; float32, float64, integers and bool stay. Nothing in a file is
    executed. Raises FileNotFoundError; ValueError for another suffix and for a file that is damaged, is of
    another kind, or holds anything but such tensors; ImportError for a .pth without PyTorch.
    """
    path = Path(path)
    suffix = _suffix(path, READABLE)
    if suffix == ".caffemodel":
        tensors = _read_caffe(path)
    elif suffix == ".safetensors":
        tensors = _read_safetensors(path)
    elif suffix == ZIPPED:
        tensors = read_zipped(path)
    else:
        tensors = read_torch(path, str(path))
    if not tensors:
        raise ValueError(f"A checkpoint must hold tensors. Received: {path}, which holds none.")
    return tensors


def write_tensors(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a .safetensors file, or with PyTorch a .pth, .pt or .bin: whole or not at all.

    `tensors` are of the types that `read_tensors` gives, which reads the same values again. Raises ValueError
    for another suffix or type and for no tensors at all, ImportError for a .pth without PyTorch, OSError
    where the file cannot be written.
    """
    path = Path(path)
    suffix = _suffix(path, WRITABLE)
    if not tensors:
        raise ValueError(f"`tensors` must hold at least one tensor. Received: none, for {path}.")
    arrays = {}
    for name, value in tensors.items():
        array = np.asarray(value)
        if not isinstance(name, str) or array.dtype.name not in DTYPES:
            raise ValueError(
                f"`tensors` must map names to arrays of {', '.join(DTYPES)}. "
                f"Received: {name!r} with dtype {array.dtype.name}, for {path}."
            )
        arrays[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    if suffix == ".safetensors":
        _write_safetensors(path, arrays)
    else:
        write_torch(path, arrays)


def _suffix(path: Path, known: tuple[str, ...]) -> str:
    suffix = ZIPPED if path.name.lower().endswith(ZIPPED) else path.suffix.lower()
    if suffix not in known:
        raise ValueError(f"A checkpoint file must end in {', '.join(known)}. Received: {path}.")
    return suffix


def _read_caffe(path: Path) -> dict[str, np.ndarray]:
    layers = read_caffemodel(path)
    try:
        return caffe_tensors(layers)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    start = head(path)  # where the file is missing, this says so in Python's own words
    tensors: dict[str, np.ndarray] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            kinds = {name: _numpy_name(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
            others = [name for name, kind in kinds.items() if kind not in DTYPES + HALVES]
            offsets = _data_offsets(path) if "bfloat16" in kinds.values() else {}
            for name, kind in kinds.items() if not others else ():
                if kind == "bfloat16":
                    shape = file.get_slice(name).get_shape()
                    tensors[name] = _read_bfloat16(path, *offsets[name]).reshape(shape)
                else:
                    array = file.get_tensor(name)
                    tensors[name] = array.astype(np.float32) if kind == "float16" else array
    except (SafetensorError, ValueError) as error:  # ValueError: a shape that NumPy cannot have
        raise ValueError(
            f"{path} is not a .safetensors file, or is damaged: {error}.{looks_like(start)} "
            "Download or copy it again and compare its checksum."
        ) from error
    if others:
        raise other_type(str(path), others[0], kinds[others[0]])
    return tensors


def _numpy_name(code: str) -> str:
    """NumPy's name of a safetensors type such as "F32" or "BF16"."""
    kinds = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint"}
    letters, digits = re.fullmatch(r"([A-Z]+)(.*)", code).groups()  # type: ignore[union-attr]
    return "bool" if code == "BOOL" else kinds.get(letters, letters) + digits


def _data_offsets(path: Path) -> dict[str, tuple[int, int]]:
    """First and last byte of each tensor, counted from the start of a file whose header has been checked."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {
        name: (8 + size + entry["data_offsets"][0], 8 + size + entry["data_offsets"][1])
        for name, entry in header.items()
    }


def _read_bfloat16(path: Path, start: int, stop: int) -> np.ndarray:
    # The library's NumPy side cannot, since NumPy has no bfloat16. It is the upper half of a float32.
    values = np.fromfile(path, "<u2", (stop - start) // 2, offset=start)
    return (values.astype(np.uint32) << 16).view(np.float32)


def _write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with written_aside(path) as aside:
        try:
            # Readers of the PyTorch world ask for this mark.
            save_file(arrays, aside, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(f"Could not write {path}: {error}") from error
