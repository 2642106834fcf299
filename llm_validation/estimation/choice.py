"""``calibrate`` on a forecast: the mildest option of an estimate that keeps a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from finebound.base.errors import InputError
from finebound.base.records import file_sha256, manifest
from finebound.results.choice import AskedBudget, ChoiceResult
from finebound.results.estimate import EstimateResult
from finebound.results.outlook import (
    BROKEN,
    DECISIONS,
    KEPT,
    BehaviourForecast,
    Option,
    best_first,
    decided,
)
from finebound.results.result import Manifest
from llm_validation.estimation.applying import steps_to_apply
from llm_validation.estimation.certified import certified
from theory.bound import Status

_ALLOWED = {
    "refusal": "{:g} points of refusals lost",
    "over-refusal": "{:g} points of over-refusal gained",
    "loss": "{:g} nats per token of safety loss gained",
}
_ROUNDING = 1e-9


def choose(
    found: EstimateResult,
    budgets: Mapping[str, float] | None = None,
    *,
    file: str | Path | None = None,
) -> ChoiceResult:
    """The most capable option that keeps every budget; nothing between options is guessed.

    ``budgets`` are by quantity, as ``budgets_of`` reads them (default: those of the estimate).
    Others than the estimate's can only be of refusals, whose intervals the options have. Without
    an option that keeps them the best undecided one is chosen, and none where all break them.
    ``file`` is where the estimate was read. Raises InputError for one without a forecast of
    refusals, for one with impossible numbers, and for a budget that it cannot decide.
    """
    forecast = _forecast_of(found, file)
    own = {budget.quantity: budget.limit for budget in found.budgets}
    asked = dict(budgets) if budgets else own
    if not asked:
        raise InputError(
            "the estimate has no budget.", remedy="Give one, for example refusal=5.", file=file
        )
    is_given = bool(budgets) or any(budget.given for budget in found.budgets)
    options = found.options
    if asked != own:
        options = tuple(_decided_anew(one, asked, forecast) for one in options)
    options = best_first(options)
    best = options[0]
    is_kept = best.within_budget != BROKEN
    proved, proved_in_words = certified(found, asked)
    given = dict(found.manifest.given) if file is None else {"from": file}
    made = manifest(
        given=given | {"budget": [f"{name}={limit:g}" for name, limit in asked.items()]},
        inputs=found.manifest.inputs if file is None else {"estimate": file_sha256(file)},
        seed=found.manifest.seed,
    )
    return ChoiceResult(
        sentence=_sentence(best, asked, is_given, forecast),
        decision=best.within_budget,
        chosen=best if is_kept else None,
        budgets=tuple(
            AskedBudget(quantity=name, limit=limit, given=is_given) for name, limit in asked.items()
        ),
        refusal_before=forecast.refusal.before,
        over_refusal_before=forecast.over_refusal.before,
        level=forecast.refusal.level,
        status=str(Status.ESTIMATED),
        guarantee=_guarantee(best, forecast),
        certified=proved,
        certified_in_words=proved_in_words,
        apply=steps_to_apply(best, found) if is_kept else (),
        options=options,
        manifest=Manifest(**made),
    )


def _forecast_of(found: EstimateResult, file: str | Path | None) -> BehaviourForecast:
    """The forecast of refusals, with options that can be. Raises InputError."""
    forecast, request = found.forecast, found.request
    if forecast is None or not found.options:
        if request is None:
            what = "is of an earlier version, which forecast no refusals"
        elif request.get("model") is None:
            what = "is of texts alone, and only a model has refusals to forecast"
        elif request.get("safety") is not None:
            what = "was made with safety data, and refusals are forecast without them"
        else:
            what = f"has no {'options' if forecast else 'forecast of refusals'}"
        raise InputError(
            f"this estimate {what}.",
            remedy="Make it with `finebound estimate --model M --task T --out DIR`.",
            file=file,
        )
    faults = [words for option in found.options if (words := _fault(option))]
    if not 0 <= forecast.refusal.before <= 1:
        faults.append(f"the refusals before are {forecast.refusal.before:g}")
    if faults:
        raise InputError(
            f"this estimate is damaged: {faults[0]}.", remedy="Make it again.", file=file
        )
    return forecast


def _fault(option: Option) -> str:
    low, high = option.interval
    ends = (0.0, low, option.refusal, high, 1.0)
    if not all(after >= before - _ROUNDING for before, after in pairwise(ends)):
        return f"{option.how}: {option.refusal:g} [{low:g}, {high:g}] is no share with its interval"
    if option.within_budget not in DECISIONS:
        return f"{option.how}: its budget is {option.within_budget!r}"
    if not math.isfinite(option.capability_gain):
        return f"{option.how}: its capability gain is {option.capability_gain:g}"
    return ""


def _decided_anew(
    option: Option, asked: Mapping[str, float], forecast: BehaviourForecast
) -> Option:
    """The option beside another budget. Raises InputError for one it has no interval of."""
    decisions = []
    for name, limit in asked.items():
        lost = _lost(option, name, forecast)
        if lost is None:
            raise InputError(
                f"`budget` is {name}={limit:g}, and the estimate's options have no interval of it.",
                remedy="Give refusal=POINTS alone, the estimate's own budget, or estimate again.",
            )
        decisions.append(decided(limit, lost))
    within = max(decisions, key=DECISIONS.index)
    return option.model_copy(update={"within_budget": within})


def _lost(option: Option, quantity: str, forecast: BehaviourForecast) -> tuple[float, float] | None:
    """The interval of what an option loses, in points or nats per token, where it is known."""
    if quantity == "refusal":
        low, high = (100 * (forecast.refusal.before - x) for x in reversed(option.interval))
        return low, high
    if quantity == "over-refusal" and option.over_refusal_interval is not None:
        before = forecast.over_refusal.before
        low, high = (100 * (x - before) for x in option.over_refusal_interval)
        return low, high
    return option.safety_loss_interval if quantity == "loss" else None


def _sentence(
    best: Option, asked: Mapping[str, float], is_given: bool, forecast: BehaviourForecast
) -> str:
    allowed = ", ".join(_ALLOWED[name].format(limit) for name, limit in asked.items())
    budget = f"{'the' if is_given else 'the usual'} budget (at most {allowed})"
    low, high = (100 * share for share in best.interval)
    before = 100 * forecast.refusal.before
    moved = f"refusals {before:.0f} % -> {100 * best.refusal:.0f} % [{low:.0f}, {high:.0f}]"
    left = "" if best.kept is None else f", with {100 * best.kept:.0f} % of the capability gain"
    if best.within_budget == KEPT:
        return f"The mildest option that keeps {budget}: {best.how}: {moved}{left}."
    if best.within_budget == BROKEN:
        return (
            f"Every option that was tried breaks {budget}. The one that refuses most: {best.how}: "
            f"{moved}{left}. Nothing between the options is guessed: estimate a milder plan."
        )
    return (
        f"Undecided: no option surely keeps {budget}. The best one: {best.how}: {moved}{left}. "
        "The forecast holds both sides of the budget."
    )


def _guarantee(best: Option, forecast: BehaviourForecast) -> str:
    evidence, level = forecast.evidence, f"{100 * forecast.refusal.level:.0f} %"
    if best.strategy == "none" and evidence.calibrated and not evidence.outside:
        said = (
            f"{Status.HIGH_PROBABILITY}: the interval holds with a probability of {level}, if the "
            f"fine-tune is like the {evidence.fine_tunes} finished ones that it rests on (T25)."
        )
    else:
        said = (
            f"{Status.ESTIMATED}: the {level} intervals say what usual errors of such forecasts "
            "are; they are no guarantee."
        )
    if evidence.fine_tunes and evidence.coverage is not None:
        said += (
            f" On {evidence.fine_tunes} fine-tunes that were run, {100 * evidence.coverage:.0f} % "
            "of them held what was measured."
        )
    if best.strategy == "none":
        said += (
            f" If the loss on the model's own answers rises as forecast, by {forecast.delta:.2g} "
            f"nats per answer, at least {100 * forecast.refusal_at_least:.0f} % stay refused (T21)."
        )
    return said
