"""How often an interval of a forecast misses a new fine-tune, exactly, over toy fine-tunes (T25).

The bound is what the level promises, the truth the failure probability over which pair of datasets
of a bag is the new one. A batch has one level and one number of pairs; an instance is a bag.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sims.calibrations import Limit, bags, conformal, failures, jackknife_failures
from sims.family import Case, Kind, Run
from sims.mutants import Wrong
from theory.bound import Bound, Direction, Quantity, Status
from theory.conformal import conformal_quantiles
from theory.divergence import Array

_ERROR = 1e-12
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
    signed = (bag.did - bag.said) / bag.scale
    limit, wrong = conformal(level), _without_the_new_one(level)
    return _case(
        n,
        1.0 - level,
        {
            form: (
                failures(scores, bag.names, limit),
                {"no +1": failures(scores, bag.names, wrong)},
            )
            for form, scores in (("interval", bag.scores), ("one-sided", signed))
        },
        f"{pairs} pairs of one fine-tune, level {level:.3g}",
    )


def grouped(rng: np.random.Generator, n: int, pairs: int, level: float) -> Case:
    """Several fine-tunes a pair: they err alike and count as one."""
    sizes = rng.integers(1, 6, size=pairs).tolist()
    (bag,) = bags(rng, n, sizes)
    failing = failures(bag.scores, bag.names, conformal(level))
    wrongs = {
        "no +1": failures(bag.scores, bag.names, _without_the_new_one(level)),
        "runs instead of pairs": failures(
            bag.scores, bag.names, lambda scores, names: conformal_quantiles(scores, level)
        ),
    }
    return _case(
        n,
        1.0 - level,
        {"interval, by pair": (failing, wrongs)},
        f"{pairs} pairs of {min(sizes)} to {max(sizes)} fine-tunes, level {level:.3g}",
    )


def learnt(rng: np.random.Generator, n: int, pairs: int, level: float) -> Case:
    """The jackknife+ around a slope: it may fail twice as often, and toy fine-tunes do not."""
    (bag,) = bags(rng, n, rng.integers(1, 3, size=pairs).tolist())
    return _case(
        n,
        min(1.0, 2.0 * (1.0 - level)),
        {"jackknife+, by pair": (jackknife_failures(bag, level), {})},
        f"{pairs} pairs, a slope learnt from the others, level {level:.3g}",
        mutants=False,
    )


def _without_the_new_one(level: float) -> Limit:
    """The plain quantile of the finished pairs, each of the weight 1 / G."""

    def limit(scores: Array, names: list[int]) -> Array:
        pairs = len(set(names))
        return conformal_quantiles(scores, level * pairs / (pairs + 1), groups=names)

    return limit


def _case(
    n: int,
    allowed: float,
    found: dict[str, tuple[Array, dict[str, Array]]],
    words: str,
    *,
    mutants: bool = True,
) -> Case:
    """By form: how often the limit fails, and how often each mutant of it does."""
    value = np.full(n, allowed)
    return Case(
        bounds=[
            Bound(
                statement="T25",
                quantity=Quantity.FAILURE,
                direction=Direction.UPPER,
                value=value,
                status=np.full(n, str(Status.HIGH_PROBABILITY), dtype="<U16"),
                form=form,
                terms={"level": value},
                unit="share",
            )
            for form in found
        ],
        runs=[
            Run(
                kind=Kind.ANY,
                truth={Quantity.FAILURE: failing},
                error={Quantity.FAILURE: np.full(n, _ERROR)},
                forms=(form,),
            )
            for form, (failing, _) in found.items()
        ],
        n=n,
        words=words,
        finetunes=n,
        mutants=mutants,
        wrongs={
            form: tuple(
                # That the mutant fails at most so often is refuted where this value is.
                Wrong(name, lambda m=m, f=failing: value - (m - f), Direction.UPPER)
                for name, m in wrongs.items()
            )
            for form, (failing, wrongs) in found.items()
        },
    )
