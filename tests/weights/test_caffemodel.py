import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from senet.weights.caffemodel import CaffeLayer, caffe_tensors, read_caffemodel
from tests.parity import reference_weights as reference
from tests.weights import wire

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) - 7.25
BIAS = np.array([0.5, -3], np.float32)


def without_bytes(value) -> str | None:
    """The name of a case: its words, not its bytes."""
    return "" if isinstance(value, bytes | list) else None


@pytest.fixture
def read(tmp_path):
    """Write bytes, read them as a .caffemodel."""

    def run(*parts: bytes) -> list[CaffeLayer]:
        path = tmp_path / "net.caffemodel"
        path.write_bytes(b"".join(parts))
        return read_caffemodel(path)

    return run


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal to the bit."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("net", "layers", "blobs"), [("SE-BN-Inception", 228, 456), ("SE-ResNet-50", 192, 384)]
)
def test_reference_files_are_read_to_the_bit(tmp_path, net, layers, blobs):
    manifest = reference.load_manifest(f"caffe_{net}")
    path = tmp_path / "net.caffemodel"
    reference.write_caffemodel(path, manifest)
    found, expected = read_caffemodel(path), reference.caffe_layers(manifest)
    assert (len(found), sum(len(layer.blobs) for layer in found)) == (layers, blobs)
    assert [(layer.name, layer.type) for layer in found] == [(name, kind) for name, kind, _ in expected]
    for layer, (_, _, arrays) in zip(found, expected, strict=True):
        for blob, array in zip(layer.blobs, arrays, strict=True):
            assert_same(blob, array)


@pytest.mark.parametrize(
    "form", ["packed", "in pieces", "one by one", "double", "double, one by one", "double, beside floats"]
)
def test_data_in_every_form(read, form):
    (layer,) = read(wire.layer("conv", "Convolution", wire.blob(KERNEL, form=form), wire.blob(BIAS)))
    assert layer[:2] == ("conv", "Convolution")
    assert_same(layer.blobs[0], KERNEL)
    assert_same(layer.blobs[1], BIAS)


def test_doubles_beyond_float32_become_infinite(read):
    (layer,) = read(wire.layer("conv", "Convolution", wire.blob([1e39, 0.1, np.nan], form="double")))
    np.testing.assert_array_equal(layer.blobs[0], np.array([np.inf, 0.1, np.nan], np.float32))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (wire.shape(2, 3, 2, 2), (2, 3, 2, 2)),
        (wire.shape(2, 3, 2, 2, packed=False), (2, 3, 2, 2)),
        (wire.shape(6) + wire.shape(4), (6, 4)),  # pieces of a message are joined
        (wire.message(7, wire.UNKNOWN, wire.message(1, b"\x18")), (24,)),
        (wire.old_shape(2, 3, 2, 2), (2, 3, 2, 2)),
        (wire.old_shape(1, 1, 1, 24), (1, 1, 1, 24)),
        (wire.old_shape(1, 1, 1, 24) + wire.shape(24), (24,)),
        (wire.shape(*[1] * 31, 24), (*[1] * 31, 24)),
    ],
    ids=without_bytes,
)
def test_shapes_in_every_form(read, size, expected):
    (layer,) = read(wire.layer("conv", "Convolution", wire.blob(KERNEL, size=size)))
    assert_same(layer.blobs[0], KERNEL.reshape(expected))


def test_a_blob_without_a_shape_is_a_scalar(read):
    (layer,) = read(wire.layer("scale", "Scale", wire.blob([3.5], size=b"")))
    assert_same(layer.blobs[0], np.array(3.5, np.float32))


@pytest.mark.parametrize(
    ("number", "kind"), [(4, "Convolution"), (14, "InnerProduct"), (39, "Deconvolution"), (15, "V1 type 15")]
)
def test_layers_of_2014(read, number, kind):
    blobs = [wire.blob(BIAS, field=6, size=wire.old_shape(1, 1, 1, 2)), wire.blob(BIAS, field=6)]
    (layer,) = read(wire.layer_v1("conv", number, *blobs, wire.number(7, 1)))
    assert layer[:2] == ("conv", kind)
    assert_same(layer.blobs[0], BIAS.reshape(1, 1, 1, 2))
    assert_same(layer.blobs[1], BIAS)


