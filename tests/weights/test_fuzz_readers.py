"""Whatever bytes a file has, a reader gives arrays or a ValueError that names the file: nothing else, and
never more memory than the file's size justifies."""

import io
import json
import struct
import tracemalloc
import zipfile
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from senet.weights.caffemodel import caffe_tensors, read_caffemodel
from senet.weights.tensors import read_tensors
from tests.weights import wire

# A case takes a few milliseconds. What hangs, or is quadratic in the size, takes far longer than this.
fuzz = settings(deadline=timedelta(seconds=5), max_examples=150, suppress_health_check=[HealthCheck.too_slow])
few = settings(fuzz, max_examples=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def check(path, content: bytes) -> None:
    """Fail unless `content` gives arrays or a ValueError with the path, in little memory."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        tensors = read_tensors(path)
        message = None
    except ValueError as error:
        message = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    if message is None:
        assert tensors
        assert all(type(array) is np.ndarray for array in tensors.values())
        assert sum(array.nbytes for array in tensors.values()) <= 4 * len(content) + (1 << 20)
    else:
        assert str(path) in message
        assert len(message) < 2000
    assert peak < 20 * len(content) + (1 << 20)


HUGE = st.sampled_from([1 << 20, (1 << 31) - 1, 3 << 30, 1 << 32, 1 << 60, (1 << 63) - 1, (1 << 64) - 1])


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """`whole` after one to four accidents."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(0, 40))
        accident = draw(st.sampled_from(["cut", "flip", "insert", "lose", "repeat", "varint", "word"]))
        if accident == "cut":
            del content[at:]
        elif accident == "flip" and content:
            content[at] ^= draw(st.integers(1, 255))
        elif accident == "insert":
            content[at:at] = draw(st.binary(max_size=20))
        elif accident == "lose":
            del content[at : at + length]
        elif accident == "repeat":
            content[at:at] = content[at : at + length]
        elif accident == "varint":
            content[at : at + 1] = wire.varint(draw(HUGE))
        elif accident == "word":
            content[at : at + 8] = struct.pack("<Q", draw(HUGE))
    return bytes(content)


# --- .caffemodel ---

FORMS = ["packed", "in pieces", "one by one", "double", "double, one by one", "double, beside floats"]
NET = b"".join(
    [
        wire.message(1, b"net"),
        wire.layer("data", "Data", wire.UNKNOWN),
        *(
            wire.layer(form, "Convolution", wire.blob(np.arange(6.0).reshape(2, 3), form=form))
            for form in FORMS
        ),
        wire.layer("bn", "BatchNorm", wire.blob([1.0, 2]), wire.blob([3.0, 4]), wire.blob([2.5])),
        wire.layer_v1("fc", 14, wire.blob(np.ones(4), field=6, size=wire.old_shape(1, 1, 2, 2))),
    ]
)


@fuzz
@given(st.binary(max_size=300))
def test_arbitrary_bytes_as_caffemodel(folder, content):
    check(folder / "net.caffemodel", content)


@settings(fuzz, max_examples=500)
@given(damaged(NET))
def test_damaged_caffemodel(folder, content):
    check(folder / "net.caffemodel", content)


def test_the_file_that_is_damaged_was_whole(folder):
    (folder / "net.caffemodel").write_bytes(NET)
    assert len(read_tensors(folder / "net.caffemodel")) == len(FORMS) + 3


# The numbers that mean something in one message or another, and some that mean nothing.
NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 50, 100, 101, 1 << 28, 1 << 29])
SMALL = st.one_of(st.integers(0, 9), HUGE, st.just(-1)).map(wire.varint)
TEXT = st.sampled_from([b"", b"conv", b"Convolution", b"BatchNorm", b"InnerProduct", b"\xff"])


def value(contents):
    """A wire type with a value, mostly one that fits it."""
    return st.one_of(
        st.tuples(st.just(0), SMALL),
        st.tuples(st.just(1), st.binary(min_size=8, max_size=8)),
        st.tuples(st.just(2), contents.map(lambda body: wire.varint(len(body)) + body)),
        st.tuples(st.just(5), st.binary(min_size=4, max_size=4)),
        st.tuples(st.integers(0, 7), st.binary(max_size=8)),
    )


