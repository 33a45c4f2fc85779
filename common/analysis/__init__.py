"""Layer by layer: what the layers of a frozen network hold. Nothing here knows of runs, specs or papers."""

import importlib
from typing import Any

# name -> module, imported when it is asked for: measures read curves without torch
_WHERE = {
    "Adam": "probes",
    "Picture": "picture",
    "Ridge": "probes",
    "View": "views",
    "layerwise": "onecall",
    "tapped": "taps",
}
__all__ = ["Adam", "Picture", "Ridge", "View", "layerwise", "tapped"]


def __getattr__(name: str) -> Any:
    """The function or class of that name."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
