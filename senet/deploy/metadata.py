"""What an exported file says about itself, and the hash that tells whether it was changed.

ONNX and OpenVINO files hold the hash of their own bytes, with zeros in the place of the hash. A LiteRT file
is followed by a zip archive (the standard place of its associated files), whose `senet.json` has the hash of
the bytes before it and of the metadata. A SavedModel has `assets.extra/senet.json`, with the hash of its
other files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ONNX_KEY, OPENVINO_KEY = "senet", "senet"
EMPTY = "0" * 64
NAME, LABELS = "senet.json", "labels.txt"
SAVED_MODEL_PLACE = Path("assets.extra") / NAME


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """What is written into each exported file.

    Args:
        model: name of the network.
        precision: "float32", "float16" (weights) or "int8".
        answers: what the numbers are: "probabilities", "logits" or "features".
        outputs: names of the outputs, in order.
        input_shape: (N, H, W, C), None where any size is taken.
        output_shapes: of each output, likewise.
        labels: name of each class, or None.
        preprocess: the fields of the `senet.data.Preprocess` that makes the network's input, or None.
        baked: normalisation is part of the graph, which takes pixels, 0 to 255.
        senet: version of this package.
    """

    model: str
    precision: str
    answers: str
    outputs: tuple[str, ...]
    input_shape: tuple[int | None, ...]
    output_shapes: tuple[tuple[int | None, ...], ...]
    labels: tuple[str, ...] | None = None
    preprocess: dict[str, Any] | None = None
    baked: bool = False
    senet: str = ""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        values = json.loads(text)
        for field in ("outputs", "input_shape", "labels"):
            if values[field] is not None:
                values[field] = tuple(values[field])
        values["output_shapes"] = tuple(map(tuple, values["output_shapes"]))
        return cls(**values)


def changed(path: Path) -> ValueError:
    return ValueError(
        f"{path} was changed after senet.export wrote it: its content does not have the hash that its "
        "metadata name. Export it again."
    )


def foreign(path: Path) -> ValueError:
    return ValueError(
        f"{path} has no metadata of senet.export: another program wrote it, or it is damaged. Export the "
        "network with `senet export`."
    )


# ---- files that hold the hash of their own bytes ----


def seal(paths: list[Path]) -> str:
    """Put the hash of files into the first of them, where `EMPTY` stands; the hash."""
    content = paths[0].read_bytes()
    assert content.count(EMPTY.encode()) == 1, "the place of the hash must be the only one"
    found = hashed([content, *chunks(paths[1:])])
    paths[0].write_bytes(content.replace(EMPTY.encode(), found.encode()))
    return found


def check_seal(content: bytes, others: list[Path], digest: str) -> bool:
    """Whether `digest` stands in `content` once, and is the hash of it and the other files."""
    emptied = content.replace(digest.encode(), EMPTY.encode())
    return content.count(digest.encode()) == 1 and hashed([emptied, *chunks(others)]) == digest


def hashed(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def chunks(paths: Iterable[Path]) -> Iterable[bytes]:
    """The content of files, piece by piece."""
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                yield block


# ---- LiteRT ----


def append_litert(path: Path, metadata: Metadata) -> str:
    """Append metadata and labels to a LiteRT file; the hash."""
    found = hashed([path.read_bytes(), metadata.to_json().encode()])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(NAME), json.dumps({"sha256": found, "metadata": metadata.to_json()}))
        if metadata.labels:
            archive.writestr(zipfile.ZipInfo(LABELS), "\n".join(metadata.labels) + "\n")
    return found


def read_litert(path: Path) -> tuple[Metadata, str]:
    """Metadata and hash of a LiteRT file; ValueError where it was changed, or another program wrote it."""
    try:
        with zipfile.ZipFile(path) as archive:
            written = json.loads(archive.read(NAME))
            start = min(member.header_offset for member in archive.infolist())
            labels = archive.read(LABELS).decode() if LABELS in archive.namelist() else ""
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise foreign(path) from error
    metadata = Metadata.from_json(written["metadata"])
    found = hashed([path.read_bytes()[:start], written["metadata"].encode()])
    if found != written["sha256"] or labels.splitlines() != list(metadata.labels or ()):
        raise changed(path)
    return metadata, found


# ---- SavedModel ----


def saved_model_hash(folder: Path, metadata: str) -> str:
    """The hash of all files of a SavedModel but those of senet, with their names, and of the metadata."""
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    kept = [name for name in names if name.parent != SAVED_MODEL_PLACE.parent]
    parts = (part for name in kept for part in (name.as_posix().encode(), *chunks([folder / name])))
    return hashed([*parts, metadata.encode()])


def write_saved_model(folder: Path, metadata: Metadata) -> str:
    """Put metadata into a SavedModel; the hash."""
    found = saved_model_hash(folder, metadata.to_json())
    place = folder / SAVED_MODEL_PLACE
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps({"sha256": found, "metadata": metadata.to_json()}), encoding="utf-8")
    return found


def read_saved_model(folder: Path) -> tuple[Metadata, str]:
    """Metadata and hash of a SavedModel; ValueError where it was changed, or another program wrote it."""
    try:
        written = json.loads((folder / SAVED_MODEL_PLACE).read_text(encoding="utf-8"))
        found = saved_model_hash(folder, written["metadata"])
    except (OSError, KeyError, ValueError) as error:
        raise foreign(folder) from error
    if found != written["sha256"]:
        raise changed(folder)
    return Metadata.from_json(written["metadata"]), found
