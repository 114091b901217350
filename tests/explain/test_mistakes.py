"""The surest mistakes and the confused pairs, of answers that are known beforehand."""

from __future__ import annotations

import csv
import dataclasses

import keras
import numpy as np
import pytest
from PIL import Image

from senet.data import load_data
from senet.data.config import DataConfig
from senet.evaluate import Subject
from senet.explain.mistakes import find_mistakes, pairs, write_mistakes
from senet.scores import softmax
from tests.browser import check_page
from tests.explain.subjects import CLASSES, PREPROCESS, images, subject
from tests.models.step import to_numpy

SPLIT = images(each=6)


def by_brightness() -> keras.Model:
    """Answers by the mean of each colour, but takes green for blue."""
    inputs = keras.Input((16, 16, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="classifier")(x), name="brightness")
    kernel = np.array([[4, 0, 0], [0, 3, 5], [0, 0, 1]], np.float32)
    model.get_layer("classifier").set_weights([kernel, np.array([0, 0, 3], np.float32)])
    return model


@pytest.fixture(scope="module")
def model():
    return by_brightness()


@pytest.mark.engine
def test_the_surest_mistakes_come_first(model):
    found = find_mistakes(subject(model, SPLIT), count=4, batch=5)
    p = softmax(to_numpy(model(PREPROCESS(SPLIT.images), training=False)))
    said = p.argmax(axis=1)
    wrong = np.flatnonzero(said != SPLIT.labels)
    assert (found.images, found.wrong) == (18, len(wrong))
    assert len(wrong) > 4  # else the sheet need not choose
    best = wrong[np.argsort(-p[wrong, said[wrong]], kind="stable")][:4]
    assert [row.image for row in found.worst] == best.tolist()
    for row in found.worst:
        assert row.truth == CLASSES[SPLIT.labels[row.image]]
        assert row.answer == CLASSES[said[row.image]]
        assert row.probability == pytest.approx(p[row.image].max(), abs=1e-5)
        assert row.probability_of_truth == pytest.approx(p[row.image, SPLIT.labels[row.image]], abs=1e-5)
        np.testing.assert_array_equal(row.pixels, SPLIT.images[row.image])


def test_pairs_are_counted_both_ways():
    truth, said = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 2, 0, 1, 2])
    found = pairs(truth, said, CLASSES)
    assert [(row.truth, row.answer, row.images, row.share, row.other_way) for row in found] == [
        ("red", "green", 2, 0.5, 1),
        ("green", "red", 1, 0.5, 2),
        ("red", "blue", 1, 0.25, 0),
    ]


def test_the_classes_of_the_answer_may_be_others(model):
    names = ("green", "blue", "red")
    renamed = subject(model, SPLIT, classes=[0, 1, 2])
    other = find_mistakes(dataclasses.replace(renamed, class_names=names))
    assert {(row.truth, row.answer) for row in other.worst} == {("blue", "red")}
    turned = find_mistakes(subject(model, SPLIT, classes=[1, 2, 0]))
    assert (turned.wrong, {row.truth for row in turned.worst}) == (12, {"green", "red"})


def test_files_on_disk_are_named(model, tmp_path):
    for index, (pixels, label) in enumerate(zip(SPLIT.images, SPLIT.labels, strict=True)):
        for part in ("train", "test"):
            path = tmp_path / part / CLASSES[label] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (tmp_path / "test" / "red" / "00.png").write_bytes(b"no picture")
    config = DataConfig(
        source=str(tmp_path), streaming=True, image_size=16, crop_fraction=1.0, max_unreadable=1
    )
    data = load_data(config)
    classes = np.array([CLASSES.index(name) for name in data.class_names])
    told = Subject(
        model="brightness", weights="", network=model, data=data, class_names=CLASSES, classes=classes
    )
    found = find_mistakes(told, batch=4)
    assert found.images == 18
    for row in found.worst:
        with Image.open(row.file) as picture:  # the broken file has moved no other
            np.testing.assert_array_equal(np.asarray(picture), row.pixels)


# Files


def test_the_files(model, tmp_path):
    told = subject(model, SPLIT)
    found = find_mistakes(told)
    files = write_mistakes(found, told, tmp_path / "out")
    assert {path.name for path in files} == {"index.html", "mistakes.csv", "pairs.csv", "mistakes.png"}
    table = list(csv.DictReader((tmp_path / "out" / "mistakes.csv").read_text().splitlines()))
    assert [int(row["image"]) for row in table] == [row.image for row in found.worst]
    assert float(table[0]["probability"]) == pytest.approx(found.worst[0].probability, rel=1e-5)
    counted = list(csv.DictReader((tmp_path / "out" / "pairs.csv").read_text().splitlines()))
    assert sum(int(row["images"]) for row in counted) == found.wrong
    assert f"{found.wrong} of 18 images wrong" in files[0].read_text()


def test_a_network_that_is_always_right_has_a_page_too(model, tmp_path):
    green = np.flatnonzero(SPLIT.labels != 1)
    told = subject(model, SPLIT.take(green))
    found = find_mistakes(told)
    assert (found.wrong, found.worst, found.pairs) == (0, [], [])
    files = write_mistakes(found, told, tmp_path / "out")
    assert "right about every image" in files[0].read_text()
    assert not (tmp_path / "out" / "mistakes.png").exists()


def test_a_count_of_none_is_refused(model):
    with pytest.raises(ValueError, match="count=0"):
        find_mistakes(subject(model, SPLIT), count=0)


@pytest.mark.slow
def test_the_page_in_a_browser(model, tmp_path):
    told = subject(model, SPLIT)
    check_page(write_mistakes(find_mistakes(told), told, tmp_path / "out")[0], tmp_path)
