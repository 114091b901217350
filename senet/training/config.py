"""Recipes: frozen, validated configuration of a run, read from YAML, changed by `key.key=value`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from senet.data.config import DataConfig
from senet.errors import did_you_mean

RECIPES = resources.files("senet.training") / "recipes"


class ConfigError(ValueError):
    """A recipe or an override that does not fit; the message names every place."""


class Config(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Optimizer(Config):
    """Update rule.

    Weight decay leaves BatchNorm and biases out. "l2" adds `weight_decay × w` to the gradient, as Caffe and
    PyTorch's SGD do (so momentum and Adam's scaling act on it); "decoupled" shrinks the weight by
    `lr × weight_decay` beside the update (Loshchilov and Hutter 2019).
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = pydantic.Field(0.1, gt=0)  # peak learning rate
    momentum: float = pydantic.Field(0.9, ge=0, lt=1)  # SGD only
    nesterov: bool = False  # SGD only
    beta_1: float = pydantic.Field(0.9, ge=0, lt=1)  # Adam only
    beta_2: float = pydantic.Field(0.999, ge=0, lt=1)  # Adam only
    epsilon: float = pydantic.Field(1e-8, gt=0)  # Adam only
    weight_decay: float = pydantic.Field(1e-4, ge=0)
    decay: Literal["l2", "decoupled"] = "l2"

    @pydantic.model_validator(mode="before")
    @classmethod
    def adamw_is_decoupled(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("name") == "adamw":
            if values.get("decay", "decoupled") != "decoupled":
                raise ValueError("adamw is decoupled by definition; use name: adam for L2")
            return {**values, "decay": "decoupled"}
        return values


class Schedule(Config):
    """Learning rate over the run, as a multiple of the optimiser's `lr`; it changes every step.

    `warmup_epochs` rise linearly from 0 to the peak. Then: "constant"; "step": times `factor` at each of
    `at`; "cosine": down to `final`; "one_cycle": linear up for the share `rise` of the run, then cosine down
    to `final` (Smith 2018; warm-up is part of it). `at` below 1 is a share of the run, else an epoch.
    """

    name: Literal["constant", "step", "cosine", "one_cycle"] = "cosine"
    warmup_epochs: float = pydantic.Field(0.0, ge=0)
    at: tuple[float, ...] = (0.5, 0.75)
    factor: float | tuple[float, ...] = 0.1  # one for all, or one for each of `at`
    rise: float = pydantic.Field(0.3, gt=0, lt=1)
    final: float = pydantic.Field(0.0, ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def steps_fit(self) -> Schedule:
        if any(at <= 0 for at in self.at) or list(self.at) != sorted(self.at):
            raise ValueError(f"`at` must rise and be above 0; received {self.at}")
        if isinstance(self.factor, tuple) and len(self.factor) != len(self.at):
            raise ValueError(f"`factor` needs one number, or one for each of the {len(self.at)} in `at`")
        return self

    @property
    def factors(self) -> tuple[float, ...]:
        """The factor at each of `at`."""
        return self.factor if isinstance(self.factor, tuple) else (self.factor,) * len(self.at)


class TrainConfig(Config):
    """Everything that decides what a run computes; two runs with equal configs give equal results."""

    model: str
    model_options: dict[str, Any] = {}  # spec changes, such as {"se": {"ratio": 8}}
    data: DataConfig = DataConfig()
    epochs: int = pydantic.Field(200, ge=1)
    batch: int = pydantic.Field(128, ge=1)
    seed: int = pydantic.Field(0, ge=0)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    keep_checkpoints: int = pydantic.Field(2, ge=1)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(Path(str(entry)).stem for entry in RECIPES.iterdir() if entry.name.endswith(".yaml"))


def load_config(recipe: str | Path, overrides: list[str] | None = None, **fields: Any) -> TrainConfig:
    """A recipe by name or path, with changes on top.

    `overrides` are texts such as "optimizer.lr=0.05" (the value is YAML: numbers, lists, null); `fields`
    replace whole top-level fields, None meaning "as the recipe has it". Raises ConfigError.
    """
    values = read_recipe(recipe)
    for override in overrides or []:
        apply_override(values, override)
    values.update({key: value for key, value in fields.items() if value is not None})
    return make_config(values)


def make_config(values: dict[str, Any]) -> TrainConfig:
    """The validated config; ConfigError names each wrong place, with the nearest key for an unknown one."""
    try:
        return TrainConfig(**values)
    except pydantic.ValidationError as error:
        raise ConfigError("\n".join(describe(problem) for problem in error.errors())) from None


def read_recipe(recipe: str | Path) -> dict[str, Any]:
    """The mapping in a recipe file."""
    path = Path(recipe)
    if path.suffix not in (".yaml", ".yml"):
        if str(recipe) not in recipe_names():
            raise ConfigError(
                f"The recipe must be one of {', '.join(recipe_names())}, or the path of a .yaml file. "
                f"Received: {str(recipe)!r}.{did_you_mean(str(recipe), recipe_names())}"
            )
        text = (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise ConfigError(f"The recipe file does not exist: {path}")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"The recipe {recipe} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"The recipe {recipe} must be a mapping of keys to values.")
    return values


def apply_override(values: dict[str, Any], override: str) -> None:
    """Put "a.b=c" into nested `values`."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"An override is written key.key=value. Received: {override!r}.")
    *parents, last = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{key!r}: {parent!r} is a value, it has no keys of its own.")
    try:
        values[last] = number(yaml.safe_load(text))
    except yaml.YAMLError:
        raise ConfigError(f"The value of {key!r} is not valid YAML: {text!r}.") from None


def number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as a text; people mean the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def describe(problem: Any) -> str:
    """One line for one validation error of pydantic."""
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] != "extra_forbidden":
        received = "" if problem["type"] == "missing" else f" Received: {problem['input']!r}."
        return f"{where or 'recipe'}: {problem['msg']}.{received}"
    owner: Any = TrainConfig
    for part in problem["loc"][:-1]:
        owner = owner.model_fields[part].annotation
    known = list(owner.model_fields)
    key = str(problem["loc"][-1])
    return f"{where}: there is no such key.{did_you_mean(key, known)} Keys here: {', '.join(known)}."
