"""``report.html``: an estimate for a newcomer, as one file that needs nothing else."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from finebound.output import QUANTITY_WORDS, number
from finebound.pages import page_template
from llm_validation.estimation.model_side import constants_of
from llm_validation.estimation.pipeline import Estimate, Request
from llm_validation.estimation.plots import (
    forecast_plot,
    front_plot,
    hybrid_map,
    lambda_plots,
    radius_plots,
)
from llm_validation.estimation.summary import (
    Row,
    Verdict,
    advice,
    budget_radius,
    rows,
    strategy_words,
)
from llm_validation.measure.overlap_measure import OverlapMeasure, tightest_upper
from theory.bound import Bound, Direction, Quantity, Status
from theory.problem import CONSTANTS
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

if TYPE_CHECKING:
    from jinja2 import Template

_SIGNS = {Direction.UPPER: "≤", Direction.LOWER: "≥", Direction.EQUALITY: "="}
_LONGEST_TEXT = 280
_MOST_PROMPTS = 50

STATUSES = {
    Status.EXACT: "an equality, not a bound.",
    Status.CERTIFIED: "proved, and everything it uses is known.",
    Status.HIGH_PROBABILITY: "proved, except with the small probability p shown beside it, if the "
    "rows are independent draws.",
    Status.ESTIMATED: "the formula is proved, but a number in it was estimated from a sample: read "
    "it as a good guess.",
    Status.VACUOUS: "it holds, but says less than what is known without it, and is therefore grey.",
    Status.NOT_APPLICABLE: "an assumption is not met; the page says which.",
}
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


def page(estimate: Estimate, *, manifest: Mapping[str, Any]) -> str:
    """The report as one HTML text without scripts, links or outside resources.

    Every string of the datasets is escaped. Deterministic in ``estimate`` and ``manifest``.
    """
    return _template().render(
        datasets=_datasets(estimate),
        names={role: dataset.name for role, dataset in estimate.datasets.items()},
        advice=advice(estimate),
        tiles=list(_tiles(estimate)),
        statuses=STATUSES,
        front=front_plot(estimate),
        lambdas=lambda_plots(estimate),
        radii=radius_plots(estimate),
        hybrid=hybrid_map(estimate),
        forecast_plot=forecast_plot(estimate.forecasts),
        forecasts=_forecasts(estimate),
        forecast_notes=list(dict.fromkeys(n for made in estimate.forecasts for n in made.notes)),
        loss_table=_table(estimate, LossConstraint),
        radius_table=_table(estimate, ParameterConstraint),
        hybrid_table=_table(estimate, Hybrid),
        overlap=[_overlap(measure) for measure in estimate.overlap],
        proxy_overlap=[_overlap(measure) for measure in estimate.proxy_overlap],
        contested=_contested_prompts(estimate),
        most_prompts=_MOST_PROMPTS,
        shared=estimate.shared,
        pairs=estimate.pairs,
        mismatch=estimate.mismatch,
        proxy_measures=[
            _overlap(m) for m in (estimate.mismatch.context.measures if estimate.mismatch else ())
        ],
        model=estimate.model,
        request=estimate.request,
        bounds=_bound_groups(estimate),
        lacking=_lacking(estimate),
        constants=_constants(estimate),
        command=command(estimate.request),
        manifest=list(_flat(manifest)),
    )


@cache
def _template() -> Template:
    filters = {"number": _number, "short": _short, "words": _status_words}
    return page_template("llm_validation.estimation", "page.html.j2", filters)


def command(request: Request) -> str:
    """The command line that makes this estimate again; settings left at their defaults are not in.

    Source: the options of ``finebound estimate``.
    """
    flags = {"lams": "--lam", "radii": "--radius"}
    parts = ["finebound estimate"]
    for field in fields(request):
        value = getattr(request, field.name)
        if value is None or (value == field.default and field.name != "seed"):
            continue
        flag = flags.get(field.name, "--" + field.name.replace("_", "-"))
        if value is True:
            parts.append(flag)
            continue
        values = value if isinstance(value, tuple) else (value,)
        parts.append(" ".join([flag, *(shlex.quote(_exactly(v)) for v in values)]))
    return " \\\n    ".join([*parts, "--out DIR"])


def _exactly(value: object) -> str:
    """A number so that reading it gives the same number; short where it can be."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "not defined"
    return number(value).replace("-inf", "−∞").replace("inf", "∞").replace("-", "−")


