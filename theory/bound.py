"""A bound: a number with a direction, a quantity, a unit, its assumptions and a status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from theory.problem import Constant, Known


class Quantity(StrEnum):
    """What is bounded; gaps are relative to the best of the model class."""

    SAFETY_GAP = "safety_gap"
    PROXY_SAFETY_GAP = "proxy_safety_gap"
    CAPABILITY_GAP = "capability_gap"
    WEIGHTED_SUM = "weighted_sum"
    SQRT_SUM = "sqrt_sum"
    SAFETY_LOSS_INCREASE = "safety_loss_increase"
    RADIUS = "radius"
    SAFE_ANSWERS = "safe_answers"
    FAILURE = "failure_probability"


class Direction(StrEnum):
    """On which side of the truth a bound lies."""

    UPPER = "upper"
    LOWER = "lower"
    EQUALITY = "equality"


class Status(StrEnum):
    """How sure a bound is, from an equality to an assumption that fails (part E)."""

    EXACT = "EXACT"
    CERTIFIED = "CERTIFIED"
    HIGH_PROBABILITY = "HIGH_PROBABILITY"
    ESTIMATED = "ESTIMATED"
    VACUOUS = "VACUOUS"
    NOT_APPLICABLE = "NOT_APPLICABLE"


# The term that a bound on the safety gap starts from; without it the bound is on the increase.
SAFETY_START = "safety gap at the aligned model"


@dataclass(frozen=True, eq=False)
class Bound:
    """One statement about one quantity; for a batch, ``value``, ``status`` and terms are arrays.

    ``terms`` add up to ``value``. ``form`` tells apart several bounds of one statement.
    ``failed`` names the assumption that a NOT_APPLICABLE bound lacks. ``scope`` is "worst case"
    where the bound is on the supremum over unknown safety data, not on this instance. ``error`` is
    how far the value of an equality can be off, in its unit.
    Source: part E of docs/theorems.md.
    """

    statement: str
    quantity: Quantity
    direction: Direction
    value: float | np.ndarray
    status: Status | np.ndarray
    form: str = ""
    assumptions: tuple[str, ...] = ()
    terms: Mapping[str, float | np.ndarray] = field(default_factory=dict)
    unit: str = "nats"
    failure_probability: float = 0.0
    failed: str = ""
    scope: str = "instance"
    error: float | np.ndarray = 0.0

    @property
    def applies(self) -> bool | np.ndarray:
        return self.status != Status.NOT_APPLICABLE


def bound(
    statement: str,
    quantity: Quantity,
    direction: Direction,
    terms: Mapping[str, float | np.ndarray],
    *,
    assumptions: Iterable[str] = (),
    form: str = "",
    trivial: float | np.ndarray = np.inf,
    constants: Iterable[Constant] = (),
    applies: bool | np.ndarray = True,
    failed: str = "",
    unit: str = "nats",
    scope: str = "instance",
    error: float | np.ndarray = 0.0,
) -> Bound:
    """A bound whose value is the sum of ``terms`` and whose status follows from what it used.

    ``constants`` are those of a real model that entered: one estimated gives ESTIMATED, else
    one of high probability gives HIGH_PROBABILITY with the sum of their p, else CERTIFIED.
    An upper bound that is not below ``inf`` or above ``trivial``, or a lower one not above 0, is
    VACUOUS. Where ``applies`` is False (per instance) the value falls back to the trivial one, and
    so it does where float64 cannot hold the arithmetic (``inf - inf``, ``0 inf``).
    """
    terms = {name: np.asarray(term, dtype=np.float64) for name, term in terms.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        value = np.asarray(sum(terms.values()), dtype=np.float64)
    weakest = np.inf if direction is Direction.UPPER else 0.0
    undefined = np.isnan(value)
    if undefined.any():
        value = np.where(undefined, weakest, value)
        terms = {name: np.where(undefined, weakest, term) for name, term in terms.items()}
        if direction is Direction.EQUALITY:
            applies = applies & ~undefined
            failed = failed or "the numbers are too large or too small for float64"
    used = tuple(constants)
    if any(c.known is Known.ESTIMATED for c in used):
        sound, probability = Status.ESTIMATED, 0.0
    else:
        probability = min(sum(c.failure_probability for c in used), 1.0)
        sound = Status.HIGH_PROBABILITY if probability > 0 else Status.CERTIFIED
    if direction is Direction.EQUALITY:
        sound = Status.EXACT if sound is Status.CERTIFIED else sound
        status = np.full(value.shape, sound, dtype="<U16")
    else:
        empty = (
            ~(value <= trivial) | ~np.isfinite(value)
            if direction is Direction.UPPER
            else ~(value > 0)
        )
        status = np.where(empty, str(Status.VACUOUS), str(sound))
    applies = np.broadcast_to(np.asarray(applies, dtype=bool), value.shape)
    if not applies.all():
        status = np.where(applies, status, str(Status.NOT_APPLICABLE))
        value = np.where(applies, value, weakest)
        terms = {name: np.where(applies, term, weakest) for name, term in terms.items()}
    scalar = value.ndim == 0
    return Bound(
        statement=statement,
        quantity=quantity,
        direction=direction,
        value=float(value) if scalar else value,
        status=Status(str(status)) if scalar else status,
        form=form,
        assumptions=tuple(assumptions),
        terms={name: float(term) if scalar else term for name, term in terms.items()},
        unit=unit,
        failure_probability=probability,
        failed="" if applies.all() else failed,
        scope=scope,
        error=float(error) if scalar else error,
    )


def not_applicable(
    statement: str,
    quantity: Quantity,
    failed: str,
    *,
    direction: Direction = Direction.UPPER,
    form: str = "",
    assumptions: Iterable[str] = (),
) -> Bound:
    """The statement does not apply here; ``failed`` names the assumption that is missing."""
    return Bound(
        statement=statement,
        quantity=quantity,
        direction=direction,
        value=np.inf if direction is Direction.UPPER else 0.0,
        status=Status.NOT_APPLICABLE,
        form=form,
        assumptions=tuple(assumptions),
        failed=failed,
    )
