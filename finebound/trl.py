"""Callbacks for other people's trainers: transformers' ``Trainer``, TRL's, and those made of them.

``from finebound.trl import SafetyMonitor``. Each is a plain ``transformers.TrainerCallback``; a
name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names once more, for editors and type checkers
    from llm_validation.callbacks.answers import base_answers
    from llm_validation.callbacks.budget import SafetyBudget
    from llm_validation.callbacks.forecast import SafetyForecast
    from llm_validation.callbacks.mixing import mixed_dataset
    from llm_validation.callbacks.monitor import SafetyMonitor
    from llm_validation.callbacks.proxy import ProxyLoss
    from llm_validation.callbacks.radius import RadiusConstraint
    from llm_validation.callbacks.settings import callbacks_of

__all__ = [
    "ProxyLoss",
    "RadiusConstraint",
    "SafetyBudget",
    "SafetyForecast",
    "SafetyMonitor",
    "base_answers",
    "callbacks_of",
    "mixed_dataset",
]

_HOMES = {
    "ProxyLoss": "proxy",
    "RadiusConstraint": "radius",
    "SafetyBudget": "budget",
    "SafetyForecast": "forecast",
    "SafetyMonitor": "monitor",
    "base_answers": "answers",
    "callbacks_of": "settings",
    "mixed_dataset": "mixing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'finebound.trl' has no attribute {name!r}")
    return getattr(import_module(f"llm_validation.callbacks.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
