"""`senet.predict`: the order of the results, the softmax, the labels, and files that cannot be read."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from senet.cli.explain import open_classifier
from senet.cli.export import open_target
from senet.cli.predict import csv_text, human_text, name_errors, open_network, printable, records, show
from senet.data import Preprocess, load_data
from senet.data.labels import imagenet_labels
from senet.files import write_json
from senet.predict import ImagePredictions, Prediction, ends_in_softmax, predict, read_ahead
from senet.training.config import make_config
from senet.training.fit import build
from senet.training.run_folder import RunFolder
from senet.zoo import create_model

PREPROCESS = Preprocess.timm(size=32)


def network(activation: str | None = "softmax", **options) -> keras.Model:
    """A small network, its weights fixed and its answers spread out."""
    keras.utils.set_random_seed(3)
    model = create_model(
        "se_resnet_20_cifar", blocks=(1, 1), widths=(8, 8), classifier_activation=activation, **options
    )
    kernel, bias = model.get_layer("classifier").get_weights()
    model.get_layer("classifier").set_weights([4 * kernel, bias])
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (40 + i, 60 - i, 3), dtype=np.uint8) for i in range(count)]


def saved(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{index}.png" for index in range(count)]
    for path, pixels in zip(paths, pictures(count), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def table(results: list[ImagePredictions], classes: int = 10) -> np.ndarray:
    """Probabilities (N, classes) by index."""
    out = np.full((len(results), classes), np.nan)
    for row, result in zip(out, results, strict=True):
        for found in result:
            row[found.index] = found.probability
    return out


@pytest.mark.engine
def test_probabilities_are_those_of_the_network(tmp_path, model):
    paths = saved(tmp_path, 3)
    results = predict(model, paths, top=10, preprocess=PREPROCESS)
    expected = keras.ops.convert_to_numpy(model(PREPROCESS.batch(paths), training=False))
    np.testing.assert_allclose(table(results), expected, atol=1e-6)
    assert [result.source for result in results] == [str(path) for path in paths]
    for result in results:
        assert [found.probability for found in result] == sorted(
            (f.probability for f in result), reverse=True
        )
        assert result.error is None
    assert np.ptp(expected, axis=0).max() > 0.01  # else any order would pass


@pytest.mark.engine
def test_logits_and_softmax_give_the_same_probabilities(model):
    logits = network(activation=None)
    assert not ends_in_softmax(logits)
    images = pictures(4)
    by_logits = table(predict(logits, images, top=10, preprocess=PREPROCESS))
    np.testing.assert_allclose(
        by_logits, table(predict(model, images, top=10, preprocess=PREPROCESS)), atol=1e-6
    )
    np.testing.assert_allclose(by_logits.sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_the_batch_size_changes_nothing(model, batch_size):
    images = pictures(5)
    expected = table(predict(model, images, top=10, preprocess=PREPROCESS, batch_size=5))
    found = predict(model, images, top=10, preprocess=PREPROCESS, batch_size=batch_size)
    np.testing.assert_allclose(table(found), expected, atol=1e-6)


def test_every_step_has_the_same_shape(model, monkeypatch):
    shapes = []
    original = model.predict_on_batch
    monkeypatch.setattr(model, "predict_on_batch", lambda x: shapes.append(x.shape) or original(x))
    predict(model, pictures(5), preprocess=PREPROCESS, batch_size=2)
    predict(model, pictures(3), preprocess=PREPROCESS, batch_size=32)  # never more than there are
    assert shapes == [(2, 32, 32, 3)] * 3 + [(3, 32, 32, 3)]


def test_one_broken_file_of_five_is_named_and_stops_nothing(tmp_path, model):
    paths = saved(tmp_path, 5)
    whole = predict(model, paths, preprocess=PREPROCESS, batch_size=2)
    paths[2].write_bytes(paths[2].read_bytes()[:200])
    results = predict(model, paths, preprocess=PREPROCESS, batch_size=2)
    assert [result.source for result in results] == [str(path) for path in paths]
    assert [len(result) for result in results] == [5, 5, 0, 5, 5]
    assert results[2].error.startswith(f"{paths[2]} cannot be read as an image: it is damaged or cut short")
    kept = [0, 1, 3, 4]
    np.testing.assert_allclose(
        table([results[i] for i in kept]), table([whole[i] for i in kept]), atol=1e-6, equal_nan=True
    )


def test_where_nothing_can_be_read_every_file_is_named(tmp_path, model):
    results = predict(model, [tmp_path / "a.jpg", "b.jpg"], preprocess=PREPROCESS)
    assert [result.error.split(" ")[0] for result in results] == [str(tmp_path / "a.jpg"), "b.jpg"]
    assert not any(results)
    assert predict(model, [], preprocess=PREPROCESS) == []


def test_damage_that_pillow_reads_around_warns_nobody(tmp_path, model):
    image = Image.fromarray(pictures(1)[0])
    image.save(tmp_path / "image.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")
    assert predict(model, tmp_path / "image.jpg", preprocess=PREPROCESS)[0].error is None


def test_paths_folders_images_and_arrays_mix(tmp_path, model):
    paths = saved(tmp_path, 3)
    array = pictures(1)[0]
    given = [tmp_path, str(paths[0]), Image.fromarray(array), array]
    results = predict(model, given, preprocess=PREPROCESS)
    sources = [str(path) for path in paths] + [str(paths[0]), "images[2]", "images[3]"]
    assert [result.source for result in results] == sources
    same = table([results[index] for index in (0, 3, 4, 5)])
    np.testing.assert_allclose(same, same[:1].repeat(4, 0), atol=1e-6, equal_nan=True)


def test_one_image_need_not_stand_in_a_list(tmp_path, model):
    path = saved(tmp_path, 1)[0]
    array = pictures(1)[0]
    expected = predict(model, [path], preprocess=PREPROCESS)[0].predictions
    for image in (path, str(path), tmp_path, array, Image.fromarray(array), array[None]):
        found = predict(model, image, preprocess=PREPROCESS)
        assert [prediction.index for prediction in found[0]] == [prediction.index for prediction in expected]


def test_a_result_is_a_sequence_of_predictions():
    best = Prediction("cat", 3, 0.75)
    result = ImagePredictions("cat.jpg", (best, Prediction("dog", 5, 0.25)))
    assert result[0] is best
    assert len(result) == 2
    assert list(result) == list(result.predictions)
    assert result.source == "cat.jpg"


def test_equal_probabilities_go_by_index_and_top_may_exceed_the_classes():
    inputs = keras.Input((4, 4, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    even = keras.Model(inputs, keras.layers.Dense(7, kernel_initializer="zeros")(pooled))
    found = predict(even, np.zeros((4, 4, 3), np.uint8), top=99, preprocess=Preprocess.timm(4, 1.0))[0]
    assert [prediction.index for prediction in found] == list(range(7))
    assert [prediction.probability for prediction in found] == pytest.approx([1 / 7] * 7)


def test_labels_are_imagenets_for_a_thousand_classes():
    big = network(classes=1000)
    for found in predict(big, pictures(1), top=3, preprocess=PREPROCESS)[0]:
        assert found.label == imagenet_labels()[found.index]


def test_labels_are_indices_or_those_given(model):
    images = pictures(1)
    assert [p.label for p in predict(model, images, preprocess=PREPROCESS)[0]] == [
        str(p.index) for p in predict(model, images, preprocess=PREPROCESS)[0]
    ]
    names = [f"class {index}" for index in range(10)]
    for found in predict(model, images, preprocess=PREPROCESS, labels=names)[0]:
        assert found.label == f"class {found.index}"
    for wrong in (names[:9], "abcdefghij"):
        with pytest.raises(ValueError, match="name the 10 classes"):
            predict(model, images, preprocess=PREPROCESS, labels=wrong)


def test_the_preprocessing_may_come_with_the_model():
    own = network()
    with pytest.raises(ValueError, match=r"`preprocess` must be given.*Preprocess\.timm"):
        predict(own, pictures(1))
    own.preprocess = PREPROCESS
    assert (
        table(predict(own, pictures(2))).tolist()
        != table(predict(own, pictures(2), preprocess=Preprocess.timm(size=24))).tolist()
    )
    expected = predict(own, pictures(2), preprocess=PREPROCESS)
    np.testing.assert_allclose(table(predict(own, pictures(2))), table(expected), atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("options", [{"top": 0}, {"top": 2.5}, {"batch_size": 0}, {"batch_size": True}])
def test_impossible_numbers_are_refused(model, options):
    with pytest.raises(ValueError, match="integer of at least 1"):
        predict(model, pictures(1), preprocess=PREPROCESS, **options)


def test_networks_that_take_other_images_are_refused_before_anything_is_read():
    fixed = network(input_shape=(28, 28, 3))
    with pytest.raises(ValueError, match=r"\(28, 28, 3\).*\(32, 32, 3\)"):
        predict(fixed, ["none.jpg"], preprocess=PREPROCESS)
    with pytest.raises(ValueError, match=r"mean of 1 numbers"):
        predict(fixed, ["none.jpg"], preprocess=Preprocess(mean=(0,), std=(1,)))
    with pytest.raises(ValueError, match="include_top=True"):
        predict(create_model("se_resnet_20_cifar", include_top=False), ["none.jpg"], preprocess=PREPROCESS)


def test_uncut_images_may_be_of_any_size_the_network_takes(model):
    plain = Preprocess(mean=(120,) * 3, std=(60,) * 3)
    images = [image[:side, :side] for image, side in zip(pictures(5), (24, 24, 32, 24, 32), strict=True)]
    results = predict(model, images, top=10, preprocess=plain, batch_size=2)
    for image, row in zip(images, table(results), strict=True):
        alone = keras.ops.convert_to_numpy(model(plain(image[None]), training=False))[0]
        np.testing.assert_allclose(row, alone, atol=1e-6)
    fixed = network(input_shape=(24, 24, 3))
    errors = [result.error for result in predict(fixed, images, preprocess=plain)]
    assert [error is None for error in errors] == [True, True, False, True, False]
    assert errors[2].startswith("images[2] has 32x32 pixels, and the network takes 24x24")


@pytest.mark.parametrize(
    "image", [3, None, b"cat.jpg", np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), [np.zeros(3, np.uint8)]]
)
def test_what_is_no_image_is_refused_at_once(model, image):
    with pytest.raises(ValueError, match="Received"):
        predict(model, [image], preprocess=PREPROCESS)


def test_an_empty_folder_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="must hold image files"):
        predict(model, tmp_path, preprocess=PREPROCESS)


def test_an_answer_that_is_not_finite_is_an_error():
    broken = network()
    broken.get_layer("classifier").set_weights(
        [np.full_like(value, np.nan) for value in broken.get_layer("classifier").get_weights()]
    )
    result = predict(broken, pictures(1), preprocess=PREPROCESS)[0]
    assert (len(result), result.error) == (
        0,
        "images[0]: the network's answer holds numbers that are not finite.",
    )


def head(*last) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    for layer in last:
        x = layer(x)
    return keras.Model(inputs, x)


def test_the_last_operation_says_whether_the_network_ends_in_softmax():
    dense, activation = keras.layers.Dense, keras.layers.Activation
    assert ends_in_softmax(head(dense(4, activation="softmax")))
    assert ends_in_softmax(head(dense(4), activation("softmax")))
    assert ends_in_softmax(head(dense(4), keras.layers.Softmax()))
    assert ends_in_softmax(keras.Sequential([keras.Input((8, 8, 3)), network()]))
    assert not ends_in_softmax(head(dense(4)))
    assert not ends_in_softmax(head(dense(4), activation("linear")))
    assert not ends_in_softmax(keras.Sequential([head(dense(4)), activation("linear")]))
    for unknown in (
        head(dense(4, activation="sigmoid")),
        head(dense(4), keras.ops.softmax),  # no layer, and the Dense before it is linear
        head(dense(4, activation="softmax"), keras.layers.Rescaling(2.0)),
        head(),
    ):
        with pytest.raises(ValueError, match=r"probabilities or logits.*Activation\('linear'\)"):
            ends_in_softmax(unknown)


def test_half_precision_networks_answer_in_probabilities():
    keras.config.set_dtype_policy("mixed_bfloat16")
    results = predict(network(), pictures(2), top=10, preprocess=PREPROCESS)
    np.testing.assert_allclose(table(results).sum(axis=1), 1, atol=1e-5)


def test_images_are_read_ahead_in_order_and_not_too_far():
    begun = []

    def read(source):
        begun.append(source)
        return np.full(1, source)

    reader = read_ahead(range(50), read, ahead=4)
    assert next(reader)[0] == 0
    assert len(begun) <= 5
    assert [pixels[0] for pixels in reader] == list(range(1, 50))
    assert sorted(begun) == list(range(50))
    abandoned = read_ahead(range(50), read, ahead=4)
    next(abandoned)
    abandoned.close()
    assert len(begun) <= 55


def test_no_bar_where_stderr_is_no_terminal(model, capfd):
    predict(model, pictures(1), preprocess=PREPROCESS)  # the engine may say something the first time
    capfd.readouterr()
    predict(model, pictures(3), preprocess=PREPROCESS, progress=True)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


RESULTS = [
    ImagePredictions("a, b.jpg", (Prediction("cat", 3, 0.75), Prediction("dog", 5, 0.125))),
    ImagePredictions("cut.jpg", error="cut.jpg cannot be read as an image: it is cut short."),
]


def test_csv_has_one_row_a_prediction_and_one_an_error():
    rows = list(csv.reader(io.StringIO(csv_text(RESULTS))))
    assert rows == [
        ["file", "rank", "label", "index", "probability", "error"],
        ["a, b.jpg", "1", "cat", "3", "0.75", ""],
        ["a, b.jpg", "2", "dog", "5", "0.125", ""],
        ["cut.jpg", "", "", "", "", "cut.jpg cannot be read as an image: it is cut short."],
    ]


def test_json_has_one_object_an_image():
    first, second = json.loads(json.dumps(records(RESULTS)))
    assert first["file"] == "a, b.jpg"
    assert first["predictions"][1] == {"label": "dog", "index": 5, "probability": 0.125}
    assert (first["error"], second["predictions"]) == (None, [])
    assert "cut short" in second["error"]


def test_people_read_names_on_stdout_and_errors_on_stderr(capsys):
    assert human_text(RESULTS) == "a, b.jpg\n   75.0%  cat\n   12.5%  dog\n"
    show(RESULTS, as_csv=False)
    assert name_errors(RESULTS) == 1
    assert name_errors(RESULTS[:1]) == 0
    captured = capsys.readouterr()
    assert captured.out == human_text(RESULTS)
    assert captured.err == f"senet: 1 of 2 images were not read:\n  {RESULTS[1].error}\n"
    assert printable("caf\udce9.jpg é") == "caf\\udce9.jpg é"


@pytest.mark.parametrize(
    ("weights", "model_name", "run", "words"),
    [
        (None, None, None, "neither"),
        ("timm/seresnet50.ra2_in1k", None, Path("run"), "both"),
        ("imagenet", None, None, "--model NAME"),
        ("mine.weights.h5", None, None, "--model NAME"),
        ("timm/seresnet51", None, None, "weights tag"),
    ],
)
def test_what_to_predict_with_must_be_said(weights, model_name, run, words):
    with pytest.raises(ValueError, match=words):
        open_network(weights, model_name, run)


def test_a_tag_says_which_network_it_is_for(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "senet.cli.predict.create_model", lambda model, weights: asked.append((model, weights))
    )
    open_network("timm/legacy_seresnet50.in1k", None, None)
    open_network("imagenet", "se_resnet_18", None)
    assert asked == [("se_resnet_50", "timm/legacy_seresnet50.in1k"), ("se_resnet_18", "imagenet")]


def untrained_run(folder: Path, images: Path, data: dict, phases: list[dict]):
    """The folder of a run on class folders as it ends, its network untrained; with the run's data."""
    config = make_config(
        {
            "model": "se_resnet_20_cifar",
            "model_options": {"blocks": [1, 1], "widths": [8, 8]},
            "data": {"source": str(images), "cache": str(folder / "cache"), "workers": 0, **data},
            "epochs": 2,
            "phases": phases,
        }
    )
    config = config.model_copy(update={"data": config.data.resolved()})
    run, found = RunFolder(folder / "run"), load_data(config.data)
    run.claim(config, {})
    write_json(run.preprocess, {**dataclasses.asdict(found.preprocess), "class_names": found.class_names})
    build(config, found).save(run.model)
    return run.path, found


