"""Packages that only some exports and runtimes need."""

from __future__ import annotations

import importlib
from typing import Any

PIP = {"ai_edge_litert": "ai-edge-litert", "ai_edge_litert.interpreter": "ai-edge-litert"}


def need(module: str) -> Any:
    """The module; ImportError that names the package and the extra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = PIP.get(module, module.partition(".")[0])
        extra = "" if package == "tensorflow" else ": pip install 'senet[export]'"
        raise ImportError(f"This needs the package {package}{extra}. ({error})", name=module) from error
