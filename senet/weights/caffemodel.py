"""Read the weights of a binary .caffemodel file, without Caffe and without protobuf.

Such a file is the message `NetParameter` of caffe.proto (github.com/BVLC/caffe) in protobuf's wire format
(protobuf.dev/programming-guides/encoding): a row of fields, each a key, `number << 3 | wire type`, and a
value. Four messages lie inside each other here, net, layer, blob and shape, and all that is not needed is
stepped over by its length.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from senet.weights.filetypes import HEAD, looks_like

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 are groups, 6 and 7 do not exist
MAX_AXES = 32  # Caffe's own limit

# caffe.proto: the numbers of name, type and blobs in a layer, by the number of the layers in the net.
# `layers` (V1LayerParameter) was written until 2014, and its type is a number.
LAYER, LAYERS_V1 = 100, 2
FIELDS = {LAYER: (1, 2, 7), LAYERS_V1: (4, 5, 6)}
V1_TYPES = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}
LAYER_V0 = 1  # in V1LayerParameter: an even older layer, whose blobs lie one level deeper


class CaffeLayer(NamedTuple):
    """A layer that has weights; `type` is Caffe's word, such as "Convolution"."""

    name: str
    type: str
    blobs: tuple[np.ndarray, ...]


class Field(NamedTuple):
    """One field: its key stands at byte `at`, its value in `start:stop`; `value` is that of a varint."""

    number: int
    wire: int
    at: int
    start: int
    stop: int
    value: int


