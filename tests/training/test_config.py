"""Recipes and overrides: what is accepted, and what a mistake is told."""

from __future__ import annotations

import pytest
import yaml

from senet.training.config import ConfigError, load_config, make_config, recipe_names
from senet.zoo import get_spec


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_and_names_a_network(name):
    config = load_config(name)
    get_spec(config.model).change(**config.model_options)


def test_the_papers_schedule():
    config = load_config("cifar_paper")
    assert (config.batch, config.epochs, config.optimizer.lr, config.optimizer.weight_decay) == (
        128,
        200,
        0.1,
        1e-4,
    )
    assert (config.schedule.name, config.schedule.at, config.schedule.factors) == (
        "step",
        (0.5, 0.75),
        (0.1, 0.1),
    )
    assert config.optimizer.decay == "l2"
    assert config.optimizer.momentum == 0.9


def test_the_original_experiment():
    config = load_config("cifar_original_resnet50")
    assert (config.model, config.batch, config.epochs) == ("se_resnet_50", 32, 150)
    assert (config.optimizer.name, config.optimizer.lr) == ("adam", 1e-3)
    assert config.schedule.at == (80, 120, 160, 180)
    assert config.schedule.factors == (0.1, 0.1, 0.1, 0.5)


def test_overrides_reach_nested_keys_with_their_types():
    config = load_config(
        "digits",
        ["optimizer.lr=5e-2", "data.train_limit=null", "schedule.at=[3, 4]", "model_options.se.ratio=8"],
    )
    assert config.optimizer.lr == 0.05
    assert config.data.train_limit is None
    assert config.schedule.at == (3, 4)
    assert config.model_options == {"se": {"ratio": 8}}
    assert load_config("digits", epochs=7, model=None).epochs == 7


def test_a_recipe_file_is_read_by_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"model": "resnet_20_cifar", "epochs": 3}))
    assert load_config(path).epochs == 3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lrr=1", ["optimizer.lrr", "no such key", "'lr'"]),
        ("epoch=3", ["epoch", "'epochs'"]),
        ("data.sorce=x", ["data.sorce", "'source'"]),
        ("optimizer.lr=-1", ["optimizer.lr", "greater than 0", "-1"]),
        ("optimizer.name=sdg", ["optimizer.name", "sdg"]),
        ("schedule.at=[0.9, 0.1]", ["schedule", "rise"]),
        ("schedule.factor=[0.1, 0.1, 0.1]", ["schedule", "factor"]),
        ("epochs.x=1", ["epochs", "value"]),
        ("epochs", ["key.key=value", "epochs"]),
        ("epochs=[", ["YAML"]),
    ],
)
def test_a_wrong_override_is_named(override, words):
    with pytest.raises(ConfigError) as error:
        load_config("digits", [override])
    for word in words:
        assert word in str(error.value)


def test_an_unknown_recipe_gets_the_nearest_name():
    with pytest.raises(ConfigError, match="'cifar_paper'"):
        load_config("cifar_papr")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config("nowhere.yaml")


@pytest.mark.parametrize("text", ["- a list", "a: [", "just a text"])
def test_a_recipe_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_config(path)


def test_adamw_is_decoupled():
    assert make_config({"model": "x", "optimizer": {"name": "adamw"}}).optimizer.decay == "decoupled"
    with pytest.raises(ConfigError, match="adamw"):
        make_config({"model": "x", "optimizer": {"name": "adamw", "decay": "l2"}})


def test_a_config_cannot_be_changed_in_place():
    config = load_config("digits")
    with pytest.raises(ValueError, match="frozen"):
        config.epochs = 3
