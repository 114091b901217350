"""What `senet doctor` looks at and prints."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from senet import doctor
from senet.data import AugmentConfig, Dataset, cache_folder, load_data
from senet.doctor import Finding, Sample
from senet.errors import did_you_mean
from senet.training import environment
from senet.training.config import TrainConfig, load_config, recipe_names
from senet.training.fit import build, normalised_as, precision
from senet.weights import catalogue
from senet.zoo import MODELS, create_model

BATCHES, IMAGES = 8, 512  # of a sample, at most, but at least two batches
LITTLE_MEMORY, LITTLE_DISK = 4.0, 5.0  # GiB
COLOURS = {"ok": "green", "warning": "yellow", "wrong": "bold red"}


def diagnose(target: str | None, overrides: Sequence[str]) -> list[Finding]:
    """The findings on a recipe, a network, or without either on the machine.

    ValueError for a target that is none of them.
    """
    if target is None:
        return of_environment()
    if target in MODELS:
        return of_model(target)
    if target not in recipe_names() and Path(target).suffix not in (".yaml", ".yml"):
        known = [*recipe_names(), *MODELS]
        raise ValueError(
            "Give a recipe, by its name or the path of a .yaml file, or a network of `senet list`. "
            f"Received: {target!r}.{did_you_mean(target, known)}"
        )
    return of_recipe(load_config(target, list(overrides)))


def of_environment() -> list[Finding]:
    """Engine, versions, accelerators, memory, and room for the cache."""
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions().items())
    return [
        Finding("engine", "ok", f"{environment.engine()}; {versions}"),
        doctor.check_devices(1, environment.accelerators()[:1]),
        doctor.check_data_format(),
        of_memory(),
        of_disk(cache_folder()),
    ]


def of_memory() -> Finding:
    """Main memory that is free now."""
    import psutil

    free = psutil.virtual_memory().available / 2**30
    text = f"{free:.1f} GiB of {environment.memory_gib():.1f} are free"
    if free < LITTLE_MEMORY:
        return Finding(
            "memory", "warning", f"{text}: use a small batch, and data.streaming=true for folders."
        )
    return Finding("memory", "ok", f"{text}.")


def of_disk(cache: Path) -> Finding:
    """Room where downloads, unpacked archives and decoded images are kept."""
    present = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(present).free / 2**30
    text = f"{free:,.0f} GiB are free at {cache}"
    if free < LITTLE_DISK:
        return Finding("cache", "warning", f"{text}: set SENET_CACHE to a folder with more.")
    return Finding("cache", "ok", f"{text}.")


def of_model(model: str) -> list[Finding]:
    """A network as it is built for training, and the preprocessing of its default weights."""
    network = create_model(model, classifier_activation=None)
    tag = catalogue.DEFAULT_TAGS.get(model)
    own = [doctor.check_units(catalogue.find(tag).preprocess)] if tag else []
    spec = MODELS[model]
    return [
        doctor.check_data_format(),
        doctor.check_head(network, spec.classes),
        doctor.check_batchnorm(network),
        doctor.check_stem(model, {}, spec.image_size),
        doctor.check_precision(network),
        *own,
    ]


def of_recipe(config: TrainConfig) -> list[Finding]:
    """A recipe with the first of its images and its network; what cannot be loaded or built is a finding."""
    findings = [
        doctor.check_data_format(),
        doctor.check_learning_rate(config.optimizer, config.batch, pretrained=config.weights is not None),
        doctor.check_devices(config.batch, environment.accelerators()),
    ]
    part = "data"
    try:
        data = load_data(unvaried(config).data.resolved())
        part = "network"
        with precision(config.precision):
            network = build(config, data)
        part = "data"
        data = normalised_as(network, data)
        sample = take_sample(config, data)
    except (ValueError, OSError, ImportError) as error:
        return [*findings, Finding(part, "wrong", str(error))]
    return [*findings, *of_data(config, data, sample), *of_network(config, data, network)]


def unvaried(config: TrainConfig) -> TrainConfig:
    """The config with images as they are, read in this process."""
    plain = {"augment": AugmentConfig(crop="none", flip=False), "workers": 0}
    return config.model_copy(update={"data": config.data.model_copy(update=plain)})


def take_sample(config: TrainConfig, data: Dataset) -> Sample:
    """The first training batches."""
    count = max(2, min(BATCHES, IMAGES // config.batch))
    batches = data.training(config.batch, config.seed).stream()
    taken = list(itertools.islice(batches, count))
    images = np.concatenate([images for images, _ in taken])
    return Sample(images=images, batches=[labels for _, labels in taken], preprocess=data.preprocess)


def of_data(config: TrainConfig, data: Dataset, sample: Sample) -> list[Finding]:
    """The checks of images and labels."""
    pixels = sample.pixels
    return [
        doctor.check_units(sample.preprocess),
        doctor.check_pixels(pixels),
        doctor.check_deviation(sample.preprocess, pixels),
        doctor.check_channel_order(sample.preprocess, pixels),
        doctor.check_classes(sample.batches),
        doctor.check_label_order(data.class_names, config.weights),
    ]


def of_network(config: TrainConfig, data: Dataset, network: keras.Model) -> list[Finding]:
    """The checks of the network on these data."""
    steps = data.train_images // config.batch * config.epochs
    return [
        doctor.check_head(network, data.classes),
        doctor.check_batchnorm(network, steps),
        doctor.check_stem(config.model, config.model_options, min(data.image_shape[:2])),
        doctor.check_precision(network),
    ]


def print_findings(findings: Sequence[Finding]) -> None:
    """A line a finding, what is wrong last and so next to the prompt, and how many there are."""
    grid = Table.grid(padding=(0, 2))
    order = list(COLOURS)
    for finding in sorted(findings, key=lambda finding: order.index(finding.level)):
        grid.add_row(Text(finding.level, COLOURS[finding.level]), finding.check, Text(finding.text))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200)
    console.print(grid)
    counts = {level: sum(finding.level == level for finding in findings) for level in order}
    console.print(
        f"{counts['ok']} ok, {counts['warning']} to look at, {counts['wrong']} wrong.", highlight=False
    )


def any_wrong(findings: Sequence[Finding]) -> bool:
    """Whether something must be mended."""
    return any(finding.level == "wrong" for finding in findings)
