"""The bounds of one problem under one strategy, and its true gaps where a closed form exists."""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from finebound.base.output import number
from finebound.results.result import Number, Part, Result

if TYPE_CHECKING:
    from theory.bound import Bound
    from theory.exact import Exact

QUANTITY_WORDS = {
    "safety_gap": "safety gap G_s",
    "proxy_safety_gap": "proxy safety gap",
    "capability_gap": "capability gap G_f",
    "weighted_sum": "G_f + lambda G_s",
    "sqrt_sum": "sqrt G_f + sqrt G_s",
    "safety_loss_increase": "change in safety loss",
    "radius": "radius",
    "safe_answers": "share of safe answers",
    "failure_probability": "chance of a false certificate",
}
SIGN = {"upper": "<=", "lower": ">=", "equality": "="}
_GAPS = ("safety_gap", "proxy_safety_gap", "capability_gap")


class BoundEntry(Part):
    """One bound: a number with a direction, a quantity, a unit, its assumptions and a status.

    ``terms`` add up to ``value``. ``failed`` names the assumption that a NOT_APPLICABLE bound
    lacks. ``error`` is how far the value of an equality can be off, in its unit.
    """

    statement: str
    form: str
    quantity: str
    direction: str
    value: Number
    status: str
    assumptions: list[str]
    terms: dict[str, Number]
    unit: str
    failure_probability: Number = 0.0
    failed: str = ""
    scope: str = "instance"
    error: Number = 0.0

    @classmethod
    def of(cls, bound: Bound) -> Self:
        """The entry of one of theory's bounds; what has its default is left out of the record."""
        unusual: dict[str, Any] = {
            "failure_probability": bound.failure_probability,
            "failed": bound.failed,
            "scope": "" if bound.scope == "instance" else bound.scope,
            "error": 0.0 if bound.status == "NOT_APPLICABLE" else bound.error,
        }
        return cls(
            statement=bound.statement,
            form=bound.form,
            quantity=str(bound.quantity),
            direction=str(bound.direction),
            value=float(bound.value),
            status=str(bound.status),
            assumptions=list(bound.assumptions),
            terms={name: float(term) for name, term in bound.terms.items()},
            unit=bound.unit,
            **{name: value for name, value in unusual.items() if value},
        )

    @property
    def name(self) -> str:
        """The statement, with which of its forms."""
        return f"{self.statement} ({self.form})" if self.form else self.statement

    @property
    def shown(self) -> str:
        """The value in four digits that are no better than it."""
        if self.direction == "equality":
            return number(self.value, self.error)
        return rounded(self.value, up=self.direction == "upper")


class BoundsResult(Result):
    """What ``finebound bound`` and ``finebound.bounds`` find.

    ``exact``: the true gaps in nats by name; one without a digit that holds is None. None where
    no closed form exists. ``exact_limits``: how sure the gaps of a quadratic problem are.
    ``error``: how far each can be off. ``between``: the limits of a gap of which no digit holds.
    Where several points minimise and their safety gaps differ, ``minimiser`` says whose the gaps
    are and ``safety_gap_range`` what the others reach.
    """

    kind: ClassVar[str] = "bounds"
    file: ClassVar[str] = "bounds.json"

    exact: dict[str, Number | None] | None
    exact_limits: dict[str, Any] | None = None
    bounds: list[BoundEntry]

    @classmethod
    def of_theory(cls, bounds: Iterable[Bound], solution: Exact | None) -> Self:
        """The result of theory's bounds and its exact solution, if there is one."""
        limits = _limits(solution)
        between = (limits or {}).get("between", {})
        exact = None
        if solution is not None:
            exact = {n: None if n in between else float(getattr(solution, n)) for n in _GAPS}
        more = {} if limits is None else {"exact_limits": limits}
        return cls(exact=exact, **more, bounds=[BoundEntry.of(bound) for bound in bounds])

    @property
    def applying(self) -> list[BoundEntry]:
        """The bounds that apply, tightest first within quantity and direction."""
        order = list(QUANTITY_WORDS)

        def rank(entry: BoundEntry) -> tuple[int, str, float]:
            sign = -1.0 if entry.direction == "lower" else 1.0
            return order.index(entry.quantity), entry.direction, sign * entry.value

        return sorted((b for b in self.bounds if b.status != "NOT_APPLICABLE"), key=rank)

    @property
    def lacking(self) -> list[str]:
        """Which statement does not apply, and the assumption that it lacks; each once."""
        lines = [f"{b.statement}: {b.failed}" for b in self.bounds if b.status == "NOT_APPLICABLE"]
        return list(dict.fromkeys(lines))

    def summary(self) -> str:
        """The true gaps, if known, then the tightest bound of each quantity and direction."""
        lines = [] if self.exact is None else [self.exact_in_words]
        tightest: dict[tuple[str, str], BoundEntry] = {}
        for entry in self.applying:
            tightest.setdefault((entry.quantity, entry.direction), entry)
        lines += [
            f"{QUANTITY_WORDS[b.quantity]} {SIGN[b.direction]} {b.shown} {b.unit} "
            f"({b.name}, {b.status})"
            for b in tightest.values()
            if b.status != "VACUOUS"
        ]
        return "\n".join(lines or ["no bound applies"])

    @property
    def exact_in_words(self) -> str:
        """The true gaps: only digits that hold, and the range where it is not unique."""
        limits = self.exact_limits or {}
        parts = []
        for name, gap in (self.exact or {}).items():
            if gap is None:
                between = _outwards(*limits["between"][name])
                parts.append(f"{name} not resolved in double precision (between {between})")
            else:
                parts.append(f"{name} {number(gap, limits.get('error', {}).get(name, 0.0))}")
        words = "exact: " + ", ".join(parts) + " nats"
        if "minimiser" in limits:
            others = _outwards(*limits["safety_gap_range"])
            words += f"; {limits['minimiser']}: others have a safety gap between {others}"
        return words


def _limits(solution: Exact | None) -> dict[str, Any] | None:
    gaps = None if solution is None else solution.gaps
    if gaps is None:
        return None
    known = dict(zip(_GAPS, (gaps.safety, gaps.safety, gaps.capability), strict=True))
    told: dict[str, Any] = {"error": {name: float(gap.error) for name, gap in known.items()}}
    limits = {n: [float(g.lower), float(g.upper)] for n, g in known.items() if not g.resolved}
    if limits:
        told["between"] = limits
    if gaps.which:
        spread = gaps.safety_range
        told["minimiser"] = gaps.which
        told["safety_gap_range"] = [float(spread.lower), float(spread.upper)]
    return told


def _outwards(low: float, high: float) -> str:
    """``low and high`` in four digits, rounded away from each other."""
    return f"{rounded(low, up=False)} and {rounded(high, up=True)}"


def rounded(value: float, *, up: bool) -> str:
    """Four significant digits that lie on the side given."""
    if not math.isfinite(value):
        return number(value)
    rounding = decimal.ROUND_CEILING if up else decimal.ROUND_FLOOR
    context = decimal.Context(prec=4, rounding=rounding)
    return number(float(context.create_decimal(decimal.Decimal(value))))