def test_unknown_fields_are_stepped_over(read):
    blob = wire.message(
        7, wire.UNKNOWN, wire.shape(2), wire.UNKNOWN, wire.floats(BIAS), wire.message(6, b"diff")
    )
    net = wire.message(1, b"net") + wire.UNKNOWN
    (layer,) = read(net, wire.layer("conv", "Convolution", wire.UNKNOWN, blob, wire.UNKNOWN), wire.UNKNOWN)
    assert_same(layer.blobs[0], BIAS)


def test_layers_without_weights_are_left_out_and_may_share_a_name(read):
    data = wire.layer("data", "Data")
    found = read(data, data, wire.layer("data", "Scale", wire.blob(BIAS)), wire.layer("relu", "ReLU"))
    assert [layer.name for layer in found] == ["data"]


def test_names_are_unicode(read):
    (layer,) = read(wire.layer("conv1_1×1/é", "Convolution", wire.blob(BIAS)))
    assert layer.name == "conv1_1×1/é"


def test_writing_to_a_blob_changes_nothing_else(read, tmp_path):
    content = wire.layer("conv", "Convolution", wire.blob(BIAS))
    (layer,) = read(content)
    layer.blobs[0][:] = 9
    assert (tmp_path / "net.caffemodel").read_bytes() == content
    assert_same(read_caffemodel(str(tmp_path / "net.caffemodel"))[0].blobs[0], BIAS)


LONE = wire.layer("conv", "Convolution", wire.blob(BIAS))
START = len(wire.message(1, b"net"))  # the byte at which the second field begins
TOO_LONG = wire.key(100, 2) + wire.varint(3 << 30)


@pytest.mark.parametrize(
    ("content", "at", "words"),
    [
        (LONE[:-1], 0, "field 100 claims 36 bytes where 35 are left"),
        (LONE[:1], 0, "a number breaks off"),
        (TOO_LONG + b"x" * 100, 0, "claims 3221225472 bytes where 100 are left"),
        (wire.key(100, 2) + b"\xff" * 10 + b"\x01", 2, "a number has more than 64 bits"),
        (wire.key(100, 2) + b"\xff" * 9 + b"\x02", 2, "a number has more than 64 bits"),
        (wire.key(0, 0) + b"\x00", 0, "a field has the number 0"),
        (wire.varint(1 << 32) + b"\x00", 0, "a field has the number 536870912"),
        (wire.key(9, 3) + wire.key(9, 4), 0, "field 9 has wire type 3"),
        (wire.key(9, 7), 0, "field 9 has wire type 7"),
        (wire.key(9, 1) + b"1234567", 0, "field 9 claims 8 bytes where 7 are left"),
        (wire.number(100, 1), 0, "a layer has wire type 0 where 2 is expected"),
        (wire.message(100, wire.number(1, 1)), 3, "a layer's name has wire type 0"),
        (wire.message(100, wire.message(1, b"\xff")), 5, "a layer's name is no UTF-8 text"),
        (wire.message(2, wire.message(5, b"x")), 2, "a layer's type has wire type 2 where 0"),
        (wire.message(2, wire.message(1, b"old")), 2, "upgrade_net_proto_binary"),
        (wire.message(100, wire.number(7, 1)), 3, "a blob has wire type 0"),
        (wire.message(100, wire.blob(BIAS)), 0, "a layer has weights but no name"),
        (LONE, None, "a second layer is called 'conv'"),
        (wire.layer("data", "Data"), 15, "the file ends and no layer had weights"),
    ],
    ids=without_bytes,
)
def test_damage_is_refused_with_its_place(read, tmp_path, content, at, words):
    content, at = (LONE + content, len(LONE)) if at is None else (content, at)
    # Behind a whole field: the place counts from the beginning of the file.
    with pytest.raises(ValueError, match=f"at byte {at + START}, .*{words}") as caught:
        read(wire.message(1, b"net"), content)
    assert str(tmp_path / "net.caffemodel") in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([wire.shape(3), wire.floats(BIAS)], r"the shape \(3,\) and 2 values"),
        ([wire.shape(2)], r"the shape \(2,\) and 0 values"),
        ([], r"the shape \(\) and 0 values"),
        ([wire.shape(-2), wire.floats(BIAS)], r"the shape \(-2,\)"),
        ([wire.shape(-1, -2), wire.floats(BIAS)], r"the shape \(-1, -2\)"),
        ([wire.shape(0)], r"the shape \(0,\)"),
        ([wire.shape(0, 1 << 62, 1 << 62)], r"the shape \(0, "),
        ([wire.shape(1 << 62, 1 << 62, 4), wire.floats([])], r"and 0 values"),
        ([wire.shape(*[1] * 33), wire.floats([1])], "more than 32 axes"),
        ([wire.shape(*[1] * 33, packed=False), wire.floats([1])], "more than 32 axes"),
        ([wire.shape(*[1] * 20) * 2, wire.floats([1])], "more than 32 axes"),
        ([wire.old_shape(2), wire.floats(BIAS)], r"the shape \(2, 0, 0, 0\)"),
        ([wire.old_shape(-1, -1, 1, 2), wire.floats(BIAS)], r"the shape \(-1, -1, 1, 2\)"),
        ([wire.shape(1), wire.message(5, b"12345")], "a blob's data has 5 bytes"),
        ([wire.shape(1), wire.message(8, b"12345")], "a blob's data has 5 bytes"),
        ([wire.shape(1), wire.number(5, 3)], "a blob's data has wire type 0 where 2 or 5"),
        ([wire.shape(1), wire.key(8, 5) + b"1234"], "a blob's data has wire type 5 where 2 or 1"),
        ([wire.number(7, 1), wire.floats([1])], "a blob's shape has wire type 0"),
        ([wire.message(7, wire.key(1, 5) + b"1234"), wire.floats([1])], "a size in a shape has wire type 5"),
        ([wire.message(7, wire.message(1, b"\x81")), wire.floats([1])], "a number breaks off"),
        ([wire.message(1, b"x"), wire.floats([1])], "a blob's size has wire type 2"),
    ],
    ids=without_bytes,
)
def test_damaged_blobs_are_refused(read, parts, words):
    with pytest.raises(ValueError, match=words):
        read(wire.layer("conv", "Convolution", wire.message(7, *parts)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "suggest an HTML page"),
        (b'name: "SE-ResNet-50"\nlayer {\n  name: "data"\n', "suggest a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"PK\x03\x04" + bytes(60), "suggest a zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "suggest an HDF5 file"),
        (bytes(5000), "never finished"),
        (os.urandom(8) + b"\xff" * 100, "compare its checksum"),
    ],
    ids=without_bytes,
)
def test_other_kinds_of_file_are_refused(read, content, words):
    with pytest.raises(ValueError, match=words):
        read(content)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.caffemodel"):
        read_caffemodel(tmp_path / "none.caffemodel")


