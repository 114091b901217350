import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from senet.cli.app import app
from senet.cli.data import run_check
from senet.data import DataConfig, load_data
from senet.data.check import check
from senet.data.pipeline import find_listed
from senet.data.preview import caption, draw_preview


@pytest.fixture
def root(folders):
    return folders({"train/cat": 4, "train/dog": 3, "val/cat": 2, "val/dog": 2}, size=(40, 30))


def test_nothing_is_wrong_with_good_data(root):
    report = run_check(str(root))
    assert not report.wrong
    assert (report.train.images, report.test.images, report.classes) == (7, 4, 2)
    assert report.train.per_class == {"cat": 4, "dog": 3}
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted(root.glob("train/*/*.png"))])
    np.testing.assert_allclose(report.mean, pixels.mean((0, 1, 2)))
    np.testing.assert_allclose(report.std, pixels.std((0, 1, 2)))


def test_everything_that_is_wrong_is_found(root):
    (root / "train/bird").mkdir()
    (root / "train/cow").mkdir()
    Image.new("RGB", (9, 9)).save(root / "train/cow/a.png")
    (root / "train/dog/empty.jpg").write_bytes(b"")
    (root / "train/dog/text.jpg").write_text("<html>")
    (root / "val/cat/again.png").write_bytes((root / "train/dog/001.png").read_bytes())
    report = run_check(str(root))
    assert report.wrong
    assert report.empty == [str(root / "train/dog/empty.jpg")]
    assert [path.rpartition("/")[2] for path, _ in report.unreadable] == ["empty.jpg", "text.jpg"]
    assert report.duplicates == [[str(root / "train/dog/001.png"), str(root / "val/cat/again.png")]]
    assert report.empty_classes == ["bird"]
    assert report.missing_in_test == ["cow"]
    with pytest.raises(ValueError, match="empty"):  # a run would not begin
        find_listed(DataConfig(source=str(root)))


def test_without_a_readable_image_there_are_no_statistics(root):
    for path in root.glob("*/*/*.png"):
        path.write_bytes(b"nothing")
    report = check(find_listed(DataConfig(source=str(root))))
    assert np.isnan(report.mean).all()
    assert len(report.unreadable) == 11


class TestCommands:
    def run(self, *arguments) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["data", *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout

    def test_pack_then_check(self, root, tmp_path):
        code, text = self.run("pack", root, tmp_path / "out", "--size", "0.01", "--json")
        assert code == 0
        packed = json.loads(text)
        assert (packed["train_images"], packed["test_images"]) == (7, 4)
        assert len(packed["train_shards"]) > 1
        code, text = self.run("check", tmp_path / "out", "--json")
        assert code == 0
        assert json.loads(text)["train"]["per_class"] == {"cat": 4, "dog": 3}

    def test_check_says_what_is_wrong(self, root):
        for index in range(12):
            (root / f"train/dog/{index}.jpg").write_bytes(b"")
        code, text = self.run("check", root)
        assert code == 1
        assert "12 files cannot be read" in text
        assert "and 2 more" in text

    def test_sources_without_files_are_refused(self):
        with pytest.raises(ValueError, match=r"Only files.*'digits'"):
            self.run("check", "digits")

    def test_preview(self, tmp_path):
        code, _ = self.run("preview", "--recipe", "digits", "--out", tmp_path / "sheet.png")
        assert code == 0
        with Image.open(tmp_path / "sheet.png") as sheet:
            assert sheet.width > 1000


class TestPreview:
    def test_a_stream_is_drawn_as_it_will_be_seen(self, root, tmp_path):
        augment = {"crop": "none", "flip": False}
        config = DataConfig(source=str(root), streaming=True, workers=0, image_size=128, augment=augment)
        data = load_data(config)
        draw_preview(data, 0, tmp_path / "sheet.png")
        sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
        first = data.train_part.pixels(data.training(6, 0).maker.plan.order(0)[0], data.geometry().centre, [])
        np.testing.assert_array_equal(sheet[6 + 16 : 6 + 16 + 128, 6 : 6 + 128], first)

    def test_captions(self):
        names = ("cat", "dog", "cow")
        assert caption(np.array(1), names) == ["dog"]
        assert caption(np.array([0.3, 0.0, 0.7], np.float32), names) == ["70% cow", "30% cat"]
        assert caption(np.array([0, 1.0, 0], np.float32), names) == ["100% dog"]
