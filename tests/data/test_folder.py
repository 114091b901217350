import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from senet.data import DataConfig, load_data
from senet.data import folder as folder_module
from senet.data import images as images_module

PARTS = {"train/cat": 6, "train/dog": 4, "test/cat": 2, "test/dog": 3}


def load(root: Path, **settings):
    return load_data(DataConfig(source=str(root), **{"max_unreadable": 0.7, **settings}))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_train_and_test_folders(folders):
    root = folders(PARTS, size=(8, 6))
    data = load(root)
    assert (data.name, data.class_names, data.image_shape) == ("pets", ("cat", "dog"), (6, 8, 3))
    assert data.train_split.labels.tolist() == [0] * 6 + [1] * 4
    assert data.test_split.labels.tolist() == [0] * 2 + [1] * 3
    for index in range(4):
        np.testing.assert_array_equal(
            data.train_split.images[6 + index], pixels(root / f"train/dog/{index:03}.png")
        )
    np.testing.assert_array_equal(data.test_split.images[1], pixels(root / "test/cat/001.png"))


@pytest.mark.parametrize("name", ["val", "validation"])
def test_other_names_of_the_test_folder(folders, name):
    data = load(folders({"train/cat": 3, "train/dog": 3, f"{name}/cat": 1, f"{name}/dog": 1}))
    assert (data.train_images, data.test_images) == (6, 2)


def test_a_part_that_is_not_read_is_named(folders):
    with pytest.warns(UserWarning, match=r"val is not read: .*test holds the test images"):
        data = load(folders({**PARTS, "val/cat": 1, "val/dog": 1}))
    assert data.test_images == 5


def test_an_unlabelled_test_folder_is_named(folders):
    with pytest.warns(UserWarning, match="test is not read: no class folders in it"):
        data = load(folders({"train/cat": 10, "train/dog": 10, "test": 4}))
    assert (data.train_images, data.test_images) == (16, 4)


@pytest.mark.parametrize("wrapped", [{}, {"name": "pets/inner"}, {"name": "pets/inner/most"}])
def test_a_folder_around_the_data_is_looked_through(folders, tmp_path, wrapped):
    folders(PARTS, **wrapped)
    data = load(tmp_path / "pets")
    assert (data.name, data.train_images, data.test_images) == ("pets", 10, 5)


def test_without_a_test_folder_a_fifth_is_held_out_for_good(folders):
    root = folders({"cat": 20, "dog": 10})
    data = load(root)
    assert (data.train_images, data.test_images) == (24, 6)
    assert np.bincount(data.test_split.labels).tolist() == [4, 2]
    other = load(root, split_seed=3, validation=6, train_limit=6)
    np.testing.assert_array_equal(other.test_split.images, data.test_split.images)
    trained = {image.tobytes() for image in data.train_split.images}
    assert not trained & {image.tobytes() for image in data.test_split.images}


def test_a_class_may_be_called_train(folders):
    data = load(folders({"car": 5, "train": 5, "test": 5}))
    assert data.class_names == ("car", "test", "train")


def test_images_deeper_in_a_class_folder_count_and_hidden_files_do_not(folders):
    root = folders({"train/cat": 2, "train/cat/images": 3, "train/dog": 2, "test/dog": 1, "train/.trash": 2})
    (root / "train/cat/.DS_Store").write_bytes(b"x")
    data = load(root)
    assert np.bincount(data.train_split.labels).tolist() == [5, 2]
    assert data.report == []


def test_a_linked_folder_cannot_lead_in_circles(folders):
    root = folders(PARTS)
    (root / "train/cat/again").symlink_to(root / "train")
    assert load(root).train_images == 10


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no folder in it.*ROOT/train/CLASS"):
        load(tmp_path)


def test_loose_images_are_refused(folders):
    with pytest.raises(ValueError, match=r"no folder in it.*ROOT/train/CLASS"):
        load(folders({".": 3}))


def test_an_empty_class_is_refused(folders):
    with pytest.raises(ValueError, match=r"train/bird, which is empty"):
        load(folders({**PARTS, "train/bird": 0}))


def test_a_single_class_is_refused(folders):
    with pytest.raises(ValueError, match=r"at least two classes.*only 'cat'"):
        load(folders({"train/cat": 3, "test/cat": 3}))


