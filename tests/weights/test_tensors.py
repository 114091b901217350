import argparse
import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from senet.weights.tensors import read_tensors, write_tensors
from tests.parity import reference_weights as reference
from tests.weights import wire

TENSORS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7,
    "bn.running_mean": np.array([0.5, -np.inf], np.float32),
    "bn.num_batches_tracked": np.array(3, np.int64),
    "double": np.array([[1e300]], np.float64),
    "bytes": np.array([0, 255], np.uint8),
    "mask": np.array([True, False]),
    "small": np.array([-128], np.int8),
    "short": np.array([-3], np.int16),
    "int": np.array([1 << 30], np.int32),
    "empty": np.zeros((0, 4), np.float32),
}
HTML = b"<!DOCTYPE html><html><body>404 not found</body></html>"
SUFFIXES = [".safetensors", ".pth", ".pt", ".bin"]


def need_torch():
    return pytest.importorskip("torch", reason=".pth files need PyTorch")


def assert_same(found, expected) -> None:
    """The same names and, to the bit, the same arrays."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert type(found[name]) is np.ndarray, name
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def safetensors_file(path, tensors, data: bytes = b""):
    """A file with that header, written by hand; `tensors` is a dictionary or the bytes of the header."""
    header = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def entry(kind="F32", shape=(1,), start=0, stop=4) -> dict:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, stop]}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_to_the_bit(tmp_path, suffix):
    if suffix != ".safetensors":
        need_torch()
    path = tmp_path / f"net{suffix}"
    write_tensors(path, TENSORS)
    assert_same(read_tensors(str(path)), TENSORS)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
def test_arrays_of_any_layout_are_written(tmp_path, suffix):
    if suffix != ".safetensors":
        need_torch()
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    base.setflags(write=False)
    views = {
        "turned": base.T,
        "steps": base[::2, ::-1],
        "wide": np.broadcast_to(base[0], (2, 4)),
        "big": base.astype(">f4"),
    }
    write_tensors(tmp_path / f"net{suffix}", views)
    expected = {name: np.array(view, np.float32, order="C") for name, view in views.items()}
    assert_same(read_tensors(tmp_path / f"net{suffix}"), expected)


def test_reference_files_are_read_to_the_bit(tmp_path):
    manifest = reference.load_manifest("timm_seresnet50")
    reference.write_safetensors(tmp_path / "net.safetensors", manifest)
    assert_same(read_tensors(tmp_path / "net.safetensors"), reference.state_dict(manifest))


def test_written_safetensors_are_for_pytorch_too(tmp_path):
    from safetensors import safe_open

    write_tensors(tmp_path / "net.safetensors", TENSORS)
    with safe_open(tmp_path / "net.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_caffe_files_are_read_by_layer_and_blob(tmp_path):
    (tmp_path / "net.caffemodel").write_bytes(
        wire.layer("bn", "BatchNorm", wire.blob([4.0]), wire.blob([8.0]), wire.blob([2.0]))
        + wire.layer("fc", "InnerProduct", wire.blob(np.ones((1, 1, 2, 3))))
    )
    expected = {"bn[0]": np.float32([2]), "bn[1]": np.float32([4]), "fc[0]": np.ones((2, 3), np.float32)}
    assert_same(read_tensors(tmp_path / "net.caffemodel"), expected)


def test_errors_of_a_caffe_layer_name_the_file(tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(wire.layer("bn", "BatchNorm", wire.blob([4.0])))
    with pytest.raises(ValueError, match=r"net\.caffemodel: A BatchNorm layer must have three blobs"):
        read_tensors(path)


def test_halves_become_float32(tmp_path):
    halves = np.array([1.5, -65504, 6e-8, np.nan], np.float16)
    upper = np.array([1.5, -3e38, 1e-40, np.inf], np.float32).view(np.uint32) >> 16
    path = safetensors_file(
        tmp_path / "net.safetensors",
        {
            "__metadata__": {"bf": "x"},
            "f": entry("F16", (2, 2), 0, 8),
            "bf": entry("BF16", (4, 1), 8, 16),
            "scalar": entry("BF16", (), 16, 18),
        },
        halves.tobytes() + upper.astype("<u2").tobytes() + b"\x80\x3f",
    )
    expected = {
        "f": halves.astype(np.float32).reshape(2, 2),
        "bf": (upper << 16).astype(np.uint32).view(np.float32).reshape(4, 1),
        "scalar": np.array(1, np.float32),
    }
    assert_same(read_tensors(path), expected)


def test_halves_of_pytorch_become_float32(tmp_path):
    torch = need_torch()
    values = torch.tensor([1.5, -3, 7e-5])
    state = {"f": values.half(), "bf": values.bfloat16(), "parameter": torch.nn.Parameter(values)}
    torch.save(state, tmp_path / "net.pth")
    expected = {name: value.detach().float().numpy() for name, value in state.items()}
    assert_same(read_tensors(tmp_path / "net.pth"), expected)


@pytest.mark.parametrize(
    ("kind", "size"), [("F8_E4M3", 1), ("F8_E5M2", 1), ("C64", 8), ("U64", 8), ("U16", 2), ("U32", 4)]
)
def test_other_types_are_refused(tmp_path, kind, size):
    path = safetensors_file(
        tmp_path / "net.safetensors", {"a": entry(kind, (4,), 0, 4 * size)}, bytes(4 * size)
    )
    with pytest.raises(
        ValueError, match=r"Tensors must be of float64, .*Received: 'a' of type .*net\.safetensors"
    ):
        read_tensors(path)


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        (b"{", b"", "invalid JSON"),
        (b"[]", b"", "invalid JSON"),
        (b"\xff\xfe{}", b"", "not a .safetensors file"),
        (b"[" * 100_000, b"", "invalid JSON"),
        ({"a": entry(shape=(-1,))}, bytes(4), "invalid value"),
        ({"a": entry("F33")}, bytes(4), "unknown variant"),
        ({"a": entry(start=-4)}, bytes(4), "invalid value"),
        ({"a": entry(), "b": entry()}, bytes(4), "invalid offset"),
        ({"a": entry(), "b": entry(start=2, stop=6)}, bytes(6), "invalid offset"),
        ({"a": entry(shape=(2,))}, bytes(4), "not a .safetensors file"),
        ({"a": entry(shape=(1 << 62, 1 << 62))}, bytes(4), "overflow"),
        ({"a": entry(shape=(0, 1 << 62, 1 << 62), stop=0)}, b"", "too big|overflow"),
        ({"a": entry(shape=[1] * 65)}, bytes(4), "dimension"),
        ({"a": entry()}, bytes(3), "not a .safetensors file"),
        ({"a": entry()}, bytes(5), "not fully covered"),
        ({}, b"", "must hold tensors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_safetensors_are_refused(tmp_path, header, data, words):
    path = safetensors_file(tmp_path / "net.safetensors", header, data)
    with pytest.raises(ValueError, match=words) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("size", [1 << 63, (1 << 64) - 1, 1 << 40, 200_000_000])
def test_a_header_longer_than_the_file_is_refused(tmp_path, size):
    (tmp_path / "net.safetensors").write_bytes(struct.pack("<Q", size) + b"{}")
    with pytest.raises(ValueError, match="header"):
        read_tensors(tmp_path / "net.safetensors")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".pth.zip", ".caffemodel"])
@pytest.mark.parametrize(
    ("content", "words"),
    [(HTML, "an HTML page"), (b"", "empty file|file is empty"), (b'{"message": "not found"}', "a text file")],
    ids=["html", "empty", "text"],
)
def test_other_kinds_of_file_are_refused(tmp_path, suffix, content, words):
    """PyTorch is not even imported for it."""
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"is not a .*({words})") as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".pth.zip", ".caffemodel"])
def test_a_missing_file_is_said_to_be_missing(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match="none"):
        read_tensors(tmp_path / f"none{suffix}")


@pytest.mark.parametrize("name", ["net.h5", "net.zip", "net", "net.pth.tar", "net.caffemodel.h5"])
def test_other_suffixes_are_refused(tmp_path, name):
    with pytest.raises(
        ValueError, match=rf"must end in \.safetensors, \.pth, .*\.caffemodel\. Received: .*{name}"
    ):
        read_tensors(tmp_path / name)
    with pytest.raises(ValueError, match=r"must end in \.safetensors, \.pth, \.pt, \.bin\. Received"):
        write_tensors(tmp_path / name, TENSORS)


def test_a_caffe_file_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="must end in"):
        write_tensors(tmp_path / "net.caffemodel", TENSORS)


def test_suffixes_may_be_in_capitals(tmp_path):
    write_tensors(tmp_path / "NET.SAFETENSORS", TENSORS)
    assert_same(read_tensors(tmp_path / "NET.SAFETENSORS"), TENSORS)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "at least one tensor"),
        ({"a": np.zeros(2, np.float16)}, "'a' with dtype float16"),
        ({"a": np.array(["x"])}, "'a' with dtype str"),
        ({"a": np.array([None])}, "'a' with dtype object"),
        ({3: np.zeros(2)}, "3 with dtype float64"),
    ],
)
def test_other_values_are_not_written(tmp_path, tensors, words):
    with pytest.raises(ValueError, match=words):
        write_tensors(tmp_path / "net.safetensors", tensors)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, suffix):
    if suffix != ".safetensors":
        need_torch()
    path = tmp_path / f"net{suffix}"
    write_tensors(path, {"a": np.ones(2)})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    monkeypatch.setattr("torch.save", full, raising=False) if suffix == ".pth" else None
    with pytest.raises(OSError, match=rf"Could not write .*net{suffix}: the disk is full"):
        write_tensors(path, TENSORS)
    assert_same(read_tensors(path), {"a": np.ones(2)})
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Could not write"):
        write_tensors(tmp_path / "file" / "net.safetensors", TENSORS)


WRAPPED = {
    "plain": lambda state: state,
    "ordered": OrderedDict,
    "state_dict": lambda state: {"epoch": 3, "arch": "seresnet50", "state_dict": state},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "averaged": lambda state: {"state_dict": {"other": state["double"]}, "state_dict_ema": state},
    "module": lambda state: {f"module.{name}": value for name, value in state.items()},
    "both": lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_state_dicts_are_found_where_they_are(tmp_path, wrap, old):
    torch = need_torch()
    state = {name: torch.from_numpy(array) for name, array in TENSORS.items()}
    torch.save(wrap(state), tmp_path / "net.pth", _use_new_zipfile_serialization=not old)
    assert_same(read_tensors(tmp_path / "net.pth"), TENSORS)


def test_a_prefix_that_not_all_have_stays(tmp_path):
    torch = need_torch()
    torch.save({"module.a": torch.ones(2), "b": torch.zeros(2)}, tmp_path / "net.pth")
    assert read_tensors(tmp_path / "net.pth").keys() == {"module.a", "b"}


def test_shared_and_turned_tensors_become_arrays_of_their_own(tmp_path):
    torch = need_torch()
    base = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": base, "b": base, "turned": base.T}, tmp_path / "net.pth")
    found = read_tensors(tmp_path / "net.pth")
    assert_same(found, {"a": base.numpy(), "b": base.numpy(), "turned": np.array(base.numpy().T, order="C")})
    found["a"][:] = 0
    assert found["b"].sum() == 15
    os.truncate(tmp_path / "net.pth", 0)
    assert found["turned"].sum() == 15


class Trap:
    """Unpickled without care, it would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_no_code_of_a_file_is_run(tmp_path, old):
    torch = need_torch()
    state = {"a": torch.ones(2), "trap": Trap(tmp_path / "trapped")}
    torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(ValueError, match=r"net\.pth is refused: .* asks to load \w+\.mkdir"):
        read_tensors(tmp_path / "net.pth")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda torch: {"args": argparse.Namespace(lr=1)}, r"asks to load argparse\.Namespace"),
        (lambda torch: torch.nn.Linear(2, 2), r"asks to load torch\.nn\.modules\.linear\.Linear"),
        (lambda torch: [torch.ones(2)], "must hold a state dict. Received: a list"),
        (lambda torch: torch.ones(2), "must hold a state dict. Received: a Tensor"),
        (lambda torch: {"a": torch.ones(2), "epoch": 3}, "Received: 'epoch' and one int"),
        (lambda torch: {3: torch.ones(2)}, "Received: one int and one Tensor"),
        (lambda torch: {}, "must hold tensors"),
        (lambda torch: {"state_dict": {}}, "must hold tensors"),
        (lambda torch: {"a": torch.ones(2).to(torch.complex64)}, "'a' of type complex64"),
        (lambda torch: {"a": torch.ones(2).to(torch.float8_e4m3fn)}, "'a' of type float8_e4m3fn"),
        (lambda torch: {"a": torch.eye(2).to_sparse()}, "'a' of type float32 .torch.sparse_coo"),
        (lambda torch: {"a": torch.ones(2, device="meta")}, "'a' of type float32 .torch.strided, meta"),
        (lambda torch: {"a": torch.ones(1).expand(1 << 40)}, "its tensors claim 4398046511104 bytes"),
        (lambda torch: dict.fromkeys(map(str, range(200)), torch.ones(1 << 16)), "claim 52428800 bytes"),
    ],
)
def test_other_contents_of_a_pytorch_file_are_refused(tmp_path, content, words):
    torch = need_torch()
    path = tmp_path / "net.pth"
    torch.save(content(torch), path)
    with pytest.raises(ValueError, match=words) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)


