"""How well forecasts of finished fine-tunes did, beside simpler ones."""

from __future__ import annotations

from typing import ClassVar

from finebound.results.result import Known, Manifest, Number, Part, Result
from finebound.results.spans import Limits
from theory.conformal import groups_needed

REFUSALS, LOSS = "refusals", "safety loss"


class PredictorSkill(Part):
    """One predictor of one ``quantity`` over all fine-tunes.

    Refusals are shares after the fine-tune, the safety loss is its change in nats per token.
    ``spearman`` is of changes, None where a predictor says the same of all. ``rmse`` and ``error``
    (the median absolute one) are in the quantity's unit. ``within_five`` and ``within_ten`` are
    shares of fine-tunes forecast to so many points, None of the loss. ``covered`` is the share of
    90 % intervals that held what was measured, ``width`` their mean width, ``relative_width`` that
    over the range of what was measured, and ``interval_score`` Winkler's: the width, and twenty
    times what a measurement lies outside. ``score_difference`` is the estimate's own score less
    this one's, with a 95 % interval over pairs of datasets; below 0 the estimate's is better. With
    ``calibrated`` slope and interval are from the fine-tunes of all other pairs (T25); a raw
    forecast is as it was made.
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
    score_difference: Limits | None = None


class MethodSkill(Part):
    """The estimate's calibrated forecasts of the fine-tunes of one ``method``; else as above."""

    method: str
    quantity: str
    fine_tunes: int
    covered: Limits
    width: Number
    error: Number
    within_five: Limits | None
    within_ten: Limits | None


class VerdictSkill(Part):
    """What was said, before each fine-tune, of a budget of so many ``points`` of refusals lost.

    "Kept" and "broken" are right where the measured refusals say the same. Of the undecided ones
    some kept the budget and some broke it.
    """

    points: Number
    kept_right: int
    kept_wrong: int
    broken_right: int
    broken_wrong: int
    undecided_kept: int
    undecided_broken: int

    @property
    def decided(self) -> int:
        """Fine-tunes of which a verdict was given."""
        return self.right + self.kept_wrong + self.broken_wrong

    @property
    def right(self) -> int:
        """Fine-tunes of which it was right."""
        return self.kept_right + self.broken_right

    @property
    def fine_tunes(self) -> int:
        """All."""
        return self.decided + self.undecided_kept + self.undecided_broken


class PromiseSkill(Part):
    """How promises of refusals did (``outlook.Promise``), each from fine-tunes of other pairs.

    ``covered``: the share of fine-tunes whose loss rose no more than the limit. ``kept``: that of
    those that refused no less than promised. ``informative``: that of those to which a hundredth or
    more was promised. ``width`` is the mean of the limit less the rise in nats per answer,
    ``slack`` that of the refusals less the promised ones, as a share.
    """

    level: Number
    covered: Limits
    kept: Limits
    informative: Limits
    width: Number
    slack: Number


class SkillResult(Result):
    """Every predictor over the same fine-tunes of so many ``pairs`` of datasets.

    A pair is one task with one share of harmful rows. The first predictor of each quantity is the
    one that an estimate uses. ``methods`` and ``verdicts`` are of it alone. ``cost_share`` is the
    median cost of its forecasts over that of their fine-tunes.
    """

    kind: ClassVar[str] = "skill"
    file: ClassVar[str] = "skill.json"

    fine_tunes: int
    pairs: int
    model_sha256: str
    cost_share: Number
    predictors: tuple[PredictorSkill, ...]
    manifest: Manifest
    methods: tuple[MethodSkill, ...] = ()
    verdicts: tuple[VerdictSkill, ...] = ()
    promise: PromiseSkill | None = None

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
        needed = groups_needed(0.9) + 1
        if self.pairs < needed:
            lines.append(
                f"{self.pairs} pairs are too few: from the others alone no 90 % interval has an "
                f"end. {needed} pairs are enough."
            )
        for one in self.verdicts:
            if one.points == 5:
                lines.append(
                    f"a budget of 5 points: {one.right} of {one.decided} verdicts were right, "
                    f"{one.fine_tunes - one.decided} were not decided."
                )
        if self.promise is not None:
            one = self.promise
            covered, kept, says = (
                f"{found.estimate or 0.0:.0%}" for found in (one.covered, one.kept, one.informative)
            )
            lines.append(
                f"promised before training (T21, T25): {covered} of the {one.level:.0%} limits of "
                f"the loss held, {one.width:.2g} nats/answer above it on average; {kept} of the "
                f"promises of refusals were kept, {says} promised 1 % or more."
            )
        return "\n".join(lines)
