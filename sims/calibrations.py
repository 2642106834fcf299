"""Toy fine-tunes beside their forecasts, and how often a calibrated interval misses a new one.

A model is a point, a dataset pair a bowl of the task beside the model's own bowl of safety. A
fine-tune descends the task's bowl; its forecast takes few large steps on a noisy bowl. Which pair
of a bag is the new one is all that is random, so that the failure probability is a mean over the
bag and no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from theory.conformal import conformal_quantiles, jackknife_limits
from theory.divergence import Array

_DIMENSION, _COARSE = 3, 4
FLOOR = 0.05
"""Nats: what a forecaster says of its error, besides the size of its forecast."""
PRIOR = 1.0
"""Weight of the slope 1 among the pairs that a slope is learnt from."""


@dataclass(frozen=True)
class Plans:
    """What new fine-tunes are like: ``longer`` times as long, with rows ``noisier`` by a factor.

    ``signs``: an optimiser that only follows the gradient's signs, forecast as it is.
    """

    longer: float = 1.0
    noisier: float = 1.0
    signs: bool = False


USUAL = Plans()


@dataclass(frozen=True, eq=False)
class Bag:
    """Changes of the safety loss that were ``said`` and that fine-tunes ``did``, ``[n, m]`` nats.

    ``names`` ``[m]`` are the pairs of datasets, which are exchangeable, as are fine-tunes of one.
    """

    said: Array
    did: Array
    names: np.ndarray

    @property
    def scale(self) -> Array:
        """What the forecaster says of its error, ``[n, m]``."""
        return FLOOR + np.abs(self.said)

    @property
    def scores(self) -> Array:
        """By how many scales each forecast was wrong, ``[n, m]``."""
        return np.abs(self.did - self.said) / self.scale


def bags(
    rng: np.random.Generator, n: int, sizes: Sequence[int], plans: Sequence[Plans] = (USUAL,)
) -> list[Bag]:
    """``n`` bags of pairs with so many fine-tunes each, under each of the ``plans``."""
    names = np.repeat(np.arange(len(sizes)), sizes)
    shape = (n, len(sizes), _DIMENSION)
    safety = np.exp(rng.normal(size=(n, 1, _DIMENSION)))
    curvature = np.exp(0.5 * rng.normal(size=shape))[:, names]
    target = rng.normal(size=shape)[:, names]
    steps = 10.0 ** rng.uniform(-1.5, 0.5, size=(n, len(names), 1))  # rate times steps
    noise = rng.normal(size=target.shape)
    found = []
    for plan in plans:
        time, rows = plan.longer * steps, target + 0.3 * plan.noisier * noise
        if plan.signs:
            end = np.zeros(rows.shape)
            for _ in range(_COARSE):  # steps as large overshoot
                end += time / _COARSE * np.sign(rows - end)
            ends = [np.sign(target) * np.minimum(time, np.abs(target)), end]
        else:
            coarse = np.minimum(time * curvature / _COARSE, 1.9)
            ends = [target * -np.expm1(-time * curvature), rows * (1 - (1 - coarse) ** _COARSE)]
        did, said = (0.5 * (safety * end**2).sum(axis=-1) for end in ends)
        found.append(Bag(said, did, names))
    return found


Limit = Callable[[Array, list[int]], Array]
"""From scores ``[n, m]`` and their pairs to a limit ``[n]``."""


def conformal(level: float) -> Limit:
    """T25's."""
    return lambda scores, names: conformal_quantiles(scores, level, groups=names)


def failures(scores: Array, names: np.ndarray, limit: Limit, new: Array | None = None) -> Array:
    """How often the score of a new pair's fine-tune is above the limit of all others, ``[n]``.

    Every pair of the bag is the new one as often as another. ``new`` ``[n, m]`` are the scores
    that pairs have when they are the new one, by default their own.
    """
    found = scores if new is None else new
    missed = np.zeros(len(scores))
    pairs = np.unique(names)
    for pair in pairs:
        own = names == pair
        above = limit(scores[:, ~own], names[~own].tolist())
        missed += (found[:, own] > above[:, None]).mean(axis=1)
    return missed / len(pairs)


def jackknife_failures(bag: Bag, level: float) -> Array:
    """The same of the jackknife+ around a slope that is learnt from the other pairs, ``[n]``."""
    pairs = np.unique(bag.names)
    weight = 1.0 / (np.bincount(bag.names)[bag.names] * bag.scale**2)
    of_pair = bag.names == pairs[:, None]
    both = (weight * bag.said * bag.did) @ of_pair.T
    square = (weight * bag.said**2) @ of_pair.T
    missed = np.zeros(len(bag.said))
    for new in pairs:
        others = bag.names != new
        names = bag.names[others]
        # Of every finished fine-tune: the sums over pairs without the new one and its own.
        top = both.sum(axis=1) - both[:, new]
        bottom = square.sum(axis=1) - square[:, new]
        slopes = (top[:, None] - both[:, names] + PRIOR) / (
            bottom[:, None] - square[:, names] + PRIOR
        )
        errors = np.abs(bag.did[:, others] - slopes * bag.said[:, others]) / bag.scale[:, others]
        own = np.flatnonzero(~others)
        for one in own:
            low, high = jackknife_limits(
                slopes * bag.said[:, [one]],
                errors * bag.scale[:, [one]],
                level,
                groups=names.tolist(),
            )
            missed += ((bag.did[:, one] < low) | (bag.did[:, one] > high)) / len(own)
    return missed / len(pairs)
