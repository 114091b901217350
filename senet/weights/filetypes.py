"""What checkpoint files may hold, and what a file that is none may be instead."""

from __future__ import annotations

from pathlib import Path

DTYPES = ("float64", "float32", "int64", "int32", "int16", "int8", "uint8", "bool")
HALVES = ("float16", "bfloat16")  # become float32

HEAD = 512  # bytes that `looks_like` wants

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x80\x02", "a pickle"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a Git LFS pointer, for which `git lfs pull` fetches the file"),
)


def other_type(called: str, name: str, kind: str) -> ValueError:
    """The error for a tensor of another type than these."""
    return ValueError(
        f"Tensors must be of {', '.join(DTYPES + HALVES)}. Received: {name[:80]!r} of type {kind} in "
        f"{called}. Convert it where it was made."
    )


def head(path: Path) -> bytes:
    """The beginning of a file; FileNotFoundError in Python's own words."""
    with path.open("rb") as file:
        return file.read(HEAD)


def looks_like(head: bytes) -> str:
    """` Its first bytes suggest an HTML page.` or the like for the beginning of a file, or ""."""
    kind = _kind(head)
    return f" Its first bytes suggest {kind}." if kind else ""


def _kind(head: bytes) -> str:
    if not head:
        return "an empty file"
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page"
    if not any(head):
        return "a download that was never finished: they are zeros"
    printable = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
    # A few damaged bytes can be printable by chance.
    return "a text file" if printable and len(head) >= 16 else ""
