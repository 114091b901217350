"""The role of excitation: which classes, which images, the files, the page."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from senet.data import load_data
from senet.data.config import DataConfig
from senet.explain.excitation import choose_classes, explain_excitation, find_classes, first_of_each, thinned
from senet.explain.gates import se_layers
from senet.explain.names import readable
from senet.page import number_of
from tests.browser import check_page
from tests.explain.subjects import CLASSES, dataset, images, network, subject


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def found(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("excitation")
    return explain_excitation(subject(model, images()), folder, classes=["Green", "blue"], batch=7)


# Files


def test_every_number_is_written(found, model):
    tables = {path.name: rows(path) for path in found.files if path.suffix == ".csv"}
    assert set(tables) == {"gates.csv", "blocks.csv", "costs.csv", "removal.csv"}
    blocks = found.gates.blocks
    assert [row["block"] for row in tables["blocks.csv"]] == [block.name for block in blocks]
    for row, block in zip(tables["blocks.csv"], blocks, strict=True):
        assert float(row["specificity"]) == pytest.approx(block.specificity, rel=1e-5)
        assert float(row["spread_within"]) == pytest.approx(block.spread_within, rel=1e-5)
    channels = sum(layer.input.shape[-1] for layer in se_layers(model))
    assert len(tables["gates.csv"]) == 3 * channels  # all images and two classes
    written = {(r["block"], r["class"], int(r["channel"])): r for r in tables["gates.csv"]}
    last = blocks[-1]
    assert float(written[last.name, "blue", 5]["mean"]) == pytest.approx(last.class_mean[2, 5], rel=1e-5)
    assert float(written[last.name, "blue", 5]["std"]) == pytest.approx(last.class_std[2, 5], rel=1e-4)
    assert float(written[last.name, "all images", 5]["mean"]) == pytest.approx(last.mean[5], rel=1e-5)
    assert len(tables["removal.csv"]) == 1 + 2 * 4
    assert [row["stage"] for row in tables["costs.csv"]] == ["stage1", "stage2", "stage3", "all"]


def test_the_pictures_are_pictures(found):
    pictures = [path for path in found.files if path.suffix == ".png"]
    assert [path.name for path in pictures] == [
        *("excitation.png", "spread.png", "depth.png", "classes.png", "removal.png")
    ]
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.width > 1000
            assert np.asarray(picture.convert("L")).std() > 5


def test_the_page_says_what_was_found(found):
    text = found.files[0].read_text(encoding="utf-8")
    assert found.files[0].name == "index.html"
    most = max(found.gates.blocks, key=lambda block: block.specificity)
    assert f"the gates of {most.name} follow the class" in text
    assert f"24 test images of colours: {found.top1:.2%} right" in text
    assert text.count("<img ") == 5
    lost = next(row for row in found.removals if (row.stage, row.instead) == ("all", "gates of 1"))
    assert lost.points_lost in text
    assert number_of(lost.points_lost) == pytest.approx(-100 * lost.top1_change, abs=0.005)


@pytest.mark.slow
def test_the_page_in_a_browser(found, tmp_path):
    check_page(found.files[0], tmp_path)


def test_without_removal_nothing_is_said_of_it(model, tmp_path):
    found = explain_excitation(subject(model, images(each=2)), tmp_path / "out", removal=False)
    assert found.removals == []
    assert not any("removal" in path.name for path in found.files)
    assert "Held at their mean" not in found.files[0].read_text(encoding="utf-8")
    assert found.costs[-1].parameters == sum(layer.count_params() for layer in se_layers(model))


@pytest.mark.slow
def test_a_network_of_another_family(tmp_path):
    """Stages with letters, and one SE layer a stage."""
    found = explain_excitation(
        subject(network("se_mobilenet"), images(each=2, side=32)),
        tmp_path / "out",
        removal=False,
        per_class=1,
    )
    assert found.gates.images == 3
    assert found.gates.stages == ("stage1", "stage2", "stage3", "stage4", "stage5")


# Classes


def test_classes_are_found_in_the_words_of_the_data_and_of_the_network():
    data, names = dataset(images(each=1)), ["scarlet ibis", "green", "sky blue"]
    assert find_classes(["Scarlet_ibis", "blue", "sky blue", "green"], data, names) == [0, 2, 1]
    assert find_classes([], data, names) == []


def test_wrong_classes_are_refused():
    data = dataset(images(each=1))
    with pytest.raises(ValueError, match=r"one of colours. Received: 'gren'. Did you mean 'green'"):
        find_classes(["gren"], data, CLASSES)
    with pytest.raises(ValueError, match="At most 6 classes"):
        find_classes(["red"] * 7, data, CLASSES)
    with pytest.raises(ValueError, match=r"must have test images. Received: 'green'"):
        choose_classes([1], np.array([3, 0, 2]), CLASSES)
    with pytest.raises(ValueError, match="at least two classes"):
        choose_classes([], np.array([3, 0, 0]), CLASSES)


def test_default_classes_are_those_of_the_paper_or_spread_evenly():
    names = ["tench", "goldfish", "pug", "airliner", "x", "cliff"]
    assert choose_classes([], np.ones(6), names) == (1, 2, 3, 5)
    assert choose_classes([], np.array([1, 0, 1, 1, 1, 1]), names) == (0, 2, 4, 5)
    assert choose_classes([], np.array([1, 1, 0]), CLASSES) == (0, 1)


# Images


def test_the_first_of_each_class_are_taken():
    labels = np.array([2, 0, 2, 2, 0, 1, 0])
    assert first_of_each(labels, 2).tolist() == [0, 1, 2, 4, 5]
    assert first_of_each(labels, 9).tolist() == list(range(7))


def test_fewer_images_in_memory_and_the_whole_set_stays():
    data = dataset(images(each=5))
    few = thinned(data, 2)
    assert few.test_images == 6
    assert np.bincount(few.test_split.labels).tolist() == [2, 2, 2]
    assert data.test_images == 15
    with pytest.raises(ValueError, match="per_class=0"):
        thinned(data, 0)


def test_fewer_images_on_disk(tmp_path):
    for index, (pixels, label) in enumerate(zip(images(each=4).images, images(each=4).labels, strict=True)):
        for part in ("train", "test"):
            path = tmp_path / part / CLASSES[label] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    data = load_data(DataConfig(source=str(tmp_path), streaming=True, image_size=16, crop_fraction=1.0))
    few = thinned(data, 3)
    assert (few.test_images, data.test_images) == (9, 12)
    batches = [(labels, weights) for _, labels, weights in few.test(4)]
    labels = np.concatenate([labels[weights > 0] for labels, weights in batches])
    assert np.bincount(labels).tolist() == [3, 3, 3]


def test_a_network_without_se_is_refused_before_an_image_is_read(tmp_path):
    plain = subject(network("resnet_20_cifar"), images(each=1))
    with pytest.raises(ValueError, match="must have SE blocks"):
        explain_excitation(plain, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wordnet_ids_are_read_as_names():
    assert readable(["n01443537", "n01517565", "n99999999", "Great_Dane"]) == [
        *("goldfish", "n01517565", "n99999999", "Great Dane")
    ]
    assert readable(["n02012849"]) == ["n02012849"]  # one of two classes that are called crane
