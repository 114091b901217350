"""The report of a grid: Markdown, curves, and the same table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from senet.bench.cifar import read_records, summarize_notes
from senet.bench.statistics import (
    Paired,
    Records,
    Summary,
    by_model,
    compare,
    levels,
    pairs,
    summarize,
    time_to,
)
from senet.files import read_json, write_text
from senet.training.curves import Group, draw_curves

COLUMNS = (
    "Network",
    "Parameters",
    "Multiply-adds",
    "Test error, %",
    "Test loss",
    "Seconds an epoch",
    "Seconds of training",
    "Peak memory, MiB",
)


def write_report(out: Path, title: str) -> list[Path]:
    """Draw the curves and write report.md from the records in `out`; the files written, report first."""
    records = read_records(out)
    note = read_json(out / "grid.json")["note"]
    pictures = draw(records, out, title)
    text = "\n".join(
        [
            f"# {title}",
            "",
            f"{summarize_notes(records)}. {note}".rstrip(),
            "",
            "Test data are read once, after the last epoch; the curves and the times below are on the "
            "validation images. ± is the sample standard deviation over seeds.",
            "",
            *markdown_table(COLUMNS, [cells(row) for row in summarize(records)]),
            "",
            *differences(compare(records)),
            *(line for picture in pictures for line in (f"![{picture.stem}]({picture.name})", "")),
            *convergence(records),
            *provenance(records),
        ]
    )
    write_text(out / "report.md", text.rstrip() + "\n")
    return [out / "report.md", *pictures]


def draw(records: Records, out: Path, title: str) -> list[Path]:
    """One picture for each pair of networks, or one of all where there is no pair."""
    groups = {
        model: Group(label=model, runs=[run["metrics"] for run in runs])
        for model, runs in by_model(records).items()
    }
    seeds = len({run["result"]["seed"] for run in records})
    suffix = f"mean and range of {seeds} seeds" if seeds > 1 else "one seed"
    pictures = []
    together = [[twin, model] for model, twin in pairs(records)] or [list(groups)]
    for names in together:
        path = out / f"curves_{names[-1]}.png"
        draw_curves([groups[name] for name in names], path, title=f"{title}: {suffix}")
        pictures.append(path)
    return pictures


def cells(row: Summary) -> list[str]:
    """A summary as the text of its columns."""
    spread = "" if math.isnan(row.error_std) else f" ± {row.error_std:.2f}"
    return [
        row.model,
        f"{row.parameters:,}",
        f"{row.multiply_adds / 1e6:,.1f} M",
        f"{row.error:.2f}{spread} (n={len(row.seeds)})",
        f"{row.loss:.3f}",
        f"{row.seconds_per_epoch:,.1f}",
        f"{row.seconds:,.0f}",
        f"{row.peak_memory_mib:,.0f}",
    ]


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; every column but the first is set right."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (columns, rule, *rows)]


def differences(rows: Sequence[Paired]) -> list[str]:
    """A sentence for each pair: what SE changed, and whether the seeds can tell."""
    lines = []
    for row in rows:
        text = (
            f"**{row.model} against {row.twin}**: test error {row.difference:+.2f} percentage points, "
            f"paired over {len(row.seeds)} seed{'s' * (len(row.seeds) > 1)}"
        )
        if not math.isnan(row.low):
            verdict = (
                "SE is better"
                if row.high < 0
                else "SE is worse"
                if row.low > 0
                else "these seeds cannot tell the two apart"
            )
            text += f" (95 % interval {row.low:+.2f} to {row.high:+.2f}): {verdict}"
        lines += [f"{text}.", ""]
    return lines


def convergence(records: Records) -> list[str]:
    """Epochs and seconds to given validation accuracies."""
    rows = [
        [
            f"{level:.0%}",
            hit.model,
            f"{hit.reached} of {hit.seeds}",
            "–" if math.isnan(hit.epochs) else f"{hit.epochs:.1f}",
            "–" if math.isnan(hit.seconds) else f"{hit.seconds:,.0f}",
        ]
        for level in levels(records)
        for hit in time_to(records, level)
    ]
    if not rows:
        return []
    columns = (
        "Validation accuracy",
        "Network",
        "Seeds that reached it",
        "Epochs, mean",
        "Seconds of training, mean",
    )
    return ["## Time to reach an accuracy", "", *markdown_table(columns, rows), ""]


def provenance(records: Records) -> list[str]:
    """Machine, versions, commits and the command that makes the report again."""
    facts: dict[str, list[Any]] = {}
    for record in records:
        environment = record["environment"]
        machine, versions = environment["machine"], environment["versions"]
        seen = {
            "Machine": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
            f"accelerators: {', '.join(machine['accelerators']) or 'none'}",
            "Engine": environment["engine"],
            "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
            "Commit": environment["commit"] or "an installed package",
            "Finished": record["result"]["finished"][:10],
        }
        for key, value in seen.items():
            facts.setdefault(key, [])
            facts[key] += [value] if value not in facts[key] else []
    lines = [f"- {key}: {'; '.join(values)}" for key, values in facts.items()]
    return [
        "## Where the numbers come from",
        "",
        *lines,
        "- Every run: the JSON files beside this report",
        "",
    ]
