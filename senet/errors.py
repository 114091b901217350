"""Wording that error messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x' or 'y'?` for the known words nearest to `word`; empty when none is near."""
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=3)
    return f" Did you mean {' or '.join(repr(lowered[name]) for name in near)}?" if near else ""