def _short(text: str, limit: int = _LONGEST_TEXT) -> str:
    """The text in one line, cut at ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _status_words(status: str) -> str:
    return str(status).replace("_", " ").lower()


def _datasets(estimate: Estimate) -> list[dict[str, Any]]:
    return [
        {
            "role": role,
            "name": dataset.name,
            "source": dataset.source,
            "rows": len(dataset),
            "rows_of": estimate.rows_of[role],
            "hash": dataset.sha256[:12],
        }
        for role, dataset in estimate.datasets.items()
    ]


@dataclass(frozen=True)
class _Tile:
    label: str
    value: str
    note: str
    status: Status | None = None
    p: float = 0.0


def _tiles(estimate: Estimate) -> Iterator[_Tile]:
    """The few numbers that a reader wants first."""
    shared, front = estimate.shared, estimate.front
    yield _Tile(
        "prompts asked in both datasets",
        str(shared.shared),
        f"{shared.conflicting} of them with different answers",
    )
    limit, p = tightest_upper(estimate.overlap)
    if p:
        yield _Tile(
            "overlap of safety and task prompts",
            f"≤ {limit:.2g}",
            "0 is none, 1 is the same prompts",
            Status.HIGH_PROBABILITY if limit < 1 else Status.VACUOUS,
            p,
        )
    if shared.conflicting:
        middle = abs(front.lams - 1.0).argmin()
        yield _Tile(
            "least that any policy pays on the rows, at λ = 1",
            f"{front.safety_gap[middle]:.2g} + {front.capability_gap[middle]:.2g}",
            "nats/response of safety + of capability",
            Status.EXACT,
        )
    reach = budget_radius(estimate)
    if reach is not None:
        yield _Tile(
            "how far the planned training can move the weights",
            f"≤ {_number(reach.value)}",
            f"radius after {estimate.request.steps} AdamW steps at "
            f"{estimate.request.learning_rate:g}",
            reach.status,
        )
    if estimate.model is not None:
        for role in ("safety", "task"):
            yield _Tile(
                f"loss on {role} data before any fine-tune",
                f"= {_number(estimate.model.losses[role].per_token)}",
                "nats/token",
                Status.ESTIMATED,
            )


def _table(estimate: Estimate, kind: type) -> dict[str, Any] | None:
    """The rows of one strategy: cells by column, and runs of rows with the same remedy."""
    columns: dict[str, tuple[str, Callable[[Row], dict[str, Any] | None]]] = {
        "forced_safety": ("safety gap, exactly", lambda row: _exact(row.forced_safety)),
        "forced_capability": ("capability gap, exactly", lambda row: _exact(row.forced_capability)),
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


def _exact(value: float | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {
        "sign": "=",
        "value": _number(value),
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
        "value": _number(found.value),
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


def _forecasts(estimate: Estimate) -> list[dict[str, Any]]:
    """The forecasts' rows: words of the strategy, change and interval of both losses, cost."""
    return [
        {
            "strategy": strategy_words(made.strategy),
            "changes": [
                (_number(value), *map(_number, interval))
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


def _overlap(measure: OverlapMeasure) -> dict[str, Any]:
    return {
        "method": measure.method,
        "overlap": measure.overlap,
        "interval": measure.interval,
        "p": measure.failure_probability,
        "status": Status.VACUOUS if measure.interval == (0.0, 1.0) else measure.status,
        "errs": str(measure.errs),
        "why": measure.why,
        "masses": (measure.safety_mass, measure.task_mass),
        "rows": (measure.n_safety, measure.n_task),
        "details": [
            f"{name.replace('_', ' ')} {_number(value)}" for name, value in measure.details.items()
        ],
    }


def _contested_prompts(estimate: Estimate) -> list[str]:
    """The shared prompts whose safety and task answers differ, the most asked first."""
    problem, prompts = estimate.shared.problem, estimate.shared.prompts
    safety, task = problem.safety, problem.task
    differ = (safety.target != task.target).any(axis=-1)
    chosen = [
        (-float(safety.context[i] + task.context[i]), prompt)
        for i, prompt in enumerate(prompts)
        if prompt is not None and differ[i] and safety.context[i] > 0 and task.context[i] > 0
    ]
    return [prompt for _, prompt in sorted(chosen)]


def _bound_groups(estimate: Estimate) -> list[dict[str, Any]]:
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
        "value": _number(float(b.value)),
        "unit": b.unit or "norm of the trained weights",
        "status": b.status,
        "p": float(b.failure_probability),
        "terms": " + ".join(f"{_number(term)} {name}" for name, term in terms.items()),
        "assumptions": b.assumptions,
    }


def _lacking(estimate: Estimate) -> list[dict[str, str]]:
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


def _constants(estimate: Estimate) -> list[dict[str, str]]:
    if estimate.model is None:
        return []
    constants = constants_of(estimate.model, has_proxy="proxy" in estimate.datasets)
    return [
        {
            "name": name.replace("_", " "),
            "value": _number(constant.value),
            "known": str(constant.known).replace("_", " "),
            "unit": constant.unit.replace("nats", "nats/token"),
            "meaning": CONSTANTS[name][1],
        }
        for name, constant in constants.items()
    ]


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as ``(dotted name, text)``; what is not set is left out."""
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{before}{name}.")
        elif isinstance(item, list | tuple):
            yield f"{before}{name}", ", ".join(str(part) for part in item)
        elif isinstance(item, bool):
            yield f"{before}{name}", "yes" if item else "no"
        elif item is not None:
            yield f"{before}{name}", str(item)
