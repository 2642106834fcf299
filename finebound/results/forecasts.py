"""What predictors said of runs before they were made, and how well that ranked them."""

from __future__ import annotations

from typing import Literal

from finebound.results.result import Known, Number, Part
from finebound.results.spans import Limits


class Interval90(Part):
    """90 % intervals of both changes, nats per token."""

    safety: tuple[Number, Number]
    task: tuple[Number, Number]


class Forecast(Part):
    """One predictor's word on one run beside what was measured, nats per token unless a score.

    ``task_change`` is None where a predictor says nothing of the task.
    """

    run: str
    measured_safety_change: Number
    measured_task_change: Number
    name: str
    safety_change: Number
    task_change: Known
    interval_90: Interval90 | None
    cost_tokens: Number
    is_score: bool
    details: dict[str, Known]
    shared_tokens: dict[str, Number]


class Ranked(Part):
    """One predictor over all runs; ``forecast.ranking.Ranking`` says what each number is."""

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

    runs: list[Forecast]
    safety: list[Ranked]
    task: list[Ranked]
    cost_share: dict[str, Number]
    cost_share_of_all: dict[str, Number]
