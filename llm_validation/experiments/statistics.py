"""Changes of a loss with intervals; statistics of several runs resampled over rows and seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_validation.experiments.run import influence
from llm_validation.measure.losses import Losses
from theory.confidence import Interval, empirical_bernstein
from theory.resampling import paired_bootstrap, percentile_interval, resampled_rows

LEVEL = 0.95
_DRAWS = 2000


def change(now: Losses, start: Losses, *, rng: np.random.Generator) -> Interval:
    """The change of a set's loss per token, with a paired bootstrap interval over its rows."""
    return paired_bootstrap(influence(now, start), rng=rng, level=LEVEL)


def population_change(now: Losses, start: Losses, *, vocabulary: int, p: float) -> Interval:
    """T14: the population's mean change of a row's mean token loss, for i.i.d. held-out rows.

    The range is twice log V, twofold until every row's change lies in it: that losses never leave
    it is an assumption.
    """
    rows = (now.token_sum - start.token_sum) / start.token_count
    limit = 2.0 * float(np.log(vocabulary))
    while np.abs(rows).max() > limit:
        limit *= 2.0
    return empirical_bernstein(rows, lower=-limit, bound=limit, p=p)


@dataclass(frozen=True, eq=False)
class Pair:
    """A set's losses at theta_s and at the end of a run, ``[n]`` rows each."""

    start: Losses
    end: Losses

    @property
    def rows(self) -> int:
        return len(self.start.token_count)

    def changes(self, draws: np.ndarray | None = None) -> np.ndarray:
        """Change of the loss per token on resampled rows ``draws [k, n]``: ``[k]``."""
        difference = self.end.token_sum - self.start.token_sum
        count = self.start.token_count.astype(np.float64)
        if draws is None:
            return np.array(difference.sum() / count.sum())
        return difference[draws].sum(axis=1) / count[draws].sum(axis=1)


Statistic = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def resampled(
    by_seed: Sequence[Mapping[str, tuple[str, Pair]]],
    statistic: Statistic,
    *,
    rng: np.random.Generator,
    level: float,
) -> Interval:
    """A statistic of several runs, averaged over seeds, with a percentile interval.

    ``by_seed[i][name]`` is ``(set, losses)``: the losses of one run on one set. Runs measured on
    the same set see the same resampled rows, so their differences are paired; with two or more
    seeds those are resampled too. ``statistic`` maps arrays of changes ``[k]`` by name to
    ``[k]``. An interval of undefined draws (a slope over no spread) is the whole line.
    """
    sizes = {set_name: pair.rows for seed in by_seed for set_name, pair in seed.values()}
    picks = {name: resampled_rows(n, rng, _DRAWS) for name, n in sorted(sizes.items())}
    with np.errstate(divide="ignore", invalid="ignore"):
        points = [
            float(statistic({name: pair.changes() for name, (_, pair) in seed.items()}))
            for seed in by_seed
        ]
        values = np.stack(
            [
                np.asarray(
                    statistic({name: pair.changes(picks[s]) for name, (s, pair) in seed.items()})
                )
                for seed in by_seed
            ]
        )
    if len(by_seed) > 1:
        chosen = resampled_rows(len(by_seed), rng, _DRAWS)
        sample = values[chosen, np.arange(_DRAWS)[:, None]].mean(axis=1)
    else:
        sample = values[0]
    return percentile_interval(float(np.mean(points)), sample, level=level)
