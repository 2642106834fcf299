"""How well forecasts of finished fine-tunes did, beside simpler ones."""

from __future__ import annotations

from typing import ClassVar

from finebound.results.result import Known, Manifest, Number, Part, Result
from finebound.results.spans import Limits

REFUSALS, LOSS = "refusals", "safety loss"


class PredictorSkill(Part):
    """One predictor of one ``quantity`` over all fine-tunes.

    Refusals are shares after the fine-tune, the safety loss is its change in nats per token.
    ``spearman`` is of changes, None where a predictor says the same of all. ``rmse`` and ``error``
    (the median absolute one) are in the quantity's unit. ``within_five`` and ``within_ten`` are
    shares of fine-tunes forecast to so many points, None of the loss. ``covered`` is the share of
    90 % intervals that held what was measured, ``width`` their mean width, ``relative_width`` that
    over the range of what was measured, and ``interval_score`` Winkler's: the width, and twenty
    times what a measurement lies outside. With ``calibrated`` slope and interval are from the
    fine-tunes of all other pairs (T25); a raw forecast is as it was made.
    """

    name: str
    quantity: str
    calibrated: bool
    spearman: Limits | None
    rmse: Number
    error: Number
    within_five: Limits | None
    within_ten: Limits | None
    covered: Limits
    width: Number
    relative_width: Known
    interval_score: Number


class SkillResult(Result):
    """Every predictor over the same fine-tunes of so many ``pairs`` of datasets.

    A pair is one task with one share of harmful rows. The first predictor of each quantity is the
    one that an estimate uses. ``cost_share`` is the median cost of its forecasts over that of their
    fine-tunes.
    """

    kind: ClassVar[str] = "skill"
    file: ClassVar[str] = "skill.json"

    fine_tunes: int
    pairs: int
    model_sha256: str
    cost_share: Number
    predictors: tuple[PredictorSkill, ...]
    manifest: Manifest

    def about(self, quantity: str) -> tuple[PredictorSkill, ...]:
        """The predictors of one quantity, the estimate's first."""
        return tuple(one for one in self.predictors if one.quantity == quantity)

    def summary(self) -> str:
        """How the estimate's own forecasts did."""
        lines = []
        for one in (self.about(REFUSALS)[0], self.about(LOSS)[0]):
            points = one.quantity == REFUSALS
            scale, unit = (100, "points") if points else (1, "nats per token")
            near = ""
            if one.within_ten is not None and one.within_ten.estimate is not None:
                near = f"{one.within_ten.estimate:.0%} forecast to 10 points, "
            covered = one.covered.estimate or 0.0
            lines.append(
                f"{one.quantity} of {self.fine_tunes} fine-tunes in {self.pairs} pairs: {near}"
                f"median error {scale * one.error:.2g} {unit}; {covered:.0%} of 90 % intervals "
                f"held, {scale * one.width:.2g} {unit} wide on average."
            )
        return "\n".join(lines)
