"""Names of classes for people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from senet.data.labels import imagenet_classes


def readable(names: Sequence[str]) -> list[str]:
    """English names for WordNet ids of ImageNet-1k (n01443537: goldfish), and blanks for underscores.

    An id whose name two classes share, and any other name, stays.
    """
    words = {}
    if any(re.fullmatch(r"n\d{8}", str(name)) for name in names):
        rows = imagenet_classes()
        shared = Counter(row.name for row in rows)
        words = {row.wnid: row.name for row in rows if shared[row.name] == 1}
    return [words.get(str(name), str(name)).replace("_", " ") for name in names]
