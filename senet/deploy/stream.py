"""A stream of images, as from a camera: each is classified when it comes, and answered before the next."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from typing import IO, Any

from senet.predict import Classifier, ImagePredictions, Source

LENGTH = 4  # bytes before a frame: its length, the highest byte first
LARGEST = 2**28  # bytes of a frame; a greater length is no length
KINDS = ("paths", "frames")


class BrokenStream(ValueError):
    """A stream that ends within a frame, or holds no frames."""


def read_stream(stream: IO[bytes], kind: str) -> Iterator[Source]:
    """The images of a stream of bytes, as they come.

    "paths": the path of an image a line, UTF-8, empty lines left out. "frames": JPEG, PNG or other image
    files, each after its length in bytes, 4 bytes with the highest first.
    """
    if kind not in KINDS:
        raise ValueError(f"A stream must be of {' or '.join(map(repr, KINDS))}. Received: {kind!r}.")
    return read_paths(stream) if kind == "paths" else read_frames(stream)


def read_paths(stream: IO[bytes]) -> Iterator[Source]:
    for line in stream:
        path = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        if path.strip():
            yield Source(path, path)


def read_frames(stream: IO[bytes]) -> Iterator[Source]:
    """Frames by their place, from 0: "frames[3]". BrokenStream where the stream ends within one."""
    index = 0
    while head := read_exactly(stream, LENGTH):
        if len(head) < LENGTH:
            raise BrokenStream(
                f"The stream ended within the length of frames[{index}]: {len(head)} of {LENGTH} bytes came."
            )
        length = int.from_bytes(head, "big")
        if length > LARGEST:
            raise BrokenStream(
                f"frames[{index}] cannot have {length:,} bytes. Each frame follows its length in {LENGTH} "
                "bytes, the highest first; is this a stream of paths?"
            )
        data = read_exactly(stream, length)
        if len(data) < length:
            raise BrokenStream(
                f"The stream ended within frames[{index}]: {len(data):,} of {length:,} bytes came."
            )
        yield Source(f"frames[{index}]", frame(data))
        index += 1


def frame(data: bytes) -> Any:
    return io.BytesIO(data)


def read_exactly(stream: IO[bytes], count: int) -> bytes:
    """`count` bytes, however they come; fewer at the stream's end."""
    parts = []
    while count and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def classify_stream(classifier: Classifier, sources: Iterable[Source]) -> Iterator[ImagePredictions]:
    """The result of each image before the next is read; one that cannot be read has an `error`."""
    for source in sources:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of damage that it reads around
            pixels = classifier.read(source)
            if isinstance(pixels, str):
                yield ImagePredictions(source.name, error=pixels)
                continue
            predictions, error = classifier([pixels], 1)[0]
        yield ImagePredictions(source.name, predictions, error and f"{source.name}: {error}.")
