"""The usual mistakes."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from senet.cli.app import AsJson, Data, Overrides, app, data_override, emit


@app.command()
def doctor(
    target: Annotated[str | None, typer.Argument(help="A recipe or a network; neither: the machine.")] = None,
    data: Data = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Find the usual mistakes in a recipe with its data and network (exit code 1), or in an installation."""
    from senet.cli.doctor import any_wrong, diagnose, print_findings

    findings = diagnose(target, data_override(overrides, data))
    emit([dataclasses.asdict(finding) for finding in findings], as_json, lambda: print_findings(findings))
    if any_wrong(findings):
        raise typer.Exit(1)
