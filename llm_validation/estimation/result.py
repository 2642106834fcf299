"""An estimate: measured, then everything that its record, its page and its tables show."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from finebound.base.checks import Checks
from finebound.base.errors import tell
from finebound.base.kept_stages import KeptStages
from finebound.base.progress import Progress, silent
from finebound.base.records import manifest, require_folder, staged_folder
from finebound.results.bounds import BoundEntry
from finebound.results.estimate import (
    ConstantEntry,
    DataUsed,
    EstimateResult,
    ForcedFront,
    GapPoints,
    RadiusCurves,
    SharedPrompts,
    StepForecast,
    StrategyBound,
)
from finebound.results.outlook import Verdict
from finebound.results.result import Manifest
from finebound.results.strategies import StrategyEntry
from llm_validation.data.reading import data_readings
from llm_validation.estimation.advice import advice
from llm_validation.estimation.bounds import Estimated, front_on_rows, model_bounds
from llm_validation.estimation.costs import budget_radius, costs, tightest
from llm_validation.estimation.model_side import constants_of, straight_step
from llm_validation.estimation.pipeline import Measured, measure
from llm_validation.estimation.plan import plan_notes, plan_settings
from llm_validation.estimation.request import Request
from llm_validation.forecast.stored_answers import now_in_words
from llm_validation.measure.overlap_measure import tightest_upper
from theory.bound import Direction, Quantity, Status
from theory.problem import CONSTANTS
from theory.strategy import LossConstraint, ParameterConstraint

PAGE = "report.html"
_MOST_PROMPTS = 50
_RADII_ON_CURVE = 60


def estimate(
    request: Request,
    *,
    out: str | Path | None = None,
    page: Callable[[EstimateResult], str] | None = None,
    given: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> EstimateResult:
    """Check, load, audit, measure, bound; faults of all inputs are raised together, before work.

    With ``out`` the record is written into that folder, with the ``page`` that is drawn of it:
    once before refusals are forecast, and whole. An interrupted estimate keeps its finished stages
    beside it: the same call goes on from them. ``given`` is what the manifest says was asked for
    (default: what differs from the request's defaults). Raises InputError naming file and row.
    """
    checks, stages = Checks(), KeptStages(out)
    if out is not None:
        checks.run(lambda: require_folder(Path(out)))
    asked = request.given if given is None else given

    def write(measured: Measured) -> EstimateResult:
        result = result_of(measured, given=asked)
        for folder in progress([] if out is None else [Path(out)], "drawing the page"):
            drawn = None if page is None else page(result)
            with staged_folder(folder) as stage:
                (stage / result.file).write_text(result.to_json() + "\n", encoding="utf-8")
                if drawn is not None:
                    (stage / PAGE).write_text(drawn, encoding="utf-8")
        return result

    def standing(measured: Measured) -> None:
        if out is not None:
            write(measured)
            tell(f"finebound: {Path(out) / PAGE} says what stands so far.")

    result = write(
        measure(request, progress=progress, checks=checks, stages=stages, standing=standing)
    )
    stages.forget()
    return result


def result_of(measured: Measured, *, given: Mapping[str, Any]) -> EstimateResult:
    """The result of what was measured; numbers say their unit."""
    request, side = measured.request, measured.model
    inputs = {name: dataset.sha256 for name, dataset in measured.datasets.items()}
    inputs |= {} if measured.model_sha256 is None else {"model": measured.model_sha256}
    result = EstimateResult(
        datasets={
            role: DataUsed(
                name=dataset.name,
                source=dataset.source,
                rows=len(dataset),
                rows_of=measured.rows_of[role],
                sha256=dataset.sha256,
            )
            for role, dataset in measured.datasets.items()
        },
        reading=data_readings(measured.datasets),
        advice=advice(measured),
        left_out=list(measured.left_out),
        audit=measured.audit,
        table=costs(measured),
        overlap=list(measured.overlap),
        closest_pairs=list(measured.pairs),
        shared_prompts=SharedPrompts(
            shared=measured.shared.shared, conflicting=measured.shared.conflicting
        ),
        frontier=_front(measured),
        proxy_mismatch=measured.mismatch,
        model=side,
        constants=_constants(measured),
        **({"strategy_forecast": measured.forecasts} if measured.forecasts else {}),
        bounds=[_bound(estimated) for estimated in measured.bounds],
        manifest=Manifest(**manifest(given=given, inputs=inputs, seed=request.seed)),
        overlap_limit=tightest_upper(measured.overlap),
        proxy_overlap=measured.proxy_overlap,
        contested_prompts=tuple(_contested_prompts(measured)[:_MOST_PROMPTS]),
        radius_curves=_radius_curves(measured),
        request=asdict(request) | {"task": ", ".join(measured.inputs.tasks)} | _planned(measured),
        command=request.command,
        plan=plan_settings(measured.inputs.training, measured.rows_of["task"]),
        plan_notes=plan_notes(measured.inputs),
        straight_steps=tuple(straight_steps(measured)),
        **_outlook(measured),
    )
    # As it is when it is read from its record: plain numbers, paths as texts, a NaN as None.
    return EstimateResult.of(json.loads(result.to_json()))


def _planned(measured: Measured) -> dict[str, Any]:
    """The plan's main settings, whether they were asked for or are the defaults."""
    return {n: getattr(measured.plan, n) for n in ("learning_rate", "steps", "batch_size")}


def _outlook(measured: Measured) -> dict[str, Any]:
    """The answer about refusals, where the model was asked."""
    if measured.asked is None:
        return {}
    if measured.outlook is None:
        now = now_in_words(measured.asked.stored)
        return {"verdict": Verdict(sentence=now, status=str(Status.ESTIMATED))}
    names = ("verdict", "forecast", "options", "budgets")
    return {name: getattr(measured.outlook, name) for name in names}


def straight_steps(measured: Measured) -> list[StepForecast]:
    """The straight step at each radius asked for; none without a model."""
    if measured.model is None:
        return []
    return [straight_step(measured.model, radius) for radius in measured.request.radius]


def _front(measured: Measured) -> ForcedFront:
    """The front, where the lambdas asked for lie on it, and where a proxy leads instead (T5)."""
    gaps: dict[float, dict[Quantity, float]] = {}
    for e in measured.bounds:
        exact = e.basis == "rows" and e.bound.direction is Direction.EQUALITY
        if exact and isinstance(e.strategy, LossConstraint):
            lam = float(e.strategy.strength)
            gaps.setdefault(lam, {})[e.bound.quantity] = float(e.bound.value)
    wanted = (Quantity.SAFETY_GAP, Quantity.CAPABILITY_GAP)
    ends = {lam: [gap.get(quantity, np.inf) for quantity in wanted] for lam, gap in gaps.items()}
    finite = {lam: end for lam, end in ends.items() if np.isfinite(end).all()}
    has_proxy = "proxy" in measured.datasets and finite
    asked = front_on_rows(measured.shared, sorted(measured.request.lam))
    return ForcedFront(
        unit="nats/response",
        **_points(measured.front.lams, measured.front.safety_gap, measured.front.capability_gap),
        asked=GapPoints(**_points(asked.lams, asked.safety_gap, asked.capability_gap)),
        with_proxy=GapPoints(**_points(list(finite), *zip(*finite.values(), strict=True)))
        if has_proxy
        else None,
    )


def _points(*columns: Any) -> dict[str, list[float]]:
    names = ("lam", "safety_gap", "capability_gap")
    return {
        name: [float(value) for value in column]
        for name, column in zip(names, columns, strict=True)
    }


def _constants(measured: Measured) -> dict[str, ConstantEntry] | None:
    if measured.model is None:
        return None
    constants = constants_of(measured.model, has_proxy=measured.mismatch is not None)
    return {
        name: ConstantEntry(**asdict(constant), meaning=CONSTANTS[name].means)
        for name, constant in constants.items()
    }


def _bound(estimated: Estimated) -> StrategyBound:
    entry = BoundEntry.of(estimated.bound).to_dict()
    strategy = StrategyEntry.of(estimated.strategy)
    return StrategyBound(strategy=strategy, basis=estimated.basis, **entry)


def _contested_prompts(measured: Measured) -> list[str]:
    """The shared prompts whose safety and task answers differ, the most asked first."""
    problem, prompts = measured.shared.problem, measured.shared.prompts
    safety, task = problem.safety, problem.task
    differ = (safety.target != task.target).any(axis=-1)
    chosen = [
        (-float(safety.context[i] + task.context[i]), prompt)
        for i, prompt in enumerate(prompts)
        if prompt is not None and differ[i] and safety.context[i] > 0 and task.context[i] > 0
    ]
    return [prompt for _, prompt in sorted(chosen)]


def _radius_curves(measured: Measured) -> RadiusCurves | None:
    """Bounds and straight steps over the radii asked for and the planned one; None without."""
    side, planned = measured.model, budget_radius(measured)
    if side is None or planned is None:
        return None
    reach, start = float(planned.value), side.losses["task"].per_token
    asked = [*measured.request.radius, reach]
    curves: dict[str, list[Any]] = {name: [] for name in RadiusCurves.model_fields}
    for radius in np.geomspace(min(asked) / 1.5, max(asked) * 1.5, _RADII_ON_CURVE).tolist():
        found = model_bounds(
            side,
            ParameterConstraint(radius),
            has_proxy="proxy" in measured.datasets,
            reach=reach,
        )
        safety = tightest(found, Quantity.SAFETY_LOSS_INCREASE)
        low = tightest(found, Quantity.CAPABILITY_GAP, Direction.LOWER)
        high = tightest(found, Quantity.CAPABILITY_GAP)
        step = straight_step(side, radius)
        here = {
            "radius": radius,
            "safety_at_most": None if safety is None else safety.value,
            "vacuous": safety is None or safety.vacuous,
            # A loss is at least 0, and the best within a radius no worse than the start.
            "task_at_least": 0.0 if low is None else max(low.value, 0.0),
            "task_at_most": start if high is None else min(high.value, start),
            "safety_change": step.safety_change,
            "task_change": step.task_change,
        }
        for name, value in here.items():
            curves[name].append(value)
    return RadiusCurves(**curves)
