"""What the adversary attacks: one form of a statement, how tight it is claimed, and the finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from theory.bound import Bound, Direction, Quantity
from theory.divergence import Array
from theory.problem import Constants, Problem
from theory.strategy import Strategy

# Measured from the gap at the aligned model: what a fine-tune adds to it or takes off it.
FROM_START = "from the start"


@dataclass(frozen=True, eq=False)
class Form:
    """One form of a statement and the formula that gradient ascent climbs.

    ``ratio`` gives ``(top, bottom)`` of one traced instance; the ascent maximises ``top / bottom``,
    which is at most ``sharpest``, the proved supremum (1: claimed tight; below 1 ``why`` says how
    it is proved). ``part``: "" compares whole values; :data:`FROM_START` compares changes of the
    gap of the aligned model; the name of a term compares that term with what the others leave to
    it, so that no other term can hide how loose it is. ``size``: the nats whose rounding enters.
    ``setting`` names the ties and zeros of the instances.
    """

    statement: str
    quantity: Quantity
    direction: Direction
    form: str
    ratio: Callable[[Any], tuple[jax.Array, jax.Array]]
    part: str = ""
    strategy: str = "lam"
    setting: Mapping[str, Any] = field(default_factory=dict)
    size: Callable[[Any], jax.Array | float] = lambda q: 1.0
    sharpest: float = 1.0
    why: str = ""
    family: str = "tabular"

    @property
    def name(self) -> str:
        words = (
            f"{self.statement} {self.family}",
            self.quantity,
            self.direction,
            self.form,
            self.part,
        )
        return "/".join(str(word) for word in words if word)

    def of(self, bounds: list[Bound]) -> Bound:
        """The bound that this form is, among all that theory says."""
        (found,) = (
            b
            for b in bounds
            if b.statement == self.statement
            and b.quantity is self.quantity
            and b.direction is self.direction
            and b.form == self.form
        )
        return found


@dataclass(frozen=True, eq=False)
class Attempt:
    """Instances ``[n]`` as theory's problem, and what turned out: truths by a path of their own.

    ``start``: the gap of the aligned model. ``error``: of the truth, absolute, nats. ``checked``:
    where the truth is known. ``attained``: the policies or parameters that the truth is about,
    where they are not the strategy's minimiser.
    """

    problem: Problem | list[Constants]
    strategy: Strategy
    truth: Array
    start: Array
    error: Array
    checked: np.ndarray
    attained: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """The instance that came closest to breaking one form.

    ``ratio`` is truth / bound of an upper bound (bound / truth of a lower one), both from theory
    and an independent truth, and ``error`` what rounding can add to it; ``sharpest`` the proved
    supremum. ``problem`` is a PROBLEM.json, ``strategy`` goes with it; ``attained`` is the point
    of the truth where that is not the minimiser. ``history`` has the ascent's best ratio after
    equal shares of the steps, over all ``restarts``.
    """

    statement: str
    family: str
    quantity: str
    direction: str
    form: str
    part: str
    ratio: float
    error: float
    sharpest: float
    why: str
    bound: float
    truth: float
    restarts: int
    steps: int
    problem: Mapping[str, object]
    strategy: Mapping[str, object]
    attained: Mapping[str, object]
    history: tuple[float, ...]

    @property
    def claimed(self) -> bool:
        """Whether nothing smaller could be proved: the form's supremum is 1."""
        return self.sharpest == 1.0

    @property
    def reached(self) -> float:
        """The ratio as a share of the proved supremum."""
        return self.ratio / self.sharpest

    def as_json(self) -> dict[str, object]:
        """Plain numbers, lists and words; ``claimed`` and ``reached`` too."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "claimed": self.claimed, "reached": self.reached}