def read_caffemodel(path: str | Path) -> list[CaffeLayer]:
    """The layers that have weights, in the order of the file; all blobs are float32.

    Layers without weights are left out: they say nothing about the network that a checkpoint needs, and
    unlike the others they may share a name. A blob has the shape that the file gives it: four axes in files
    of before 2014, such as (1, 1, 1, N) for a bias.

    The file is mapped, not read. A blob is a view of the mapping, so it takes memory only once it is used
    and may lie at any byte (NumPy and the engines take that; a C library may not). Writing to a blob changes
    neither the file nor what a second call gives. The file must not change while blobs are in use.

    Raises FileNotFoundError, and ValueError with the byte where the file is no .caffemodel, is damaged, or
    breaks off inside a layer. A file cut between two layers is a valid one with fewer of them: who needs
    all of them has to count.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
        if not head:
            raise ValueError(f"{path} is not a .caffemodel: the file is empty. Download or copy it again.")
        # Copy-on-write and not read-only, because PyTorch warns at each array that it could not write to.
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    reader = _Reader(path, content, looks_like(head))
    layers: dict[str, CaffeLayer] = {}
    for field in reader.fields(0, len(content)):
        if field.number in FIELDS:
            layer = reader.layer(field)
            if layer.blobs and layer.name in layers:
                reader.fail(field.at, f"a second layer is called {_short(layer.name)}")
            if layer.blobs:
                layers[layer.name] = layer
    if not layers:
        reader.fail(len(content), "the file ends and no layer had weights")
    return list(layers.values())


class _Reader:
    """Reads messages out of `content`; whatever is wrong becomes a ValueError that says at which byte."""

    def __init__(self, path: Path, content: memoryview, hint: str) -> None:
        self.path, self.content, self.hint = path, content, hint

    def fail(self, at: int, what: str) -> NoReturn:
        hint = self.hint or " Download or copy it again and compare its checksum."
        raise ValueError(f"{self.path} is not a .caffemodel, or is damaged: at byte {at}, {what}.{hint}")

    def varint(self, at: int, stop: int) -> tuple[int, int]:
        """The number at `at`, of at most 64 bits, and the byte behind it."""
        value, end, more = 0, at, True
        while more:
            if end >= stop:
                self.fail(at, "a number breaks off")
            byte = self.content[end]
            value |= (byte & 0x7F) << 7 * (end - at)
            end, more = end + 1, byte >= 0x80
            if value >> 64 or end - at > 10:
                self.fail(at, "a number has more than 64 bits")
        return value, end

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """The fields of the message in `start:stop`, one after the other."""
        at = start
        while at < stop:
            key, begin = self.varint(at, stop)
            number, wire, value = key >> 3, key & 7, 0
            if not 0 < number < 1 << 29:
                self.fail(at, f"a field has the number {number}, which protobuf does not allow")
            if wire == VARINT:
                value, end = self.varint(begin, stop)
            elif wire == BYTES:
                length, begin = self.varint(begin, stop)
                end = begin + length
            elif wire in (FIXED32, FIXED64):
                end = begin + (4 if wire == FIXED32 else 8)
            else:
                self.fail(at, f"field {number} has wire type {wire}, which Caffe does not write")
            if end > stop:
                self.fail(at, f"field {number} claims {end - begin} bytes where {stop - begin} are left")
            yield Field(number, wire, at, begin, end, value)
            at = end

    def expect(self, field: Field, what: str, *wires: int) -> None:
        if field.wire not in wires:
            wanted = " or ".join(map(str, wires))
            self.fail(field.at, f"{what} has wire type {field.wire} where {wanted} is expected")

    def text(self, field: Field, what: str) -> str:
        self.expect(field, what, BYTES)
        try:
            return str(self.content[field.start : field.stop], "utf-8")
        except UnicodeDecodeError:
            self.fail(field.start, f"{what} is no UTF-8 text")

    def layer(self, message: Field) -> CaffeLayer:
        """A LayerParameter, or a V1LayerParameter where the field is that of the old ones."""
        self.expect(message, "a layer", BYTES)
        name_field, type_field, blobs_field = FIELDS[message.number]
        old = message.number == LAYERS_V1
        name, kind, blobs = "", "", []
        for field in self.fields(message.start, message.stop):
            if field.number == name_field:
                name = self.text(field, "a layer's name")
            elif field.number == type_field and old:
                self.expect(field, "a layer's type", VARINT)
                kind = V1_TYPES.get(field.value, f"V1 type {field.value}")
            elif field.number == type_field:
                kind = self.text(field, "a layer's type")
            elif field.number == blobs_field:
                blobs.append(self.blob(field))
            elif field.number == LAYER_V0 and old:
                self.fail(
                    field.at,
                    "a layer is of Caffe's first format (2013), which Caffe's upgrade_net_proto_binary mends",
                )
        if blobs and not name:
            self.fail(message.at, "a layer has weights but no name")
        return CaffeLayer(name, kind, tuple(blobs))

    def blob(self, message: Field) -> np.ndarray:
        """A BlobProto: `shape` = 7 or, older, four sizes = 1 … 4; `data` = 5 or `double_data` = 8."""
        self.expect(message, "a blob", BYTES)
        shape: list[int] = []
        old_shape: dict[int, int] = {}
        floats, doubles = _Numbers(self.content), _Numbers(self.content)
        for field in self.fields(message.start, message.stop):
            if field.number == 7:
                self.expect(field, "a blob's shape", BYTES)
                for dim in self.fields(field.start, field.stop):
                    if dim.number == 1:
                        shape += self.dims(dim)
                    if len(shape) > MAX_AXES:
                        self.fail(dim.at, f"a blob has more than {MAX_AXES} axes")
            elif field.number in (1, 2, 3, 4):
                self.expect(field, "a blob's size", VARINT)
                old_shape[field.number] = _signed(field.value)
            elif field.number in (5, 8):
                single = field.number == 5
                self.expect(field, "a blob's data", BYTES, FIXED32 if single else FIXED64)
                if (field.stop - field.start) % (4 if single else 8):
                    self.fail(
                        field.at, f"a blob's data has {field.stop - field.start} bytes: no whole number"
                    )
                (floats if single else doubles).add(field.start, field.stop)
        if old_shape and not shape:
            shape = [old_shape.get(axis, 0) for axis in (1, 2, 3, 4)]
        values = doubles.array("<f8") if doubles.size else floats.array("<f4")  # Caffe goes by this too
        if any(dim < 1 for dim in shape) or math.prod(shape) != values.size:
            self.fail(message.at, f"a blob has the shape {tuple(shape)} and {values.size} values")
        return values.reshape(shape)

    def dims(self, field: Field) -> list[int]:
        """Sizes of axes, packed or one alone; at most one more than is allowed."""
        self.expect(field, "a size in a shape", VARINT, BYTES)
        if field.wire == VARINT:
            return [_signed(field.value)]
        found: list[int] = []
        at = field.start
        while at < field.stop and len(found) <= MAX_AXES:
            value, at = self.varint(at, field.stop)
            found.append(_signed(value))
        return found


class _Numbers:
    """The bytes of a repeated field. Caffe writes them in one piece; protobuf allows any number of pieces."""

    def __init__(self, content: memoryview) -> None:
        self.content, self.start, self.stop = content, 0, 0
        self.joined: bytearray | None = None

    @property
    def size(self) -> int:
        """In bytes."""
        return self.stop - self.start if self.joined is None else len(self.joined)

    def add(self, start: int, stop: int) -> None:
        if not self.size:
            self.start, self.stop = start, stop
            return
        if self.joined is None:
            self.joined = bytearray(self.content[self.start : self.stop])
        self.joined += self.content[start:stop]

    def array(self, dtype: str) -> np.ndarray:
        """The numbers as float32: a view where they are that already and came in one piece."""
        count = self.size // np.dtype(dtype).itemsize
        source: Any = self.content if self.joined is None else self.joined
        offset = self.start if self.joined is None else 0
        values = np.frombuffer(source, dtype, count, offset) if count else np.zeros(0, dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # a double may be too large: infinite, then
            return values.astype(np.float32, copy=False)


def _signed(value: int) -> int:
    """An int64 out of the 64 bits of a varint."""
    return value - (1 << 64) if value >> 63 else value


def _short(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:80]}…")


def caffe_tensors(layers: Sequence[CaffeLayer]) -> dict[str, np.ndarray]:
    """The blobs as "LAYER[INDEX]" → array, with what Caffe stores in its own way put right.

    BatchNorm keeps sums and, in blob 2, the factor that they were multiplied by: blobs 0 and 1 become mean
    and variance (zeros where the factor is 0, as in Caffe), blob 2 is left out. Of the four axes of old
    files, (1, 1, 1, N) becomes (N,), and the (1, 1, O, I) of an InnerProduct kernel (O, I). The rest are the
    arrays of `layers` themselves. Raises ValueError for a BatchNorm layer that is no such three.
    """
    tensors = {}
    for layer in layers:
        blobs = _batch_norm(layer) if layer.type == "BatchNorm" else layer.blobs
        for index, blob in enumerate(blobs):
            tensors[f"{layer.name}[{index}]"] = _without_old_axes(layer.type, index, blob)
    return tensors


def _batch_norm(layer: CaffeLayer) -> tuple[np.ndarray, ...]:
    sizes = [blob.size for blob in layer.blobs]
    if len(sizes) != 3 or sizes[0] != sizes[1] or sizes[2] != 1:
        raise ValueError(
            "A BatchNorm layer must have three blobs: mean, variance and one factor. Received: layer "
            f"{_short(layer.name)} with blobs of {sizes[:8]} values."
        )
    factor = float(layer.blobs[2].reshape(()))
    if not 0 <= factor < math.inf:
        raise ValueError(
            "The factor of a BatchNorm layer must be finite and not negative. Received: layer "
            f"{_short(layer.name)} with {factor}. The file is damaged, or training diverged."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        return tuple(
            np.divide(blob, np.float32(factor)) if factor else np.zeros_like(blob) for blob in layer.blobs[:2]
        )


def _without_old_axes(kind: str, index: int, blob: np.ndarray) -> np.ndarray:
    if kind == "InnerProduct" and index == 0:
        return blob.reshape(blob.shape[2:]) if blob.ndim == 4 and blob.shape[:2] == (1, 1) else blob
    kernel = index == 0 and kind in ("Convolution", "Deconvolution")
    return blob.reshape(-1) if blob.ndim == 4 and blob.shape[:3] == (1, 1, 1) and not kernel else blob