def test_messages_inside_each_other_are_followed_no_further_than_needed(read):
    nested = b""
    for _ in range(2000):
        nested = wire.message(7, nested)
    with pytest.raises(ValueError, match="at byte 23, a blob has the shape"):
        read(wire.layer("conv", "Convolution", nested))


def test_reading_takes_no_memory_for_the_blobs(tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(wire.layer("conv", "Convolution", wire.blob(np.zeros((1024, 4096), np.float32))))
    tracemalloc.start()
    (layer,) = read_caffemodel(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert layer.blobs[0].nbytes == 16 << 20
    assert peak < 1 << 18


PROBE = r"""
import re, sys, types
from pathlib import Path
for name, folder in (("senet", "senet"), ("senet.weights", "senet/weights")):
    sys.modules[name] = types.ModuleType(name)  # the package itself imports Keras, hundreds of MB
    sys.modules[name].__path__ = [f"{sys.argv[2]}/{folder}"]
from senet.weights.caffemodel import caffe_tensors, read_caffemodel
def peak():  # bytes; the same from getrusage would be that of the parent process
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
tensors = caffe_tensors(read_caffemodel(sys.argv[1]))
total = sum(float(tensor.sum(dtype="float64")) for tensor in tensors.values())  # so that all are in memory
print(len(tensors), total, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_large_file_is_in_memory_once(tmp_path, repo):
    manifest = reference.load_manifest("caffe_SENet-154")
    path = tmp_path / "net.caffemodel"
    reference.write_caffemodel(path, manifest)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path), str(repo)], capture_output=True, text=True, check=True
    )
    count, total, peak = done.stdout.split()
    wanted = 0.0
    for _, kind, arrays in reference.caffe_layers(manifest):
        sums = [float(array.sum(dtype=np.float64)) for array in arrays]
        factor = reference.CAFFE_BN_FACTOR if kind == "BatchNorm" else 1
        wanted += sum(sums[:2]) / factor
    size = path.stat().st_size
    assert size > 440e6
    assert int(count) == sum(min(2, len(blobs)) for _, _, blobs in manifest)
    assert float(total) == pytest.approx(wanted, rel=1e-6)
    assert 0.9 * size < int(peak) < 1.2 * size


def layer(kind: str, *blobs) -> CaffeLayer:
    return CaffeLayer("name", kind, tuple(np.asarray(blob, np.float32) for blob in blobs))


def test_batch_norm_sums_become_mean_and_variance():
    tensors = caffe_tensors([layer("BatchNorm", [5, -10], [2.5, 7.5], [2.5])])
    assert tensors.keys() == {"name[0]", "name[1]"}
    assert_same(tensors["name[0]"], np.array([2, -4], np.float32))
    assert_same(tensors["name[1]"], np.array([1, 3], np.float32))


def test_batch_norm_that_saw_nothing_is_zero():
    tensors = caffe_tensors([layer("BatchNorm", [5, -10], [np.nan, 7.5], [0])])
    assert_same(tensors["name[0]"], np.zeros(2, np.float32))
    assert_same(tensors["name[1]"], np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("blobs", "words"),
    [
        ([[1], [1]], "must have three blobs"),
        ([[1], [1], [1], [1], [1]], "must have three blobs"),
        ([[1, 2], [1], [1]], r"blobs of \[2, 1, 1\] values"),
        ([[1, 2], [1, 2], [1, 2]], "one factor"),
        ([[1], [1], [np.nan]], "'name' with nan"),
        ([[1], [1], [np.inf]], "'name' with inf"),
        ([[1], [1], [-1]], r"'name' with -1\.0"),
    ],
)
def test_batch_norm_that_cannot_be_is_refused(blobs, words):
    with pytest.raises(ValueError, match=words):
        caffe_tensors([layer("BatchNorm", *blobs)])


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("Convolution", [(8, 3, 1, 1), (1, 1, 1, 8)], [(8, 3, 1, 1), (8,)]),
        ("Convolution", [(1, 1, 1, 7), (1, 1, 1, 1)], [(1, 1, 1, 7), (1,)]),  # a kernel of 1×7 stays one
        ("Deconvolution", [(1, 1, 1, 7), (1,)], [(1, 1, 1, 7), (1,)]),
        ("InnerProduct", [(1, 1, 10, 8), (1, 1, 1, 10)], [(10, 8), (10,)]),
        ("InnerProduct", [(1, 1, 1, 8), (1, 1, 1, 1)], [(1, 8), (1,)]),
        ("InnerProduct", [(10, 8), (10,)], [(10, 8), (10,)]),
        ("Scale", [(1, 1, 1, 8), (8,)], [(8,), (8,)]),
        ("BatchNorm", [(1, 1, 1, 8), (1, 1, 1, 8), (1, 1, 1, 1)], [(8,), (8,)]),
        ("BatchNorm", [(1, 8, 1, 1), (1, 8, 1, 1), ()], [(1, 8, 1, 1), (1, 8, 1, 1)]),
    ],
)
def test_four_axes_of_old_files_are_reduced(kind, before, after):
    blobs = [np.arange(1, np.prod(shape) + 1).reshape(shape) for shape in before]
    tensors = caffe_tensors([layer(kind, *blobs)])
    assert [tensor.shape for tensor in tensors.values()] == after
    assert list(tensors) == [f"name[{index}]" for index in range(len(after))]
    if kind != "BatchNorm":
        for tensor, blob in zip(tensors.values(), blobs, strict=True):
            np.testing.assert_array_equal(tensor.ravel(), blob.ravel())


def test_names_of_tensors_come_from_the_layers(tmp_path):
    manifest = reference.load_manifest("caffe_SE-BN-Inception")
    path = Path(tmp_path / "net.caffemodel")
    reference.write_caffemodel(path, manifest)
    tensors = caffe_tensors(read_caffemodel(path))
    for name, kind, blobs in manifest:
        for index, (shape, content) in enumerate(blobs[:2]):
            expected = reference.tensor(f"{name}[{index}]", shape, content)
            if kind != "BatchNorm":
                assert_same(tensors.pop(f"{name}[{index}]"), expected)
            else:
                np.testing.assert_allclose(tensors.pop(f"{name}[{index}]"), expected, rtol=2e-7)
    assert tensors == {}
