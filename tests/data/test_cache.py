import threading

import numpy as np
import pytest

from senet.data.cache import keep_arrays, load_arrays, make_once


def test_a_failed_attempt_leaves_nothing(tmp_path):
    def half(aside):
        aside.mkdir()
        (aside / "file").touch()
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        make_once(tmp_path / "made", half)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_it_is_made_once_by_whoever_comes_first(tmp_path):
    makers, together = [], threading.Barrier(4)

    def make(aside):
        makers.append(threading.get_ident())
        aside.write_text("made")

    def run():
        together.wait()
        make_once(tmp_path / "made", make)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(makers) == 1
    assert (tmp_path / "made").read_text() == "made"


def test_arrays_come_back_and_a_damaged_file_is_made_again(tmp_path):
    target = tmp_path / "arrays.npz"
    assert load_arrays(target) is None
    arrays = {"images": np.arange(2000, dtype=np.uint8), "note": np.array("text")}
    keep_arrays(target, arrays)
    np.testing.assert_equal(load_arrays(target), arrays)
    for damage in (target.read_bytes()[:500], b"", b"no archive at all"):
        target.write_bytes(damage)
        assert load_arrays(target) is None
        keep_arrays(target, arrays)
        np.testing.assert_equal(load_arrays(target), arrays)


def test_objects_are_never_unpickled(tmp_path):
    target = tmp_path / "arrays.npz"
    np.savez(target, images=np.array([{}], dtype=object))
    assert load_arrays(target) is None


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="cannot be kept"):
        keep_arrays(tmp_path / "file" / "arrays.npz", {"images": np.zeros(3)})
