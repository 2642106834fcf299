"""How forecasts of the evidence did, beside stored answers, climatology and "no change"."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from finebound.results.evidence import EvidenceResult
from finebound.results.result import Manifest
from finebound.results.skill import LOSS, REFUSALS, PredictorSkill, SkillResult
from finebound.results.spans import Limits
from llm_validation.estimation.likeness import method_of
from llm_validation.estimation.promise import promise_skill, rise_scale
from llm_validation.estimation.scoring import (
    LEVEL,
    Judged,
    by_method,
    held,
    interval_scores,
    score_difference,
    share,
    verdicts,
)
from llm_validation.forecast.calibrated import Finished, Refusals, left_out
from llm_validation.forecast.ranking import spearman
from theory.conformal import conformal_quantile

LOSS_FLOOR = 0.05
"""Nats per token: a forecast change of the loss is taken to be as sure as this and its own size."""


def pair_of(one: EvidenceResult) -> tuple[str, float]:
    """The pair of datasets: one task with one share of harmful rows."""
    return one.entry["task"], one.entry.get("harmful_share", 0.0)


def refusals_of(one: EvidenceResult, said: float | None = None) -> Finished:
    """The fine-tune's refusals in log odds, as its forecast says or as ``said`` (a share)."""
    forecast = one.forecast.refusal
    now = Refusals(forecast.before, forecast.n)
    said = forecast.after if said is None else said
    return Finished(pair_of(one), now.change_to(said), now.change_to(one.measured.refusal))


def loss_of(one: EvidenceResult, said: float | None = None) -> Finished:
    """The fine-tune's change of the safety loss; the scale is ``LOSS_FLOOR`` and the change."""
    said = one.forecast.safety_loss_change.value if said is None else said
    did = one.measured.safety_loss_change
    return Finished(pair_of(one), said, did, LOSS_FLOOR + abs(said))


def rise_of(one: EvidenceResult) -> Finished:
    """The rise of the loss on the model's own answers to harmful probes, nats per answer."""
    said = one.forecast.delta
    return Finished(pair_of(one), said, one.measured.delta, rise_scale(said))


def skill(found: Sequence[EvidenceResult], manifest: Manifest, *, seed: int = 0) -> SkillResult:
    """Every predictor on both quantities; ``seed`` resamples fine-tunes for the intervals.

    Raises ValueError without any fine-tune.
    """
    if not found:
        raise ValueError("no fine-tune was measured.")
    methods = [method_of(one.plan) for one in found]
    refusals, losses = calibrated_refusals(found), calibrated_loss(found)
    refused = np.array([one.measured.refusal for one in found])
    lost = np.array([one.measured.safety_loss_change for one in found])
    before = np.array([one.forecast.refusal.before for one in found])
    return SkillResult(
        fine_tunes=len(found),
        pairs=len(set(map(pair_of, found))),
        model_sha256=found[0].model_sha256,
        cost_share=float(np.median([one.forecast.cost_share for one in found])),
        predictors=(*of_refusals(found, seed), *_of_the_loss(found, seed)),
        manifest=manifest,
        methods=(
            *by_method(methods, REFUSALS, refusals, refused),
            *by_method(methods, LOSS, losses, lost),
        ),
        verdicts=tuple(verdicts(refusals, refused, before)),
        promise=promise_skill([rise_of(one) for one in found], before.tolist(), refused.tolist()),
    )


def calibrated_refusals(found: Sequence[EvidenceResult]) -> Judged:
    """Shares of refusals, each calibrated on the fine-tunes of other pairs."""
    return _as_shares(found, _calibrated([refusals_of(one) for one in found]))


def calibrated_loss(found: Sequence[EvidenceResult]) -> Judged:
    """Changes of the safety loss, each calibrated on the fine-tunes of other pairs."""
    return _calibrated([loss_of(one) for one in found])


def _as_shares(found: Sequence[EvidenceResult], judged: Judged) -> Judged:
    """Changes of log odds as shares of refusals."""
    said = [one.forecast.refusal for one in found]
    before = [Refusals(share.before, share.n) for share in said]
    middle, low, high = (
        np.array([now.after(change) for now, change in zip(before, column, strict=True)])
        for column in judged
    )
    return middle, low, high


