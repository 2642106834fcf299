"""E-DIEM, SPLoRA's score of a module: how unusual the distance is that the alignment gives it.

E-DIEM (Ao, Dong, Hu, Ramchurn; arXiv 2506.18931; the equations are read from their code) follows
DIEM (Tessari, Yao, Hogan; arXiv 2407.08623), a Euclidean distance less its expectation, over its
spread. Centre and scale are those of a null sample of distances ``d_k``:
``z = (d - mean d_k) / IQR d_k``. With element quartiles Q of ``X = C B A`` and ``Y = B A``,
``v_M = Q3(X) - Q1(X)`` and ``v_m = Q1(X) - Q1(Y)``, it is
``((z - v_m) / (v_M - v_m)) (v_M - v_m)``, which is ``z - v_m``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Of a null sample's largest distance: below, its spread is rounding of float32 products.
_ROUNDING = 1e-6
_RELEASED_COPIES, _RELEASED_EPSILON = 50, 1e-6


@dataclass(frozen=True)
class ElementQuartiles:
    """First and third quartile of the elements of ``X = C B A`` and the first of ``Y = B A``."""

    q1_projected: float
    q3_projected: float
    q1_update: float

    @property
    def v_max(self) -> float:
        return self.q3_projected - self.q1_projected

    @property
    def v_min(self) -> float:
        return self.q1_projected - self.q1_update


def e_diem(
    distance: float, null: Sequence[float] | np.ndarray, quartiles: ElementQuartiles
) -> float:
    """E-DIEM of a distance beside a null sample of distances: high is misaligned.

    Distances may be given less a number common to all of them, which keeps digits where the
    distances are large and their differences small. A spread below float32's rounding of the
    sample counts as that rounding.
    """
    sample = np.asarray(null, dtype=np.float64)
    if sample.size < 2:
        raise ValueError("a null sample of at least two distances is needed")
    spread = float(np.subtract(*np.quantile(sample, [0.75, 0.25])))
    scale = max(spread, _ROUNDING * float(np.abs(sample).max()), np.finfo(np.float64).tiny)
    return (distance - float(sample.mean())) / scale - quartiles.v_min


def released_e_diem(distance: float, quartiles: ElementQuartiles) -> float:
    """The score of SPLoRA's released code, for comparison only.

    Its null sample is the module's own distance fifty times, so its interquartile range is 0 and
    the score is what float32 loses in their mean, over 1e-6. All of it in float32, as there.
    """
    import torch

    copies = torch.full((_RELEASED_COPIES,), distance, dtype=torch.float32)
    own = copies[0] + _RELEASED_EPSILON
    spread = torch.quantile(copies, 0.75) - torch.quantile(copies, 0.25) + _RELEASED_EPSILON
    z = (own - copies.mean()) / spread
    v_min, v_max = (
        torch.tensor(v, dtype=torch.float32) for v in (quartiles.v_min, quartiles.v_max)
    )
    if v_max == v_min:
        return math.nan
    return float((z - v_min) / (v_max - v_min) * (v_max - v_min))
