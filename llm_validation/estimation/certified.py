"""What the bounds of an estimate prove of the safety that a fine-tune costs, if anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finebound.results.bounds import QUANTITY_WORDS
from finebound.results.estimate import EstimateResult, StrategyBound
from finebound.results.strategies import settings_label
from theory.bound import Direction, Quantity, Status

_PROVED = (Status.EXACT, Status.CERTIFIED)


def certified(
    found: EstimateResult, budgets: Mapping[str, float]
) -> tuple[tuple[StrategyBound, ...], str]:
    """The proved bounds that say something, and what they say; else why there are none.

    On the model's weights these are the mildest strategies of each kind that keep a budget of the
    loss. On the rows it is what the mildest and the strictest lambda force, where that is not 0.
    """
    upper = [bound for bound in found.bounds if bound.direction != Direction.LOWER]
    on_model = [b for b in upper if b.quantity == Quantity.SAFETY_LOSS_INCREASE]
    limit = budgets.get("loss", -1.0)
    keeping = _mildest([b for b in on_model if b.status in _PROVED and b.value <= limit])
    if keeping:
        told = "; ".join(_change(b) for b in keeping)
        return keeping, f"Proved to keep the budget: {told}."
    forced = sorted(
        (
            bound
            for bound in found.bounds
            if bound.basis == "rows"
            and bound.direction == Direction.EQUALITY
            and bound.quantity == Quantity.PROXY_SAFETY_GAP
            and bound.status in _PROVED
            and bound.value > 0
        ),
        key=lambda bound: bound.strategy.lam or 0.0,
    )
    if forced:
        ends = tuple(forced[:: max(1, len(forced) - 1)])
        told = " and ".join(f"{b.shown} {b.unit} at lambda {b.strategy.lam:g}" for b in ends)
        return ends, (
            f"Proved on the rows alone ({forced[0].name}, {forced[0].status}): a policy that "
            f"answers every prompt apart has a {found.penalised} gap of {told}. No bound covers "
            "what shared weights lose besides."
        )
    return (), f"Proved: nothing that decides this budget. {_why_not(found, on_model, budgets)}"


def _mildest(bounds: Sequence[StrategyBound]) -> tuple[StrategyBound, ...]:
    """Of each kind of strategy the smallest lambda, the largest radius."""
    found: dict[str, StrategyBound] = {}
    for bound in sorted(bounds, key=lambda b: (b.strategy.lam or 0.0, -(b.strategy.radius or 0.0))):
        found.setdefault(bound.strategy.kind, bound)
    return tuple(found.values())


def _change(bound: StrategyBound) -> str:
    words = QUANTITY_WORDS[bound.quantity]
    at = settings_label(bound.strategy.to_dict())
    return f"{words} <= {bound.shown} {bound.unit} at {at} ({bound.name}, {bound.status})"


def _why_not(
    found: EstimateResult, on_model: Sequence[StrategyBound], budgets: Mapping[str, float]
) -> str:
    if "loss" not in budgets:
        return (
            "Bounds are on losses, not on shares of refusals. These rows force no cost, and what "
            "shared weights lose the bounds do not see."
        )
    if on_model:
        statuses = ", ".join(dict.fromkeys(bound.status for bound in on_model))
        return f"The bounds on the model's safety loss are {statuses}."
    return (
        "The record has no bound on the model's safety loss; `finebound calibrate --safety FILE` "
        "searches one, on estimated constants."
    )