def of_refusals(found: Sequence[EvidenceResult], seed: int | None) -> list[PredictorSkill]:
    """Every predictor of refusals, the estimate's first; without a seed nothing is ranked."""
    said = [one.forecast.refusal for one in found]
    did = np.array([one.measured.refusal for one in found])
    start = np.array([share.before for share in said])
    own = np.array([[share.after, *share.interval] for share in said]).T
    mine = [refusals_of(one) for one in found]
    stored = [
        refusals_of(one, share.by_likelihood)
        for one, share in zip(found, said, strict=True)
        if share.by_likelihood is not None
    ]
    unchanged = [replace(one, said=0.0) for one in mine]
    rows = {
        ("coarse unroll (T20)", True): calibrated_refusals(found),
        ("coarse unroll (T20)", False): (own[0], own[1], own[2]),
        ("no change", True): _as_shares(found, _calibrated(unchanged)),
        ("climatology", True): _as_shares(found, _climatology(mine)),
    }
    if len(stored) == len(found):
        rows["stored answers (T22)", True] = _as_shares(found, _calibrated(stored))
    return _rows(rows, REFUSALS, did, start, list(map(pair_of, found)), seed)


def _of_the_loss(found: Sequence[EvidenceResult], seed: int | None) -> list[PredictorSkill]:
    said = [one.forecast.safety_loss_change for one in found]
    own = np.array([[change.value, *change.interval] for change in said]).T
    mine = [loss_of(one) for one in found]
    did = np.array([one.did for one in mine])
    rows = {
        ("coarse unroll (T20)", True): calibrated_loss(found),
        ("coarse unroll (T20)", False): (own[0], own[1], own[2]),
        ("no change", True): _calibrated([replace(one, said=0.0, scale=1.0) for one in mine]),
        ("climatology", True): _climatology(mine),
    }
    return _rows(rows, LOSS, did, np.zeros(len(did)), list(map(pair_of, found)), seed)


def _calibrated(finished: Sequence[Finished]) -> Judged:
    """Each by the fine-tunes of other pairs; unbounded where there are too few of those."""
    columns = []
    for one, calibration in zip(finished, left_out(finished, LEVEL), strict=True):
        if calibration is None:
            columns.append((one.said, -np.inf, np.inf))
        else:
            interval = calibration.interval(one.said, scale=one.scale)
            columns.append((calibration.change(one.said), *interval))
    middle, low, high = np.array(columns).T
    return middle, low, high


def _climatology(finished: Sequence[Finished]) -> Judged:
    """The mean change of all other pairs, whatever is planned, and what that leaves of them."""
    middle, low, high = np.zeros((3, len(finished)))
    for i, one in enumerate(finished):
        others = [other for other in finished if other.group != one.group]
        middle[i] = _mean(others)
        errors = [
            abs(other.did - _mean([o for o in others if o.group != other.group]))
            for other in others
        ]
        half = np.inf
        if errors:
            half = conformal_quantile(errors, LEVEL, groups=[other.group for other in others])
        low[i], high[i] = middle[i] - half, middle[i] + half
    return middle, low, high


def _mean(finished: Sequence[Finished]) -> float:
    """Over pairs, each with the same weight; 0 without any."""
    groups = [one.group for one in finished]
    if not groups:
        return 0.0
    weights = [1.0 / groups.count(group) for group in groups]
    return float(np.average([one.did for one in finished], weights=weights))


def _rows(
    rows: Mapping[tuple[str, bool], Judged],
    quantity: str,
    did: np.ndarray,
    start: np.ndarray,
    pairs: Sequence[Hashable],
    seed: int | None,
) -> list[PredictorSkill]:
    """Every predictor by its name and whether it is calibrated, the estimate's first."""
    scores = [interval_scores(judged, did) for judged in rows.values()]
    of_shares, spread = quantity == REFUSALS, float(np.ptp(did))
    made = []
    for ((name, calibrated), judged), score in zip(rows.items(), scores, strict=True):
        middle, low, high = judged
        errors, width = np.abs(middle - did), float((high - low).mean())
        ranks = less = None
        if seed is not None:
            # Climatology and "no change" order nothing.
            if name.startswith(("coarse", "stored")):
                rng = np.random.default_rng(seed)
                ranks = Limits.from_interval(spearman(middle - start, did - start, rng=rng))
            if score is not scores[0]:
                less = score_difference(scores[0], score, pairs, seed=seed)
        made.append(
            PredictorSkill(
                name=name,
                quantity=quantity,
                calibrated=calibrated,
                spearman=ranks,
                rmse=float(np.sqrt((errors**2).mean())),
                error=float(np.median(errors)),
                within_five=share(errors <= 0.05) if of_shares else None,
                within_ten=share(errors <= 0.1) if of_shares else None,
                covered=share(held(judged, did)),
                width=width,
                relative_width=width / spread if spread > 0.0 else None,
                interval_score=float(score.mean()),
                score_difference=less,
            )
        )
    return made
