"""How often an interval of a forecast misses a new fine-tune, exactly, over toy fine-tunes (T25).

The bound is what the level promises, the truth the failure probability over which pair of datasets
of a bag is the new one. A batch has one level and one number of pairs; an instance is a bag.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from sims.calibrations import Limit, bags, conformal, failures, jackknife_failures
from sims.families.failing import failing_case
from sims.family import Case
from theory.conformal import conformal_quantiles
from theory.divergence import Array

_PARTS = 4


class Calibrations:
    """Pairs of one fine-tune and of several, limits on one side, and a slope that is learnt."""

    name = "calibrations"
    chunk = 1024

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """A few levels and numbers of pairs for each kind of limit."""
        for part in np.array_split(np.arange(n), min(n, _PARTS)):
            pairs = int(rng.integers(3, 14))
            # Most levels are met exactly by so many pairs.
            level = float(rng.integers(1, pairs) / pairs)
            if rng.random() < 0.3:
                level = float(rng.uniform(0.3, 0.95))
            for case in (one_a_pair, grouped, learnt):
                yield case(rng, len(part), pairs, level)


def one_a_pair(rng: np.random.Generator, n: int, pairs: int, level: float) -> Case:
    """One fine-tune a pair: the interval, and a limit on one side alone."""
    (bag,) = bags(rng, n, [1] * pairs)
    by_form = {"interval": bag.scores, "one-sided": (bag.did - bag.said) / bag.scale}
    limit, wrong = conformal(level), _without_the_new_one(level)
    return failing_case(
        "T25",
        np.full(n, 1.0 - level),
        {form: failures(scores, bag.names, limit) for form, scores in by_form.items()},
        f"{pairs} pairs of one fine-tune, level {level:.3g}",
        {
            form: {"no +1": partial(failures, scores, bag.names, wrong)}
            for form, scores in by_form.items()
        },
    )


def grouped(rng: np.random.Generator, n: int, pairs: int, level: float) -> Case:
    """Several fine-tunes a pair: they err alike and count as one."""
    sizes = rng.integers(1, 6, size=pairs).tolist()
    (bag,) = bags(rng, n, sizes)
    limits: dict[str, Limit] = {
        "no +1": _without_the_new_one(level),
        "runs instead of pairs": lambda scores, names: conformal_quantiles(scores, level),
    }
    return failing_case(
        "T25",
        np.full(n, 1.0 - level),
        {"interval, by pair": failures(bag.scores, bag.names, conformal(level))},
        f"{pairs} pairs of {min(sizes)} to {max(sizes)} fine-tunes, level {level:.3g}",
        {
            "interval, by pair": {
                name: partial(failures, bag.scores, bag.names, limit)
                for name, limit in limits.items()
            }
        },
    )


def learnt(rng: np.random.Generator, n: int, pairs: int, level: float) -> Case:
    """The jackknife+ around a slope: it may fail twice as often, and toy fine-tunes do not."""
    (bag,) = bags(rng, n, rng.integers(1, 3, size=pairs).tolist())
    return failing_case(
        "T25",
        np.full(n, min(1.0, 2.0 * (1.0 - level))),
        {"jackknife+, by pair": jackknife_failures(bag, level)},
        f"{pairs} pairs, a slope learnt from the others, level {level:.3g}",
        {},
        mutants=False,
    )


def _without_the_new_one(level: float) -> Limit:
    """The plain quantile of the finished pairs, each of the weight 1 / G."""

    def limit(scores: Array, names: list[int]) -> Array:
        pairs = len(set(names))
        return conformal_quantiles(scores, level * pairs / (pairs + 1), groups=names)

    return limit
