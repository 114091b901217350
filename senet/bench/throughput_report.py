"""What a speed comparison leaves: one result file, and a table, charts and a page that are made from it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from senet.bench.subjects import Subject
from senet.bench.throughput_statistics import (
    Ratio,
    Row,
    Spread,
    ceilings,
    gains,
    se_costs,
    summarize,
)
from senet.files import read_json, write_json, write_text
from senet.page import Picture, Section, Table, write_page
from senet.training.curves import COLOURS, new_figure, save_figure

RESULT = "throughput.json"
HOW_TO_READ = (
    "Every subject is a warm process of its own. In each round all have a short turn, one after the other, "
    "while the rest are idle; a turn begins with a step that is not timed. Quartiles and range are over "
    "rounds; ratios are taken round by round, so that what slows the machine slows both sides."
)
NO_ENERGY = "Energy: none, the machine has no powercap counter that this process may read."
CSV_COLUMNS = (
    *("source", "model", "task", "runtime", "engine", "variant", "precision", "batch", "asked_batch"),
    *("images_a_second", "lower_quartile", "upper_quartile", "least", "most", "rounds"),
    *("p50_ms", "p90_ms", "p99_ms", "steps", "start_seconds", "peak_mib", "joules_an_image"),
    "share_of_ceiling",
)


def write_results(result: dict[str, Any], out: Path, title: str) -> list[Path]:
    """Write throughput.json into `out`, and everything that is made from it; the files, page first."""
    write_json(out / RESULT, {"title": title, **result})
    return write_throughput_report(out)


def write_throughput_report(out: Path) -> list[Path]:
    """Make the page, the charts and the CSV from the result file in `out`; the files, page first."""
    if not (out / RESULT).exists():
        raise FileNotFoundError(f"{out} holds no speed comparison: it has no {RESULT}.")
    result = read_json(out / RESULT)
    rows = summarize(result)
    write_text(out / "throughput.csv", csv_text(rows))
    pictures = draw(rows, result, out)
    page = out / "index.html"
    write_page(page, result["title"], sections(result, rows, pictures), text=HOW_TO_READ)
    return [page, out / RESULT, out / "throughput.csv", *(picture for picture, _ in pictures)]


def csv_text(rows: Sequence[Row]) -> str:
    """A line for each subject, under `CSV_COLUMNS`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(csv_row(row))
    return text.getvalue()


def csv_row(row: Row) -> dict[str, Any]:
    subject, rate = row.subject, row.rate
    own = {
        field: getattr(subject, field)
        for field in ("source", "model", "task", "runtime", "engine", "variant", "precision", "batch")
    }
    return {
        **own,
        "asked_batch": row.asked_batch,
        "images_a_second": f"{rate.median:.4g}",
        "lower_quartile": f"{rate.low:.4g}",
        "upper_quartile": f"{rate.high:.4g}",
        "least": f"{rate.least:.4g}",
        "most": f"{rate.most:.4g}",
        "rounds": rate.n,
        **{f"p{q}_ms": f"{1e3 * getattr(row, f'p{q}'):.4g}" for q in (50, 90, 99)},
        "steps": row.steps,
        "start_seconds": f"{row.start_seconds:.3g}",
        "peak_mib": f"{row.peak_mib:.0f}",
        "joules_an_image": "" if row.joules is None else f"{row.joules:.3g}",
        "share_of_ceiling": "" if row.ceiling is None else f"{row.ceiling.median:.3f}",
    }


# ---- charts ----


def draw(rows: Sequence[Row], result: dict[str, Any], out: Path) -> list[tuple[Path, str]]:
    """A chart of the speeds for each batch, and one of what SE costs; each with what it shows."""
    pictures = []
    for batch in dict.fromkeys(row.subject.batch for row in rows):
        some = [row for row in rows if row.subject.batch == batch]
        path = out / f"speed_batch{batch}.png"
        title = f"Images a second, batch {batch}"
        bars(path, title, [(short_label(row.subject), row.rate, row.subject.model) for row in some])
        pictures.append((path, f"Bars: images a second of {len(some)} subjects at batch {batch}"))
    costs = se_costs(result)
    if costs:
        path = out / "cost_of_se.png"
        rows_ = [
            (ratio.subject.label, ratio.value.map(lambda x: 100 * x), ratio.subject.model) for ratio in costs
        ]
        bars(path, "What SE costs over the plain network, % of time", rows_)
        pictures.append((path, "Bars: what SE costs, in percent of the plain network's time"))
    return pictures


def short_label(subject: Subject) -> str:
    """A label without the batch."""
    return subject.label.rpartition(", batch")[0]


