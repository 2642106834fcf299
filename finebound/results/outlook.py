"""The answer of an estimate: what happens to a model's refusals, how sure that is, what to change.

Shares are in [0, 1]. Losses are in nats per token.
"""

from __future__ import annotations

from collections.abc import Iterable

from finebound.results.budget import BROKEN as BROKEN
from finebound.results.budget import DECISIONS as DECISIONS
from finebound.results.budget import KEPT as KEPT
from finebound.results.budget import UNDECIDED as UNDECIDED
from finebound.results.budget import decided as decided
from finebound.results.result import Known, Number, Part


class Verdict(Part):
    """The answer in one sentence, and its status in the words of the bounds."""

    sentence: str
    status: str


class ShareForecast(Part):
    """A share of answers before the fine-tune and its forecast after it.

    Answers are drawn at temperature 1, and are paired: ``n`` probes are asked before and after.
    ``interval`` (its ``level``, 0.9) holds the share after the fine-tune as often as usual errors
    say; where it is calibrated (``Evidence``) it holds with that probability. ``uncalibrated`` is
    then the forecast before it was calibrated. ``greedy_before`` and ``greedy_after`` are of the
    most likely answers, None where those were not asked for. ``by_likelihood`` tells the share
    after the fine-tune from the answers before it alone (T22).
    """

    before: Number
    after: Number
    interval: tuple[Number, Number]
    level: Number
    n: int
    greedy_before: Known = None
    greedy_after: Known = None
    by_likelihood: Known = None
    uncalibrated: Known = None


class ChangeForecast(Part):
    """A forecast change, after less before, in ``unit``; ``interval`` as that of a share."""

    value: Number
    interval: tuple[Number, Number]
    level: Number
    unit: str


class Evidence(Part):
    """How such forecasts of refusals did on fine-tunes that were run.

    ``coverage`` is the share of 90 % intervals that held the measured share, ``mean_width`` their
    mean width in shares. With no ``fine_tunes`` neither is known. With ``calibrated`` the forecast
    rests on these fine-tunes of so many ``pairs`` of datasets (T25), and coverage and width are of
    fine-tunes that were forecast from those of other pairs. ``outside`` says in what the plan is
    unlike all of them: its interval is then wider, and an estimate.
    """

    fine_tunes: int
    coverage: Known
    mean_width: Known
    pairs: int = 0
    calibrated: bool = False
    outside: tuple[str, ...] = ()


class Promise(Part):
    """What is promised of refusals before any training, with probability ``level``.

    The loss on the model's own answers to harmful probes rises by at most ``rise`` nats per answer
    (T25, from finished fine-tunes). At least the share ``refusal`` of them is then refused (T21).
    ``status`` in the words of the bounds: ESTIMATED where the plan is unlike the finished ones.
    """

    refusal: Number
    rise: Number
    level: Number
    status: str
    assumptions: tuple[str, ...]


class BehaviourForecast(Part):
    """What the planned fine-tune does, forecast by a coarse unroll of it (T20).

    ``refusal`` is of harmful probes, ``over_refusal`` of harmless look-alikes.
    ``safety_loss_change`` is on the aligned model's own answers to the harmful probes,
    ``capability_gain`` the fall of the loss on task rows that the unroll did not see.
    ``refusal_at_least`` is what T21 says of a fine-tune whose ``delta`` (nats per answer) is the
    forecast one; ``promise`` also counts how far such forecasts err. ``cost_share``: the forecast's
    tokens over those of the fine-tune.
    """

    refusal: ShareForecast
    over_refusal: ShareForecast
    safety_loss_change: ChangeForecast
    capability_gain: ChangeForecast
    delta: Number
    refusal_at_least: Number
    effective_answers: Number
    cost_share: Number
    evidence: Evidence
    promise: Promise | None = None


class Option(Part):
    """A way to train, best first: what it changes in words, and what it is forecast to do.

    ``strategy`` names its kind and ``value`` its strength: "none", "mix" (share of safety rows), in
    DPO "lambda" for it, "scale" (of the change after training), "radius" (of the change while
    training), "steps" (how many are trained), "rank" (of the LoRA).
    ``kept`` is the share of the planned fine-tune's capability gain that is left,
    None where there is none.
    ``refusal`` and ``interval`` are shares after the fine-tune. ``cost_share`` as in the forecast.
    Records of before have no interval of over-refusal and of the safety loss.
    """

    strategy: str
    value: Known
    how: str
    refusal: Number
    interval: tuple[Number, Number]
    over_refusal: Number
    safety_loss_change: Number
    capability_gain: Number
    capability_interval: tuple[Number, Number]
    kept: Known
    within_budget: str
    cost_share: Number
    over_refusal_interval: tuple[Number, Number] | None = None
    safety_loss_interval: tuple[Number, Number] | None = None


class PlanSetting(Part):
    """One setting of the plan that was understood, and where it comes from."""

    name: str
    value: str | int | float | bool | None
    source: str


class BudgetVerdict(Part):
    """A budget, and whether the forecast keeps it: "kept", "broken" or "undecided".

    ``quantity`` is "refusal" (``limit`` in points that may be lost), "over-refusal" (points that
    may be gained) or "loss" (nats per token that the safety loss may rise by); ``change`` and
    ``interval`` are in the same unit. ``given`` is False for the usual one, by which options are
    judged where no budget was asked for.
    """

    quantity: str
    limit: Number
    change: Number
    interval: tuple[Number, Number]
    decision: str
    given: bool = True


def best_first(options: Iterable[Option]) -> tuple[Option, ...]:
    """What keeps the budget before what may, before what breaks it.

    Of those that keep it the most capable first, of the others the one that refuses most.
    """

    def key(option: Option) -> tuple[int, float]:
        kept = option.within_budget == KEPT
        worth = option.capability_gain if kept else option.refusal
        return DECISIONS.index(option.within_budget), -worth

    return tuple(sorted(options, key=key))
