"""A fine-tune that was forecast before it was run, and what it then did."""

from __future__ import annotations

from typing import Any, ClassVar

from finebound.results.outlook import BehaviourForecast
from finebound.results.result import Known, Manifest, Number, Part, Result
from finebound.results.spans import Limits


class MeasuredBehaviour(Part):
    """What a finished fine-tune does on the probes of its forecast; units as there.

    Refusals are shares of answers at temperature 1 and of the most likely answers.
    """

    refusal: Number
    over_refusal: Number
    greedy_refusal: Number
    greedy_over_refusal: Number
    refusal_by_likelihood: Number
    safety_loss_change: Number
    capability_gain: Number
    delta: Number


class EvidenceResult(Result):
    """One fine-tune of the evidence: its entry in the registry, the forecast, the measurement.

    ``plan`` is the whole plan. ``forecast_sha256`` is that of the forecast's file, written before
    the fine-tune began. ``gates`` say whether it trained as planned. ``seconds`` are of the
    forecast and of the fine-tune with its measurement.
    """

    kind: ClassVar[str] = "evidence"
    file: ClassVar[str] = "evidence.json"

    id: str
    entry: dict[str, Any]
    plan: dict[str, Any]
    model_sha256: str
    task_sha256: str
    forecast: BehaviourForecast
    forecast_sha256: str
    measured: MeasuredBehaviour
    gates: dict[str, bool]
    seconds: dict[str, Known]
    manifest: Manifest

    def summary(self) -> str:
        """The forecast beside the measurement."""
        said, did = self.forecast.refusal, self.measured
        low, high = said.interval
        return (
            f"{self.id}: refusals {said.before:.0%}, forecast {said.after:.0%} "
            f"[{100 * low:.0f}, {100 * high:.0f}], measured {did.refusal:.0%}."
        )


class EvidenceSummary(Part):
    """How forecasts did on all fine-tunes of the evidence.

    ``spearman_refusal`` and ``spearman_loss`` are of the forecast changes against the measured
    ones, each with its 95 % interval over fine-tunes. ``within_ten`` is the share of fine-tunes
    whose refusals were forecast to 10 points, ``covered`` and ``loss_covered`` the shares of 90 %
    intervals that held the measured refusals and change of the safety loss. ``mean_width`` of the
    intervals of refusals is in shares, ``error`` the median absolute error of refusals,
    ``likelihood_error`` that of T22 from stored answers alone. ``calibrated_...``: the same of
    forecasts that are calibrated on the fine-tunes of all other ``pairs`` (T25). A pair is one task
    with one share of harmful rows.
    """

    fine_tunes: int
    spearman_refusal: Limits
    spearman_loss: Limits
    within_ten: Limits
    covered: Limits
    loss_covered: Limits
    mean_width: Number
    error: Number
    likelihood_error: Number
    cost_share: Number
    pairs: int
    calibrated_within_ten: Limits
    calibrated_covered: Limits
    calibrated_width: Number
    calibrated_error: Number