def bars(path: Path, title: str, rows: Sequence[tuple[str, Spread, str]]) -> None:
    """Horizontal bars to the median, with the quartiles; a colour for each key (the third entry)."""
    figure, (axis,) = new_figure(1)
    figure.set_size_inches(5.6, 0.9 + 0.52 * len(rows))
    keys = list(dict.fromkeys(key for _, _, key in rows))
    for at, (label, spread, key) in enumerate(rows):
        colour = COLOURS[keys.index(key) % len(COLOURS)]
        quartiles = [[spread.median - spread.low], [spread.high - spread.median]]
        axis.barh(at, spread.median, color=colour, alpha=0.85, height=0.44)
        axis.errorbar(spread.median, at, xerr=quartiles, color="black", capsize=2, linewidth=1)
        place = {"textcoords": "offset points", "fontsize": 9}
        value = f"{spread.median:,.0f}" if spread.median >= 1000 else f"{spread.median:.3g}"
        axis.annotate(value, (max(spread.high, 0), at), (5, 0), va="center", **place)
        # Above its bar: beside it, names would take half of a telephone's width.
        axis.annotate(label, (0, at - 0.24), (2, 1), va="bottom", **place)
    axis.set_yticks([])
    axis.set_ylim(len(rows) - 0.6, -0.8)
    axis.margins(x=0.14)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.spines["left"].set_visible(False)
    save_figure(figure, path, title)


# ---- page ----


def sections(
    result: dict[str, Any], rows: Sequence[Row], pictures: Sequence[tuple[Path, str]]
) -> list[Section]:
    """The page: speeds, what is slow about them, what SE costs, what optimising gives, what failed."""
    shown = [Picture(source=path, alt=alt) for path, alt in pictures]
    speeds = [picture for picture in shown if "cost_of_se" not in str(picture.source)]
    found = [
        Section(heading="Speed", table=speed_table(rows), pictures=speeds),
        Section(heading="Latency and memory", text=energy_note(rows), table=latency_table(rows)),
    ]
    costs, gained = se_costs(result), gains(result)
    if costs:
        found.append(
            Section(
                heading="What SE costs",
                text="How much longer a step takes than that of the plain network, in the same round.",
                table=ratio_table(costs, "Cost, %", lambda ratio: 100 * ratio),
                pictures=[picture for picture in shown if picture not in speeds],
            )
        )
    if gained:
        found.append(
            Section(
                heading="What optimising gives",
                text="Speed of the optimised network over that of the network as it was built.",
                table=ratio_table(gained, "Times as fast", lambda ratio: ratio),
            )
        )
    failed = [(record["label"], record["error"]) for record in result["subjects"] if record["error"]]
    if failed:
        found.append(Section(heading="Not measured", table=Table(columns=("Subject", "Reason"), rows=failed)))
    return [*found, provenance(result)]


def speed_table(rows: Sequence[Row]) -> Table:
    cells = [
        (
            row.label + ("" if row.asked_batch == row.subject.batch else f" (asked for {row.asked_batch})"),
            figure(row.rate.median),
            f"{figure(row.rate.low)} to {figure(row.rate.high)}",
            f"{figure(row.rate.least)} to {figure(row.rate.most)}",
            row.rate.n,
            None if row.ceiling is None else f"{row.ceiling.median:.2f}",
        )
        for row in rows
    ]
    columns = ("Subject", "Images a second", "Quartiles", "Range", "Rounds", "Share of the ceiling")
    return Table(columns=columns, rows=cells)


def latency_table(rows: Sequence[Row]) -> Table:
    told = any(row.joules is not None for row in rows)
    columns = (
        *("Subject", "p50, ms", "p90, ms", "p99, ms", "Steps", "To first answer, s", "Peak memory, MiB"),
        *["Joules an image"] * told,
    )
    cells = [
        (
            row.label,
            *(figure(1e3 * value) for value in (row.p50, row.p90, row.p99)),
            row.steps,
            f"{row.start_seconds:.1f}",
            f"{row.peak_mib:,.0f}",
            *[None if row.joules is None else figure(row.joules)] * told,
        )
        for row in rows
    ]
    return Table(columns=columns, rows=cells)


def energy_note(rows: Sequence[Row]) -> str:
    note = (
        "Latencies are of a whole batch. The first answer is counted from the start of the process: imports, "
        "loading, compiling, one step. Memory is the most the process has held."
    )
    return f"{note} {NO_ENERGY}" if all(row.joules is None for row in rows) else note


def ratio_table(ratios: Sequence[Ratio], name: str, change: Any) -> Table:
    cells = []
    for ratio in ratios:
        value = ratio.value.map(change)
        cells.append(
            (
                ratio.subject.label,
                ratio.base.label,
                f"{value.median:.2f}",
                f"{value.low:.2f} to {value.high:.2f}",
                value.n,
            )
        )
    return Table(columns=("Subject", "Over", name, "Quartiles", "Rounds"), rows=cells)


def provenance(result: dict[str, Any]) -> Section:
    """Machine, versions, settings and the command."""
    environment, settings = result["environment"], result["settings"]
    machine = environment["machine"]
    versions = {**environment["versions"], **result["runtimes"]}
    lines = [
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
        f"accelerators: {', '.join(machine['accelerators']) or 'none'}.",
        f"Threads: {settings['threads']} for every subject. Rounds: {settings['rounds']}; a turn is about "
        f"{settings['burst_seconds']:g} s.",
        *(
            f"Ceiling, {precision}: {2 * Spread.of(values).median / 1e9:,.0f} GFLOP/s in the fastest matrix "
            "product (median over rounds; a multiply-add is two)."
            for precision, values in ceilings(result).items()
        ),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        f"Commit: {environment['commit'] or 'an installed package'}.",
    ]
    command = " ".join(environment["command"])
    return Section(heading="How this was measured", text="\n\n".join(lines), code=command)


def figure(value: float) -> str:
    """Three digits that count, and thousands apart."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
