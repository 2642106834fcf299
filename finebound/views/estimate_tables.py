"""The tables of an estimate's page: what strategies cost, every bound, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from finebound.results.bounds import QUANTITY_WORDS
from finebound.results.estimate import CostBound, EstimateResult, StrategyBound, StrategyCosts
from finebound.views.page_text import SIGNS, number_text

STATUSES = {
    "EXACT": "an equality, not a bound.",
    "CERTIFIED": "proved, and everything it uses is known.",
    "HIGH_PROBABILITY": "proved, except with the small probability p shown beside it, if the "
    "rows are independent draws.",
    "ESTIMATED": "the formula is proved, but a number in it was estimated from a sample: read "
    "it as a good guess.",
    "VACUOUS": "it holds, but says less than what is known without it, and is therefore grey.",
    "NOT_APPLICABLE": "an assumption is not met; the page says which.",
}
_TITLES = {
    "T1": "safety by the value gap and the proxy's mismatch",
    "T2": "both gaps by a comparator",
    "T3": "the exact solution on the rows",
    "T4": "overlap times disagreement",
    "T5": "the true safety gap and its floor",
    "T6": "what a radius guarantees for safety",
    "T7": "what a radius leaves of capability",
    "T8": "radius against penalty",
    "T9": "both constraints at once",
    "T10": "no free lunch: every policy pays",
    "T12": "the proxy's mismatch near the aligned model",
    "T13": "how far the training budget can go",
    "T15": "measured overlap, on the safe side",
}
_BASES = {
    "rows": "on the rows themselves (no measurement error)",
    "model": "on the model",
}
_COLUMNS = {
    "forced_safety": ("safety gap, exactly", "="),
    "forced_capability": ("capability gap, exactly", "="),
    "contested_safety": ("safety gap, at most", "≤"),
    "contested_capability": ("capability gap, at most", "≤"),
    "safety": ("change in safety loss, at most", "≤"),
    "task_at_least": ("task loss, at least", "≥"),
    "task_at_most": ("task loss, at most", "≤"),
}


def strategy_table(result: EstimateResult, kind: str) -> dict[str, Any] | None:
    """The rows of one kind of strategy: cells by column, and runs of rows with the same remedy."""
    rows = result.costs(kind)
    # Without prompts that contradict each other what is forced is 0 at every lambda.
    forced = bool(result.shared_prompts.conflicting)
    used = [
        name
        for name in _COLUMNS
        if (forced or not name.startswith("forced"))
        and any(getattr(row, name) is not None for row in rows)
    ]
    if not used:
        return None
    lines = [
        {
            "lam": row.strategy.lam,
            "radius": row.strategy.radius,
            "cells": [_cell(getattr(row, name), _COLUMNS[name][1]) for name in used],
            "lowered": _lowered(row),
        }
        for row in rows
    ]
    for _, run in groupby(lines, key=lambda line: line["lowered"]):
        together = list(run)
        for position, line in enumerate(together):
            line["span"] = len(together) if position == 0 else 0
    return {"heads": [_COLUMNS[name][0] for name in used], "lines": lines}


def forecast_lines(result: EstimateResult) -> list[dict[str, Any]]:
    """The forecasts' rows: words of the strategy, change and interval of both losses, cost."""
    return [
        {
            "strategy": made.in_words,
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
        for made in result.strategy_forecast
    ]


def bound_groups(result: EstimateResult) -> list[dict[str, Any]]:
    """Every bound that applies, by what it was measured on and by statement."""
    groups: dict[tuple[str, str], list[StrategyBound]] = {}
    for bound in result.bounds:
        if bound.status != "NOT_APPLICABLE":
            groups.setdefault((bound.basis, bound.statement), []).append(bound)
    return [
        {
            "statement": statement,
            "title": _TITLES.get(statement, ""),
            "basis": _BASES.get(basis, f"from overlap measured by {basis}"),
            "lines": [_bound_line(bound) for bound in bounds],
            "counts": list(_counts(bound.status for bound in bounds)),
            "assumptions": sorted({a for bound in bounds for a in bound.assumptions}),
        }
        for (basis, statement), bounds in groups.items()
    ]


def lacking(result: EstimateResult) -> list[dict[str, str]]:
    """The statements that do not apply, each reason once."""
    seen = dict.fromkeys(
        (b.statement, b.form, b.failed) for b in result.bounds if b.status == "NOT_APPLICABLE"
    )
    return [
        {"statement": statement, "title": _TITLES.get(statement, ""), "form": form, "why": why}
        for statement, form, why in seen
    ]


def constant_lines(result: EstimateResult) -> list[dict[str, str]]:
    """The constants of the bounds on the model, and how each is known."""
    return [
        {
            "name": name.replace("_", " "),
            "value": number_text(constant.value),
            "known": constant.known.replace("_", " "),
            "unit": constant.unit.replace("nats", "nats/token"),
            "meaning": constant.meaning,
        }
        for name, constant in (result.constants or {}).items()
    ]


def _cell(found: CostBound | float | None, sign: str) -> dict[str, Any] | None:
    if found is None:
        return None
    if not isinstance(found, CostBound):
        exactly = {"unit": "nats/response", "status": "EXACT", "statement": "T3", "p": 0.0}
        return {"sign": sign, "value": number_text(found), **exactly}
    return {
        "sign": sign,
        "value": number_text(found.value),
        "unit": found.unit,
        "status": found.status,
        "statement": found.statement,
        "p": found.failure_probability,
    }


def _lowered(row: StrategyCosts) -> list[tuple[str, str, str]]:
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


def _bound_line(bound: StrategyBound) -> dict[str, Any]:
    is_task_loss = bound.basis == "model" and bound.quantity == "capability_gap"
    terms = (f"{number_text(term)} {name}" for name, term in bound.terms.items())
    return {
        "strategy": bound.strategy.in_words,
        "quantity": "task loss" if is_task_loss else QUANTITY_WORDS[bound.quantity],
        "form": bound.form,
        "sign": SIGNS[bound.direction],
        "value": number_text(bound.value),
        "unit": bound.unit or "norm of the trained weights",
        "status": bound.status,
        "p": bound.failure_probability,
        "terms": " + ".join(terms),
    }


def _counts(statuses: Iterable[str]) -> Iterator[tuple[str, int]]:
    found = list(statuses)
    return ((status, found.count(status)) for status in STATUSES if status in found)
