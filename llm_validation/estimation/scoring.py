"""How well forecasts with intervals did: coverage, width, Winkler's score, verdicts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from finebound.results.budget import BROKEN, KEPT, UNDECIDED, decided
from finebound.results.skill import REFUSALS, MethodSkill, VerdictSkill
from finebound.results.spans import Limits
from theory.confidence import clopper_pearson
from theory.resampling import paired_bootstrap, ratio_of_sums

LEVEL = 0.9
BUDGETS = (2.0, 5.0, 10.0, 20.0)
"""Points of refusals that may be lost."""

Judged = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What is expected and the interval's ends, each ``[n]``."""


def share(holds: np.ndarray) -> Limits:
    """The share of fine-tunes of which it is true, with its 95 % interval."""
    return Limits.from_interval(clopper_pearson(int(holds.sum()), len(holds), p=0.05))


def held(judged: Judged, did: np.ndarray) -> np.ndarray:
    """Whether the interval holds what was measured, bool ``[n]``."""
    _, low, high = judged
    return (low <= did) & (did <= high)


def interval_scores(judged: Judged, did: np.ndarray) -> np.ndarray:
    """Winkler's score ``[n]``: the width, and twenty times what the measurement lies outside."""
    _, low, high = judged
    outside = np.maximum(low - did, 0.0) + np.maximum(did - high, 0.0)
    return high - low + 2.0 / (1.0 - LEVEL) * outside


def score_difference(
    mine: np.ndarray, other: np.ndarray, pairs: Sequence[Hashable], *, seed: int
) -> Limits | None:
    """Mean score ``mine`` less ``other`` ``[n]``; the interval resamples pairs of datasets.

    None where a score is infinite, or of one pair alone.
    """
    names = list(dict.fromkeys(pairs))
    if len(names) < 2 or not np.isfinite([*mine, *other]).all():
        return None
    place = np.array([names.index(pair) for pair in pairs])
    ratio, rows = ratio_of_sums(np.bincount(place, mine - other), np.bincount(place))
    rng = np.random.default_rng(seed)
    return Limits.from_interval(paired_bootstrap(ratio + rows, rng=rng))


def by_method(
    methods: Sequence[str], quantity: str, judged: Judged, did: np.ndarray
) -> list[MethodSkill]:
    """How the same intervals did on the fine-tunes of each method, in the order of their names."""
    rows = []
    for method in sorted(set(methods)):
        mine = np.array([name == method for name in methods])
        middle, low, high = (column[mine] for column in judged)
        errors = np.abs(middle - did[mine])
        of_shares = quantity == REFUSALS
        rows.append(
            MethodSkill(
                method=method,
                quantity=quantity,
                fine_tunes=int(mine.sum()),
                covered=share(held((middle, low, high), did[mine])),
                width=float((high - low).mean()),
                error=float(np.median(errors)),
                within_five=share(errors <= 0.05) if of_shares else None,
                within_ten=share(errors <= 0.1) if of_shares else None,
            )
        )
    return rows


def verdicts(judged: Judged, did: np.ndarray, before: np.ndarray) -> list[VerdictSkill]:
    """Each of ``BUDGETS``: what was said of it before, and whether it was kept; all ``[n]``."""
    _, low, high = judged
    rows = []
    for budget in BUDGETS:
        said = np.array(
            [
                decided(budget, (100.0 * (b - up), 100.0 * (b - down)))
                for b, down, up in zip(before, low, high, strict=True)
            ]
        )
        kept = 100.0 * (before - did) <= budget
        rows.append(
            VerdictSkill(
                points=budget,
                kept_right=int(((said == KEPT) & kept).sum()),
                kept_wrong=int(((said == KEPT) & ~kept).sum()),
                broken_right=int(((said == BROKEN) & ~kept).sum()),
                broken_wrong=int(((said == BROKEN) & kept).sum()),
                undecided_kept=int(((said == UNDECIDED) & kept).sum()),
                undecided_broken=int(((said == UNDECIDED) & ~kept).sum()),
            )
        )
    return rows
