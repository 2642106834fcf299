"""Which of several models: certificates for all that are accepted at once (T24).

``level`` is the probability that any accepted model breaks the budget. The models, and their order,
are made without looking at the probes; all may be tested on the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from theory.confidence import check_probability
from theory.divergence import Array


def fixed_sequence(p_values: ArrayLike, level: float) -> list[bool]:
    """Which nulls are rejected (models accepted), in the given order, each at ``level``.

    It stops at the first that is not rejected: none behind it is accepted, however small its
    p-value. No correction for their number. Raises ValueError for p-values outside [0, 1] and a
    level outside (0, 1). Source: T24 of docs/theorems.md (Bauer 1991).
    """
    rejected = _checked(p_values, level) <= level
    return np.logical_and.accumulate(rejected).tolist()


def holm(p_values: ArrayLike, level: float) -> list[bool]:
    """Which nulls are rejected (models accepted) where no order is known. Errors as above.

    The k-th smallest of K p-values is compared with ``level / (K - k + 1)``, up to the first that
    is larger. Source: Holm 1979.
    """
    given = _checked(p_values, level)
    order = np.argsort(given, kind="stable")
    rejected = given[order] <= level / np.arange(given.size, 0, -1)
    accepted = np.zeros(given.size, dtype=bool)
    accepted[order] = np.logical_and.accumulate(rejected)
    return accepted.tolist()


def split_sequences(p_values: Sequence[ArrayLike], level: float) -> list[list[bool]]:
    """:func:`fixed_sequence` on each of several sequences, which share the level in equal parts."""
    check_probability(level)
    return [fixed_sequence(each, level / len(p_values)) for each in p_values]


def _checked(p_values: ArrayLike, level: float) -> Array:
    check_probability(level)
    given = np.asarray(p_values, dtype=np.float64)
    if given.ndim != 1:
        raise ValueError(f"p-values of shape {given.shape}: one list is needed.")
    if not ((given >= 0.0) & (given <= 1.0)).all():
        raise ValueError("a p-value is not in [0, 1].")
    return given
