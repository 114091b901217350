"""Wording that several readers of data share."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence with a space before it, naming the known word nearest to `word`; empty when none is near."""
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1)
    return f" Did you mean {lowered[near[0]]!r}?" if near else ""
