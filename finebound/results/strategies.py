"""A fine-tune's strategy in words, from the plain values that records hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from finebound.results.result import Number, Part

if TYPE_CHECKING:
    from theory.strategy import Strategy

_TITLES = {
    "none": "no constraint",
    "parameter": "parameters",
    "constrained-sft": "constrained SFT",
    "lisa": "Lisa",
    "asft": "AsFT",
}
_KINDS = {"LossConstraint": "loss", "ParameterConstraint": "parameter", "Hybrid": "hybrid"}
_WORDS = {"lam": "lambda", "alignment_steps": "safety steps", "task_steps": "task steps"}


def strategy_label(strategy: Mapping[str, Any]) -> str:
    """A strategy in words and numbers, for tables: ``hybrid lambda 1, radius 2``.

    ``strategy`` is as ``strategy_as_dict`` writes it.
    """
    kind = str(strategy["kind"])
    title = _TITLES.get(kind, kind) + (" Fisher" if strategy.get("fisher") else "")
    return f"{title} {settings_label(strategy)}".strip()


def settings_label(strategy: Mapping[str, Any]) -> str:
    """A strategy's settings alone: ``lambda 1, radius 2``; empty without a constraint."""
    return ", ".join(
        f"{_WORDS.get(name, name)} {value if isinstance(value, str) else f'{value:.6g}'}"
        for name, value in strategy.items()
        if name not in ("kind", "fisher")
    )


class StrategyEntry(Part):
    """A fine-tune's strategy as the command line names it: its kind and the values given.

    ``kind``: "none", "loss" (``lam``), "parameter" (``radius``) or "hybrid" (both).
    """

    kind: str
    lam: Number | None = None
    epsilon: Number | None = None
    radius: Number | None = None

    @classmethod
    def of(cls, strategy: Strategy | None) -> Self:
        """One of theory's strategies; None is the unconstrained fine-tune."""
        if strategy is None:
            return cls(kind="none")
        given = {name: value for name, value in vars(strategy).items() if value is not None}
        return cls(kind=_KINDS[type(strategy).__name__], **given)

    @property
    def in_words(self) -> str:
        """ "loss, lambda 0.5" and the like; "unconstrained" without a constraint."""
        if self.kind == "none":
            return "unconstrained"
        return f"{self.kind}, {settings_label(self.to_dict())}"
