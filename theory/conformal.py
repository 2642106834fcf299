"""How far a new fine-tune may be from its forecast, told by finished ones (T25)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from theory.divergence import Array

_SLACK = 1e-12
"""Of summed weights, so that rounding loses no score."""


def conformal_quantile(
    scores: ArrayLike, level: float, *, groups: Sequence[Hashable] | None = None
) -> float:
    """The score that a new one does not exceed with probability ``level``.

    ``scores`` ``[m]`` say by how much finished fine-tunes missed their forecast, each in the unit
    of what the forecaster itself says of its error; signed ones give a one-sided limit. Fine-tunes
    of one of the ``groups`` ``[m]``
    (default: every fine-tune is its own) are exchangeable with one another, and groups with groups,
    the new one included: each of G groups has the weight ``1 / (G + 1)``, which its scores share,
    and the rest is at infinity. With one score a group this is the ``ceil((m + 1) level)``-th
    smallest. Infinite where there are too few groups for the level. Source: T25; Lee, Barber and
    Willett (2023) for groups. Raises ValueError for no scores, NaN, or a level outside of (0, 1).
    """
    if np.ndim(scores) != 1:
        raise ValueError("scores are a list of numbers, at least one, none of them NaN.")
    return float(conformal_quantiles(scores, level, groups=groups))


def conformal_quantiles(
    scores: ArrayLike, level: float, *, groups: Sequence[Hashable] | None = None
) -> Array:
    """``conformal_quantile`` along the last axis of ``scores [..., m]``, of the same groups."""
    found = np.asarray(scores, dtype=float)
    if not found.ndim or not found.shape[-1] or np.isnan(found).any():
        raise ValueError("scores are a list of numbers, at least one, none of them NaN.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level of {level}")
    m = found.shape[-1]
    names = list(range(m)) if groups is None else list(groups)
    if len(names) != m:
        raise ValueError(f"{len(names)} groups of {m} scores")
    members = Counter(names)
    weights = np.array([1.0 / members[name] for name in names]) / (len(members) + 1)
    order = np.argsort(found, axis=-1)
    reached = np.cumsum(weights[order], axis=-1) >= level - _SLACK
    first = np.take_along_axis(order, reached.argmax(axis=-1)[..., None], axis=-1)
    smallest = np.take_along_axis(found, first, axis=-1)[..., 0]
    return np.where(reached.any(axis=-1), smallest, np.inf)


def jackknife_limits(
    centres: ArrayLike,
    errors: ArrayLike,
    level: float,
    *,
    groups: Sequence[Hashable] | None = None,
) -> tuple[Array, Array]:
    """The jackknife+ limits of a new outcome, where forecasts are learnt from finished fine-tunes.

    For each of m finished fine-tunes, ``centres [..., m]`` is the new one's forecast as it is
    learnt without that fine-tune's group, and ``errors [..., m]`` by how much that forecast missed
    it. Both ends hold with probability at least ``1 - 2 (1 - level)``, and mostly with ``level``.
    Raises as ``conformal_quantile``. Source: T25; Barber et al. (2021); Lee, Barber and Willett
    (2023) for groups.
    """
    middle, half = np.asarray(centres, dtype=float), np.asarray(errors, dtype=float)
    low = -conformal_quantiles(half - middle, level, groups=groups)
    return low, conformal_quantiles(half + middle, level, groups=groups)


def groups_needed(level: float) -> int:
    """The fewest groups of whose scores a finite limit of this level can be told."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level of {level}")
    return int(np.ceil(level / (1.0 - level) - _SLACK))
