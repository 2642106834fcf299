"""A fine-tune's strategy in words, from the plain values that records hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TITLES = {
    "none": "no constraint",
    "parameter": "parameters",
    "constrained-sft": "constrained SFT",
    "lisa": "Lisa",
    "asft": "AsFT",
}
_WORDS = {"lam": "lambda", "alignment_steps": "safety steps", "task_steps": "task steps"}


def strategy_label(strategy: Mapping[str, Any]) -> str:
    """A strategy in words and numbers, for tables: ``hybrid lambda 1, radius 2``.

    ``strategy`` is as ``strategy_as_dict`` writes it.
    """
    kind = strategy["kind"]
    title = _TITLES.get(kind, kind) + (" Fisher" if strategy.get("fisher") else "")
    return f"{title} {settings_label(strategy)}".strip()


def settings_label(strategy: Mapping[str, Any]) -> str:
    """A strategy's settings alone: ``lambda 1, radius 2``; empty without a constraint."""
    return ", ".join(
        f"{_WORDS.get(name, name)} {value if isinstance(value, str) else f'{value:.6g}'}"
        for name, value in strategy.items()
        if name not in ("kind", "fisher")
    )
