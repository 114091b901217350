"""What `senet runs` prints."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from senet.cli.tables import print_table
from senet.files import read_json
from senet.runs import Run, differences, short_names, shown_value
from senet.training.run_folder import RunFolder

Rows = list[tuple[str, ...]]

METRIC_ROWS = (
    ("Training accuracy", "accuracy", ".2%"),
    ("Training loss", "loss", ".4f"),
    ("Validation accuracy", "val_accuracy", ".2%"),
    ("Validation loss", "val_loss", ".4f"),
    ("Averaged weights, validation", "ema_val_accuracy", ".2%"),
    ("Learning rate", "learning_rate", ".3g"),
    ("Images a second", "images_per_second", ",.0f"),
)
BEST_ROWS = (
    ("Best validation accuracy", "val_accuracy", ".2%"),
    ("… at epoch", "epoch", ".0f"),
)
RESULT_ROWS = (
    ("Test accuracy", "test_accuracy", ".2%"),
    ("Test loss", "test_loss", ".4f"),
    ("Averaged weights, test", "ema_test_accuracy", ".2%"),
    ("Trainable parameters", "trainable_parameters", ",d"),
    ("Multiply-adds", "multiply_adds", ",d"),
    ("Seconds an epoch", "seconds_per_epoch", ",.1f"),
    ("Seconds of training", "seconds", ",.0f"),
    ("Peak memory, MiB", "peak_memory_mib", ",.0f"),
)
FILES = (
    "model",
    "best",
    "averaged",
    "metrics",
    "curves",
    "tensorboard",
    "checkpoints",
    "config",
    "environment",
)


def print_list(runs: Sequence[Run]) -> None:
    """A row a run; one that is going on was written to not longer ago than an epoch takes."""
    columns = ("Run", "Network", "Data", "Seed", "Epochs", "Validation", "Test", "Written")
    rows = [
        (
            str(run.folder),
            run.config.model,
            Path(run.config.data.source).name,
            f"{run.config.seed}",
            f"{len(run.metrics)}/{run.config.epochs}",
            figure(run.best, "val_accuracy", ".2%"),
            figure(run.result, "test_accuracy", ".2%") or "unfinished",
            f"{age(run.updated)} ago",
        )
        for run in runs
    ]
    print_table(columns, rows)


def age(then: datetime.datetime) -> str:
    """The time since then: "12 s", "5 min", "3 h", "2 days"."""
    seconds = (datetime.datetime.now(datetime.timezone.utc) - then).total_seconds()
    for limit, unit, name in ((60, 1, "s"), (3600, 60, "min"), (2 * 86400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.0f} days"


def figure(row: Mapping[str, Any] | None, key: str, form: str) -> str:
    """A number of a row, or nothing."""
    value = (row or {}).get(key)
    return "" if value is None else f"{value:{form}}"


def comparison(runs: Sequence[Run]) -> dict[str, Any]:
    """What differs between runs, and their numbers, as plain data: lists in the order of the runs."""
    return {
        "runs": [str(run.folder) for run in runs],
        "config": differences(runs),
        "environment": environment_differences(runs),
        "last": [run.last for run in runs],
        "best": [run.best for run in runs],
        "results": [run.result for run in runs],
    }


def environment_differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The facts of machine and versions that differ."""
    facts = [environment_facts(run) for run in runs]
    keys = dict.fromkeys(key for each in facts for key in each)
    rows = {key: [each.get(key, "none") for each in facts] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def environment_facts(run: Run) -> dict[str, str]:
    """Engine, versions, commit and machine of a run, as text."""
    environment = run.environment
    if not environment:
        return {}
    machine = environment["machine"]
    return {
        "engine": environment["engine"],
        **environment["versions"],
        "commit": (environment["commit"] or "an installed package")[:12],
        "processor": f"{machine['processor']}, {machine['cores']} cores",
        "accelerators": ", ".join(machine["accelerators"]) or "none",
    }


def print_comparison(runs: Sequence[Run]) -> None:
    """The config's differences, then the last and the best epoch and the results side by side."""
    names = short_names(runs)
    config = [(key, *map(shown_value, values)) for key, values in differences(runs).items()]
    config += [(key, *values) for key, values in environment_differences(runs).items()]
    if config:
        print_table(("Differs", *names), config)
    else:
        print("The configs are equal, and so are machine and versions.")
    rows: Rows = [("Epochs", *(f"{len(run.metrics)} of {run.config.epochs}" for run in runs))]
    rows += figures(METRIC_ROWS, [run.last for run in runs])
    rows += figures(BEST_ROWS, [run.best for run in runs])
    rows += figures(RESULT_ROWS, [run.result for run in runs])
    print_table(("Last epoch, and results", *names), [row for row in rows if any(row[1:])])


def figures(wanted: Sequence[tuple[str, str, str]], rows: Sequence[Mapping[str, Any] | None]) -> Rows:
    """For each (label, key, format) a row of that number of all runs."""
    return [(label, *(figure(row, key, form) for row in rows)) for label, key, form in wanted]


# One run


def print_run(run: Run) -> None:
    """The final summary of a run, a line a matter."""
    parts: dict[str, Callable[[Run], str]] = {
        "State": state_text,
        "Network": network_text,
        "Data": data_text,
        "Training": training_text,
        "Last epoch": lambda run: epoch_text(run.last),
        "Best epoch": lambda run: epoch_text(run.best),
        "Averaged": averaged_text,
        "Test": lambda run: result_text(run, "test"),
        "Cost": cost_text,
        "Machine": machine_text,
        "Files": files_text,
    }
    print(run.folder)
    for label, text in parts.items():
        found = text(run)
        if found:
            print(f"  {label:<11} {found}")


def state_text(run: Run) -> str:
    done = f"{len(run.metrics)} of {run.config.epochs} epochs, seed {run.config.seed}"
    if run.result is None:
        return f"unfinished, last written to {age(run.updated)} ago: {done}"
    return f"finished {run.result['finished']}: {done}"


def network_text(run: Run) -> str:
    options = ", ".join(f"{key}={value}" for key, value in run.config.model_options.items())
    count = figure(run.result, "trainable_parameters", ",d")
    start = f"from {run.config.weights}" if run.config.weights else ""
    return "; ".join(filter(None, (run.config.model, options, start, count and f"{count} parameters")))


def data_text(run: Run) -> str:
    data, stored = run.config.data, RunFolder(run.folder).preprocess
    train = figure(run.result, "train_images", ",d")
    counts = [
        f"{train} training" if train else "",
        f"{data.validation:,} validation" if data.validation else "",
        f"{figure(run.result, 'test_images', ',d')} test" if run.result else "",
    ]
    images = ", ".join(filter(None, counts))
    classes = f"{len(read_json(stored)['class_names'])} classes" if stored.exists() else ""
    return "; ".join(filter(None, (data.source, images and f"{images} images", classes)))


def training_text(run: Run) -> str:
    config, optimizer = run.config, run.config.optimizer
    return (
        f"batch {config.batch}, {optimizer.name}, learning rate {optimizer.peak(config.batch):g} "
        f"({config.schedule.name}), weight decay {optimizer.weight_decay:g} ({optimizer.decay}), "
        f"{config.precision}"
    )


def epoch_text(row: Mapping[str, float] | None) -> str:
    """ "20: validation 98.0 %, loss 0.05; training 99.0 %, loss 0.03"."""
    if row is None:
        return ""
    text = f"training {row['accuracy']:.2%}, loss {row['loss']:.4f}"
    if "val_accuracy" in row:
        text = f"validation {row['val_accuracy']:.2%}, loss {row['val_loss']:.4f}; {text}"
    return f"{row['epoch']:.0f}: {text}"


def averaged_text(run: Run) -> str:
    """The averaged weights, where the run keeps such."""
    if run.config.ema is None:
        return ""
    validation, test = figure(run.last, "ema_val_accuracy", ".2%"), result_text(run, "ema_test")
    named = (validation and f"validation {validation}", test and f"test {test}")
    return "; ".join(filter(None, (f"keep {run.config.ema:g} a step", *named)))


def result_text(run: Run, prefix: str) -> str:
    """ "97.50%, loss 0.0841" of the test images, or nothing."""
    accuracy = figure(run.result, f"{prefix}_accuracy", ".2%")
    return accuracy and f"{accuracy}, loss {figure(run.result, f'{prefix}_loss', '.4f')}"


def cost_text(run: Run) -> str:
    """Seconds and memory of a finished run, the pace of one that is not."""
    if run.result is None:
        pace = figure(run.last, "images_per_second", ",.0f")
        return pace and f"{pace} images a second"
    return (
        f"{run.result['seconds_per_epoch']:,.1f} s an epoch, {run.result['seconds']:,.0f} s of training, "
        f"{run.result['peak_memory_mib']:,.0f} MiB at most"
    )


def machine_text(run: Run) -> str:
    """The processor, the accelerators and the engine."""
    facts = environment_facts(run)
    if not facts:
        return ""
    text = "{processor}; accelerators: {accelerators}; {engine}, Keras {keras}; commit {commit}"
    return text.format_map(facts)


def files_text(run: Run) -> str:
    """The names of the files and folders that there are, most wanted first."""
    folder = RunFolder(run.folder)
    paths = [getattr(folder, name) for name in FILES]
    return ", ".join(path.name for path in paths if path.exists())
