"""Budgets of a comparison: how much worse than the base a method may be, paired by item."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finebound.results.budget import UNDECIDED, BudgetCheck, decided
from finebound.results.compare import ComparedMethod, MethodComparison
from finebound.results.evaluation import EvaluationResult
from llm_validation.evaluation.statistics.intervals import paired_shares
from theory.confidence import Interval, clopper_pearson


@dataclass(frozen=True)
class _Worse:
    """What is counted, in which unit; ``per`` of it is lost for each unit of the score gained."""

    what: str
    unit: str
    per: float
    most: float = math.inf


DIFFERENCES: Mapping[str, _Worse] = {
    "refusal": _Worse("refusals lost", "points", -100.0, 100.0),
    "hazards": _Worse("safe answers lost", "points", -100.0, 100.0),
    "over-refusal": _Worse("more harmless requests refused", "points", 100.0, 100.0),
    "look-alikes": _Worse("more harmless requests refused", "points", 100.0, 100.0),
    "bbq": _Worse("right answers lost", "points", -100.0, 100.0),
    "translation": _Worse("chrF lost", "chrF", -1.0),
    "reliability": _Worse("score lost", "of the score", -1.0),
    "loss": _Worse("rise of the loss", "nats/token", 1.0),
    "safety_gap": _Worse("rise of the safety loss", "nats/token", 1.0),
    "capability_gap": _Worse("rise of the capability gap", "nats/token", 1.0),
}
"""What a budget may name: the evaluation of the records."""


def difference_checks(
    comparison: MethodComparison,
    labels: Mapping[str, Sequence[EvaluationResult]],
    limit: float,
) -> tuple[BudgetCheck, ...]:
    """What each method lost to the base, beside its limit; ``labels`` are the compared records.

    Scores of zeros and ones of one record each have the interval of ``share_change``; items that a
    record holds without a score count for the worst in one end and for the best in the other. Other
    scores have the comparison's own interval. A method behind a failed gate is not decided.
    """
    worse = DIFFERENCES[comparison.evaluation]
    base = labels[comparison.base]
    checks: list[BudgetCheck] = []
    for method in comparison.methods:
        if method.change is None:
            continue
        change, n = _change(method, base, labels[method.label], level=comparison.level)
        low, high = sorted(worse.per * end for end in (change.lower, change.upper))
        decision = decided(limit, (low, high)) if method.tested else UNDECIDED
        condition = f" ({comparison.condition})" if comparison.condition else ""
        checks.append(
            BudgetCheck(
                quantity=comparison.evaluation,
                what=worse.what + condition,
                of=method.label,
                limit=limit,
                value=worse.per * change.estimate,
                interval=(low, high),
                unit=worse.unit,
                level=comparison.level,
                n=n,
                decision=decision,
            )
        )
    return tuple(checks)


def _change(
    method: ComparedMethod,
    base: Sequence[EvaluationResult],
    mine: Sequence[EvaluationResult],
    *,
    level: float,
) -> tuple[Interval, int]:
    """The change of the mean score and of how many items it is."""
    assert method.change is not None
    if len(base) == len(mine) == 1:
        old = {item.id: item.score for item in base[0].items}
        both = [(item.score, old[item.id]) for item in mine[0].items if item.id in old]
        if both and all(score in (None, 0.0, 1.0) for pair in both for score in pair):
            new, before = (np.array(x, dtype=np.float64) for x in zip(*both, strict=True))
            return share_change(new, before, level=level), len(both)
    change = method.change
    if math.isnan(change.lower) or math.isnan(change.upper):
        change = Interval(change.estimate, -math.inf, math.inf)
    return change, method.n


def share_change(new: np.ndarray, old: np.ndarray, *, level: float) -> Interval:
    """The share of ones in ``new [n]`` less that in ``old [n]``; NaN is an item without a score.

    Bonett and Price's interval, which is too narrow where few items changed, and no narrower than
    Clopper and Pearson's for the zeros that became ones, or the reverse, beside as many of the
    others as were seen. At 95 % each end then fails in at most 3.2 % of samples (counted over all
    outcomes of 20 to 400 items; a test counts some). What has no score may be a zero or a one: each
    end takes what widens it.
    """
    known = ~(np.isnan(new) | np.isnan(old))
    estimate = float((new[known] - old[known]).mean()) if known.any() else math.nan
    worst = _known_change(np.nan_to_num(new, nan=0.0), np.nan_to_num(old, nan=1.0), level=level)
    best = _known_change(np.nan_to_num(new, nan=1.0), np.nan_to_num(old, nan=0.0), level=level)
    return Interval(estimate, worst.lower, best.upper)


def _known_change(new: np.ndarray, old: np.ndarray, *, level: float) -> Interval:
    found = paired_shares(new, old, level=level)
    n = new.size
    rose, fell = (
        clopper_pearson(int(count), n, p=1.0 - level)
        for count in ((new > old).sum(), (new < old).sum())
    )
    low = min(found.lower, rose.lower - fell.estimate, rose.estimate - fell.upper)
    high = max(found.upper, rose.upper - fell.estimate, rose.estimate - fell.lower)
    return Interval(found.estimate, low, high)
