"""The page's tables: what each strategy costs at most, and what it is forecast to cost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

from finebound.base.output import strategy_words
from finebound.views.page_text import number_text
from llm_validation.estimation.pipeline import Estimate
from llm_validation.estimation.summary import Row, Verdict, rows
from theory.bound import Status


def strategy_table(estimate: Estimate, kind: type) -> dict[str, Any] | None:
    """The rows of one strategy: cells by column, and runs of rows with the same remedy."""
    columns: dict[str, tuple[str, Callable[[Row], dict[str, Any] | None]]] = {
        **(_FORCED if estimate.shared.conflicting else {}),
        "contested_safety": (
            "safety gap, at most",
            lambda row: _cell(row.contested_safety, "≤"),
        ),
        "contested_capability": (
            "capability gap, at most",
            lambda row: _cell(row.contested_capability, "≤"),
        ),
        "safety": ("safety loss rise, at most", lambda row: _cell(row.safety, "≤")),
        "task_at_least": (
            "task loss, at least",
            lambda row: _cell(row.task_at_least, "≥"),
        ),
        "task_at_most": (
            "task loss, at most",
            lambda row: _cell(row.task_at_most, "≤"),
        ),
    }
    found = [row for row in rows(estimate) if isinstance(row.strategy, kind)]
    used = [name for name in columns if any(getattr(row, name) is not None for row in found)]
    if not used:
        return None
    lines = [
        {
            "lam": getattr(row.strategy, "lam", None),
            "radius": getattr(row.strategy, "radius", None),
            "cells": [columns[name][1](row) for name in used],
            "lowered": _lowered(row),
        }
        for row in found
    ]
    for _, run in groupby(lines, key=lambda line: line["lowered"]):
        together = list(run)
        for position, line in enumerate(together):
            line["span"] = len(together) if position == 0 else 0
    return {"heads": [columns[name][0] for name in used], "lines": lines}


# Without prompts that contradict each other these are 0 at every lambda: no column of zeros.
_FORCED: dict[str, tuple[str, Callable[[Row], dict[str, Any] | None]]] = {
    "forced_safety": ("safety gap, exactly", lambda row: _exact(row.forced_safety)),
    "forced_capability": ("capability gap, exactly", lambda row: _exact(row.forced_capability)),
}


def _exact(value: float | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {
        "sign": "=",
        "value": number_text(value),
        "unit": "nats/response",
        "status": Status.EXACT,
        "statement": "T3",
        "p": 0.0,
    }


def _cell(found: Verdict | None, sign: str) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "sign": sign,
        "value": number_text(found.value),
        "unit": found.unit,
        "status": found.status,
        "statement": found.statement,
        "p": found.failure_probability,
    }


def _lowered(row: Row) -> list[tuple[str, str, str]]:
    """``(quantity, dominating term, what lowers it)`` of the row's bounds, each once."""
    named = {
        "safety": row.safety,
        "safety, from overlap": row.contested_safety,
        "capability, from overlap": row.contested_capability,
        "task loss": row.task_at_most,
    }
    causes: dict[tuple[str, str], list[str]] = {}
    for name, found in named.items():
        if found is not None and found.dominant and found.remedy:
            causes.setdefault((found.dominant, found.remedy), []).append(name)
    return [(" and ".join(who), what, remedy) for (what, remedy), who in causes.items()]


def forecast_lines(estimate: Estimate) -> list[dict[str, Any]]:
    """The forecasts' rows: words of the strategy, change and interval of both losses, cost."""
    return [
        {
            "strategy": strategy_words(made.strategy),
            "changes": [
                (number_text(value), *map(number_text, interval))
                for value, interval in (
                    (made.safety_change, made.safety_interval),
                    (made.task_change, made.task_interval),
                )
            ],
            "cost": f"{made.cost_share:.0%}",
            "status": made.status,
            "method": made.method,
        }
        for made in estimate.forecasts
    ]
