"""What the planned fine-tune will change under each strategy: forecasts, never bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed
from finebound.results.estimate import StrategyForecastEntry
from finebound.results.strategies import StrategyEntry
from llm_validation.data.conversations import last_answers
from llm_validation.data.dataset import Dataset
from llm_validation.estimation.model_side import PER_TOKEN
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import Role, World
from llm_validation.training.plan import TrainingPlan
from theory.bound import Status
from theory.strategy import LossConstraint, ParameterConstraint, Strategy

if TYPE_CHECKING:
    from llm_validation.estimation.request import Request
    from llm_validation.models.loading import LoadedModel

SHARE = 0.1
SHORT_STEPS = 5
"""Coarse steps of a plan of which ``SHARE`` pays for none."""


Keep = Callable[[str, Callable[[], StrategyForecastEntry]], StrategyForecastEntry]


def forecast_strategies(
    request: Request,
    loaded: LoadedModel,
    plan: TrainingPlan,
    datasets: Mapping[str, Dataset],
    *,
    keep: Keep = lambda _, make: make(),
    progress: Progress = silent,
) -> list[StrategyForecastEntry]:
    """No constraint, then every lambda, then every radius of ``request``, by the coarse unroll.

    Each costs about ``SHARE`` of its fine-tune; where that pays for nothing it costs more, and a
    note says so. ``keep`` takes a strategy's name and what makes its row, and may have it from an
    earlier start. Without a proxy lambda weighs the safety data. A strategy whose unroll diverges
    has no row, and every other row a note of it; raises InputError when all of them do. Source:
    T20 of docs/theorems.md.
    """
    if request.turns == "last":
        datasets = {name: last_answers(dataset) for name, dataset in datasets.items()}
    world = World(
        loaded,
        datasets["safety"],
        datasets["task"],
        datasets.get("proxy", datasets["safety"]),
        max_length=request.max_length,
        seed=spawn_seed(request.seed, "forecast"),
    )
    strategies: list[Strategy | None] = [
        None,
        *map(LossConstraint, request.lam),
        *map(ParameterConstraint, request.radius),
    ]
    shared = _left_out(world, datasets)
    made, failed = [], []
    for strategy in progress(strategies, "forecasting strategies"):
        entry = StrategyEntry.of(strategy)
        try:
            under = replace(plan, strategy=strategy)
            make = partial(_forecast, world, under, entry, shared, "proxy" in datasets)
            made.append(keep(f"forecast {entry.in_words}", make))
        except InputError as error:
            failed.append(error)
            shared += (f"No forecast for {entry.in_words}: {error.what}",)
    if not made:
        raise failed[0]
    return [
        row.model_copy(update={"notes": list(dict.fromkeys((*row.notes, *shared)))}) for row in made
    ]


def _forecast(
    world: World,
    plan: TrainingPlan,
    entry: StrategyEntry,
    shared: tuple[str, ...],
    has_proxy: bool,
) -> StrategyForecastEntry:
    unroll, short = _unroll(world, plan)
    said = unroll.predict(world, plan)
    # An unroll forecasts both changes, with intervals.
    assert said.task_change is not None
    assert said.interval_90 is not None
    share = said.cost_tokens / world.finetune_tokens(plan)
    return StrategyForecastEntry(
        strategy=entry,
        safety_change=said.safety_change,
        safety_interval=said.interval_90.safety,
        task_change=said.task_change,
        task_interval=said.interval_90.task,
        cost_share=share,
        method=said.name,
        notes=[*short, *_about_strategy(plan, has_proxy), *shared],
        status=str(Status.ESTIMATED),
        in_words=entry.in_words,
        unit=PER_TOKEN,
    )


def _unroll(world: World, plan: TrainingPlan) -> tuple[CoarseUnroll, tuple[str, ...]]:
    try:
        return CoarseUnroll.within(world, plan, share=SHARE), ()
    except InputError:
        # Raised for nothing but a short plan: a dearer forecast is better than none.
        steps = min(SHORT_STEPS, plan.steps)
    how = "they are run as planned" if steps == plan.steps else f"{steps} coarse steps are run"
    note = (
        f"{SHARE:.0%} of a fine-tune of {plan.steps} steps of {plan.batch_size} task rows pay for "
        f"no forecast: {how}, at the larger share of the fine-tune that the table shows."
    )
    return CoarseUnroll(steps=steps), (note,)


def _about_strategy(plan: TrainingPlan, has_proxy: bool) -> tuple[str, ...]:
    if plan.needs_proxy_rows and not has_proxy:
        return (
            "Without a proxy lambda weighs the safety data themselves: safety losses are then "
            "measured on rows that the fine-tune may have trained on.",
        )
    return ()


def _left_out(world: World, datasets: Mapping[str, Dataset]) -> tuple[str, ...]:
    roles: tuple[Role, ...] = ("safety", "task", "proxy")
    missing = {
        role: len(datasets[role]) - len(world.encoded(role)) for role in roles if role in datasets
    }
    return tuple(
        f"{count} of {len(datasets[role])} {role} rows are left out of the forecasts: longer than "
        "the longest row, or without a token to learn."
        for role, count in missing.items()
        if count
    )
