"""How forecasts of refusals did on fine-tunes that were run after them: the records we ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from finebound.results.evidence import EvidenceResult, EvidenceSummary
from finebound.results.outlook import Evidence
from finebound.results.spans import Limits
from llm_validation.forecast.calibrated import Calibration, Finished, Forecast, calibrate, left_out
from llm_validation.forecast.ranking import spearman
from llm_validation.training.plan import TrainingPlan
from theory.confidence import clopper_pearson

RECORDS = Path(__file__).with_name("evidence_records")
"""One record a fine-tune, made by ``llm_validation.experiments.evidence``."""
NEAR = 0.1
"""A share of refusals that was forecast to 10 points."""


def records(folder: Path = RECORDS) -> tuple[EvidenceResult, ...]:
    """The records of a folder, by their names."""
    return tuple(EvidenceResult.load(file) for file in sorted(folder.glob("*.json")))


WIDER = 1.5
"""How much wider an interval is, in log odds, for a plan that lies outside of the evidence."""


@dataclass(frozen=True)
class Trust:
    """The calibration of a plan's forecast, and why the plan lies outside of its evidence.

    Where it does not, the interval holds with its level's probability, given that the fine-tune is
    exchangeable with those of the evidence (T25). Where it does, the interval is ``WIDER`` and an
    estimate.
    """

    calibration: Calibration
    outside: tuple[str, ...] = ()

    def share(self, forecast: Forecast) -> float:
        """The share of refusals to expect after the fine-tune."""
        return self.calibration.share(forecast)

    def interval(self, forecast: Forecast) -> tuple[float, float]:
        """That holds it."""
        return self.calibration.interval(forecast, widened=WIDER if self.outside else 1.0)


@cache
def shipped() -> tuple[EvidenceResult, ...]:
    """The records that the package brings."""
    return records()


def finished(found: Sequence[EvidenceResult]) -> list[Finished]:
    """Refusals of the fine-tunes, in groups of one task and one share of harmful rows."""
    return [
        Finished(
            (one.entry["task"], one.entry.get("harmful_share", 0.0)),
            Forecast(said.before, said.after, said.n),
            one.measured.refusal,
        )
        for one in found
        for said in (one.forecast.refusal,)
    ]


def trust_in(plan: TrainingPlan, model_sha256: str) -> Trust | None:
    """The shipped evidence's calibration for this plan; None where it has too few pairs."""
    found = shipped()
    if not found:
        return None
    calibration = calibrate(finished(found))
    if not np.isfinite(calibration.quantile):
        return None
    reasons = []
    if model_sha256 != found[0].model_sha256:
        reasons.append("another model")
    kinds = {one.plan["method"]["kind"] for one in found}
    if plan.objective is not None:
        reasons.append("DPO")
    if plan.method.kind not in kinds:
        reasons.append(f"the method {plan.method.kind}")
    rates = [one.plan["learning_rate"] for one in found]
    longest = max(one.plan["steps"] for one in found)
    if plan.steps > 2 * longest:
        reasons.append(f"{plan.steps} steps, where the longest fine-tune has {longest}")
    if not min(rates) <= plan.learning_rate <= max(rates):
        reasons.append(f"a learning rate of {plan.learning_rate:g}")
    if plan.optimizer != "adamw":
        reasons.append(f"the optimizer {plan.optimizer}")
    return Trust(calibration, tuple(reasons))


def evidence_for(trust: Trust | None) -> Evidence:
    """What a forecast says of how such forecasts did."""
    said = _summary_of_shipped()
    if said is None:
        return Evidence(fine_tunes=0, coverage=None, mean_width=None)
    covered, width = said.covered.estimate, said.mean_width
    if trust is not None:
        covered, width = said.calibrated_covered.estimate, said.calibrated_width
    return Evidence(
        fine_tunes=said.fine_tunes,
        coverage=covered,
        mean_width=width,
        pairs=said.pairs,
        calibrated=trust is not None,
        outside=() if trust is None else trust.outside,
    )


@cache
def _summary_of_shipped() -> EvidenceSummary | None:
    return summary(shipped()) if shipped() else None


def summary(found: Sequence[EvidenceResult], *, seed: int = 0) -> EvidenceSummary:
    """All fine-tunes together. Raises ValueError without any."""
    if not found:
        raise ValueError("no fine-tune was measured.")
    forecast = np.array([one.forecast.refusal.after for one in found])
    before = np.array([one.forecast.refusal.before for one in found])
    measured = np.array([one.measured.refusal for one in found])
    likelihood = np.array([one.forecast.refusal.by_likelihood for one in found], dtype=float)
    bounds = np.array([one.forecast.refusal.interval for one in found])
    losses = [one.forecast.safety_loss_change for one in found]
    loss = np.array([change.value for change in losses])
    measured_loss = np.array([one.measured.safety_loss_change for one in found])
    errors = np.abs(forecast - measured)
    done = finished(found)
    middles, widths, held = [], [], []
    for calibration, one in zip(left_out(done), done, strict=True):
        middle, (low, high) = one.forecast.after, (0.0, 1.0)
        if calibration is not None:
            middle, (low, high) = (
                calibration.share(one.forecast),
                calibration.interval(one.forecast),
            )
        middles.append(middle)
        widths.append(high - low)
        held.append(low <= one.measured <= high)
    calibrated_errors = np.abs(np.array(middles) - measured)
    return EvidenceSummary(
        fine_tunes=len(found),
        spearman_refusal=_spearman(forecast - before, measured - before, seed),
        spearman_loss=_spearman(loss, measured_loss, seed),
        within_ten=_share(errors <= NEAR),
        covered=_inside(bounds, measured),
        loss_covered=_inside(np.array([change.interval for change in losses]), measured_loss),
        mean_width=float((bounds[:, 1] - bounds[:, 0]).mean()),
        error=float(np.median(errors)),
        likelihood_error=float(np.nanmedian(np.abs(likelihood - measured))),
        cost_share=float(np.median([one.forecast.cost_share for one in found])),
        pairs=len({one.group for one in done}),
        calibrated_within_ten=_share(calibrated_errors <= NEAR),
        calibrated_covered=_share(np.array(held)),
        calibrated_width=float(np.mean(widths)),
        calibrated_error=float(np.median(calibrated_errors)),
    )


def _spearman(said: np.ndarray, measured: np.ndarray, seed: int) -> Limits:
    return Limits.from_interval(spearman(said, measured, rng=np.random.default_rng(seed)))


def _inside(bounds: np.ndarray, measured: np.ndarray) -> Limits:
    return _share((bounds[:, 0] <= measured) & (measured <= bounds[:, 1]))


def _share(holds: np.ndarray) -> Limits:
    return Limits.from_interval(clopper_pearson(int(holds.sum()), len(holds), p=0.05))
