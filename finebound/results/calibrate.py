"""The least constraining strategy whose bound keeps a safety budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from finebound.base.output import number
from finebound.results.bounds import BoundEntry
from finebound.results.reading import DataReading
from finebound.results.result import Manifest, Number, Result
from finebound.results.strategies import StrategyEntry

if TYPE_CHECKING:
    from theory.calibrate import Calibration


class CalibrateResult(Result):
    """What ``finebound calibrate`` finds, in ``unit``.

    ``strategy`` keeps the ``budget``; None where even the strictest of the range misses it, and
    then ``bound`` is the one that it reaches. ``unconstrained``: the least constraining of the
    range keeps it. ``reading`` is how the datasets were read, where it was about data.
    """

    kind: ClassVar[str] = "calibrate"
    file: ClassVar[str] = "calibrate.json"

    strategy: StrategyEntry | None
    budget: Number
    unit: str
    quantity: str
    unconstrained: bool
    reached: Number
    status: str
    failure_probability: Number
    bound: BoundEntry | None
    reading: dict[str, DataReading] | None = None
    manifest: Manifest

    @classmethod
    def of_theory(
        cls,
        found: Calibration,
        *,
        unit: str,
        manifest: Manifest,
        reading: Mapping[str, DataReading],
    ) -> Self:
        """The result of theory's search; without ``reading`` its entry is left out."""
        strategy, winner = found.strategy, found.best.winner
        return cls(
            strategy=None if strategy is None else StrategyEntry.of(strategy),
            budget=found.budget,
            unit=unit,
            quantity=str(found.quantity),
            unconstrained=found.unconstrained,
            reached=float(found.best.value),
            status=str(found.best.status),
            failure_probability=found.best.failure_probability,
            bound=None if winner is None else BoundEntry.of(winner),
            **({"reading": dict(reading)} if reading else {}),
            manifest=manifest,
        )

    def summary(self) -> str:
        """Which strategy keeps the budget, and by which bound; or that none of the range does."""
        budget = number(self.budget)
        if self.strategy is None:
            asked = self.manifest.given.get("strategy", "loss")
            by = "" if self.bound is None else f" (by {self.bound.statement}, {self.bound.status})"
            return (
                f"No {asked} strategy keeps the budget of {budget} {self.unit}: the strictest of "
                f"the range reaches {number(self.reached)}{by}."
            )
        chosen = {k: v for k, v in self.strategy.to_dict().items() if k != "kind"}
        words = ", ".join(f"{name} {value:.4g}" for name, value in chosen.items())
        note = ": the least constraining of the range keeps it" if self.unconstrained else ""
        by = "" if self.bound is None else f" by {self.bound.statement}"
        return (
            f"{self.strategy.kind} constraint, {words}{note}. {self.quantity} <= "
            f"{number(self.reached)} {self.unit}{by} ({self.status}), budget {budget}."
        )