def fields(contents):
    one = st.tuples(NUMBERS, value(contents)).map(lambda field: wire.key(field[0], field[1][0]) + field[1][1])
    return st.lists(one, max_size=6).map(b"".join)


LEAF = st.one_of(TEXT, st.binary(max_size=12), st.lists(SMALL, max_size=5).map(b"".join), st.just(bytes(8)))
MESSAGE = st.recursive(LEAF, fields, max_leaves=12)
SIZES = st.one_of(st.lists(SMALL, max_size=4).map(lambda dims: wire.message(1, *dims)), MESSAGE)
BLOB = st.lists(st.one_of(SIZES.map(lambda body: wire.message(7, body)), fields(LEAF)), max_size=4).map(
    b"".join
)
LAYER = st.tuples(
    st.sampled_from([(1, 2, 7), (4, 5, 6)]), TEXT, TEXT, st.lists(BLOB, max_size=4), fields(LEAF)
)


def encoded_layer(parts) -> bytes:
    (name, kind, blobs), *texts, bodies, rest = parts
    typed = wire.message(kind, texts[1]) if kind == 2 else wire.number(kind, 14)
    body = [wire.message(name, texts[0]), typed, *(wire.message(blobs, body) for body in bodies), rest]
    return wire.message(100 if kind == 2 else 2, *body)


@fuzz
@given(st.lists(st.one_of(LAYER.map(encoded_layer), fields(MESSAGE)), max_size=4).map(b"".join))
def test_random_messages_as_caffemodel(folder, content):
    check(folder / "net.caffemodel", content)


SHAPES = st.lists(st.integers(1, 4), max_size=4).map(tuple)
VALUES = st.floats(width=32)
BLOBS = st.tuples(SHAPES, st.sampled_from(FORMS), st.booleans(), VALUES)


@fuzz
@given(
    st.lists(
        st.tuples(st.sampled_from([100, 2]), st.lists(BLOBS, min_size=1, max_size=3)), min_size=1, max_size=4
    )
)
def test_whatever_caffe_may_write_is_read(folder, net):
    content, expected = b"", {}
    for index, (place, blobs) in enumerate(net):
        bodies = []
        for number, (shape, form, packed, first) in enumerate(blobs):
            array = np.full(shape, first, np.float32) + np.arange(np.prod(shape), dtype=np.float32).reshape(
                shape
            )
            expected[f"layer{index}[{number}]"] = array
            size = wire.shape(*shape, packed=packed)
            bodies.append(wire.blob(array, field=7 if place == 100 else 6, form=form, size=size))
        if place == 100:
            content += wire.layer(f"layer{index}", "Scale", *bodies) + wire.UNKNOWN
        else:
            content += wire.layer_v1(f"layer{index}", 15, *bodies)
    (folder / "net.caffemodel").write_bytes(content)
    layers = read_caffemodel(folder / "net.caffemodel")
    found = {f"{layer.name}[{i}]": blob for layer in layers for i, blob in enumerate(layer.blobs)}
    assert found.keys() == expected.keys() == caffe_tensors(layers).keys()
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "repeated",
    [
        wire.number(9, 1),
        wire.message(9, b""),
        wire.message(100, b""),
        wire.message(100, wire.message(7, b"")),
        wire.message(2, wire.message(6, wire.message(7, b""))),
    ],
)
def test_thirty_thousand_small_fields_stay_small(folder, repeated):
    check(folder / "net.caffemodel", repeated * 30_000)


@pytest.mark.parametrize(
    "repeated",
    [wire.message(5, b""), wire.message(5, b"1234"), wire.key(5, 5) + b"1234", wire.message(7, b"")],
)
def test_a_blob_in_thirty_thousand_pieces_stays_small(folder, repeated):
    check(folder / "net.caffemodel", wire.layer("conv", "Convolution", wire.message(7, repeated * 30_000)))


