"""Real files, shards and worker processes."""

import itertools
import os
import signal
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from senet.data import DataConfig, Preprocess, Shard, load_data
from senet.data.pack import pack
from senet.data.pipeline import find_listed
from senet.data.stream import StreamDataset

SIDE = 24
PLAIN = {"crop": "none", "flip": False}
VARIED = {"rotation": 10, "pixel_jitter": 20, "erasing": 0.5, "rand_augment": {"number": 1}, "mixup": 0.3}


@pytest.fixture
def root(tmp_path):
    """Class folders with 40 training and 10 test JPEG files of several sizes; each is of one colour."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 5)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                size = rng.integers(30, 80, 2).tolist()
                colour = tuple(rng.integers(0, 256, 3).tolist())
                Image.new("RGB", size, colour).save(folder / f"{index:03}.jpg", quality=95)
    return tmp_path / "pets"


def load(source, augment=None, **settings) -> StreamDataset:
    settings = {"workers": 0, "image_size": SIDE, "streaming": True, "filter": "bilinear", **settings}
    return load_data(DataConfig(source=str(source), augment=augment or {}, **settings))


def take(batches, steps: int, first: int = 0) -> list:
    stream = batches.stream(first)
    try:
        return list(itertools.islice(stream, steps))
    finally:
        stream.close()


def workers() -> list[psutil.Process]:
    """The worker processes of this one."""
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def assert_equal(left, right) -> None:
    for one, other in zip(left, right, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_is_known_before_an_image_is_read(root):
    data = load(root, validation=6)
    assert (data.name, data.class_names, data.image_shape) == ("pets", ("cat", "dog"), (SIDE, SIDE, 3))
    assert (data.train_images, data.validation_images, data.test_images) == (34, 6, 10)
    assert (data.preprocess.resize, data.preprocess.crop) == (round(SIDE / 0.875), SIDE)
    assert data.training(8, 0).steps == 4


def test_statistics_are_those_of_the_images(root):
    data = load(root)
    images = [data.train_part.pixels(index, data.geometry().centre, []) for index in range(40)]
    expected = Preprocess.of(np.stack(images))
    np.testing.assert_allclose([data.preprocess.mean, data.preprocess.std], [expected.mean, expected.std])
    assert load(root).preprocess == data.preprocess


@pytest.mark.parametrize("augment", [{}, VARIED], ids=["usual", "varied"])
class TestRepeats:
    def test_a_step_is_the_same_whatever_ran_before(self, root, augment):
        data = load(root, augment)
        first = take(data.training(8, 3), 9)
        assert first[0][0].shape == (8, SIDE, SIDE, 3)
        assert first[0][0].dtype == np.float32
        assert_equal(take(load(root, augment).training(8, 3), 9), first)
        assert_equal(take(data.training(8, 3), 2, first=7), first[7:])
        assert not np.array_equal(take(data.training(8, 4), 1)[0][0], first[0][0])

    def test_the_parts_of_the_processes_are_the_batch(self, root, augment):
        data = load(root, augment)
        whole = take(data.training(8, 3), 6)
        for count in (2, 4):
            parts = [take(data.training(8, 3, shard=Shard(index, count)), 6) for index in range(count)]
            joined = [
                tuple(np.concatenate(arrays) for arrays in zip(*step, strict=True))
                for step in zip(*parts, strict=True)
            ]
            assert_equal(joined, whole)


def test_a_stream_has_the_order_of_a_run_in_memory(root):
    streamed = load(root, PLAIN, crop_fraction=1)
    loaded = load_data(DataConfig(source=str(root), image_size=SIDE, augment=PLAIN))
    for (images, labels), (_, expected) in zip(
        take(streamed.training(8, 3), 5), itertools.islice(loaded.training(8, 3).stream(), 5), strict=True
    ):
        np.testing.assert_array_equal(labels, expected)
        assert images.shape == (8, SIDE, SIDE, 3)


def test_a_label_belongs_to_its_image(root):
    data = load(root)
    for index in range(40):
        assert f"/{data.class_names[data.train_part.labels[index]]}/" in data.train_part.records.name(index)
    images, labels, weights = (np.concatenate(part) for part in zip(*data.test(4), strict=True))
    assert labels[:10].tolist() == [0] * 5 + [1] * 5
    assert weights.tolist() == [1.0] * 10 + [0.0] * 2
    for index in range(10):
        expected = data.preprocess.image(data.test_part.records.name(index))
        np.testing.assert_array_equal(images[index], expected)


def test_evaluation_can_be_repeated_and_shared(root):
    data = load(root, validation=6)
    whole = list(data.validation(4))
    assert_equal(list(data.validation(4)), whole)
    parts = [list(data.validation(4, Shard(index, 2))) for index in range(2)]
    for step, batch in enumerate(whole):
        for place, array in enumerate(batch):
            np.testing.assert_array_equal(np.concatenate([part[step][place] for part in parts]), array)
    assert load(root).validation(4) is None


def test_another_size_for_a_while(root):
    images, _ = take(load(root).training(8, 0, image_size=16), 1)[0]
    assert images.shape == (8, 16, 16, 3)


def test_impossible_settings_are_refused_at_once(root):
    data = load(root)
    with pytest.raises(ValueError, match="40 images, batch=41"):
        data.training(41, 0)
    with pytest.raises(ValueError, match="multiple of the processes"):
        data.test(3, Shard(0, 2))
    with pytest.raises(ValueError, match="even number"):
        load(root, VARIED).training(8, 0, shard=Shard(0, 8))


class TestUnreadable:
    @pytest.fixture
    def broken(self, root):
        (root / "train/cat/003.jpg").write_bytes(b"")
        path = root / "train/dog/007.jpg"
        path.write_bytes(path.read_bytes()[:300])
        return root

    def test_the_next_one_takes_the_place_and_both_are_named(self, broken):
        data = load(broken, PLAIN)
        batches = take(data.training(8, 0), 5)
        named = {path.removeprefix(f"{broken}/train/"): reason for path, reason in data.report}
        assert set(named) == {"cat/003.jpg", "dog/007.jpg"}
        assert named["cat/003.jpg"] == "the file is empty"
        assert "cut short" in named["dog/007.jpg"]
        # Every image stands where it stands without faults; the next of the order comes twice.
        order = data.training(8, 0).maker.plan.order(0)
        lost = {index for index in range(40) if data.train_part.records.name(index) in dict(data.report)}
        expected = [next(i for i in np.roll(order, -place) if i not in lost) for place in range(40)]
        found = np.concatenate([labels for _, labels in batches])
        np.testing.assert_array_equal(found, data.train_part.labels[expected])
        assert_equal(take(load(broken, PLAIN).training(8, 0), 5), batches)

    def test_each_is_named_once(self, broken, caplog):
        data = load(broken)
        take(data.training(8, 0), 15)
        assert (
            len(data.report)
            == len([record for record in caplog.records if "left out" in record.message])
            == 2
        )

    def test_too_many_end_the_run(self, broken):
        with pytest.raises(ValueError, match=r"(?s)of 40 files.*max_unreadable`=0\.01"):
            load(broken, max_unreadable=0.01)

    def test_in_evaluation_they_have_no_weight(self, root):
        (root / "val/cat/002.jpg").write_bytes(b"")
        data = load(root, max_unreadable=0.2)
        weights = np.concatenate([weights for _, _, weights in data.test(5)])
        assert weights.tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1, 1]

    def test_nothing_readable_is_an_error(self, root):
        data = load(root, max_unreadable=1)
        for path in root.glob("train/*/*.jpg"):
            path.write_bytes(b"")
        with pytest.raises(ValueError, match="None of 40 training images"):
            take(data.training(8, 0), 1)


class TestIndex:
    def test_it_is_made_once(self, root, monkeypatch):
        expected = load(root)
        monkeypatch.setattr("senet.data.index.list_folder", None)
        found = load(root)
        np.testing.assert_array_equal(found.train_part.labels, expected.train_part.labels)

    def test_a_new_file_is_found(self, root):
        assert load(root).train_images == 40
        Image.new("RGB", (40, 40)).save(root / "train/dog/new.png")
        assert load(root).train_images == 41

    def test_a_file_in_an_inner_folder_is_found(self, root):
        (root / "train/dog/more").mkdir()
        Image.new("RGB", (40, 40)).save(root / "train/dog/more/a.png")
        assert load(root).train_images == 41
        Image.new("RGB", (40, 40)).save(root / "train/dog/more/b.png")
        assert load(root).train_images == 42


class TestShards:
    def test_they_give_the_batches_of_the_folder(self, root, tmp_path):
        packed = pack(find_listed(DataConfig(source=str(root))), tmp_path / "shards", size=6000, seed=None)
        assert (packed.train_images, packed.test_images) == (40, 10)
        assert len(packed.train_shards) > 2
        folder, shards = load(root, VARIED), load(tmp_path / "shards", VARIED, streaming=False)
        assert shards.class_names == folder.class_names
        assert_equal(take(shards.training(8, 1), 6), take(folder.training(8, 1), 6))
        assert_equal(list(shards.test(4)), list(folder.test(4)))

    def test_packing_twice_gives_the_same_bytes(self, root, tmp_path):
        listed = find_listed(DataConfig(source=str(root)))
        for place, seed in (("a", 0), ("b", 0), ("c", 1)):
            pack(listed, tmp_path / place, size=6000, seed=seed)
        files = sorted(path.name for path in (tmp_path / "a").iterdir())
        content = {
            place: b"".join((tmp_path / place / name).read_bytes() for name in files) for place in "ab"
        }
        assert content["a"] == content["b"]
        first = [(tmp_path / place / "train-000000.tar").read_bytes() for place in "ac"]
        assert first[0] != first[1]

    def test_a_folder_with_something_in_it_is_kept(self, root):
        with pytest.raises(ValueError, match="new or empty folder"):
            pack(find_listed(DataConfig(source=str(root))), root, size=6000, seed=None)

    def test_shards_of_webdataset_need_no_names_and_no_test_part(self, tar, tmp_path):
        import io
        import tarfile

        stream = io.BytesIO()
        Image.new("RGB", (30, 30)).save(stream, "JPEG")
        extra = []
        for index in range(20):
            extra.append((tarfile.TarInfo(f"a/{index:04}.jpg"), stream.getvalue()))
            extra.append((tarfile.TarInfo(f"a/{index:04}.cls"), str(index % 2).encode()))
            extra.append((tarfile.TarInfo(f"a/{index:04}.json"), b"{}"))
        (tmp_path / "web").mkdir()
        tar(None, "web/train-000000.tar", extra=extra)
        data = load(tmp_path / "web")
        assert (data.class_names, data.train_images, data.test_images) == (("0", "1"), 16, 4)
        assert len(take(data.training(4, 0), 4)) == 4

    @pytest.mark.parametrize(
        ("members", "words"),
        [
            ({"0.jpg": b"x"}, "'0' of no class"),
            ({"0.jpg": b"x", "0.cls": b"cat"}, "number from 0.*cat"),
            ({"0.cls": b"1"}, "with no image"),
            ({"0.jpg": b"x", "0.png": b"x", "0.cls": b"1"}, "two for '0'"),
        ],
    )
    def test_other_contents_are_refused(self, tar, tmp_path, members, words):
        import tarfile

        (tmp_path / "web").mkdir()
        tar(None, "web/train-0.tar", extra=[(tarfile.TarInfo(name), data) for name, data in members.items()])
        with pytest.raises(ValueError, match=words):
            load(tmp_path / "web")

    def test_a_shard_that_is_cut_short_or_none_is_refused(self, root, tmp_path):
        pack(find_listed(DataConfig(source=str(root))), tmp_path / "shards", size=10**6, seed=None)
        path = tmp_path / "shards/train-000000.tar"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=r"train-000000\.tar"):
            load(tmp_path / "shards")
        path.write_bytes(b"nothing of the kind" * 100)
        with pytest.raises(ValueError, match="no uncompressed tar"):
            load(tmp_path / "shards")


@pytest.mark.slow
class TestWorkers:
    def test_they_change_nothing(self, root):
        expected = take(load(root, VARIED).training(8, 3), 7)
        assert_equal(take(load(root, VARIED, workers=2).training(8, 3), 7), expected)

    def test_what_they_cannot_read_is_named_here(self, root):
        (root / "train/cat/003.jpg").write_bytes(b"")
        data = load(root, workers=1)
        data.report.clear()
        take(data.training(8, 0), 5)
        assert [reason for _, reason in data.report] == ["the file is empty"]

    def test_one_that_is_killed_is_an_error(self, root):
        stream = load(root, workers=2).training(8, 0).stream()
        for _ in range(2):  # from one worker, and from the other
            next(stream)
        os.kill(workers()[0].pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(RuntimeError, match=r"worker process.*died.*data\.workers"):
            list(itertools.islice(stream, 100))
        assert time.monotonic() - began < 30
        assert workers() == []

    def test_they_end_with_the_stream(self, root):
        take(load(root, workers=2).training(8, 0), 2)
        assert workers() == []


def test_named_sources_and_cifar_batches_are_not_streamed(tmp_path):
    with pytest.raises(ValueError, match="files on disk"):
        DataConfig(source="cifar10", streaming=True)
