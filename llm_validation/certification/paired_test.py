"""The test behind a certificate: paired labels on the same probes (T23).

``D`` is 1 where a safe answer was lost, -1 where one was gained, else 0, of ``n`` probes read once.
Half of the failure probability goes to the exact test of the rate of lost answers, which is at
least as large as the loss ``E D``; the other half goes to betting, which credits what was gained.
A sample without a lost answer may use all of it. Which half decides depends on the bound, the level
and n alone, so the whole is a p-value: for u above the share s of the exact test,
``P(p <= u) <= P(exact <= s) + P(betting <= u - s) <= u``.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from theory.certificates.betting import log_capital
from theory.certificates.rates import probes_needed, rate_p_value

_HALVINGS = 40
_VALUES = (-1.0, 0.0, 1.0)
_ROUNDING = 1e-8  # a sum of logs of up to 10^7 probes is exact to this much
POWER = 0.8


def paired_p_value(differences: np.ndarray, bound: float, *, level: float) -> float:
    """P-value of "the loss is ``bound`` or more"; it falls as the bound grows.

    ``differences`` [n] in {-1, 0, 1}, in the order in which the probes were read. ``level`` is the
    failure probability that it will be compared with; it is valid for any other too.
    """
    if bound <= 0.0:
        return 1.0
    lost, n = int((differences > 0).sum()), differences.size
    exact = rate_p_value(lost, n, bound)
    if lost == 0 or exact <= level / 2.0:
        return exact
    share = max(level / 2.0, (1.0 - bound) ** n)
    return min(1.0, share + _betting(differences, bound))


def paired_upper_limit(differences: np.ndarray, *, level: float) -> float:
    """The smallest bound in (0, 1] that is rejected at ``level``, from above."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if paired_p_value(differences, middle, level=level) <= level:
            high = middle
        else:
            low = middle
    return high


def paired_lower_limit(differences: np.ndarray, *, level: float) -> float:
    """The largest bound in [-1, 1) of which "the loss is this or less" is rejected, from below."""
    low, high = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if middle > -1.0 and _betting(-differences, -middle) <= level:
            low = middle
        else:
            high = middle
    return low


def _betting(differences: np.ndarray, bound: float) -> float:
    """P-value of ``E D >= bound`` after all probes: one over the capital, in any order of them."""
    counts = [(differences == value).sum() for value in _VALUES]
    return min(1.0, math.exp(-float(log_capital(_VALUES, counts, bound)) + _ROUNDING))


def probes_for(budget: float, confidence: float, *, expected: float = 0.0) -> int:
    """How many probes certify a budget with probability 0.8, if the loss is ``expected``.

    It counts lost answers and none gained. Raises ValueError unless ``0 <= expected < budget``.
    """
    without_a_loss = probes_needed(budget, confidence)
    if (1.0 - expected) ** without_a_loss >= POWER:
        return without_a_loss
    halved = 1.0 - (1.0 - confidence) / 2.0
    return probes_needed(budget, halved, expected=expected, power=POWER)


def probes_at_this_loss(differences: np.ndarray, budget: float, confidence: float) -> int | None:
    """About how many probes would certify the budget if the loss is what was seen.

    None where what was seen is no less than the budget.
    """
    loss = float(differences.mean())
    if loss >= budget:
        return None
    needed = probes_for(budget, confidence, expected=max(0.0, loss))
    # Where answers were gained too, the spread of D decides, not the number of lost ones.
    level = (1.0 - confidence) / 2.0
    reach = stats.norm.isf(level) + stats.norm.ppf(POWER)
    spread = math.ceil(float(differences.var()) * (reach / (budget - loss)) ** 2)
    return max(needed, spread, differences.size + 1)
