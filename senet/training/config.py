"""Recipes: frozen, validated configuration of a run, read from YAML, changed by `key.key=value`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

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

    name: Literal["sgd", "adam", "adamw", "lamb"] = "sgd"
    lr: float = pydantic.Field(0.1, gt=0)  # peak learning rate
    lr_batch: int | None = pydantic.Field(None, ge=1)  # the batch that `lr` is for; see `peak`
    layer_decay: float = pydantic.Field(1.0, gt=0, le=1)  # of the learning rate, a block down
    accumulate: int = pydantic.Field(1, ge=1)  # steps whose mean gradient makes one update
    clip_norm: float | None = pydantic.Field(None, gt=0)  # of all gradients together
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

    def peak(self, batch: int | None) -> float:
        """The peak learning rate: `lr`, or `lr × images in an update / lr_batch` where `lr_batch` is given.

        The linear rule of Goyal et al. 2017, arXiv:1706.02677. Images in an update are `batch × accumulate`.
        """
        if self.lr_batch is None or batch is None:
            return self.lr
        return self.lr * batch * self.accumulate / self.lr_batch


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


class Phase(Config):
    """What changes from epoch `epoch` on, counted from 0; a run begins with one at 0.

    - `train`: which layers learn, as shell patterns of their names ("stage4*", "classifier"). The others keep
      their weights, and their BatchNorm its statistics.
    - `freeze_batchnorm`: no BatchNorm learns, and each normalises with its moving statistics, as in the last
      epochs of SENet-154's training.
    - `image_size`: side of the training images in pixels, None for the data's own; a network trained on small
      images first costs less (progressive resizing).
    """

    epoch: int = pydantic.Field(0, ge=0)
    train: tuple[str, ...] = pydantic.Field(("*",), min_length=1)
    freeze_batchnorm: bool = False
    image_size: int | None = pydantic.Field(None, ge=8)


class Speed(Config):
    """How the steps are run; results agree to rounding whatever is chosen here.

    - `steps_per_execution`: steps between two looks of Python at the training; 1 on PyTorch.
    - `jit`: compile with XLA. None, by default: what `senet.training.environment.jit_compile` says.
    - `gradient_checkpointing`: keep the activations at the ends of blocks only, and compute those inside
      again for the gradient: less memory for more time.
    """

    steps_per_execution: int = pydantic.Field(1, ge=1)
    jit: bool | None = None
    gradient_checkpointing: bool = False


class CheckpointRule(Config):
    """Which states of a run are kept.

    After every epoch, and within it every `steps` steps (0: never); the last `keep` of them, and the one of
    the best validation accuracy (None where nothing is held out).
    """

    steps: int = pydantic.Field(0, ge=0)
    keep: int = pydantic.Field(2, ge=1)


class TrainConfig(Config):
    """Everything that decides what a run computes; two runs with equal configs give equal results."""

    model: str
    model_options: dict[str, Any] = {}  # spec changes, such as {"se": {"ratio": 8}}
    weights: str | None = None  # where training starts: a tag of `senet list --weights`, or a weights file
    data: DataConfig = DataConfig()
    epochs: int = pydantic.Field(200, ge=1)
    batch: int = pydantic.Field(128, ge=1)  # images a step, over all devices and processes
    seed: int = pydantic.Field(0, ge=0)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    phases: tuple[Phase, ...] = (Phase(),)
    loss: Literal["crossentropy", "binary_crossentropy"] = "crossentropy"
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    ema: float | None = pydantic.Field(None, gt=0, lt=1)  # keep of the averaged weights from step to step
    sync_batchnorm: bool = False  # statistics over all devices (on JAX they always are)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    speed: Speed = Speed()
    checkpoints: CheckpointRule = CheckpointRule()

    @pydantic.model_validator(mode="after")
    def phases_fit(self) -> TrainConfig:
        epochs = [phase.epoch for phase in self.phases]
        if not epochs or epochs[0] != 0 or epochs != sorted(set(epochs)) or epochs[-1] >= self.epochs:
            raise ValueError(
                f"`phases` must begin at epoch 0 and rise, the last below `epochs`={self.epochs}; "
                f"received epochs {epochs}"
            )
        return self

    def phase_at(self, epoch: int) -> Phase:
        """The phase that epoch `epoch`, counted from 0, is in."""
        return [phase for phase in self.phases if phase.epoch <= epoch][-1]


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
        if isinstance(part, str):  # a number is a place in a list, whose elements are the owner already
            owner = record_in(owner.model_fields[part].annotation)
    known = list(owner.model_fields)
    key = str(problem["loc"][-1])
    return f"{where}: there is no such key.{did_you_mean(key, known)} Keys here: {', '.join(known)}."


def record_in(annotation: Any) -> Any:
    """The record that a field holds, alone, or as one of several (`tuple[Phase, ...]`, `Phase | None`)."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := record_in(part))), None)
