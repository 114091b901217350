"""Run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from senet.cli.app import AsJson, RunArgument, RunArguments, emit, runs_app, say


@runs_app.command("list")
def runs_list(
    folders: Annotated[list[Path] | None, typer.Argument(help="Where to look. Default: runs")] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs at and below folders, also those that are not finished."""
    from senet.cli.runs import print_list
    from senet.runs import find_runs

    runs, problems = find_runs(folders or [Path("runs")])
    emit([run.to_json() for run in runs], as_json, lambda: print_list(runs))
    for problem in problems:
        say(f"senet: not read: {problem}")


@runs_app.command("show")
def runs_show(run: RunArgument, as_json: AsJson = False) -> None:
    """Sum up one run: network, data, best and last epoch, results, files."""
    from senet.cli.runs import print_run
    from senet.runs import read_run

    found = read_run(run)
    emit(found.to_json(), as_json, lambda: print_run(found))


@runs_app.command("compare")
def runs_compare(runs: RunArguments, as_json: AsJson = False) -> None:
    """Show in what runs differ, and their metrics and results side by side."""
    from senet.cli.runs import comparison, print_comparison
    from senet.runs import read_run

    found = [read_run(run) for run in runs]
    emit(comparison(found), as_json, lambda: print_comparison(found))


@runs_app.command("plot")
def runs_plot(runs: RunArguments, out: Annotated[Path, typer.Option(help="PNG to draw.")]) -> None:
    """Draw the curves of runs; those that differ only in their seed are one line with a band."""
    from senet.runs import plot, read_run

    for run in plot([read_run(run) for run in runs], out):
        say(f"senet: left out, no epoch is done: {run.folder}")
    say(f"Picture: {out}")
