"""The page's appendix: every bound by statement, what does not apply and why, the constants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from finebound.base.output import strategy_words
from finebound.results.bounds import QUANTITY_WORDS
from finebound.views.page_text import number_text
from llm_validation.estimation.model_side import constants_of
from llm_validation.estimation.pipeline import Estimate
from theory.bound import Bound, Direction, Quantity, Status
from theory.problem import CONSTANTS

_SIGNS = {Direction.UPPER: "≤", Direction.LOWER: "≥", Direction.EQUALITY: "="}


TITLES = {
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
    "T12": "the proxy's mismatch near the aligned weights",
    "T13": "how far the training budget can go",
    "T15": "measured overlap, on the safe side",
}


_BASES = {
    "rows": "on the rows themselves (no measurement error)",
    "model": "on the model",
}


def bound_groups(estimate: Estimate) -> list[dict[str, Any]]:
    """Every bound that applies, by what it was measured on and by statement."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for e in estimate.bounds:
        if e.bound.status is not Status.NOT_APPLICABLE:
            line = {"strategy": strategy_words(e.strategy), **_bound_line(e.bound, e.basis)}
            groups.setdefault((e.basis, e.bound.statement), []).append(line)
    return [
        {
            "statement": statement,
            "title": TITLES.get(statement, ""),
            "basis": _BASES.get(basis, f"from overlap measured by {basis}"),
            "lines": lines,
            "counts": _counts(line["status"] for line in lines),
            "assumptions": sorted({a for line in lines for a in line["assumptions"]}),
        }
        for (basis, statement), lines in groups.items()
    ]


def _bound_line(b: Bound, basis: str) -> dict[str, Any]:
    quantity = QUANTITY_WORDS[b.quantity]
    if basis == "model" and b.quantity is Quantity.CAPABILITY_GAP:
        quantity = "task loss"
    terms = {name: float(term) for name, term in b.terms.items()}
    return {
        "quantity": quantity,
        "form": b.form,
        "sign": _SIGNS[b.direction],
        "value": number_text(float(b.value)),
        "unit": b.unit or "norm of the trained weights",
        "status": b.status,
        "p": float(b.failure_probability),
        "terms": " + ".join(f"{number_text(term)} {name}" for name, term in terms.items()),
        "assumptions": b.assumptions,
    }


def lacking(estimate: Estimate) -> list[dict[str, str]]:
    """The statements that do not apply, each reason once."""
    seen: dict[tuple[str, str, str], None] = {}
    for e in estimate.bounds:
        if e.bound.status is Status.NOT_APPLICABLE:
            seen[(e.bound.statement, e.bound.form, e.bound.failed)] = None
    return [
        {"statement": statement, "title": TITLES.get(statement, ""), "form": form, "why": why}
        for statement, form, why in seen
    ]


def _counts(statuses: Iterable[Status]) -> list[tuple[Status, int]]:
    found = list(statuses)
    return [(status, found.count(status)) for status in Status if status in found]


def constant_lines(estimate: Estimate) -> list[dict[str, str]]:
    if estimate.model is None:
        return []
    constants = constants_of(estimate.model, has_proxy="proxy" in estimate.datasets)
    return [
        {
            "name": name.replace("_", " "),
            "value": number_text(constant.value),
            "known": str(constant.known).replace("_", " "),
            "unit": constant.unit.replace("nats", "nats/token"),
            "meaning": CONSTANTS[name][1],
        }
        for name, constant in constants.items()
    ]