def torch_bytes(torch) -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(1000.0)}, buffer)
    return buffer.getvalue()


def repacked(content: bytes, method: int) -> bytes:
    """The same zip with its parts compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def zip_with(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_damaged_pytorch_files_are_refused(tmp_path):
    torch = need_torch()
    path, whole = tmp_path / "net.pth", torch_bytes(torch)
    cases = {
        "truncated": whole[:-100],
        "half": whole[: len(whole) // 2],
        "beginning only": b"PK\x03\x04",
        "another zip": zip_with({"readme.txt": b"hello"}, zipfile.ZIP_STORED),
        "pickle only": b"\x80\x02}q\x00.",
        "old and cut": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        "compressed": repacked(whole, zipfile.ZIP_DEFLATED),
        "bomb": zip_with({"archive/data.pkl": bytes(1 << 24), "archive/version": b"3"}),
    }
    for name, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"net\.pth (is not a PyTorch checkpoint|must be as PyTorch)"):
            pytest.fail(f"{name}: {read_tensors(path)}")


def test_compressed_parts_are_refused_however_little_they_shrink(tmp_path):
    """Mapped as if they were not compressed, they would be taken for other numbers without an error."""
    torch = need_torch()
    buffer = io.BytesIO()
    torch.save({"a": torch.frombuffer(bytearray(os.urandom(4000)), dtype=torch.uint8)}, buffer)
    (tmp_path / "net.pth").write_bytes(repacked(buffer.getvalue(), zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match=r"net\.pth must be as PyTorch writes it.* end in \.pth\.zip"):
        read_tensors(tmp_path / "net.pth")


def test_claimed_sizes_beyond_the_file_are_refused(tmp_path):
    """The pickle says 65535 numbers, for the storage and for the tensor; the record has 1000."""
    torch = need_torch()
    whole = torch_bytes(torch)
    assert whole.count(b"M\xe8\x03") == 2
    path = tmp_path / "net.pth"
    path.write_bytes(whole.replace(b"M\xe8\x03", b"M\xff\xff"))
    with pytest.raises(ValueError, match=r"net\.pth is not a PyTorch checkpoint, or is damaged"):
        read_tensors(path)


def test_zips_of_pytorchcv_are_unpacked(tmp_path):
    torch = need_torch()
    path = tmp_path / "seresnet20_cifar10-0833-a.pth.zip"
    path.write_bytes(zip_with({"seresnet20_cifar10-0833-a.pth": torch_bytes(torch)}))
    assert_same(read_tensors(path), {"a": np.arange(1000, dtype=np.float32)})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: zip_with({"readme.txt": b"hello"}), r"must hold one \.pth file. Received: 0"),
        (lambda: zip_with({"a.pth": b"", "b.pth": b""}), r"Received: 2 \['a.pth', 'b.pth'\]"),
        (lambda: zip_with({"../a.pth": HTML}), r"\.\./a\.pth in .* is not a PyTorch .* an HTML page"),
        (lambda: zip_with({"a.pth": bytes(1 << 25)}), "a.pth would unpack to 33554432 bytes"),
        (lambda: zip_with({"a.pth": os.urandom(1000)})[:-30], "is not a zip file, or is damaged"),
        (lambda: zip_with({"a.pth": b"x" * 99}, 0).replace(b"xx", b"yy"), "or is damaged: .*CRC"),
    ],
)
def test_other_zips_are_refused(tmp_path, content, words):
    path = tmp_path / "net.pth.zip"
    path.write_bytes(content())
    with pytest.raises(ValueError, match=words) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)


def test_without_pytorch_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed: an import of it fails
    (tmp_path / "net.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(ImportError, match=r"pip install 'senet\[torch\]'. A \.safetensors file needs none"):
        read_tensors(tmp_path / "net.pth")
    with pytest.raises(ImportError, match=r"pip install 'senet\[torch\]'"):
        write_tensors(tmp_path / "net.pt", TENSORS)


PROBE = """
import sys, types
for name, folder in (("senet", "senet"), ("senet.weights", "senet/weights")):
    sys.modules[name] = types.ModuleType(name)  # the package itself imports Keras
    sys.modules[name].__path__ = [f"{sys.argv[1]}/{folder}"]
from senet.weights.tensors import read_tensors
for path in sys.argv[2:]:
    read_tensors(path)
print(*sorted({"keras", "tensorflow", "jax", "torch"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("suffix", "imported"), [(".safetensors", ""), (".caffemodel", ""), (".pth", "torch")]
)
def test_reading_imports_no_engine_but_pytorch_for_its_own(tmp_path, repo, suffix, imported):
    path = tmp_path / f"net{suffix}"
    if suffix == ".caffemodel":
        path.write_bytes(wire.layer("fc", "InnerProduct", wire.blob([[1.0]])))
    else:
        if importlib.util.find_spec("torch") is None and imported:
            pytest.skip(".pth files need PyTorch")
        write_tensors(path, TENSORS)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(repo), str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == imported
