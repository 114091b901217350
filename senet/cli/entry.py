"""From the words of a command line to a verb, and from its errors to exit codes."""

from __future__ import annotations

import os
import sys

from senet.cli.app import app, say
from senet.errors import PeerLostError

SPREAD = (
    "--models",
    "--seeds",
    "--classes",
    "--engines",
    "--runtimes",
    "--batch-sizes",
    "--precisions",
    "--variants",
)
USAGE_ERRORS = (ValueError, ImportError, FileNotFoundError, NotADirectoryError, IsADirectoryError)


def main() -> None:
    """Run the command line; a user's mistake is one clear message, never a traceback."""
    try:
        app(args=spread(sys.argv[1:]), prog_name="senet", standalone_mode=True)
    except PeerLostError as error:
        say(f"senet: {error}")
        # JAX waits for the others when a process ends, and aborts it, with a dump, when they do not come.
        sys.stdout.flush()
        os._exit(1)
    except (ValueError, ImportError, OSError, ArithmeticError) as error:
        if os.environ.get("SENET_TRACEBACK"):
            raise
        # An OSError of our own carries its whole message there; str() would put a number before it.
        own = isinstance(error, OSError) and error.filename is None and error.strerror
        say(f"senet: {own or error}")
        sys.exit(2 if isinstance(error, USAGE_ERRORS) else 1)
    except KeyboardInterrupt:
        say("senet: interrupted. The same command goes on where it was.")
        sys.exit(130)


def spread(arguments: list[str]) -> list[str]:
    """`--seeds 0 1 2` as `--seeds 0 --seeds 1 --seeds 2`: what people type, and what Typer reads."""
    out: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in SPREAD else None
        elif option is not None and out[-1] != option:
            out.append(option)
        out.append(argument)
    return out
