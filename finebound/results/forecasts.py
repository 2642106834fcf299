"""What predictors said of runs before they were made, and how well that ranked them."""

from __future__ import annotations

from typing import Literal

from finebound.results.result import Known, Number, Part
from finebound.results.spans import Limits


class Interval90(Part):
    """90 % intervals of both changes, nats per token."""

    safety: tuple[Number, Number]
    task: tuple[Number, Number]


class Prediction(Part):
    """What a predictor says of one fine-tune before it is run; an estimate, never a bound.

    ``safety_change`` and ``task_change`` are losses after less before, nats per token. With
    ``is_score`` the number has no unit and only its order means anything. ``task_change`` is None
    where nothing is said of the task. ``cost_tokens`` counts tokens read and differentiated, one
    that is only read as a third, and everything this prediction would need if it were made alone;
    ``shared_tokens`` is the part of it, by role, that is spent once for all plans on the same data.
    """

    name: str
    safety_change: Number
    task_change: Known
    interval_90: Interval90 | None
    cost_tokens: Number
    is_score: bool
    details: dict[str, Known]
    shared_tokens: dict[str, Number]


class _Measured(Part):
    run: str
    measured_safety_change: Number
    measured_task_change: Number


class JudgedForecast(Prediction, _Measured):
    """One predictor's word on one run beside what was measured, nats per token unless a score."""


class Ranked(Part):
    """One predictor over all runs, on the safety or the task change.

    ``spearman`` with its 95 % interval over runs; its estimate is None for a predictor that says
    the same of every run. ``factor`` is the median of ``max(forecast / measured, measured /
    forecast)`` over the ``sized`` runs whose measured change exceeds 0.05 nats in size; a forecast
    of the wrong sign counts as infinite. ``coverage`` of the 90 % intervals with its
    Clopper-Pearson interval (95 %). Both are None for scores, and where nothing can be compared.
    """

    name: str
    what: Literal["safety", "task"]
    runs: int
    spearman: Limits
    factor: Known
    sized: int
    coverage: Limits | None
    cost_tokens: Number


class Forecasts(Part):
    """Every forecast beside its finished run, and the predictors ranked by them.

    ``cost_share`` is the mean cost over the fine-tune's, in tokens, by predictor, each forecast
    made alone; ``cost_share_of_all`` that of all of a predictor's forecasts together over all the
    fine-tunes, what several need measured once.
    """

    runs: list[JudgedForecast]
    safety: list[Ranked]
    task: list[Ranked]
    cost_share: dict[str, Number]
    cost_share_of_all: dict[str, Number]
