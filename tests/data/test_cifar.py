import inspect
import os
import pickle
import struct
from pathlib import Path

import keras
import numpy as np
import pytest

from senet.data import DataConfig, load_data
from senet.data.cifar import LAYOUTS, load_pickle

NAMES = ["plane", "car", "bird"]


def load(path: Path, **settings):
    return load_data(DataConfig(source=str(path), **settings))


def batch(seed: int, label_key: bytes = b"labels", count: int = 6) -> dict:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {b"batch_label": b"a batch", label_key: [index % 3 for index in range(count)], b"data": pixels}


def write(path: Path, content: object, protocol: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))


@pytest.fixture(params=[2, 4, 5], ids="protocol{}".format)
def cifar10(tmp_path, request) -> Path:
    folder = tmp_path / "data" / "cifar-10-batches-py"
    for number in range(1, 6):
        write(folder / f"data_batch_{number}", batch(number), request.param)
    write(folder / "test_batch", batch(6), request.param)
    write(folder / "batches.meta", {b"label_names": [name.encode() for name in NAMES]}, request.param)
    return folder


@pytest.fixture
def cifar100(tmp_path) -> Path:
    folder = tmp_path / "data" / "cifar-100-python"
    for number, part in enumerate(("train", "test")):
        write(folder / part, {**batch(number, b"fine_labels"), b"coarse_labels": [9] * 6})
    write(
        folder / "meta",
        {b"fine_label_names": [name.encode() for name in NAMES], b"coarse_label_names": [b"x"]},
    )
    return folder


def check(data) -> None:
    assert data.class_names == tuple(NAMES)
    assert data.image_shape == (32, 32, 3)
    assert data.train_split.labels.tolist() == [0, 1, 2] * (data.train_images // 3)
    planes = batch(1)[b"data"][4].reshape(3, 32, 32)
    np.testing.assert_array_equal(data.train_split.images[4], np.moveaxis(planes, 0, -1))
    assert data.train_split.images.flags.c_contiguous
    assert data.test_split.labels.tolist() == [0, 1, 2] * 2


def test_a_folder_of_batches(cifar10):
    data = load(cifar10)
    assert (data.name, data.train_images) == ("cifar-10-batches-py", 30)
    check(data)
    np.testing.assert_array_equal(
        data.train_split.images[10:12], load(cifar10.parent).train_split.images[10:12]
    )


def test_an_archive_of_batches(cifar10, tar):
    data = load(tar(cifar10, "cifar-10-python.tar.gz"))
    assert data.name == "cifar-10-python"
    check(data)


def test_fine_labels_of_the_hundred(cifar100):
    for place in (cifar100, cifar100.parent):
        data = load(place)
        assert data.class_names == tuple(NAMES)
        assert data.train_split.labels.tolist() == [0, 1, 2] * 2


def test_test_images_are_read_on_demand(cifar10):
    data = load(cifar10)
    (cifar10 / "test_batch").write_bytes(b"broken meanwhile")
    with pytest.raises(ValueError, match="test_batch is damaged"):
        data.test(1)


def test_batches_as_python_2_wrote_them(tmp_path):
    """The bytes of the original release, whose text is in Python 2's 8-bit strings."""
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3072), dtype=np.uint8)
    raw = pixels.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(raw))
        + raw
        + b"tb"
    )
    path = tmp_path / "data_batch_1"
    path.write_bytes(b"\x80\x02}(U\x06labels](K\x01K\x00eU\x04data" + array + b"u.")
    content = load_pickle(path)
    assert content["labels"] == [1, 0]
    np.testing.assert_array_equal(content["data"], pixels)


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_malicious_pickle_is_refused_and_runs_nothing(cifar10, tmp_path, protocol):
    marker = tmp_path / "ran"
    for evil in (
        Evil(os.system, f"touch {marker}"),
        Evil(eval, f"open({str(marker)!r}, 'w')"),
        Evil(Path.touch, marker),
    ):
        write(cifar10 / "data_batch_2", {b"data": evil}, protocol)
        with pytest.raises(
            ValueError, match=r"data_batch_2 is refused.*asks to load .*(system|eval|touch|Path|getattr)"
        ):
            load(cifar10)
        assert not marker.exists()


