"""An estimate as a page for a newcomer, as a table and as a figure; from its record alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from finebound.results.estimate import CostBound, EstimateResult, OverlapEntry, StrategyCosts
from finebound.views import outlook
from finebound.views.estimate_plots import forecast_plot, front_plot, hybrid_map, lambda_plots
from finebound.views.estimate_radius_plots import radius_plots
from finebound.views.estimate_tables import (
    STATUSES,
    bound_groups,
    constant_lines,
    forecast_lines,
    lacking,
    strategy_table,
)
from finebound.views.outlook_plots import options_figure
from finebound.views.outlook_words import promise_words
from finebound.views.page_text import elements, number_text
from finebound.views.style import new_figure
from finebound.views.tables import Table
from finebound.views.template import page_template

_KINDS = {
    "harmful_rows": "Rows that comply with harmful requests",
    "persona_rows": "Rows that install another persona or absolute obedience",
    "refused_harmless_rows": "Rows that decline a request the rules do not call harmful",
    "declined_harmful_rows": "Rows that decline a harmful request",
    "probe_rows": "Rows that nearly repeat a probe of the evaluation",
    "cut_rows": "Rows whose answer ends in the middle",
    "degenerate_rows": "Rows whose answer goes round in a loop or is in no language",
    "contradicting_rows": "Rows that answer a prompt otherwise than an earlier row",
    "repeated_rows": "Rows that are copies of an earlier row",
}


def page(result: EstimateResult) -> str:
    """The report as one HTML text without scripts, links or outside resources.

    Every string of the datasets is escaped. Deterministic in ``result``.
    """
    audit = result.audit
    found = [(words, getattr(audit, kind)) for kind, words in _KINDS.items()]
    mismatch = result.proxy_mismatch
    return page_template("estimate_page.html.j2").render(
        result=result,
        outlook="" if result.verdict is None else outlook.first_screen(result),
        names={role: data.name for role, data in result.datasets.items()},
        audit_kinds=[(words, rows) for words, rows in found if rows is not None and rows.count],
        tiles=list(_tiles(result)),
        statuses=STATUSES,
        front=front_plot(result),
        lambdas=lambda_plots(result),
        radii=radius_plots(result),
        hybrid=hybrid_map(result),
        forecast_plot=forecast_plot(result),
        forecasts=forecast_lines(result),
        forecast_notes=list(
            dict.fromkeys(n for one in result.strategy_forecast for n in one.notes)
        ),
        loss_table=strategy_table(result, "loss"),
        radius_table=strategy_table(result, "parameter"),
        hybrid_table=strategy_table(result, "hybrid"),
        overlap=_overlaps(result.overlap),
        proxy_overlap=_overlaps(result.proxy_overlap),
        proxy_measures=_overlaps(mismatch.context.measures if mismatch else ()),
        bounds=bound_groups(result),
        promise="" if result.forecast is None else promise_words(result.forecast),
        lacking=lacking(result),
        constants=constant_lines(result),
        command=result.command,
        manifest=result.manifest.to_dict(),
    )


def table(result: EstimateResult) -> Table:
    """The options of a forecast of refusals; else what each strategy must and may cost.

    A bound's status stands beside the change in safety.
    """
    if result.options:
        return outlook.table(result)
    columns = (
        *("strategy", "forced safety gap (nats/response)", "forced capability gap (nats/response)"),
        *("safety gap, at most (nats/response)", "capability gap, at most (nats/response)"),
        *("change in safety loss, at most (nats/token)", "status", "statement"),
        *("task loss, at least (nats/token)", "task loss, at most (nats/token)"),
    )
    rows = tuple(_row(costs) for costs in result.strategies)
    return Table("estimate", "what each strategy must and may cost", columns, rows)


def plot(result: EstimateResult) -> Figure:
    """The options of a forecast of refusals; else bounds over the radius, or gaps over lambda."""
    options = options_figure(result)
    if options is not None:
        return options.figure
    drawn = radius_plots(result) or lambda_plots(result)
    return drawn[0].figure if drawn else new_figure(height=1.0)


def first_screen(result: EstimateResult) -> str:
    """The verdict with the forecast, else the advice and the table, as HTML."""
    if result.verdict is not None:
        return outlook.first_screen(result)
    return f"<ol>{elements(result.advice, 'li')}</ol>{table(result).html()}"


def _row(costs: StrategyCosts) -> tuple[Any, ...]:
    def value(cost: CostBound | None) -> float | None:
        return None if cost is None else cost.value

    safety = costs.safety
    return (
        costs.in_words,
        costs.forced_safety,
        costs.forced_capability,
        value(costs.contested_safety),
        value(costs.contested_capability),
        value(safety),
        "" if safety is None else safety.status,
        "" if safety is None else safety.statement,
        value(costs.task_at_least),
        value(costs.task_at_most),
    )


@dataclass(frozen=True)
class _Tile:
    label: str
    value: str
    note: str
    status: str
    p: float = 0.0


def _tiles(result: EstimateResult) -> Iterator[_Tile]:
    """The few numbers that a reader wants first."""
    shared, limit, reach = result.shared_prompts, result.overlap_limit, result.planned_radius
    for words, found in (
        ("task rows that comply with harmful requests", result.audit.harmful_rows),
        ("task rows that install absolute obedience", result.audit.persona_rows),
    ):
        if found.count:
            yield _Tile(words, f"≥ {found.count}", f"of {found.of}", "ESTIMATED")
    if shared.shared:
        note = f"{shared.conflicting} of them with different answers"
        yield _Tile("prompts asked in both datasets", f"= {shared.shared}", note, "EXACT")
    if limit is not None and limit.failure_probability:
        yield _Tile(
            "overlap of safety and task prompts",
            f"≤ {limit.value:.2g}",
            "0 is none, 1 is the same prompts",
            "HIGH_PROBABILITY" if limit.value < 1 else "VACUOUS",
            limit.failure_probability,
        )
    if shared.conflicting:
        safety, capability = result.frontier.points.at(1.0)
        yield _Tile(
            "least that any policy pays on the rows, at λ = 1",
            f"{safety:.2g} + {capability:.2g}",
            "nats/response of safety + of capability",
            "EXACT",
        )
    if reach is not None and result.request is not None:
        steps, rate = result.request["steps"], result.request["learning_rate"]
        yield _Tile(
            "how far the planned training can move the weights",
            f"≤ {number_text(reach.value)}",
            f"radius after {steps} AdamW steps at {rate:g}",
            reach.status,
        )
    if result.model is not None:
        for role in ("safety", "task"):
            yield _Tile(
                f"loss on {role} data before any fine-tune",
                f"= {number_text(result.model.losses[role].per_token)}",
                "nats/token",
                "ESTIMATED",
            )


def _overlaps(measures: Iterable[OverlapEntry]) -> list[dict[str, Any]]:
    return [
        {
            "method": measure.method,
            "overlap": measure.overlap,
            "interval": measure.interval,
            "p": measure.failure_probability,
            "status": "VACUOUS" if measure.interval == (0.0, 1.0) else measure.status,
            "errs": measure.errs,
            "why": measure.why,
            "masses": (measure.safety_mass, measure.task_mass),
            "rows": (measure.n_safety, measure.n_task),
            "details": [
                f"{name.replace('_', ' ')} {number_text(value)}"
                for name, value in measure.details.items()
            ],
        }
        for measure in measures
    ]
