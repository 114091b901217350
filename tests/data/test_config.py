import pydantic
import pytest

from senet.data import DataConfig, cache_folder


def test_it_is_frozen_and_refuses_unknown_fields():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        DataConfig().flip = True
    with pytest.raises(pydantic.ValidationError, match="crop_pading"):
        DataConfig(crop_pading=4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"validation": -1},
        {"train_limit": 0},
        {"crop_padding": -1},
        {"image_size": 0},
        {"split_seed": -1},
        {"source": ""},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError, match=next(iter(wrong))):
        DataConfig(**wrong)


def test_digits_are_never_mirrored_unless_asked():
    assert (DataConfig().resolved().crop_padding, DataConfig().resolved().flip) == (1, False)
    chosen = DataConfig(flip=True, crop_padding=0).resolved()
    assert (chosen.crop_padding, chosen.flip) == (0, True)


@pytest.mark.parametrize("source", ["cifar10", "cifar100", "some/folder"])
def test_photographs_get_the_usual_crop_and_flip(source):
    resolved = DataConfig(source=source).resolved()
    assert (resolved.crop_padding, resolved.flip) == (4, True)


def test_resolving_twice_changes_nothing_and_json_gives_it_back():
    resolved = DataConfig(source="cifar10", validation=5000, cache="somewhere").resolved()
    assert resolved.resolved() == resolved
    assert DataConfig.model_validate_json(resolved.model_dump_json()) == resolved


def test_cache_folder_order(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SENET_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(tmp_path / "chosen") == tmp_path / "chosen"
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("SENET_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "senet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "senet"
