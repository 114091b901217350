import sys

import numpy as np
import pytest

from senet.data import DataConfig, Preprocess, load_data


def test_importing_reads_no_heavy_library(alone):
    heavy = {"keras", "tensorflow", "sklearn", "PIL", "matplotlib"}
    process = alone(f"import senet.data; print({heavy} & set(sys.modules))")
    output, errors = process.communicate(timeout=60)
    assert output.strip() == "set()", errors


def test_digits():
    data = load_data(DataConfig(validation=100))
    assert (data.name, data.classes, data.image_shape) == ("digits", 10, (8, 8, 1))
    assert data.class_names == tuple("0123456789")
    assert (data.train_images, data.validation_images, data.test_images) == (1338, 100, 359)
    assert (data.train_split.images.min(), data.train_split.images.max()) == (0, 255)
    assert set(np.bincount(data.validation_split.labels)) == {10}
    assert np.ptp(np.bincount(data.test_split.labels)) <= 3
    assert data.report == []


def test_digits_are_divided_without_loss():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    data = load_data(DataConfig(validation=37))
    parts = [data.train_split, data.validation_split, data.test_split]
    read = np.concatenate([part.images for part in parts]).reshape(-1, 64)
    found = sorted(
        map(tuple, np.column_stack([read, np.concatenate([part.labels for part in parts])]).tolist())
    )
    stored = np.column_stack([np.round(pixels * 255 / 16), labels]).astype(int)
    assert found == sorted(map(tuple, stored.tolist()))


def test_test_images_do_not_depend_on_any_choice():
    first = load_data(DataConfig()).test_split
    second = load_data(DataConfig(validation=200, split_seed=5, train_limit=50)).test_split
    np.testing.assert_array_equal(first.images, second.images)


def test_statistics_are_those_of_the_images_trained_on():
    data = load_data(DataConfig(validation=300, train_limit=200))
    assert data.preprocess == Preprocess.of(data.train_split.images)
    assert data.preprocess != load_data(DataConfig()).preprocess


def test_test_images_are_read_on_demand_and_once(monkeypatch):
    data = load_data(DataConfig())
    assert data.test_split is data.test_split


def test_resizing_applies_to_arrays_too():
    data = load_data(DataConfig(image_size=16))
    assert data.image_shape == (16, 16, 1)
    assert data.test_split.images.shape == (359, 16, 16, 1)
    assert abs(data.train_split.images.mean() - load_data(DataConfig()).train_split.images.mean()) < 5


@pytest.mark.parametrize(
    ("source", "near"), [("digit", "digits"), ("cifar-10", "cifar10"), ("CIFAR100", "cifar100")]
)
def test_an_unknown_name_is_refused_with_the_nearest(source, near):
    with pytest.raises(ValueError, match=f"digits, cifar10, cifar100.*{source}.*Did you mean '{near}'"):
        load_data(DataConfig(source=source))


def test_a_missing_path_is_refused_with_the_nearest_sibling(tmp_path):
    (tmp_path / "flowers.tar.gz").touch()
    with pytest.raises(FileNotFoundError, match=r"flower\.tar\.gz.*Did you mean 'flowers\.tar\.gz'"):
        load_data(DataConfig(source=str(tmp_path / "flower.tar.gz")))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_data(DataConfig(source=str(tmp_path / "nowhere" / "at" / "all")))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no tilde paths")
def test_home_is_found(folders, tmp_path, monkeypatch):
    folders({"a": 3, "b": 3})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_data(DataConfig(source="~/pets")).name == "pets"
