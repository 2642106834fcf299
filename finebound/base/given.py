"""The options of a call that a manifest names."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any


def given_options(options: Any, kind: type[Any]) -> dict[str, Any]:
    """The options, a dataclass ``kind``, that differ from their defaults: what was asked for."""
    return {
        f.name: getattr(options, f.name)
        for f in fields(kind)
        if f.default is MISSING or getattr(options, f.name) != f.default
    }
