"""Held-out losses drawn again and again, against the intervals of finite samples (T14)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sims.family import Case, Kind, Run
from theory.bound import Bound, Direction, Quantity, Status
from theory.confidence import empirical_bernstein

# So small that not one interval of a full audit should miss: all fail with probability 1e-4.
_FAILURE = 1e-9
_ROWS = (2, 10, 100, 1000)


class Samples:
    """Means of bounded losses with known expectations: certain, rare and heavy ones.

    An interval may miss with its stated probability, so the audit asks for one in 10^9: a single
    miss among 10^5 would refute T14 with an error probability of 1e-4.
    """

    name = "samples"
    chunk = 1024

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """One case: an instance is a sample of losses, one size a batch."""
        rows, largest = int(rng.choice(_ROWS)), 10.0 ** rng.uniform(-1, 2, size=n)
        mean = np.where(rng.random(n) < 0.3, 10.0 ** rng.uniform(-4, -1, size=n), rng.random(n))
        spread = 10.0 ** rng.uniform(-1, 2, size=(n, 1))
        rare = rng.random((n, rows)) < mean[:, None]
        beta = rng.beta(spread * mean[:, None], spread * (1 - mean[:, None]), size=(n, rows))
        shares = np.where(rng.random((n, 1)) < 0.5, rare, beta)
        intervals = [
            empirical_bernstein(largest[i] * shares[i], bound=largest[i], p=_FAILURE)
            for i in range(n)
        ]
        limits = {
            Direction.UPPER: np.array([interval.upper for interval in intervals]),
            Direction.LOWER: np.array([interval.lower for interval in intervals]),
        }
        yield Case(
            bounds=[
                Bound(
                    statement="T14",
                    quantity=Quantity.SAFETY_GAP,
                    direction=direction,
                    value=value,
                    status=np.full(n, str(Status.HIGH_PROBABILITY)),
                    form="empirical Bernstein",
                    terms={"limit": value},
                )
                for direction, value in limits.items()
            ],
            runs=[
                Run(
                    kind=Kind.MINIMISER,
                    truth={Quantity.SAFETY_GAP: largest * mean},
                    error={Quantity.SAFETY_GAP: 1e-12 * largest},
                )
            ],
            n=n,
            words=f"{rows} held-out losses",
            finetunes=0,
            # Valid for every distribution, the interval is far wider than any one needs.
            mutants=False,
        )
