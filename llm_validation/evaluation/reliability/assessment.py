"""The reliability of a set of answers: referral, calibration, and the record of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finebound.results.evaluation import EvaluationResult, ScoredItem
from llm_validation.evaluation.reliability.calibration import BINS, Calibration, calibration
from llm_validation.evaluation.reliability.referral import REFERRALS, Referral, referral
from llm_validation.evaluation.reliability.uncertainty import TokenPredictions

EVALUATION = "reliability"


@dataclass(frozen=True)
class Assessed:
    """One answer: its ``score`` (None: it failed), and what there is of the other two.

    ``uncertainty`` orders the referral, in any unit; ``confidence`` in [0, 1] is calibrated.
    """

    id: str
    category: str | None
    score: float | None
    uncertainty: float | None
    confidence: float | None


@dataclass(frozen=True)
class Reliability:
    """How well uncertainty orders ``n`` answers, and how well confidence meets their scores.

    ``failed`` answers have no score and count as 0; they and the ``unmeasured``, which have a
    score and no uncertainty, are referred before all others. ``answers`` are the calibration
    errors of confidence against score, by bins of equal width and of equal mass, None where no
    answer has both; ``tokens`` those of the most likely token against the reference's.
    """

    n: int
    failed: int
    unmeasured: int
    referral: Referral
    answers: tuple[Calibration, ...] | None = None
    tokens: tuple[Calibration, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        def errors(found: tuple[Calibration, ...] | None) -> dict[str, Any] | None:
            return None if found is None else {each.binning: each.as_json() for each in found}

        return {
            "n": self.n,
            "failed": self.failed,
            "unmeasured": self.unmeasured,
            **self.referral.as_json(),
            "calibration": {"answers": errors(self.answers), "tokens": errors(self.tokens)},
        }


def assess(
    items: Sequence[Assessed],
    *,
    highest: float = 1.0,
    shares: Sequence[float] = REFERRALS,
    bins: int = BINS,
    tokens: TokenPredictions | None = None,
    seed: int = 0,
) -> Reliability:
    """Referral and calibration of answers with scores from 0 to ``highest``.

    ``highest`` only matters to the calibration. ``tokens`` are a model's predictions of reference
    answers: their calibration is of tokens, with intervals over answers. Raises ValueError without
    items and for what ``referral`` and ``calibration`` refuse.
    """
    failed = sum(item.score is None for item in items)
    unmeasured = sum(item.score is not None and item.uncertainty is None for item in items)
    ordered = referral(
        [
            np.inf if item.score is None or item.uncertainty is None else item.uncertainty
            for item in items
        ],
        [0.0 if item.score is None else item.score for item in items],
        rng=np.random.default_rng(seed),
        shares=shares,
    )
    both = [
        (item.confidence, item.score / highest)
        for item in items
        if item.confidence is not None and item.score is not None
    ]
    return Reliability(
        n=len(items),
        failed=failed,
        unmeasured=unmeasured,
        referral=ordered,
        answers=_calibrations(*zip(*both, strict=True), bins=bins, seed=seed) if both else None,
        tokens=None
        if tokens is None or not len(tokens.rows)
        else _calibrations(
            tokens.confidence, tokens.hit, bins=bins, seed=seed, clusters=tokens.rows
        ),
    )


def _calibrations(
    confidence: Sequence[float] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    *,
    bins: int,
    seed: int,
    clusters: np.ndarray | None = None,
) -> tuple[Calibration, Calibration]:
    by_width, by_mass = (
        calibration(
            confidence,
            scores,
            rng=np.random.default_rng(seed),
            binning=binning,
            bins=bins,
            clusters=clusters,
        )
        for binning in ("width", "mass")
    )
    return by_width, by_mass


def as_result(
    items: Sequence[Assessed], *, label: str, score_means: str, summary: Mapping[str, Any]
) -> EvaluationResult:
    """The record that ``finebound compare`` reads: scores, each with what was said of it."""
    scored = tuple(
        ScoredItem(
            id=item.id,
            category=item.category,
            score=item.score,
            **{"uncertainty": item.uncertainty, "confidence": item.confidence},
        )
        for item in items
    )
    return EvaluationResult(
        evaluation=EVALUATION, label=label, score_means=score_means, items=scored, summary=summary
    )
