"""From what was measured to bounds: on the rows themselves, on images of contexts, on the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from llm_validation.estimation.model_side import PER_TOKEN, ModelSide, constants_of, descent_slope
from llm_validation.estimation.shared_contexts import SharedContexts
from llm_validation.measure.overlap_measure import Errs, OverlapMeasure
from llm_validation.measure.planned_lora import lora_radius
from theory.bound import SAFETY_START, Bound, Direction, Quantity, Status, bound
from theory.evaluation import evaluate
from theory.exact import Frontier, frontier
from theory.local import AdamBudget, radius_from_budget
from theory.problem import Constant, Constants, Known
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint, Strategy

PER_RESPONSE = "nats/response"


@dataclass(frozen=True)
class Estimated:
    """A bound, the strategy it is for, and what it was measured on.

    ``basis``: "rows" (the files' rows as a population: no measurement error), the name of an
    overlap measure, or "model".
    """

    strategy: Strategy
    basis: str
    bound: Bound


def bounds_on_rows(shared: SharedContexts, lams: Sequence[float]) -> Iterator[Estimated]:
    """What shared prompts cost: T10 for every policy; T3 and T4 for a table of answers.

    T5's teacher term is left out: rows hold one answer a prompt, which cannot tell how far apart
    two teachers' distributions are (``proxy_mismatch`` measures that).
    """
    for lam in lams:
        strategy = LossConstraint(lam=lam)
        for b in evaluate(shared.problem, strategy, statements=("T3", "T4", "T10")):
            unit = b.unit.replace("nats", PER_RESPONSE)
            yield Estimated(strategy, "rows", replace(b, unit=unit))


def front_on_rows(shared: SharedContexts, lams: ArrayLike) -> Frontier:
    """The exact Pareto front that the rows force on every policy, nats a response (T10a)."""
    return frontier(shared.problem, lams)


def bounds_on_images(
    measures: Iterable[OverlapMeasure], lams: Sequence[float]
) -> Iterator[Estimated]:
    """T15: T4's sums on images of contexts, with tau = 1; the measures that err upwards only."""
    for measure in measures:
        if measure.errs is not Errs.NEVER_TOO_SMALL:
            continue
        p = measure.failure_probability
        known = (Known.ESTIMATED, 0.0) if p is None else (Known.HIGH_PROBABILITY, p)
        for lam in lams:
            sums = {
                Quantity.PROXY_SAFETY_GAP: measure.safety_sum(lam),
                Quantity.CAPABILITY_GAP: measure.capability_sum(lam),
            }
            for quantity, value in sums.items():
                yield Estimated(
                    LossConstraint(lam=lam),
                    measure.method,
                    bound(
                        "T15",
                        quantity,
                        Direction.UPPER,
                        {"prompts not told apart": value},
                        form=measure.method,
                        assumptions=("(A-T) every conditional table is realisable",),
                        constants=(Constant(value, *known),),
                        unit=PER_RESPONSE,
                    ),
                )


def bounds_on_model(
    side: ModelSide,
    *,
    has_proxy: bool,
    lams: Sequence[float],
    radii: Sequence[float],
    budget: Bound,
) -> Iterator[Estimated]:
    """The bounds of every lambda, every radius and every pair of them, after T13's ``budget``."""
    strategies: list[Strategy] = [LossConstraint(lam=lam) for lam in lams]
    yield Estimated(strategies[0], "model", budget)
    strategies += [ParameterConstraint(radius) for radius in radii]
    strategies += [Hybrid(lam=lam, radius=radius) for radius in radii for lam in lams]
    reach = float(budget.value)
    for strategy in strategies:
        for b in model_bounds(side, strategy, has_proxy=has_proxy, reach=reach):
            yield Estimated(strategy, "model", b)


def planned_radius(side: ModelSide, *, learning_rate: float, steps: int) -> Bound:
    """T13: how far AdamW without decay can take the weights in ``steps`` at ``learning_rate``.

    With a LoRA that is the norm of ``s B A`` (``measure.planned_lora``).
    """
    rates = np.full(steps, learning_rate)
    if side.landscape.lora is not None:
        return lora_radius(side.landscape.lora, rates)
    return radius_from_budget(AdamBudget(rates, dimension=side.landscape.dimension))


def model_bounds(
    side: ModelSide, strategy: Strategy, *, has_proxy: bool, reach: float
) -> list[Bound]:
    """Bounds on a real model's safety loss increase and task loss, nats a token.

    A loss constraint has no radius of its own: it gets ``reach``, that of the training budget.
    """
    match strategy:
        case LossConstraint():
            radius, statements = reach, ("T1", "T2", "T12")
        case ParameterConstraint():
            radius, statements = float(strategy.radius), ("T6", "T7", "T8")
        case Hybrid():
            radius, statements = float(strategy.radius), ("T6", "T7", "T9", "T12")
    constants = constants_of(side, has_proxy=has_proxy, radius=radius)
    found = []
    for b in (
        *filter(_is_no_descent, evaluate(constants, strategy, statements=statements)),
        *_descent(side, constants, strategy, statements),
    ):
        if b.quantity is Quantity.SAFETY_GAP:
            b = as_increase(b)
        if b.quantity is Quantity.SAFETY_LOSS_INCREASE and b.direction is Direction.UPPER:
            b = vacuous_above(b, np.log(side.vocabulary))
        found.append(replace(b, unit=PER_TOKEN if b.unit == "nats" else b.unit))
    return found


def _is_no_descent(b: Bound) -> bool:
    return not (b.statement == "T7" and b.direction is Direction.UPPER)


def _descent(
    side: ModelSide, constants: Constants, strategy: Strategy, statements: tuple[str, ...]
) -> list[Bound]:
    """T7's upper bounds, from the slope of a step that the fine-tune can take, from below.

    Its other bounds need the whole gradient's norm, from above: for a LoRA both differ, and the
    noise of a sample is on another side.
    """
    if "T7" not in statements:
        return []
    slope = Constant(descent_slope(side), Known.ESTIMATED)
    own = Constants({**constants, "gradient_norm_task": slope})
    return [b for b in evaluate(own, strategy, statements=("T7",)) if not _is_no_descent(b)]


def vacuous_above(b: Bound, limit: float) -> Bound:
    """A rise by more than log V is more than guessing every token uniformly can cost."""
    if b.status == Status.NOT_APPLICABLE or b.value <= limit:
        return b
    return replace(b, status=Status.VACUOUS)


def as_increase(b: Bound) -> Bound:
    """A bound on the gap, less the gap that the aligned model has already.

    The best safety loss of a real model is not known; how much the fine-tune adds is what counts.
    """
    terms = dict(b.terms)
    start = terms.pop(SAFETY_START, 0.0)
    value = b.value - start if np.isfinite(b.value) else b.value
    return replace(b, quantity=Quantity.SAFETY_LOSS_INCREASE, value=value, terms=terms)
