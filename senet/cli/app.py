"""What the verbs share: the command, its groups, options, and how results come out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

HELP = """The `senet` command: one verb a capability, human text on stderr, `--json` results on stdout.

Exit codes: 0 done, 1 a check failed, 2 wrong usage, 130 interrupted.
"""


def group(help: str) -> typer.Typer:
    """A command with verbs of its own."""
    return typer.Typer(help=help, no_args_is_help=True, rich_markup_mode=None)


app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
benchmark_app = group("Compare networks.")
data_app = group("Pack, check and look at data.")
runs_app = group("List, compare and draw runs.")
for name, verbs in (("benchmark", benchmark_app), ("data", data_app), ("runs", runs_app)):
    app.add_typer(verbs, name=name)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a key of the recipe: --set optimizer.lr=0.05. Repeatable."),
]
Data = Annotated[
    str | None,
    typer.Option("--data", help="digits, cifar10, cifar100, or a path (folder or tar).", metavar="SOURCE"),
]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.")]
RunArguments = Annotated[list[Path], typer.Argument(help="Folders of runs.")]


def data_override(overrides: list[str] | None, data: str | None) -> list[str]:
    """The overrides, with `--data SOURCE` as one of them."""
    return [*(overrides or []), *([f"data.source={json.dumps(data)}"] if data else [])]


def say(text: str) -> None:
    """Text for people: stderr."""
    print(text, file=sys.stderr)


def emit(result: Any, as_json: bool, human: Callable[[], None]) -> None:
    """The result as JSON, or as `human` prints it."""
    if as_json:
        print(json.dumps(result, indent=2, default=str))
    else:
        human()
