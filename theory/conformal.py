"""How far a new fine-tune may be from its forecast, told by finished ones (T25)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

_SLACK = 1e-12
"""Of summed weights, so that rounding loses no score."""


def conformal_quantile(
    scores: ArrayLike, level: float, *, groups: Sequence[Hashable] | None = None
) -> float:
    """The score that a new one does not exceed with probability ``level``.

    ``scores`` ``[m]`` say by how much finished fine-tunes missed their forecast, each in the unit
    of what the forecaster itself says of its error. Fine-tunes of one of the ``groups`` ``[m]``
    (default: every fine-tune is its own) are exchangeable with one another, and groups with groups,
    the new one included: each of G groups has the weight ``1 / (G + 1)``, which its scores share,
    and the rest is at infinity. With one score a group this is the ``ceil((m + 1) level)``-th
    smallest. Infinite where there are too few groups for the level. Source: T25; Lee, Barber and
    Willett (2023) for groups. Raises ValueError for no scores, NaN, or a level outside of (0, 1).
    """
    found = np.asarray(scores, dtype=float)
    if found.ndim != 1 or not len(found) or np.isnan(found).any():
        raise ValueError("scores are a list of numbers, at least one, none of them NaN.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level of {level}")
    names = list(range(len(found))) if groups is None else list(groups)
    if len(names) != len(found):
        raise ValueError(f"{len(names)} groups of {len(found)} scores")
    members = Counter(names)
    order = np.argsort(found)
    weights = np.array([1.0 / members[names[i]] for i in order]) / (len(members) + 1)
    reached = np.cumsum(weights) >= level - _SLACK
    return float(found[order][np.argmax(reached)]) if reached.any() else float("inf")


def groups_needed(level: float) -> int:
    """The fewest groups of whose scores a finite limit of this level can be told."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level of {level}")
    return int(np.ceil(level / (1.0 - level) - _SLACK))
