"""A fine-tune that was forecast before it was run, and what it then did."""

from __future__ import annotations

from typing import Any, ClassVar

from finebound.results.outlook import BehaviourForecast
from finebound.results.result import Known, Manifest, Number, Part, Result


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


class ShortAnswers(Part):
    """The aligned model's answers to harmful probes, cut after ``tokens`` tokens and judged anew.

    ``before`` of them refuse, ``agree`` share the whole answer's label. ``delta``: T21's Delta_k,
    nats per answer, of the finished fine-tune, which still refuses at least ``at_least`` so (T21).
    ``by_likelihood`` is T22's estimate of it, from ``effective`` answers.
    """

    tokens: int
    before: Number
    agree: Number
    delta: Number
    at_least: Number
    by_likelihood: Number
    effective: Number


class Checkpoint(Part):
    """The model after ``step`` steps of the fine-tune, by one answer to each probe; as above."""

    step: int
    refusal: Number
    over_refusal: Number
    refusal_by_likelihood: Number
    safety_loss_change: Number
    capability_gain: Number
    delta: Number
    short: tuple[ShortAnswers, ...]


class EvidenceResult(Result):
    """One fine-tune of the evidence: its entry in the registry, the forecast, the measurement.

    ``plan`` is the whole plan. ``forecast_sha256`` is that of the forecast's file, written before
    the fine-tune began. ``gates`` say whether it trained as planned. ``seconds`` are of the
    forecast and of the fine-tune with its measurement. ``probes_sha256`` is of all probes that its
    own were taken from; without it those are "builtin:pairs". ``short`` is what shorter answers
    say, ``checkpoints`` what the model did on its way; records of before have none.
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
    probes_sha256: str | None = None
    short: tuple[ShortAnswers, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()

    def summary(self) -> str:
        """The forecast beside the measurement."""
        said, did = self.forecast.refusal, self.measured
        low, high = said.interval
        return (
            f"{self.id}: refusals {said.before:.0%}, forecast {said.after:.0%} "
            f"[{100 * low:.0f}, {100 * high:.0f}], measured {did.refusal:.0%}."
        )
