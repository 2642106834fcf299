"""The first steps of a fine-tune on quadratics, against the onset's bounds (T19)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sims.families.quadratic import Quadratic
from sims.family import Case, Kind, Run
from theory.bound import Quantity
from theory.divergence import Array
from theory.onset import Descent, onset_bounds
from theory.problem import QuadraticProblem

_STEPS = (1, 2, 8, 30)
# Curvatures below 1e-13 of the largest count as flat; long double rounds far below that.
_FLAT = 4e-13


class Onsets:
    """Gradient descent on the task loss from ``theta_s``, step by step in long double.

    Rates from a millionth of ``2 / |H_f|``, beyond which descent is unstable, up to it.
    """

    name = "onsets"
    chunk = 2048

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """One case: a rate for each instance, one number of steps a batch."""
        problem = Quadratic().draw(rng, n)
        steps = int(rng.choice(_STEPS))
        steepest = np.linalg.eigvalsh(problem.H_f)[..., -1]
        rate = 2.0 / np.where(steepest > 0, steepest, 1.0) * 10.0 ** rng.uniform(-6, -0.01, size=n)
        rates = np.repeat(rate[:, None], steps, axis=1) * (rng.random((n, steps)) < 0.9)
        yield Case(
            bounds=onset_bounds(problem, Descent(rates)),
            runs=[_descended(problem, rates)],
            n=n,
            words=f"gradient descent on the task, {steps} steps",
            finetunes=n,
        )


def _descended(problem: QuadraticProblem, rates: Array) -> Run:
    step = np.zeros_like(problem.displacement, dtype=np.longdouble)
    for t in range(rates.shape[-1]):
        slope = np.einsum("nij,nj->ni", problem.H_f, step - problem.displacement)
        step = step - rates[:, t, None] * slope
    gap = 0.5 * np.einsum("ni,nij,nj->n", step, problem.H_s, step)
    stiffest = np.linalg.eigvalsh(problem.H_s)[..., -1]
    size = (stiffest * (step**2).sum(axis=-1)).astype(np.float64)
    return Run(
        kind=Kind.MINIMISER,
        truth={Quantity.SAFETY_GAP: np.maximum(gap, 0.0).astype(np.float64)},
        error={Quantity.SAFETY_GAP: _FLAT * size},
    )
