"""Scores: the numbers, published weights on folders of real files, and what the command writes."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from senet import cli
from senet.cli.evaluate import COLUMNS, preprocess_hash
from senet.confusion import draw_confusion, grouped
from senet.data import Preprocess
from senet.data.labels import imagenet_classes
from senet.evaluate import (
    Subject,
    dataset_for,
    evaluate,
    match_classes,
    open_run,
    score,
    ten_crops,
)
from senet.scores import calibration_error, confusion, per_class, scores, softmax
from senet.training.fit import train
from senet.weights.catalogue import find
from tests.parity import fixtures
from tests.training.conftest import TINY, make_config
from tests.weights.server import serving

TAG, SOURCE = "timm/seresnext26d_32x4d.bt_in1k", "timm_seresnext26d_32x4d"
CIFAR_TAG = "pytorchcv/seresnet20_cifar10"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A finished run on digits."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(make_config({**TINY, "epochs": 1}), folder, progress=False)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("SENET_OFFLINE", "HF_HUB_OFFLINE", "SENET_MIRROR", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


@pytest.fixture
def folders(tmp_path):
    """`folders({"n01440764": 3})` writes so many JPEG files of 80 x 60 pixels into class folders."""

    def make(layout, name="images", size=(80, 60)):
        rng = np.random.default_rng(0)
        for place, count in layout.items():
            folder = tmp_path / name / place
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.jpg")
        return tmp_path / name

    return make


def command(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["senet", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_averaged_and_best_weights_are_scored_too(tmp_path, monkeypatch, capsys):
    """Each against the result that the run itself wrote down, or its own file."""
    config = make_config({**TINY, "epochs": 2, "ema": 0.9})
    result = train(config, tmp_path / "run", progress=False)
    averaged = evaluate(tmp_path / "run", which="averaged")
    assert averaged.top1 == pytest.approx(result.ema_test_accuracy)
    assert averaged.loss == pytest.approx(result.ema_test_loss, rel=1e-5)
    assert evaluate(tmp_path / "run").loss == pytest.approx(result.test_loss, rel=1e-5)
    assert averaged.loss != pytest.approx(result.test_loss, rel=1e-5)
    assert command(monkeypatch, "evaluate", tmp_path / "run", "--which", "averaged", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["loss"] == pytest.approx(averaged.loss)
    assert record["weights"].endswith("(averaged)")
    # The best epoch was the last one where the run left no file of its own.
    best = open_run(tmp_path / "run", which="best")
    path = tmp_path / "run" / ("model_best.keras" if result.best_epoch != 2 else "model.keras")
    for ours, stored in zip(best.network.weights, keras.saving.load_model(path).weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(stored))


def test_weights_that_a_run_does_not_have_are_refused(run_folder):
    with pytest.raises(ValueError, match="no averaged weights"):
        evaluate(run_folder, which="averaged")
    with pytest.raises(ValueError, match="`which` must be one of 'last', 'averaged', 'best'"):
        evaluate(run_folder, which="ema")


# Numbers


def test_the_calibration_error_of_a_case_done_by_hand():
    # Bin of 0.6 (two images, one right): |0.5 - 0.6| of 2 of 4; bin of 1.0 (two, both right): 0.
    p = np.array([[0.6, 0.4], [0.6, 0.4], [1.0, 0.0], [0.0, 1.0]])
    assert calibration_error(p, np.array([0, 1, 0, 1])) == pytest.approx(0.05)


def test_the_calibration_error_of_a_sure_and_wrong_network_is_one():
    p = np.eye(4)
    assert calibration_error(p, (np.arange(4) + 1) % 4) == 1
    assert calibration_error(p, np.arange(4)) == 0


def test_the_calibration_error_of_probabilities_that_are_true_is_small():
    rng = np.random.default_rng(0)
    p = softmax(2 * rng.standard_normal((20000, 5)))
    labels = np.array([rng.choice(5, p=row) for row in p])
    assert calibration_error(p, labels) < 0.02
    assert calibration_error(softmax(3 * np.log(p)), labels) > 0.1


def test_scores_name_every_number():
    logits = np.log(np.array([[0.7, 0.1, 0.1, 0.05, 0.03, 0.02], [0.1, 0.2, 0.3, 0.2, 0.15, 0.05]]))
    found = scores(logits, np.array([0, 5]))
    assert found["images"] == 2
    assert (found["top1"], found["top5"]) == (0.5, 0.5)
    assert found["loss"] == pytest.approx(-(np.log(0.7) + np.log(0.05)) / 2)
    assert found["ece"] == pytest.approx((0.3 + 0.3) / 2)


def test_classes_are_counted_one_by_one():
    labels, said = np.array([0, 0, 0, 2, 2]), np.array([0, 0, 1, 2, 0])
    cat, bird = per_class(said, labels, ["cat", "dog", "bird"])
    assert (cat["class"], cat["images"], cat["taken_for"]) == ("cat", 3, "dog")
    assert (cat["accuracy"], cat["precision"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (bird["recall"], bird["precision"], bird["f1"]) == (0.5, 1.0, pytest.approx(2 / 3))
    present, counts = confusion(said, labels)
    assert present.tolist() == [0, 2]
    assert counts.tolist() == [[2, 0, 1], [1, 1, 0]]


def test_groups_of_classes_keep_their_shares():
    counts = np.array([[2, 1, 1, 0, 0], [0, 4, 0, 0, 0], [0, 0, 4, 0, 0], [1, 1, 0, 1, 1]])
    np.testing.assert_allclose(grouped(counts, 2), [[7 / 8, 1 / 8, 0], [2 / 8, 5 / 8, 1 / 8]])


@pytest.mark.parametrize("classes", [2, 21, 130])
def test_a_picture_of_any_number_of_classes(tmp_path, classes):
    counts = np.eye(classes, classes + 1, dtype=int) * 5
    counts[0, -1] = 3
    draw_confusion(counts, [f"class {i}" for i in range(classes)], tmp_path / "x.png", title="x")
    with Image.open(tmp_path / "x.png") as picture:
        assert min(picture.size) > 300


# Runs


def test_ten_crops_are_the_corners_the_centre_and_their_mirrors():
    image = np.arange(36.0).reshape(1, 6, 6, 1)
    crops = ten_crops(image, 4)
    assert crops.shape == (1, 10, 4, 4, 1)
    assert [crop[0, 0, 0] for crop in crops[0, :5]] == [0, 2, 12, 14, 7]
    np.testing.assert_array_equal(crops[:, 5:], crops[:, :5, :, ::-1])


def test_a_run_is_scored_as_it_ended(run_folder):
    result = json.loads((run_folder / "result.json").read_text(encoding="utf-8"))
    found = evaluate(run_folder)
    assert found.top1 == pytest.approx(result["test_accuracy"])
    assert found.loss == pytest.approx(result["test_loss"], rel=1e-4)
    assert 0 < found.ece < 1


def test_ten_crops_of_images_that_are_not_resized_are_refused(run_folder):
    with pytest.raises(ValueError, match="resized to more"):
        score(open_run(run_folder), 64, ten_crop=True)


# Published weights


def brightness_network(side: int) -> keras.Model:
    """Logits (N, 1000): class 0 for bright images and class 1 for dark ones."""
    image = keras.Input((side, side, 3))
    mean = keras.ops.mean(image, axis=(1, 2, 3), keepdims=False)[:, None]
    return keras.Model(image, keras.ops.concatenate([10 * mean, -10 * mean] + [0 * mean - 99] * 998, axis=1))


def subject_of(root, network, tag=TAG) -> Subject:
    entry = find(tag)
    data = dataset_for(entry, str(root))
    names, classes = match_classes(entry, data)
    return Subject(model="x", weights=tag, network=network, data=data, class_names=names, classes=classes)


def test_images_are_prepared_as_the_tag_says(folders):
    root = folders({"n01440764": 2, "n01443537": 1})
    data = dataset_for(find(TAG), str(root))
    images, labels, weights = next(iter(data.test(4)))
    expected = find(TAG).preprocess.batch(sorted(root.rglob("*.jpg")))
    np.testing.assert_array_equal(images[:3], expected)
    assert labels.tolist()[:3] == [0, 0, 1]
    assert weights.tolist() == [1, 1, 1, 0]


def test_classes_go_by_wordnet_id_or_name(folders):
    goldfish = imagenet_classes()[1]
    assert (goldfish.wnid, goldfish.name) == ("n01443537", "goldfish")
    by_id = subject_of(folders({goldfish.wnid: 1, "n01440764": 1}, "a"), None)
    by_name = subject_of(folders({"great white shark": 1, "goldfish": 1}, "b"), None)
    assert by_id.classes.tolist() == [0, 1]
    assert by_name.classes.tolist() == [1, 2]
    for unknown, hint in (("goldfsh", "'goldfish'"), ("crane", "WordNet id")):
        with pytest.raises(ValueError, match=f"Received: '{unknown}'.*{hint}"):
            subject_of(folders({unknown: 1, "tench": 1}, unknown), None)


def test_all_images_count_where_there_is_no_test_part(folders):
    layout = {"n01440764": 5, "n01443537": 5}
    whole = dataset_for(find(TAG), str(folders(layout, "whole")))
    assert whole.test_images == 10
    assert whole.test_part.labels.tolist() == [0] * 5 + [1] * 5
    parts = folders({f"{part}/{name}": 2 for part in ("train", "val") for name in layout}, "parts")
    assert dataset_for(find(TAG), str(parts)).test_images == 4
    val = folders({f"val/{name}": 3 for name in layout}, "val_alone")
    assert dataset_for(find(TAG), str(val)).test_images == 6


def test_an_unreadable_file_is_left_out_and_counted(folders, caplog):
    root = folders({"n01440764": 20, "n01443537": 20})
    (root / "n01440764" / "3.jpg").write_bytes(b"no image")
    subject = subject_of(root, brightness_network(224))
    found = score(subject, 16)
    assert found.evaluation.images == 39
    assert [fault.path.endswith("3.jpg") for fault in subject.data.report] == [True]


def test_ten_crops_average_probabilities(folders):
    subject = subject_of(folders({"n01440764": 3, "n01443537": 2}), brightness_network(224))
    found = score(subject, 20, ten_crop=True)
    data = dataset_for(dataclasses.replace(find(TAG), image_size=256), str(subject.data.config.source))
    images = next(iter(data.test(5)))[0]
    logits = [np.asarray(subject.network.predict_on_batch(crops)) for crops in ten_crops(images, 224)]
    p = np.stack([softmax(answer).mean(axis=0) for answer in logits])
    assert found.evaluation.loss == pytest.approx(-np.log(p[np.arange(5), [0, 0, 0, 1, 1]]).mean(), rel=1e-5)
    assert found.said.tolist() == p.argmax(axis=1).tolist()


def test_networks_for_small_images_know_their_classes(folders):
    with pytest.raises(ValueError, match="takes images of 32x32x3"):
        dataset_for(find(CIFAR_TAG), "digits")
    root = folders({"cat": 1, "dog": 1}, size=(32, 32))
    assert match_classes(find(CIFAR_TAG), dataset_for(find(CIFAR_TAG), str(root)))[1].tolist() == [3, 5]


def test_the_hash_of_a_preparation_tells_any_change():
    given = Preprocess.timm(224)
    assert preprocess_hash(given) == preprocess_hash(Preprocess.timm(224))
    assert preprocess_hash(given) != preprocess_hash(dataclasses.replace(given, filter="bilinear"))


# The command


def test_a_run_has_the_same_sentence_as_ever_and_its_files(monkeypatch, capsys, tmp_path, run_folder):
    table, picture, classes = tmp_path / "t.csv", tmp_path / "c.png", tmp_path / "k.csv"
    files = ["--csv", table, "--confusion", picture, "--per-class", classes]
    assert command(monkeypatch, "evaluate", run_folder, *files) == 0
    out = capsys.readouterr().out
    assert out.startswith("se_resnet_20_cifar on digits: top-1 ")
    assert out.endswith("(359 images)\n")
    assert out.count("\n") == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(classes.read_text(encoding="utf-8").splitlines()))
    assert [row["class"] for row in rows] == [str(i) for i in range(10)]
    assert sum(int(row["images"]) for row in rows) == 359

    assert command(monkeypatch, "evaluate", run_folder, run_folder, "--csv", table, "--json") == 0
    assert [found["images"] for found in json.loads(capsys.readouterr().out)] == [359, 359]
    header, *rows = csv.reader(table.read_text(encoding="utf-8").splitlines())
    assert tuple(header) == COLUMNS
    first = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation"
    assert ",".join(header).startswith(first)
    assert len(rows) == 3
    assert rows[0][:-1] == rows[1][:-1]
    row = dict(zip(header, rows[0], strict=True))
    assert float(row["top1"]) + float(row["top1_err"]) == pytest.approx(100)
    assert (row["img_size"], row["data"], row["images"]) == ("8", "digits", "359")


def test_a_table_of_other_columns_is_left_alone(monkeypatch, capsys, tmp_path, run_folder):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert command(monkeypatch, "evaluate", run_folder, "--csv", tmp_path / "other.csv") == 2
    assert "other columns" in capsys.readouterr().err
    assert (tmp_path / "other.csv").read_text(encoding="utf-8") == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["timm/seresnet50"], "Did you mean 'timm/seresnet50"),
        ([TAG], "--data imagenet/val"),
        (["se_resnet_50"], "--weights imagenet"),
        (["se_resnet_50", "--weights", TAG], "holds weights of 'se_resnext_26_32x4d'"),
        ([TAG, "--weights", "imagenet"], "goes with the name of a network"),
        ([TAG, TAG, "--confusion", "x.png"], "for one target"),
        ([TAG, "--batch-size", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_scored_is_named(monkeypatch, capsys, arguments, words):
    assert command(monkeypatch, "evaluate", *arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_tag_is_fetched_and_scored_on_folders(monkeypatch, capsys, tmp_path, folders):
    root = folders({"goldfish": 3, "tench": 3})
    content = fixtures.write_checkpoint(SOURCE, tmp_path).read_bytes()
    table = tmp_path / "t.csv"
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.publish(find(TAG).hf_repo, content)
        assert command(monkeypatch, "evaluate", TAG, "--data", root, "--csv", table, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["images"], found["published"]) == ("se_resnext_26_32x4d", 6, None)
    row = next(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert (row["weights"], row["crop_pct"], row["interpolation"]) == (TAG, "0.875", "bicubic")
    assert float(row["param_count"]) == pytest.approx(find(TAG).parameters / 1e6, abs=0.006)

    assert command(monkeypatch, "evaluate", "se_resnext_26_32x4d", "--weights", TAG, "--data", root) == 0
    assert TAG in capsys.readouterr().out
