"""Exported files in their runtimes: verified, refused where they do not fit, and equal in `senet.predict`."""

import io
import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import senet
from senet.deploy.export import export
from senet.deploy.metadata import Metadata
from senet.deploy.runtimes import open_runtime
from senet.deploy.stream import BrokenStream, classify_stream, read_stream
from senet.predict import make_classifier
from tests.deploy.conftest import LABELS, PREPROCESS, SIDE, answers, pictures, relative, small
from tests.test_cli import run

for package in ("onnx", "onnxruntime", "openvino", "ai_edge_litert"):
    pytest.importorskip(package)

NAMES = {"onnxruntime": "model.onnx", "openvino": "model.xml"}
if keras.backend.backend() == "tensorflow":
    NAMES |= {"litert": "model.tflite", "tensorflow": "model"}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small()


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model):
    """A folder with a file of every format, and the model itself."""
    place = tmp_path_factory.mktemp("exported")
    for name in NAMES.values():
        export(model, place / name, labels=LABELS, image_size=SIDE)
    model.save(place / "model.keras")
    return place


@pytest.mark.engine
@pytest.mark.parametrize("runtime", NAMES)
def test_predict_gives_the_same_from_each_runtime(exported, model, runtime, folder):
    expected = senet.predict(model, folder, labels=LABELS, top=7)
    found = senet.predict(open_runtime(exported / NAMES[runtime], runtime), folder, top=7, batch_size=4)
    assert [result.source for result in found] == [result.source for result in expected]
    for result, own in zip(found, expected, strict=True):
        assert [p.label for p in result] == [p.label for p in own]
        np.testing.assert_allclose([p.probability for p in result], [p.probability for p in own], atol=1e-5)


def test_keras_models_are_a_runtime_too(exported, model):
    x = PREPROCESS.batch(pictures(2))
    for subject in (model, exported / "model.keras"):
        predictor = open_runtime(subject)
        assert predictor.runtime == "keras"
        assert relative(predictor.predict(x), answers(model, x)) < 1e-5
    assert open_runtime(model).preprocess == PREPROCESS


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert"])
def test_threads_change_nothing(exported, model, runtime):
    if runtime not in NAMES:
        return  # LiteRT files come from TensorFlow
    x = PREPROCESS.batch(pictures(2))
    found = open_runtime(exported / NAMES[runtime], threads=1).predict(x)
    assert relative(found, answers(model, x)) < 1e-4


def test_threads_that_cannot_be_set(exported, model):
    with pytest.raises(ValueError, match="cannot be set for keras"):
        open_runtime(model, threads=1)
    with pytest.raises(ValueError, match="at least 1"):
        open_runtime(exported / "model.onnx", threads=0)


def flipped(path, at: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [*NAMES.values(), "model.bin"])
def test_a_file_that_was_changed_is_refused(exported, tmp_path, name):
    opened = tmp_path / ("model.xml" if name == "model.bin" else name)
    for path in exported.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(exported)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    open_runtime(opened)
    changed = tmp_path / name
    if changed.is_dir():
        changed = changed / "variables" / "variables.data-00000-of-00001"
    flipped(changed, len(changed.read_bytes()) // 3)
    with pytest.raises(ValueError, match="was changed after senet"):
        open_runtime(opened)


def test_changed_labels_are_refused(exported, tmp_path):
    content = (exported / "model.onnx").read_bytes()
    assert content.count(b"class 3") == 1
    (tmp_path / "model.onnx").write_bytes(content.replace(b"class 3", b"class 8"))
    with pytest.raises(ValueError, match="was changed"):
        open_runtime(tmp_path / "model.onnx")


@pytest.mark.skipif("litert" not in NAMES, reason="LiteRT files come from TensorFlow")
def test_a_litert_file_holds_labels_where_others_look_for_them(exported, tmp_path):
    with zipfile.ZipFile(exported / "model.tflite") as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(LABELS)
    content = (exported / "model.tflite").read_bytes()
    (tmp_path / "model.tflite").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="no metadata"):
        open_runtime(tmp_path / "model.tflite")


def test_metadata_survive_json(exported):
    found = open_runtime(exported / "model.onnx").metadata
    assert Metadata.from_json(found.to_json()) == found


