import pydantic
import pytest

from senet.data import AugmentConfig, DataConfig, cache_folder


def test_it_is_frozen_and_refuses_unknown_fields():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        DataConfig().workers = 3
    with pytest.raises(pydantic.ValidationError, match="strem"):
        DataConfig(strem=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"validation": -1},
        {"train_limit": 0},
        {"augment": {"padding": -1}},
        {"augment": {"scale": [0.5, 0.1]}},
        {"augment": {"scale": [0.5, 1.5]}},
        {"augment": {"ratio": [0, 1]}},
        {"augment": {"color_jitter": {"hue": 0.6}}},
        {"augment": {"rand_augment": {"magnitude": 31}}},
        {"crop_fraction": 0},
        {"max_unreadable": 2},
        {"streaming": True},
        {"image_size": 0},
        {"split_seed": -1},
        {"source": ""},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError, match=next(iter(wrong))):
        DataConfig(**wrong)


def decided(config: DataConfig) -> tuple:
    augment = config.resolved().augment
    return augment.crop, augment.padding, augment.flip


def test_digits_are_never_mirrored_unless_asked():
    assert decided(DataConfig()) == ("pad", 1, False)
    assert decided(DataConfig(augment={"flip": True, "padding": 0})) == ("pad", 0, True)


@pytest.mark.parametrize("source", ["cifar10", "cifar100", "some/folder"])
def test_photographs_get_the_usual_crop_and_flip(source):
    assert decided(DataConfig(source=source)) == ("pad", 4, True)


def test_streams_get_random_resized_crops_and_flips(tmp_path):
    (tmp_path / "train-000000.tar").touch()
    sources = {"some/folder": {"streaming": True}, "tfds:mnist": {}, str(tmp_path): {}}
    for source, settings in sources.items():
        config = DataConfig(source=source, **settings).resolved()
        assert decided(config) == ("random_resized", 4, True)
        assert (config.streaming, config.image_size) == (True, 224)
        assert config.resolved() == config


def test_mixing_is_off_without_a_probability():
    assert AugmentConfig(mixup=0.2).mixes
    assert not AugmentConfig().mixes
    assert not AugmentConfig(mixup=0.2, mix_probability=0).mixes


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
