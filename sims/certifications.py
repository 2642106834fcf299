"""Certificates as they are used, simulated: many models, one set of probes, stopping when enough.

A fine-tune is certified again and again on fresh probes; each time its scaled versions are tested
in order on the same probes, read one by one until the test is decided. It is counted how often
some accepted version breaks the budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from theory.certificates.betting import log_capital
from theory.divergence import Array

_LOSSES = np.array([-1.0, 0.0, 1.0])
_CHUNK = 4_000


@dataclass(frozen=True)
class Setting:
    """Versions that lose ``risks`` times the ``budget`` of the safe answers, on ``probes`` probes.

    Those of a risk of 1 break the budget, by nothing: the boundary. ``gained``: how many answers
    become safe (as many more are lost, so that the mean stays the same). ``shared``: the share of
    probes on which all versions answer alike. ``stops``: reading ends at the first certificate;
    else only the last reading counts. ``guard``: Ville's threshold 1 / level; without it, the
    p-value of a test of fixed size is read at every probe. ``goes_on``: versions behind the first
    that is not certified are accepted too.
    """

    budget: float = 0.05
    probes: int = 40
    level: float = 0.05
    risks: tuple[float, ...] = (0.2, 1.0)
    gained: float = 0.05
    shared: float = 0.8
    stops: bool = True
    guard: bool = True
    goes_on: bool = False


def false_certificates(setting: Setting, runs: int, rng: np.random.Generator) -> int:
    """In how many of ``runs`` certifications a version that breaks the budget is accepted."""
    certifies = _certifying(setting)
    failures = 0
    for start in range(0, runs, _CHUNK):
        failures += int(_accepted(setting, certifies, min(_CHUNK, runs - start), rng).sum())
    return failures


def _accepted(
    setting: Setting, certifies: np.ndarray, runs: int, rng: np.random.Generator
) -> np.ndarray:
    """Whether some version that breaks the budget is accepted, ``[runs]``."""
    shape = (runs, setting.probes)
    together, wrong = rng.random(shape, dtype=np.float32), np.zeros(runs, dtype=bool)
    going = np.ones(runs, dtype=bool)
    for risk in setting.risks:
        own = np.where(
            rng.random(shape, dtype=np.float32) < setting.shared,
            together,
            rng.random(shape, dtype=np.float32),
        )
        lost = (own < risk * setting.budget + setting.gained).cumsum(axis=1, dtype=np.int16)
        gained = (own > 1.0 - setting.gained).cumsum(axis=1, dtype=np.int16)
        reached = certifies[np.arange(1, setting.probes + 1), gained, lost]
        passes = reached.any(axis=1) if setting.stops else reached[:, -1]
        going &= passes  # the sequence ends at the first that is not certified
        if risk >= 1.0:
            wrong |= passes if setting.goes_on else going
    return wrong


def _certifying(setting: Setting) -> np.ndarray:
    """After ``n`` probes with so many gained and lost answers: certified? ``[n, gained, lost]``."""
    size = setting.probes + 1
    n, gained, lost = np.meshgrid(*(np.arange(size),) * 3, indexing="ij", sparse=True)
    equal = n - gained - lost
    possible = np.broadcast_to(equal >= 0, (size,) * 3)
    counts = np.stack(np.broadcast_arrays(gained, equal, lost), axis=-1)[possible].astype(float)
    certified = np.zeros((size,) * 3, dtype=bool)
    certified[possible] = _rejects(counts, setting)
    return certified


def _rejects(counts: Array, setting: Setting) -> np.ndarray:
    if setting.guard:
        return log_capital(_LOSSES, counts, setting.budget) >= -np.log(setting.level)
    # A normal test of fixed size for the mean.
    read = np.maximum(counts.sum(axis=-1), 1.0)
    mean = (counts @ _LOSSES) / read
    spread = np.sqrt(np.maximum((counts @ _LOSSES**2) / read - mean**2, 1e-2) / read)

    return (read >= 20) & (mean + stats.norm.isf(setting.level) * spread < setting.budget)