def test_files_of_another_kind_and_of_others(exported, tmp_path, model):
    with pytest.raises(ValueError, match=r"openvino opens an \.xml.*runtime='onnxruntime'"):
        open_runtime(exported / "model.onnx", "openvino")
    with pytest.raises(ValueError, match=r"onnxruntime opens an \.onnx"):
        open_runtime(exported / "model.xml", "onnxruntime")
    with pytest.raises(ValueError, match=r"keras opens a \.keras"):
        open_runtime(exported / "model.onnx", "keras")
    with pytest.raises(ValueError, match="Did you mean 'onnxruntime'"):
        open_runtime(exported / "model.onnx", "onnx_runtime")
    with pytest.raises(ValueError, match="runs files: export the model first"):
        open_runtime(model, "openvino")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.onnx"):
        open_runtime(tmp_path / "nowhere.onnx")
    for name in ("other.onnx", "other.xml", "other.bin"):
        (tmp_path / name).write_bytes(b"something else")
    for name in ("other.onnx", "other.xml"):
        with pytest.raises(ValueError, match="no metadata of senet"):
            open_runtime(tmp_path / name)


def test_images_that_a_file_does_not_take(exported, model, tmp_path):
    predictor = open_runtime(exported / "model.onnx")
    with pytest.raises(ValueError, match=r"exported for images of shape \(32, 32, 3\).*image_size="):
        predictor.predict(np.zeros((1, 64, 64, 3), np.float32))
    with pytest.raises(ValueError, match=r"must be \(N, H, W, C\)"):
        predictor.predict(np.zeros((32, 32, 3), np.float32))
    export(model, tmp_path / "open.onnx")
    with pytest.raises(ValueError, match=r"onnxruntime refuses images of shape \(1, 0, 3\)|at least one"):
        open_runtime(tmp_path / "open.onnx").predict(np.zeros((1, 1, 0, 3), np.float32))


def test_a_size_that_the_runtime_refuses_is_named(exported, monkeypatch):
    predictor = open_runtime(exported / "model.onnx")

    def refuse(images):
        raise RuntimeError("kernel larger than the image\nand more")

    monkeypatch.setattr(predictor, "run", refuse)
    with pytest.raises(ValueError, match=r"refuses images of shape \(32, 32, 3\).*larger than the image\."):
        predictor.predict(np.zeros((1, 32, 32, 3), np.float32))


@pytest.mark.parametrize(("package", "name"), [("onnxruntime", "model.onnx"), ("openvino", "model.xml")])
def test_a_missing_runtime_names_the_extra(exported, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}: pip install 'senet\[export\]'"):
        open_runtime(exported / name)


# ---- streams ----


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def framed(*frames: bytes) -> bytes:
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


class Trickle(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def read(self, count=-1):
        return super().read(min(count, 7))


def results(model, data: bytes, kind: str):
    classifier = make_classifier(model, 3, None, LABELS)
    return list(classify_stream(classifier, read_stream(Trickle(data), kind)))


def test_frames_are_answered_in_turn_and_a_bad_one_stops_nothing(model):
    frames = [jpeg(pixels) for pixels in pictures(3)]
    found = results(model, framed(frames[0], b"no image", b"", frames[1], frames[2]), "frames")
    assert [result.source for result in found] == [f"frames[{index}]" for index in range(5)]
    assert [len(result) for result in found] == [3, 0, 0, 3, 3]
    assert "frames[1] cannot be read as an image" in found[1].error
    assert "the file is empty" in found[2].error
    expected = senet.predict(model, [Image.open(io.BytesIO(frames[2]))], 3, labels=LABELS)[0]
    assert [p.label for p in found[4]] == [p.label for p in expected]
    assert found[4][0].probability == pytest.approx(expected[0].probability, abs=1e-5)


def test_paths_are_answered_in_turn(model, folder):
    lines = f"{folder / '0.jpg'}\n\n{folder / 'none.jpg'}\r\n{folder / '1.jpg'}".encode()
    found = results(model, lines, "paths")
    assert [result.source for result in found] == [
        str(folder / name) for name in ("0.jpg", "none.jpg", "1.jpg")
    ]
    assert [bool(result.error) for result in found] == [False, True, False]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (framed(b"abc") + b"\x00\x00", "length of frames\\[1\\]: 2 of 4 bytes"),
        ((100).to_bytes(4, "big") + b"abc", "within frames\\[0\\]: 3 of 100 bytes"),
        (b"/images/one.jpg\n", "is this a stream of paths"),
    ],
)
def test_a_stream_that_breaks_off(model, data, words):
    with pytest.raises(BrokenStream, match=words):
        results(model, data, "frames")


