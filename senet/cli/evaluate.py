"""What `senet evaluate` opens, prints and writes."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from filelock import FileLock

from senet.cli.tables import print_table, shown
from senet.confusion import draw_confusion
from senet.data.config import DataConfig
from senet.data.preprocess import Preprocess
from senet.data.stream import StreamDataset
from senet.errors import did_you_mean
from senet.evaluate import Evaluation, Scored, Subject, open_run, open_weights, score
from senet.files import write_text
from senet.scores import confusion, per_class
from senet.training.environment import engine
from senet.weights import catalogue
from senet.zoo import MODELS, find_weights, is_file, pinned_spec

TIMM_COLUMNS = (  # of timm's results/results-imagenet.csv; percent, millions of parameters
    "model",
    "img_size",
    "top1",
    "top1_err",
    "top5",
    "top5_err",
    "param_count",
    "crop_pct",
    "interpolation",
)
OWN_COLUMNS = (
    "weights",
    "engine",
    "data",
    "images",
    "loss",
    "ece",
    "ten_crop",
    "preprocess_hash",
    "date",
)
COLUMNS = (*TIMM_COLUMNS, *OWN_COLUMNS)
HASH_DIGITS = 12


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """One target's scores with all that the tables and files say of it."""

    subject: Subject
    scored: Scored
    ten_crop: bool

    @property
    def evaluation(self) -> Evaluation:
        return self.scored.evaluation

    @property
    def unreadable(self) -> int:
        """Images that were left out."""
        return len(self.subject.data.report)


def run_evaluation(
    targets: Sequence[str],
    weights: str | None,
    source: str | None,
    *,
    batch: int,
    ten_crop: bool,
    which: str = "last",
) -> Iterator[Outcome]:
    """The scores of each target, one after another, so that the networks are not held together.

    ValueError, before any is scored, for a target that is none.
    """
    if batch < 1:
        raise ValueError(f"`--batch-size` must be at least 1. Received: {batch}.")
    for target in targets:
        check_target(target, weights)
    for target in targets:
        subject = open_target(target, weights, source, which)
        yield Outcome(subject=subject, scored=score(subject, batch, ten_crop=ten_crop), ten_crop=ten_crop)


def check_target(target: str, weights: str | None) -> None:
    """ValueError unless `target` is the folder of a run, a weight tag, or with `weights` a network's name."""
    if target in MODELS:
        if weights is None or is_file(weights):
            raise ValueError(
                f"{target!r} is a network: say which weights of it, --weights TAG, or --weights imagenet for "
                f"its default ones. Received: {weights or 'none'}."
            )
        pinned_spec(target, find_weights(target, weights))
    elif weights is not None:
        raise ValueError(
            f"--weights goes with the name of a network. Received: {target!r}. "
            f"Did you mean `senet evaluate {weights}`?{did_you_mean(target, MODELS)}"
        )
    elif target not in catalogue.entries() and not Path(target).exists():
        known = [*catalogue.entries(), *MODELS]
        raise ValueError(
            "A target must be the folder of a finished run, or a tag of `senet list --weights`. "
            f"Received: {target!r}.{did_you_mean(target, known)}"
        )


def open_target(target: str, weights: str | None, source: str | None, which: str = "last") -> Subject:
    """The network and the images that a target names; `which` network, where the target is a run."""
    if target in MODELS:
        return open_weights(find_weights(target, str(weights)).tag, source, target)
    if target in catalogue.entries():
        return open_weights(target, source)
    return open_run(target, DataConfig(source=source) if source else None, which)


# Files


def check_files(targets: Sequence[str], *files: Path | None) -> None:
    """ValueError where several targets would write one picture or table."""
    if len(targets) > 1 and any(files):
        raise ValueError(
            f"--confusion and --per-class are for one target. Received: {len(targets)}. "
            "Score them one by one, or leave the files out."
        )


def write_files(outcome: Outcome, table: Path | None, picture: Path | None, classes: Path | None) -> None:
    """A row of the table, the picture of the confusions and the table of the classes, where asked for."""
    scored, names = outcome.scored, outcome.subject.class_names
    if table is not None:
        append(table, outcome)
    if picture is not None:
        draw(outcome, picture)
    if classes is not None:
        rows = per_class(scored.said, scored.labels, names)
        write_text(classes, csv_text(rows[0], rows))


def draw(outcome: Outcome, picture: Path) -> None:
    """What is taken for what, of the classes that have images."""
    names, evaluation = outcome.subject.class_names, outcome.evaluation
    present, counts = confusion(outcome.scored.said, outcome.scored.labels)
    if not counts[:, -1].any():
        counts = counts[:, :-1]
    right = f"{evaluation.top1:.2%} of {evaluation.images:,} images right"
    title = f"{evaluation.model} on {evaluation.data}: {right}"
    draw_confusion(counts, [names[index] for index in present], picture, title=title)


