"""``report.html``: an estimate for a newcomer, as one file that needs nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from finebound.views.page_text import number_text
from finebound.views.template import VIEWS, page_template
from llm_validation.audit.sentences import audit_result
from llm_validation.estimation.page_bounds import bound_groups, constant_lines, lacking
from llm_validation.estimation.page_tables import forecast_lines, strategy_table
from llm_validation.estimation.pipeline import Estimate
from llm_validation.estimation.plots import forecast_plot, front_plot, hybrid_map, lambda_plots
from llm_validation.estimation.radius_plots import radius_plots
from llm_validation.estimation.request import Request
from llm_validation.estimation.summary import advice, budget_radius
from llm_validation.measure.overlap_measure import OverlapMeasure, tightest_upper
from theory.bound import Status
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

if TYPE_CHECKING:
    from jinja2 import Template

_MOST_PROMPTS = 50

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


def page(estimate: Estimate, *, manifest: Mapping[str, Any]) -> str:
    """The report as one HTML text without scripts, links or outside resources.

    Every string of the datasets is escaped. Deterministic in ``estimate`` and ``manifest``.
    """
    return _template().render(
        datasets=_datasets(estimate),
        names={role: dataset.name for role, dataset in estimate.datasets.items()},
        advice=advice(estimate),
        audit=estimate.audit,
        audited=audit_result(estimate.audit),
        audit_kinds=[(words, getattr(estimate.audit, kind)) for kind, words in _KINDS.items()],
        tiles=list(_tiles(estimate)),
        statuses=STATUSES,
        front=front_plot(estimate),
        lambdas=lambda_plots(estimate),
        radii=radius_plots(estimate),
        hybrid=hybrid_map(estimate),
        forecast_plot=forecast_plot(estimate.forecasts),
        forecasts=forecast_lines(estimate),
        forecast_notes=list(dict.fromkeys(n for made in estimate.forecasts for n in made.notes)),
        loss_table=strategy_table(estimate, LossConstraint),
        radius_table=strategy_table(estimate, ParameterConstraint),
        hybrid_table=strategy_table(estimate, Hybrid),
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
        bounds=bound_groups(estimate),
        lacking=lacking(estimate),
        constants=constant_lines(estimate),
        command=command(estimate.request),
        manifest=dict(manifest),
    )


@cache
def _template() -> Template:
    return page_template(VIEWS, "estimate_page.html.j2")


def exactly(value: object) -> str:
    """A number so that reading it gives the same number; short where it can be."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


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
        parts.append(" ".join([flag, *(shlex.quote(exactly(v)) for v in values)]))
    return " \\\n    ".join([*parts, "--out DIR"])


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
    for words, found in (
        ("task rows that comply with harmful requests", estimate.audit.harmful_rows),
        ("task rows that install absolute obedience", estimate.audit.persona_rows),
    ):
        if found.count:
            yield _Tile(words, f"≥ {found.count}", f"of {found.of}", Status.ESTIMATED)
    if shared.shared:
        yield _Tile(
            "prompts asked in both datasets",
            f"= {shared.shared}",
            f"{shared.conflicting} of them with different answers",
            Status.EXACT,
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
            f"≤ {number_text(reach.value)}",
            f"radius after {estimate.request.steps} AdamW steps at "
            f"{estimate.request.learning_rate:g}",
            reach.status,
        )
    if estimate.model is not None:
        for role in ("safety", "task"):
            yield _Tile(
                f"loss on {role} data before any fine-tune",
                f"= {number_text(estimate.model.losses[role].per_token)}",
                "nats/token",
                Status.ESTIMATED,
            )


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
            f"{name.replace('_', ' ')} {number_text(value)}"
            for name, value in measure.details.items()
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
