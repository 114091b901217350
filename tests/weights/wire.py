"""A small protobuf encoder, and messages of caffe.proto made with it."""

from __future__ import annotations

import struct

import numpy as np


def varint(value: int) -> bytes:
    """Negative numbers as protobuf has them, in ten bytes."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def key(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def number(field: int, value: int) -> bytes:
    return key(field, 0) + varint(value)


def message(field: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return key(field, 2) + varint(len(body)) + body


def shape(*dims: int, packed: bool = True) -> bytes:
    """The `shape` of a blob."""
    parts = [message(1, *map(varint, dims))] if packed else [number(1, dim) for dim in dims]
    return message(7, *parts)


def old_shape(*dims: int) -> bytes:
    """num, channels, height, width."""
    return b"".join(number(field, dim) for field, dim in enumerate(dims, start=1))


def floats(values, *, form: str = "packed") -> bytes:
    """The data of a blob in one of the forms that protobuf allows."""
    values = np.asarray(values).ravel()
    singles = values.astype("<f4") if "double" not in form else np.zeros(3, "<f4")
    doubles = values.astype("<f8")
    return {
        "packed": lambda: message(5, singles.tobytes()),
        "in pieces": lambda: b"".join(message(5, piece.tobytes()) for piece in np.array_split(singles, 3)),
        "one by one": lambda: b"".join(key(5, 5) + value.tobytes() for value in singles),
        "double": lambda: message(8, doubles.tobytes()),
        "double, one by one": lambda: b"".join(key(8, 1) + value.tobytes() for value in doubles),
        "double, beside floats": lambda: message(5, singles.tobytes()) + message(8, doubles.tobytes()),
    }[form]()


def blob(values, *, field: int = 7, form: str = "packed", size: bytes | None = None) -> bytes:
    values = np.asarray(values)
    return message(field, shape(*values.shape) if size is None else size, floats(values, form=form))


def layer(name: str, kind: str, *parts: bytes) -> bytes:
    return message(100, message(1, name.encode()), message(2, kind.encode()), *parts)


def layer_v1(name: str, kind: int, *parts: bytes) -> bytes:
    return message(
        2, message(2, b"below"), message(3, b"above"), message(4, name.encode()), number(5, kind), *parts
    )


UNKNOWN = number(77, 3) + key(78, 1) + struct.pack("<d", 1) + message(79, b"abc") + key(80, 5) + b"1234"