def append(path: Path, outcome: Outcome) -> None:
    """Add a row to the CSV at `path`; the header comes with the first.

    The whole file is replaced, so a process that is killed leaves the old one, and two processes at once
    both have their row. ValueError for a file with other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        header = next(csv.reader(text.splitlines()), None)
        if header not in (None, list(COLUMNS)):
            raise ValueError(
                f"{path} has other columns than `senet evaluate` writes; choose another file. "
                f"Received: {', '.join(header or [])}."
            )
        new = csv_text(COLUMNS, [csv_row(outcome)], header=header is None)
        write_text(path, (text if not text or text.endswith("\n") else text + "\n") + new)


def csv_row(outcome: Outcome) -> dict[str, Any]:
    """timm's columns, in percent and millions, then ours."""
    subject, found = outcome.subject, outcome.evaluation
    fraction, filter = geometry(subject)
    size = subject.data.image_shape[0]
    return {
        "model": subject.model,
        "img_size": size,
        "top1": percent(found.top1, ".3f"),
        "top1_err": percent(1 - found.top1, ".3f"),
        "top5": percent(found.top5, ".3f"),
        "top5_err": percent(1 - found.top5, ".3f"),
        "param_count": f"{parameters(subject.network) / 1e6:.2f}",
        "crop_pct": f"{fraction:.3f}",
        "interpolation": filter,
        "weights": subject.weights,
        "engine": engine(),
        "data": found.data,
        "images": found.images,
        "loss": f"{found.loss:.6f}",
        "ece": f"{found.ece:.6f}",
        "ten_crop": outcome.ten_crop,
        "preprocess_hash": preprocess_hash(subject.data.preprocess),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def parameters(network: keras.Model) -> int:
    """What training changes, without BatchNorm's moving statistics: timm counts so."""
    return sum(math.prod(variable.shape) for variable in network.trainable_variables)


def percent(share: float, form: str) -> str:
    """A share as percent; nothing for nan, the top-5 of five classes."""
    return "" if math.isnan(share) else f"{100 * share:{form}}"


def geometry(subject: Subject) -> tuple[float, str]:
    """(share of the short side that is cut out, filter of the resize); 1 and "" where nothing is done."""
    data = subject.data
    if isinstance(data, StreamDataset):
        cut = data.geometry()
        return cut.side / cut.short, cut.filter
    return 1.0, ""


def preprocess_hash(preprocess: Preprocess) -> str:
    """The first digits of a SHA-256 of all that is done to an image: equal for equal preparation."""
    text = json.dumps(dataclasses.asdict(preprocess), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def csv_text(columns: Iterable[str], rows: Sequence[Mapping[str, Any]], *, header: bool = True) -> str:
    """Rows as CSV, numbers in full."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# Terminal


def record(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain data, without its network."""
    return {
        **dataclasses.asdict(outcome.evaluation),
        "weights": outcome.subject.weights,
        "ten_crop": outcome.ten_crop,
        "unreadable": outcome.unreadable,
        "published": published(outcome.subject),
    }


def published(subject: Subject) -> dict[str, float | None] | None:
    """The source's own errors in percent; None for a run, and for images of only some of the classes."""
    entry = catalogue.entries().get(subject.weights)
    if entry is None or subject.data.classes != entry.classes:
        return None
    return {"top1_error": entry.top1_error, "top5_error": entry.top5_error}


def print_records(records: Sequence[Mapping[str, Any]]) -> None:
    """A sentence for one run, a table for all else."""
    if len(records) == 1 and records[0]["weights"] not in catalogue.entries():
        text = "{model} on {data}: top-1 {top1:.2%}, top-5 {top5:.2%}, loss {loss:.4f} ({images:,} images)"
        print(text.format(**records[0]))
        return
    columns = ("Weights", "Data", "Images", "Top-1 error", "Top-5 error", "Published", "Loss", "ECE")
    crops = ", ten crops" if records[0]["ten_crop"] else ""
    print_table(columns, [cells(row) for row in records], title=f"Errors in percent{crops}")


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A record as the text of its columns."""
    source = row["published"] or {}
    errors = [shown(source.get(key), ".2f", "") for key in ("top1_error", "top5_error")]
    return (
        row["weights"],
        row["data"],
        f"{row['images']:,}",
        percent(1 - row["top1"], ".2f"),
        percent(1 - row["top5"], ".2f"),
        " / ".join(error for error in errors if error),
        f"{row['loss']:.3f}",
        f"{row['ece']:.3f}",
    )