# --- .safetensors ---


def safetensors(header: bytes, data: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + data


WHOLE = safetensors(
    json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
            "c": {"dtype": "F16", "shape": [], "data_offsets": [32, 34]},
            "d": {"dtype": "I64", "shape": [1], "data_offsets": [34, 42]},
        }
    ).encode(),
    bytes(range(42)),
)


@fuzz
@given(st.binary(max_size=300))
def test_arbitrary_bytes_as_safetensors(folder, content):
    check(folder / "net.safetensors", content)


@settings(fuzz, max_examples=300)
@given(damaged(WHOLE))
def test_damaged_safetensors(folder, content):
    check(folder / "net.safetensors", content)


def test_the_safetensors_that_are_damaged_were_whole(folder):
    (folder / "net.safetensors").write_bytes(WHOLE)
    assert read_tensors(folder / "net.safetensors").keys() == {"a", "b", "c", "d"}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-4, 80), HUGE, st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(
            ["F32", "BF16", "F16", "F64", "BOOL", "F8_E4M3", "F4", "C64", "I8", "F33", 3]
        ),
        "shape": st.one_of(st.lists(st.one_of(st.integers(-1, 4), HUGE), max_size=4), JSON),
        "data_offsets": st.one_of(
            st.lists(st.one_of(st.integers(-1, 40), HUGE), min_size=2, max_size=2), JSON
        ),
    }
)
HEADERS = st.dictionaries(
    st.sampled_from(["a", "b", "", "__metadata__", "é\n\0"]), st.one_of(ENTRIES, JSON), max_size=3
)


@fuzz
@given(HEADERS, st.binary(max_size=40), st.one_of(st.none(), st.integers(0, 80), HUGE))
def test_random_headers_of_safetensors(folder, header, data, size):
    check(folder / "net.safetensors", safetensors(json.dumps(header).encode(), data, size))


@st.composite
def tiled(draw):
    """A header whose tensors follow one another, as they must, over data of just that size."""
    sizes = {"F32": 4, "BF16": 2, "F16": 2, "F64": 8, "BOOL": 1, "I8": 1, "U16": 2, "F8_E5M2": 1}
    header, end = {}, 0
    for name in draw(st.lists(st.text(max_size=4), unique=True, max_size=5)):
        kind, shape = draw(st.sampled_from(sorted(sizes))), draw(st.lists(st.integers(0, 3), max_size=70))
        size = sizes[kind] * int(np.prod(shape, dtype=object)) if len(shape) < 5 or 0 in shape else 0
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return safetensors(json.dumps(header).encode(), bytes(min(end, 1 << 20)))


@fuzz
@given(tiled())
def test_well_tiled_safetensors(folder, content):
    check(folder / "net.safetensors", content)


# --- PyTorch ---


@pytest.fixture(scope="module")
def checkpoints():
    """A small checkpoint in each of PyTorch's two formats."""
    torch = pytest.importorskip("torch", reason=".pth files need PyTorch")
    state = {"state_dict": {"module.a": torch.arange(20.0), "module.b": torch.ones(2, 3).half()}, "epoch": 3}
    found = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
        found.append(buffer.getvalue())
    return found


@few
@given(
    st.sampled_from([b"PK\x03\x04", b"\x80\x02", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."]),
    st.binary(max_size=80),
)
def test_arbitrary_bytes_as_pytorch_file(folder, checkpoints, beginning, content):
    check(folder / "net.pth", beginning + content)


@few
@given(st.integers(0, 1), st.data())
def test_damaged_pytorch_file(folder, checkpoints, which, data):
    check(folder / "net.pth", data.draw(damaged(checkpoints[which])))


@few
@given(st.data())
def test_damaged_zip_of_a_pytorch_file(folder, checkpoints, data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net.pth", checkpoints[0])
    check(folder / "net.pth.zip", data.draw(damaged(buffer.getvalue())))
