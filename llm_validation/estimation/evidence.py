"""How forecasts of refusals did on fine-tunes that were run after them: the records we ship."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from finebound.results.evidence import EvidenceResult, EvidenceSummary
from finebound.results.outlook import Evidence
from finebound.results.spans import Limits
from llm_validation.forecast.ranking import spearman
from theory.confidence import clopper_pearson

RECORDS = Path(__file__).with_name("evidence_records")
"""One record a fine-tune, made by ``llm_validation.experiments.evidence``."""
NEAR = 0.1
"""A share of refusals that was forecast to 10 points."""


def records(folder: Path = RECORDS) -> tuple[EvidenceResult, ...]:
    """The records of a folder, by their names."""
    return tuple(EvidenceResult.load(file) for file in sorted(folder.glob("*.json")))


@cache
def known() -> Evidence:
    """What a forecast says of how such forecasts did."""
    found = records()
    if not found:
        return Evidence(fine_tunes=0, coverage=None, mean_width=None)
    said = summary(found)
    return Evidence(
        fine_tunes=said.fine_tunes, coverage=said.covered.estimate, mean_width=said.mean_width
    )


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
    )


def _spearman(said: np.ndarray, measured: np.ndarray, seed: int) -> Limits:
    return Limits.from_interval(spearman(said, measured, rng=np.random.default_rng(seed)))


def _inside(bounds: np.ndarray, measured: np.ndarray) -> Limits:
    return _share((bounds[:, 0] <= measured) & (measured <= bounds[:, 1]))


def _share(holds: np.ndarray) -> Limits:
    return Limits.from_interval(clopper_pearson(int(holds.sum()), len(holds), p=0.05))