def test_test_images_alone_are_refused(folders):
    with pytest.raises(ValueError, match=r"Training images must be in .*train"):
        load(folders({"test/cat": 3, "test/dog": 3, "val/cat": 1}))


def test_an_unknown_test_class_is_refused_with_the_nearest(folders):
    with pytest.raises(ValueError, match=r"'dogs'.*2 training classes\. Did you mean 'dog'"):
        load(folders({**PARTS, "test/dogs": 1}))


def test_other_sizes_are_refused_with_the_fix(folders):
    root = folders(PARTS)
    Image.new("RGB", (12, 9)).save(root / "train/dog/wide.png")
    with pytest.raises(ValueError, match=r"8x8 and also 12x9 \(1 files\).*wide\.png.*`image_size` \(say 8\)"):
        load(root)
    assert load(root, image_size=8).image_shape == (8, 8, 3)


def test_test_images_of_another_size_are_refused_before_training(folders):
    root = folders({"train/cat": 2, "train/dog": 2})
    for name in ("cat", "dog"):
        (root / "test" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(root / "test" / name / "0.png")
    with pytest.raises(ValueError, match="8x8 and also 9x9"):
        load(root)
    assert len(load(root, image_size=8).test_split) == 2


def test_more_images_than_memory_are_refused(folders, monkeypatch):
    import psutil

    class Small:
        total = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Small)
    with pytest.raises(ValueError, match=r"fit in memory.*10 images of 8x8"):
        load(folders(PARTS))


