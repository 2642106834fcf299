"""Findings of Case II: its price without overlap, and where its guarantee beats Case I's."""

from __future__ import annotations

import numpy as np

from sims.findings.finding import SimulatedFinding, of_mean, of_share
from sims.findings.loss_constraint import TABLE
from sims.models.base import HALF_RANGE
from theory.parameter_constraint import crossover_radius


def price_without_overlap(seed: int, *, radius_share: float = 0.5, n: int = 32) -> SimulatedFinding:
    """T8(b): no shared context, and Case II still pays at least half of ``G_0``.

    The radius is ``radius_share G_0 / (2 J)``, so the price ``1 - radius_share``. The effect is
    Case II's capability gap above that of Case I (T8a: 0), in units of ``G_0``, the aligned
    model's.
    """
    made = TABLE.ensemble(seed, n, overlap=0.0)
    start = made.tables().capability_gap_at_aligned
    radius = radius_share * start / (2.0 * HALF_RANGE)
    in_ball = made.finetuned(radius=radius[:, None]).gaps.task[:, 0]
    penalised = made.finetuned(lam=[1.0]).gaps.task[:, 0]
    return of_mean(
        "price_without_overlap",
        f"without a shared context, a radius of {radius_share:g} G_0 / 2J costs Case II at least "
        "half of G_0 more in capability than Case I",
        (in_ball - penalised) / start,
        (0.5, 1.0),
    )


def loss_constraint_is_free_without_overlap(
    seed: int, *, overlap: float = 0.0, n: int = 32
) -> SimulatedFinding:
    """T8(a): with the same teacher and no shared context, Case I pays neither gap (nats)."""
    made = TABLE.ensemble(seed, n, overlap=overlap)
    gaps = made.finetuned(lam=[1.0]).gaps
    return of_mean(
        "loss_constraint_is_free_without_overlap",
        "without a shared context, a same-teacher proxy leaves no gap at all",
        (gaps.safety + gaps.task)[:, 0],
        (-1e-6, 1e-6),
    )


def crossover(seed: int, *, radius_share: float = 0.95, n: int = 120) -> SimulatedFinding:
    """Crossover after T8: below that radius Case II keeps more safety than Case I can promise.

    Trained tables: the safety gap of Case II at ``radius_share`` of the crossover radius against
    that of Case I at lambda = 1000, where it has reached its floor. The guarantee is sufficient:
    somewhat larger radii may still win.
    """
    made = TABLE.ensemble(seed, n, overlap=0.6, disagreement=0.7, teacher_mismatch=0.3)
    radius = radius_share * np.asarray(crossover_radius(made.tables()))
    in_ball = made.finetuned(radius=radius[:, None]).gaps.safety[:, 0]
    penalised = made.finetuned(lam=[1000.0]).gaps.safety[:, 0]
    return of_share(
        "crossover",
        f"at {radius_share:g} times the crossover radius Case II is safer than Case I ever gets",
        in_ball < penalised,
        (0.85, 1.0),
    )