def test_an_answer_comes_before_the_next_image_is_read(model):
    read = []

    def sources():
        for source in read_stream(io.BytesIO(framed(*map(jpeg, pictures(3)))), "frames"):
            read.append(source.name)
            yield source

    answers = classify_stream(make_classifier(model, 1, None, LABELS), sources())
    next(answers)
    assert read == ["frames[0]"]


# ---- the command ----


class Standard:
    """Standard input of bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_the_command_exports_and_predicts(exported, tmp_path, folder, monkeypatch, capsys):
    target = tmp_path / "out.onnx"
    options = ("--image-size", SIDE, "--samples", folder, "--json")
    assert (
        run(monkeypatch, "export", exported / "model.keras", target, "--batch", 2, "--image-size", SIDE) == 0
    )
    assert "generated images" in capsys.readouterr().out
    # A .keras file does not say how images become its input.
    assert run(monkeypatch, "export", exported / "model.keras", target, *options) == 2
    assert "`samples` are pixels" in capsys.readouterr().err
    assert run(monkeypatch, "predict", folder, "--exported", exported / "model.onnx", "--json") == 0
    one = json.loads(capsys.readouterr().out)
    name = exported / "model.xml"
    assert run(monkeypatch, "predict", folder, "--exported", name, "--runtime", "openvino", "--json") == 0
    other = json.loads(capsys.readouterr().out)
    assert len(one) == 10
    assert [row["predictions"][0]["label"] for row in one] == [r["predictions"][0]["label"] for r in other]
    assert one[0]["predictions"][0]["label"] in LABELS


def test_an_export_that_disagrees_ends_with_code_1(exported, tmp_path, monkeypatch, capsys):
    import senet.cli.export as verb
    from senet.deploy.export import Disagreement

    def disagree(*arguments, **options):
        raise Disagreement("it does not answer as the Keras model")

    monkeypatch.setattr(verb, "export", disagree)
    assert run(monkeypatch, "export", exported / "model.keras", tmp_path / "out.onnx") == 1
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{images}", "--exported", "{file}", "--weights", "timm/x"], "--exported FILE alone"),
        (
            ["{images}", "--weights", "timm/seresnet50.ra2_in1k", "--runtime", "openvino"],
            "senet export TAG OUT",
        ),
        (["--exported", "{file}"], "Give image files or folders, or --stdin"),
        (["{images}", "--exported", "{file}", "--stdin", "paths"], "one of them"),
        (["--exported", "{file}", "--stdin", "paths", "--csv"], "JSON lines"),
        (["--exported", "{file}", "--stdin", "movies"], "'paths' or 'frames'"),
        (["{images}", "--exported", "{file}", "--runtime", "litert"], "litert opens a .tflite"),
    ],
)
def test_wrong_usage_of_predict(exported, folder, monkeypatch, capsys, arguments, words):
    places = {"images": folder, "file": exported / "model.onnx"}
    monkeypatch.setattr(sys, "stdin", Standard(b""))
    assert run(monkeypatch, "predict", *(argument.format(**places) for argument in arguments)) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_the_command_answers_a_stream_in_json_lines(exported, monkeypatch, capsys):
    data = framed(*map(jpeg, pictures(2)), b"no image")
    monkeypatch.setattr(sys, "stdin", Standard(data))
    assert run(monkeypatch, "predict", "--exported", exported / "model.onnx", "--stdin", "frames") == 1
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["file"] for line in lines] == ["frames[0]", "frames[1]", "frames[2]"]
    assert [bool(line["error"]) for line in lines] == [False, False, True]
    assert "1 image was not read" in err
    monkeypatch.setattr(sys, "stdin", Standard(data[:-3]))
    assert run(monkeypatch, "predict", "--exported", exported / "model.onnx", "--stdin", "frames") == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "The stream ended within frames[2]" in err


@pytest.mark.slow
def test_a_pipe_is_answered_while_it_is_open(exported):
    """As from a camera: each frame is written after the answer to the one before."""
    command = [
        sys.executable,
        "-m",
        "senet",
        "predict",
        "--exported",
        exported / "model.onnx",
        "--stdin",
        "frames",
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, **pipes) as process:
        for index, pixels in enumerate(pictures(3)):
            process.stdin.write(framed(jpeg(pixels)))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["file"] == f"frames[{index}]"
        process.stdin.close()
        assert process.wait(timeout=60) == 0