@pytest.mark.parametrize("phases", [[{"epoch": 0, "image_size": 16}, {"epoch": 1}], [{"epoch": 0}]])
@pytest.mark.parametrize("streaming", [True, False])
def test_a_run_sees_images_as_its_test_images_were(tmp_path, streaming, phases):
    # In memory the square is cut out before the resize: oblong images differ by fractions of a pixel.
    sides = [(40, 60), (41, 59)] if streaming else [(40, 40), (41, 41)]
    for part, name in ((part, name) for part in ("train", "test") for name in ("cat", "dog")):
        (tmp_path / "pets" / part / name).mkdir(parents=True)
        for index, (pixels, (height, width)) in enumerate(zip(pictures(2), sides, strict=True)):
            image = Image.fromarray(pixels[:height, :width])
            image.save(tmp_path / "pets" / part / name / f"{index}.jpg")
    data = {"streaming": streaming, "image_size": 24, "crop_fraction": 0.75, "filter": "bilinear"}
    run, found = untrained_run(tmp_path, tmp_path / "pets", data, phases)
    files = sorted((tmp_path / "pets" / "test").rglob("*.jpg"))
    (images, _, weights), *_ = found.test(4)
    assert weights.all()
    for opened in (open_network(None, None, run), open_classifier(str(run)), open_target(str(run), "none")):
        network, preprocess, names = opened
        assert network.input_shape[1] == (None if len(phases) > 1 else 24)
        assert list(names) == ["cat", "dog"]
        np.testing.assert_array_equal(preprocess.batch(files), images)
