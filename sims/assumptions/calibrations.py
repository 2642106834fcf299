"""T25's assumption: a new fine-tune is exchangeable with the finished ones."""

from __future__ import annotations

import numpy as np

from sims.assumptions.common import AssumptionFinding, Experiment
from sims.calibrations import USUAL, Plans, bags, conformal, failures
from theory.conformal import conformal_quantiles

_PAIRS = 10
_LEVEL = 0.9


def _new(plans: Plans):
    """New fine-tunes of these plans, where the finished ones are as usual."""

    def run(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
        usual, other = bags(rng, n, [1] * _PAIRS, (USUAL, USUAL if holds else plans))
        failing = failures(usual.scores, usual.names, conformal(_LEVEL), other.scores)
        return AssumptionFinding(np.full(n, 1.0 - _LEVEL), failing)

    return run


def _one_pair(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """Fine-tunes of few pairs, each counted as one of its own."""
    (bag,) = bags(rng, n, [6] * _PAIRS)

    def limit(scores: np.ndarray, names: list[int]) -> np.ndarray:
        return conformal_quantiles(scores, _LEVEL, groups=names if holds else None)

    return AssumptionFinding(np.full(n, 1.0 - _LEVEL), failures(bag.scores, bag.names, limit))


EXPERIMENTS = (
    Experiment("noisier-data", "T25", "the new data are of the same family", _new(Plans(1, 3))),
    Experiment("longer-run", "T25", "the new run is no longer than theirs", _new(Plans(8))),
    Experiment("another-optimiser", "T25", "the optimiser is the same", _new(Plans(signs=True))),
    Experiment("runs-of-few-pairs", "T25", "the fine-tunes are of different pairs", _one_pair),
)