class TestUnreadableFiles:
    @pytest.fixture
    def root(self, folders) -> Path:
        root = folders(PARTS)
        (root / "train/cat/notes.txt").write_text("no image")
        whole = (root / "train/dog/000.png").read_bytes()
        (root / "train/dog/cut.png").write_bytes(whole[: len(whole) // 2])
        (root / "test/dog/empty.jpg").touch()
        return root

    def test_they_are_counted_listed_and_left_out(self, root):
        with pytest.warns(
            UserWarning, match=r"(?s)2 of 12 files cannot be read.*notes\.txt: cannot identify"
        ) as caught:
            data = load(root)
        assert "cut.png" in str(caught[0].message)
        assert data.train_split.labels.tolist() == [0] * 6 + [1] * 4
        np.testing.assert_array_equal(data.train_split.images[6], pixels(root / "train/dog/000.png"))
        assert [Path(path).name for path, _ in data.report] == ["notes.txt", "cut.png"]
        with pytest.warns(UserWarning, match=r"(?s)1 of 6 files.*empty\.jpg"):
            assert data.test_images == 5
        assert len(data.report) == 3

    def test_they_are_reported_from_the_cache_too(self, root):
        with pytest.warns(UserWarning, match="2 of 12"):
            first = load(root)
        with pytest.warns(UserWarning, match="2 of 12"):
            second = load(root)
        assert second.report == first.report
        np.testing.assert_array_equal(second.train_split.images, first.train_split.images)
        with pytest.raises(ValueError, match=r"(?s)2 of 12.*`max_unreadable`=0\.1"):
            load(root, max_unreadable=0.1)

    def test_more_than_the_share_are_refused(self, root):
        with pytest.raises(ValueError, match=r"(?s)2 of 12.*`max_unreadable`=0\.16 "):
            load(root, max_unreadable=0.16)
        with pytest.warns(UserWarning, match="2 of 12"):
            load(root, max_unreadable=0.17)

    def test_test_files_are_refused_before_training(self, root):
        (root / "train/cat/notes.txt").unlink()
        (root / "train/dog/cut.png").unlink()
        with pytest.raises(ValueError, match=r"(?s)1 of 6 files.*empty\.jpg"):
            load(root, max_unreadable=0)

    def test_only_the_first_ten_are_named(self, root):
        for index in range(20):
            (root / f"train/dog/{index:03}.broken").write_bytes(b"GIF89a")
        with pytest.warns(UserWarning, match=r"(?s)22 of 32.*and 12 more") as caught:
            data = load(root)
        assert str(caught[0].message).count("\n  ") == 11
        assert len(data.report) == 22

    def test_a_class_of_nothing_else_is_refused(self, root):
        for path in (root / "train/dog").iterdir():
            path.write_text("no image")
        with (
            pytest.warns(UserWarning, match="cannot be read"),
            pytest.raises(ValueError, match=r"readable training image.*\['dog'\]"),
        ):
            load(root)

    def test_nothing_else_at_all_is_refused(self, root):
        for path in root.rglob("*.*"):
            path.write_text("no image")
        with pytest.raises(ValueError, match=r"None of 12 files"):
            load(root)

    def test_nothing_else_to_test_on_is_refused_before_training(self, folders):
        root = folders({"train/cat": 2, "train/dog": 2, "test/cat": 1})
        (root / "test/cat/000.png").write_text("no image")
        with pytest.raises(ValueError, match=r"None of 1 test files"):
            load(root)

    def test_links_that_lead_nowhere_are_among_them(self, folders):
        root = folders(PARTS)
        (root / "train/cat/lost.png").symlink_to(root / "nowhere.png")
        with pytest.warns(UserWarning, match=r"lost\.png: .*No such file"):
            load(root)

    def test_pipes_are_not_opened(self, folders):
        root = folders(PARTS)
        os.mkfifo(root / "train/cat/pipe.png")
        assert load(root).train_images == 10


class TestDecodedImages:
    def test_are_kept_and_test_images_wait(self, folders, cache, monkeypatch):
        root = folders(PARTS)
        first = load(root)
        assert len(list((cache / "decoded").glob("*.npz"))) == 1
        first.test(1)
        assert len(list((cache / "decoded").glob("*.npz"))) == 2
        monkeypatch.setattr(images_module, "_decode_into", None)
        monkeypatch.setattr(images_module, "_measure", None)
        again = load(root)
        np.testing.assert_array_equal(again.train_split.images, first.train_split.images)
        np.testing.assert_array_equal(again.test_split.images, first.test_split.images)

    def test_are_made_again_when_a_file_or_the_size_changes(self, folders):
        root = folders(PARTS)
        before = load(root).train_split.images
        Image.new("RGB", (8, 8), (1, 2, 3)).save(root / "train/dog/000.png")
        after = load(root).train_split.images
        assert (after[6] == (1, 2, 3)).all()
        np.testing.assert_array_equal(np.delete(after, 6, 0), np.delete(before, 6, 0))
        assert load(root, image_size=4).image_shape == (4, 4, 3)

    def test_are_not_mistaken_for_those_of_another_folder(self, folders):
        for name, colour in (("one", (1, 1, 1)), ("two", (2, 2, 2))):
            root = folders({"cat": 0, "dog": 0}, name=name)
            for place in ("cat/a.bmp", "cat/b.bmp", "dog/a.bmp", "dog/b.bmp"):
                Image.new("RGB", (8, 8), colour).save(root / place)
                os.utime(root / place, (0, 0))
            assert (load(root).train_split.images == colour).all()

    def test_survive_a_damaged_cache(self, folders, cache):
        root = folders(PARTS)
        before = load(root).train_split.images
        (kept,) = (cache / "decoded").glob("*.npz")
        kept.write_bytes(kept.read_bytes()[:300])
        np.testing.assert_array_equal(load(root).train_split.images, before)

    def test_need_no_cache(self, folders, tmp_path):
        (tmp_path / "file").touch()
        with pytest.warns(UserWarning, match="cannot be kept"):
            data = load(folders(PARTS), cache=tmp_path / "file" / "below")
        assert data.train_images == 10

    def test_test_files_are_not_decoded_before_they_are_asked_for(self, folders, monkeypatch):
        decoded = []
        decode = folder_module.decode
        monkeypatch.setattr(
            folder_module, "decode", lambda paths, *how: decoded.extend(paths) or decode(paths, *how)
        )
        data = load(folders(PARTS))
        assert {path.parts[-3] for path in decoded} == {"train"}
        data.test(1)
        assert {path.parts[-3] for path in decoded} == {"train", "test"}


def test_the_listing_needs_no_order_of_the_file_system(folders, tmp_path):
    root = folders(PARTS)
    shutil.copytree(root, tmp_path / "copy")
    files = sorted((root / "train/cat").iterdir(), reverse=True)
    for file in files:  # written last to first
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
    np.testing.assert_array_equal(load(root).train_split.images, load(tmp_path / "copy").train_split.images)
