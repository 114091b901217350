"""Read and write the files of `torch.save`: a zip since PyTorch 1.6, a row of pickles before."""

from __future__ import annotations

import errno
import mmap
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from senet.files import written_aside
from senet.weights.filetypes import DTYPES, HALVES, head, looks_like, other_type

ZIPPED = ".pth.zip"
WRAPPERS = ("state_dict_ema", "state_dict", "model")  # as in timm: the averaged weights before the others
UNPACKED = 20  # times the size of a zip: weights barely shrink
SHARED = 4  # times the size of a file: tensors may share storage, but not without end
SPARE = 1 << 20  # bytes that both limits leave to small files


def read_torch(path: Path, called: str) -> dict[str, np.ndarray]:
    """The tensors of a file of `torch.save`, copied out of it; errors speak of it as `called`.

    Raises ValueError for a file that is none, is damaged, or asks for more than tensors, numbers and text,
    and ImportError where PyTorch is not installed.
    """
    start = head(path)
    zipped = start.startswith(b"PK\x03\x04")
    if not zipped and not start.startswith(b"\x80"):
        raise ValueError(
            f"{called} is not a PyTorch checkpoint.{looks_like(start)} Download or copy it again."
        )
    torch = _import_torch(called)
    try:
        packed = zipped and _is_packed(path)
        content = None if packed else _load(torch, path, zipped)
    except Exception as error:  # a damaged file can raise almost anything
        if _is_of_the_disk(error):
            raise
        raise _unreadable(called, error) from error
    if packed:
        raise ValueError(
            f"{called} must be as PyTorch writes it: a zip whose parts are not compressed and do not "
            f"overlap. If it is a zip that holds a .pth, let its name end in {ZIPPED}."
        )
    state = _state_dict(torch, content, called)
    del content  # so that each tensor can go once it is copied
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if claimed > SHARED * path.stat().st_size + SPARE:
        raise ValueError(
            f"{called} is refused: its tensors claim {claimed} bytes in a file of {path.stat().st_size}."
        )
    return {name: _to_numpy(torch, called, name, state.pop(name)) for name in list(state)}


def _load(torch: Any, path: Path, zipped: bool) -> Any:
    # Mapped in both formats, so that a false length cannot reach beyond the file. Unpickling from an open
    # file would allocate whatever a name claims for its length, up to 4 GB.
    if zipped:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return torch.load(content, map_location="cpu", weights_only=True)


def _import_torch(called: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{called} is a PyTorch file, which needs PyTorch: pip install 'senet[torch]'. "
            "A .safetensors file needs none."
        ) from error
    return torch


def _is_packed(path: Path) -> bool:
    """Whether a zip holds more than its own size: compressed parts, or parts that share their bytes."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    return not stored or sum(entry.file_size for entry in entries) > path.stat().st_size


def _is_of_the_disk(error: Exception) -> bool:
    # bz2 has no number for "Invalid data stream"; EINVAL comes of a damaged offset, which nobody can seek.
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def _unreadable(called: str, error: Exception) -> ValueError:
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted:
        return ValueError(
            f"{called} is refused: a checkpoint may hold tensors, numbers and text only; this one asks to "
            f"load {wanted[1]}, which could run any program. Load it where you trust it and save its "
            "state dict alone."
        )
    reason = (str(error).strip() or repr(error)).splitlines()[0][:200]
    return ValueError(
        f"{called} is not a PyTorch checkpoint, or is damaged: {reason}. Download or copy it again."
    )


def _state_dict(torch: Any, content: Any, called: str) -> dict[str, Any]:
    """The tensors by name, out of whatever wraps them."""
    if isinstance(content, Mapping):
        wrapped = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        content = wrapped[0] if wrapped else content
    if not isinstance(content, Mapping):
        raise ValueError(f"{called} must hold a state dict. Received: a {type(content).__name__}.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            shown = repr(name[:80]) if isinstance(name, str) else f"one {type(name).__name__}"
            raise ValueError(
                f"{called} must hold a state dict, alone or under one of {', '.join(WRAPPERS)}: names and "
                f"tensors. Received: {shown} and one {type(value).__name__}."
            )
    # DataParallel puts this before every name.
    prefix = "module." if content and all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): value for name, value in content.items()}


def _to_numpy(torch: Any, called: str, name: str, tensor: Any) -> np.ndarray:
    kind = str(tensor.dtype).removeprefix("torch.")
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not dense or kind not in DTYPES + HALVES:
        raise other_type(called, name, kind if dense else f"{kind} ({tensor.layout}, {tensor.device.type})")
    if kind in HALVES:
        tensor = tensor.float()
    # A copy: the file is mapped, and may be gone when the array is used.
    return np.array(tensor.detach().numpy(), order="C")


def read_zipped(path: Path) -> dict[str, np.ndarray]:
    """The tensors of the one .pth that a zip must hold, unpacked into a temporary folder."""
    start, limit = head(path), UNPACKED * path.stat().st_size + SPARE
    with tempfile.TemporaryDirectory(prefix="senet-") as folder:
        inner = Path(folder) / "inner.pth"
        try:
            with zipfile.ZipFile(path) as archive:
                members = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".pth")]
                names = [entry.filename for entry in members]
                if len(members) == 1 and members[0].file_size <= limit:
                    with archive.open(members[0]) as source, inner.open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
        except Exception as error:  # a damaged zip can raise almost anything
            if _is_of_the_disk(error):
                raise
            raise ValueError(
                f"{path} is not a zip file, or is damaged: {repr(error)[:200]}.{looks_like(start)} "
                "Download or copy it again."
            ) from error
        if len(members) != 1:
            raise ValueError(
                f"{path} must hold one .pth file. Received: {len(names)} {[name[:80] for name in names[:4]]}."
            )
        if not inner.exists():
            raise ValueError(
                f"{path} is refused: {names[0][:80]} would unpack to {members[0].file_size} bytes, more than "
                f"{UNPACKED} times the size of the zip, which weights never do."
            )
        return read_torch(inner, f"{names[0][:80]} in {path}")


def write_torch(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a state dict, whole or not at all."""
    torch = _import_torch(str(path))
    # A copy each, because PyTorch warns at arrays that are views of something read-only.
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    with written_aside(path) as aside:
        torch.save(state, aside)
