"""Wording that error messages share, and an error that more than one part knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x' or 'y'?` for up to three known words that `word` begins or is near to, or ""."""
    lowered = {name.lower(): name for name in known}
    begun = [name for name in lowered if word and name.startswith(word.lower())]
    close = difflib.get_close_matches(word.lower(), lowered, n=3)
    near = list(dict.fromkeys([*begun, *close]))[:3]
    return f" Did you mean {' or '.join(repr(lowered[name]) for name in near)}?" if near else ""


class PeerLostError(ConnectionError):
    """One of several processes that train together is gone."""