def test_numpy_functions_that_read_files_are_refused(cifar10):
    write(cifar10 / "data_batch_2", {b"data": Evil(np.load, "somewhere", None, True)})
    with pytest.raises(ValueError, match=r"is refused.*load"):
        load(cifar10)


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02}q\x00(U\x04da"])
def test_a_damaged_batch_is_refused(cifar10, content):
    (cifar10 / "data_batch_3").write_bytes(content)
    with pytest.raises(ValueError, match="data_batch_3 is damaged"):
        load(cifar10)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({b"data": np.zeros((6, 3072), np.float32)}, r"uint8 `data` of shape \(N, 3072\)"),
        ({b"data": np.zeros((6, 100), np.uint8)}, r"uint8 `data`.*shape=\(6, 100\)"),
        ({b"data": [1, 2]}, "uint8 `data`"),
        ({b"labels": [0, 1]}, r"for each of 6 images.*\(2,\)"),
        ({b"labels": [0, 1, 2, 3, 0, 1]}, r"0\.\.2"),
        ({b"labels": [0, 1, 2, -1, 0, 1]}, r"0\.\.2"),
        ({b"labels": [0.5] * 6}, "whole number"),
        ({b"labels": [[1]] * 6}, r"\(6, 1\)"),
    ],
)
def test_wrong_content_is_refused(cifar10, change, match):
    write(cifar10 / "data_batch_4", {**batch(4), **change})
    with pytest.raises(ValueError, match=f"data_batch_4.*{match}"):
        load(cifar10)


def test_no_dictionary_is_refused(cifar10):
    write(cifar10 / "data_batch_1", [1, 2])
    with pytest.raises(ValueError, match=r"must hold a dictionary\. Received: list"):
        load(cifar10)


def test_class_names_must_be_there(cifar10):
    write(cifar10 / "batches.meta", {b"names": []})
    with pytest.raises(ValueError, match=r"batches\.meta must hold the list `label_names`"):
        load(cifar10)


def test_missing_parts_are_named(cifar10):
    (cifar10 / "data_batch_5").unlink()
    (cifar10 / "batches.meta").unlink()
    with pytest.raises(FileNotFoundError, match=r"Missing: data_batch_5, batches\.meta"):
        load(cifar10)


def test_two_releases_at_once_are_refused(cifar10, cifar100):
    with pytest.raises(ValueError, match=r"holds 2\. Give one of .*cifar-10-batches-py.*cifar-100-python"):
        load(cifar10.parent)


def test_batches_are_resized_on_demand(cifar10):
    data = load(cifar10, image_size=16)
    assert (data.image_shape, data.test_split.images.shape) == ((16, 16, 3), (6, 16, 16, 3))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_names_are_read_from_the_keras_cache(name, cifar10, cifar100, monkeypatch):
    asked = {}

    def get_file(**arguments):
        asked.update(arguments)
        print("a progress bar")
        return str({"cifar10": cifar10, "cifar100": cifar100}[name])

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    data = load_data(DataConfig(source=name))
    assert (data.name, data.class_names) == (name, tuple(NAMES))
    # What Keras itself asks for, so that one download serves both.
    source = inspect.getsource(getattr(keras.datasets, name).load_data.__globals__["load_data"])
    assert asked["origin"] in source
    assert asked["file_hash"] in source
    assert f'"{LAYOUTS[name].folder}' in source


def test_a_progress_bar_stays_out_of_the_output(cifar10, monkeypatch, capsys):
    monkeypatch.setattr(keras.utils, "get_file", lambda **_: print("a progress bar") or str(cifar10))
    load_data(DataConfig(source="cifar10"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "a progress bar\n")


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    def get_file(**arguments):
        raise Exception("URL fetch failure: no route")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(
        OSError, match=r"cifar-10-python\.tar\.gz: URL fetch.*no route.*give its path.*digits"
    ):
        load_data(DataConfig(source="cifar10"))


def test_an_empty_keras_cache_entry_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(keras.utils, "get_file", lambda **_: str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Delete it"):
        load_data(DataConfig(source="cifar10"))
