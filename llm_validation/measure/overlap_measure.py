"""What every measure of context overlap returns, and how counts of images become one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from finebound.results.estimate import OverlapEntry, OverlapLimit
from theory.bound import Status
from theory.confidence import clopper_pearson, multinomial_tv_radius
from theory.overlap import (
    overlap_from_accuracy,
    overlap_mass,
    overlap_sum,
    overlap_sum_from_accuracy,
    overlap_sum_upper,
)


class Errs(StrEnum):
    """On which side of the true context overlap a measure can lie."""

    NEVER_TOO_SMALL = "never too small"
    NEVER_TOO_LARGE = "never too large"
    EITHER_WAY = "either way"


class OverlapMeasure(OverlapEntry):
    """The entry with the image masses of both sets: ``safety_images, task_images [K]``.

    Each sums to 1, and ``overlap`` is ``1 - TV`` of the two. Of a record they are no part.
    """

    errs: Errs
    safety_images: NDArray[np.float64] = Field(exclude=True)
    task_images: NDArray[np.float64] = Field(exclude=True)

    @property
    def image_masses(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``(safety [K], task [K])``: what T4's sums are evaluated on."""
        return self.safety_images, self.task_images

    def safety_sum(self, lam: float) -> float:
        """T4's upper bound on the (proxy) safety gap at ``lam`` with tau = 1, nats a prompt.

        Of high probability (that of the measure) where there are radii; else the sum at the
        measured masses, an estimate.
        """
        return self._sum(lam, swap=False)

    def capability_sum(self, lam: float) -> float:
        """T4's upper bound on the capability gap at ``lam``, nats a prompt; as ``safety_sum``."""
        return self._sum(1.0 / lam, swap=True)

    def _sum(self, lam: float, *, swap: bool) -> float:
        step = -1 if swap else 1
        own, other = self.image_masses[::step]
        if self.radii is None or self.accuracies is None:
            return float(overlap_sum(own, other, lam))
        safety_radius, task_radius = self.radii[::step]
        accuracy, other_accuracy = self.accuracies[::step]
        return min(
            overlap_sum_upper(
                own, other, lam, safety_radius=safety_radius, task_radius=task_radius
            ),
            overlap_sum_from_accuracy(accuracy, other_accuracy, lam),
        )


def estimated_overlap(
    method: str,
    safety_counts: NDArray,
    task_counts: NDArray,
    *,
    errs: Errs,
    why: str,
    details: Mapping[str, float] | None = None,
) -> OverlapMeasure:
    """The measure with no probability attached, from counts per image ``[K]`` and ``[K]``.

    Images that neither set reaches are dropped.
    """
    used = (safety_counts + task_counts) > 0
    safety_counts, task_counts = safety_counts[used], task_counts[used]
    n_safety, n_task = int(safety_counts.sum()), int(task_counts.sum())
    safety, task = safety_counts / n_safety, task_counts / n_task
    shared = (safety > 0) & (task > 0)
    return OverlapMeasure(
        method=method,
        safety_mass=float(safety[shared].sum()),
        task_mass=float(task[shared].sum()),
        overlap=float(overlap_mass(safety, task)),
        errs=errs,
        why=why,
        n_safety=n_safety,
        n_task=n_task,
        failure_probability=None,
        interval=None,
        radii=None,
        accuracies=None,
        details=dict(details or {}),
        status=str(Status.ESTIMATED),
        safety_images=safety,
        task_images=task,
    )


def held_out_overlap(
    method: str,
    safety_images: NDArray[np.int64],
    task_images: NDArray[np.int64],
    *,
    size: int,
    safety_side: NDArray[np.bool_],
    p: float,
    why: str,
) -> OverlapMeasure:
    """The measure with probability ``1 - p``: images ``0 .. size-1`` of held-out prompts.

    The map and ``safety_side [size]`` (the images in which "safety" is the better guess) must
    come from other rows. Half of ``p`` goes to the two TV radii, half to the Clopper-Pearson
    limits of the guess's two error rates, and the interval takes the better limit. Source: T15.
    """
    n_safety, n_task = len(safety_images), len(task_images)
    safety = np.bincount(safety_images, minlength=size) / n_safety
    task = np.bincount(task_images, minlength=size) / n_task
    shared = (safety > 0) & (task > 0)
    overlap = float(overlap_mass(safety, task))
    radii = (
        multinomial_tv_radius(n_safety, size, p / 4),
        multinomial_tv_radius(n_task, size, p / 4),
    )
    right = int(safety_side[safety_images].sum()), int((~safety_side[task_images]).sum())
    accuracy = 0.5 * (right[0] / n_safety + right[1] / n_task)
    accuracies = (
        clopper_pearson(right[0], n_safety, p=p / 4, side="lower").lower,
        clopper_pearson(right[1], n_task, p=p / 4, side="lower").lower,
    )
    upper = min(1.0, overlap + sum(radii), float(overlap_from_accuracy(sum(accuracies) / 2)))
    return OverlapMeasure(
        method=method,
        safety_mass=float(safety[shared].sum()),
        task_mass=float(task[shared].sum()),
        overlap=overlap,
        errs=Errs.NEVER_TOO_SMALL,
        why=why,
        n_safety=n_safety,
        n_task=n_task,
        failure_probability=p,
        interval=(0.0, upper),
        radii=radii,
        accuracies=accuracies,
        details={"balanced_accuracy": accuracy, "images": float(size)},
        status=str(Status.HIGH_PROBABILITY),
        safety_images=safety,
        task_images=task,
    )


def tightest_upper(measures: Iterable[OverlapEntry]) -> OverlapLimit:
    """The least upper end of the measures that carry a probability, 1 and 0 without any.

    Choosing the best of several fails when any of them fails, so their failure probabilities add
    up.
    """
    sound = [m for m in measures if m.interval is not None and m.failure_probability is not None]
    limit = min((m.interval[1] for m in sound if m.interval), default=1.0)
    failure = min(1.0, sum(m.failure_probability or 0.0 for m in sound))
    return OverlapLimit(value=limit, failure_probability=failure)
