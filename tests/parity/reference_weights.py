"""Deterministic reference weights and inputs for the parity fixtures (NumPy only).

A manifest is a list of `[name, shape, kind]`; `tensor(name, shape, kind)` always gives the same array for the
same three, on every machine (`numpy.random.RandomState`, whose stream is frozen). The peers were filled with
exactly these arrays and run on `image(shape, seed)`; what they answered is in golden/. Rebuild the same
checkpoint here, convert it with the library, run the converted model on the same image, and compare.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
CAFFE_BN_FACTOR = 2.5  # Caffe stores running sums: mean and variance must be divided by the third blob


def _rng(key: str) -> np.random.RandomState:
    return np.random.RandomState(int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little"))


def tensor(name: str, shape, kind: str) -> np.ndarray:
    """The reference array of one tensor, float32 (a `count` is int64).

    kind: kernel (out, in/groups, kh, kw) or (out, in) | bias | bn_gamma | bn_beta | bn_mean | bn_var | count.
    """
    shape, rng = tuple(shape), _rng(f"{name}|{kind}")
    if kind == "count":
        return np.zeros(shape, np.int64)
    if kind == "kernel":
        return (rng.standard_normal(shape) * np.sqrt(1.0 / np.prod(shape[1:]))).astype(np.float32)
    if kind in ("bn_gamma", "bn_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if kind in ("bias", "bn_beta", "bn_mean"):
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    raise ValueError(f"unknown kind {kind!r}")


def image(shape=(1, 224, 224, 3), seed: int = 1) -> np.ndarray:
    """A network input, preprocessed: (N, H, W, 3) float32, roughly in [-2, 2], smooth like a photo."""
    n, h, w, c = shape
    rng = np.random.RandomState(seed)
    coarse = rng.standard_normal((n, h // 8 + 2, w // 8 + 2, c))
    rows, cols = np.linspace(0, h // 8 + 0.999, h), np.linspace(0, w // 8 + 0.999, w)
    r0, c0 = rows.astype(int), cols.astype(int)
    fr, fc = (rows - r0)[None, :, None, None], (cols - c0)[None, None, :, None]
    top = coarse[:, r0][:, :, c0] * (1 - fc) + coarse[:, r0][:, :, c0 + 1] * fc
    bottom = coarse[:, r0 + 1][:, :, c0] * (1 - fc) + coarse[:, r0 + 1][:, :, c0 + 1] * fc
    return (top * (1 - fr) + bottom * fr + 0.1 * rng.standard_normal(shape)).astype(np.float32)


def load_manifest(name: str, folder: Path = HERE / "manifests") -> list:
    """The manifest `manifests/NAME.json.gz`, e.g. timm_legacy_seresnet50 or caffe_SE-BN-Inception."""
    return json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))


def load_golden(name: str, folder: Path = HERE / "golden") -> dict[str, np.ndarray]:
    """What the peer answered: logits_HxW_sSEED (1, 1000), and features_* where the peer has them."""
    with np.load(folder / f"{name}.npz") as arrays:
        return dict(arrays)


def state_dict(manifest: list) -> dict[str, np.ndarray]:
    """A PyTorch-style state dict, name to array (PyTorch layouts)."""
    return {name: tensor(name, shape, kind) for name, shape, kind in manifest}


def write_safetensors(path, manifest: list) -> None:
    """Write `state_dict(manifest)` as a .safetensors file."""
    header, offset, chunks = {}, 0, []
    for name, array in state_dict(manifest).items():
        data = np.ascontiguousarray(array).tobytes()
        dtype = "I64" if array.dtype == np.int64 else "F32"
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        offset += len(data)
        chunks.append(data)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with Path(path).open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.writelines(chunks)


def caffe_layers(manifest: list) -> list[tuple[str, str, list[np.ndarray]]]:
    """(layer name, layer type, blobs) as a .caffemodel holds them.

    A manifest row is [layer, type, [[shape, kind], ...]]. BatchNorm blobs are mean * f, variance * f and
    [f]; Scale blobs are gamma, beta.
    """
    layers = []
    for layer, type_, blobs in manifest:
        arrays = [tensor(f"{layer}[{i}]", shape, kind) for i, (shape, kind) in enumerate(blobs)]
        if type_ == "BatchNorm":
            arrays = [
                arrays[0] * np.float32(CAFFE_BN_FACTOR),
                arrays[1] * np.float32(CAFFE_BN_FACTOR),
                np.array([CAFFE_BN_FACTOR], np.float32),
            ]
        layers.append((layer, type_, arrays))
    return layers


def write_caffemodel(path, manifest: list, name: str = "reference") -> None:
    """Write the reference weights as a binary .caffemodel (protobuf NetParameter, new `layer` fields)."""

    def varint(value: int) -> bytes:
        out = b""
        while True:
            low, value = value & 0x7F, value >> 7
            out += bytes([low | (0x80 if value else 0)])
            if not value:
                return out

    def field(number: int, payload: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(payload)) + payload

    with Path(path).open("wb") as file:
        file.write(field(1, name.encode()))
        for layer, type_, arrays in caffe_layers(manifest):
            body = field(1, layer.encode()) + field(2, type_.encode())
            for array in arrays:
                dims = b"".join(varint(d) for d in array.shape)
                body += field(
                    7, field(7, field(1, dims)) + field(5, np.ascontiguousarray(array, "<f4").tobytes())
                )
            file.write(field(100, body))
