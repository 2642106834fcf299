"""The answer of an estimate as the top of a page and as a table: drawn, nothing computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from finebound.results.budget import DECISION_WORDS
from finebound.results.choice import ChoiceResult
from finebound.results.estimate import EstimateResult
from finebound.results.interval import Interval
from finebound.views.outlook_plots import before_after_figure, options_figure
from finebound.views.outlook_words import (
    NO_BUDGET,
    budget_words,
    losses_within,
    no_forecast,
    percent,
    percent_within,
    points_within,
    signed,
    typeset,
    what_intervals_are,
)
from finebound.views.page_text import short
from finebound.views.tables import Table
from finebound.views.template import page_template

_AUDIT_SENTENCES = 3


def first_screen(result: EstimateResult) -> str:
    """The answer as HTML to stand at the top of a page of ``base.html.j2``; escaped.

    Verdict, numbers before and after, best option, budgets and audit; then the options as plots
    and as a table, the plan, and last the words.
    """
    audit = result.audit
    audit = audit.model_copy(update={"sentences": audit.sentences[:_AUDIT_SENTENCES]})
    forecast = result.forecast
    return Markup(
        page_template("outlook.html.j2", **_FILTERS).render(
            result=result,
            task=result.datasets["task"].name,
            audit=audit,
            decisions=DECISION_WORDS,
            no_budget=NO_BUDGET,
            no_forecast=no_forecast(result),
            budgets=[(budget_words(one), one.decision) for one in result.budgets],
            about="" if forecast is None else what_intervals_are(forecast),
            options_plot=options_figure(result),
            before_after=before_after_figure(result),
        )
    )


def table(result: EstimateResult | ChoiceResult) -> Table:
    """The options, best first: shares in [0, 1], changes of losses in nats per token."""
    columns = (
        *("option", "refusals of harmful probes (share)", "refusals of look-alikes (share)"),
        *("capability gain (nats/token)", "capability kept (share)"),
        *("change in safety loss (nats/token)", "budget", "cost (share of the fine-tune)"),
    )
    rows = tuple(
        (
            *(one.how, Interval(one.refusal, *one.interval), one.over_refusal),
            *(one.capability_gain, one.kept, one.safety_loss_change),
            *(DECISION_WORDS[one.within_budget], one.cost_share),
        )
        for one in result.options
    )
    return Table("options", "the options, best first: forecasts, no bounds", columns, rows)


def _plan_value(value: str | float | bool | None) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return short(str(value), 200)


_FILTERS: dict[str, Callable[..., Any]] = {
    "percent": percent,
    "within": percent_within,
    "points_within": points_within,
    "losses_within": losses_within,
    "signed": signed,
    "typeset": typeset,
    "plan_value": _plan_value,
}
