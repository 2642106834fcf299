"""Context overlap: its mass, its images under a map, and the sums it enters (T4, T10b, T15)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from theory.divergence import Array, mass_sum

_LARGEST_LOG = 100.0  # beyond it the tangent at a ratio u is that of u = 0 or infinity


def overlap_mass(safety: ArrayLike, task: ArrayLike) -> Array:
    """``1 - TV`` of two distributions, ``[..., K], [..., K] -> [...]``, in [0, 1].

    As the sum of minima, so a tiny overlap keeps its relative accuracy.
    """
    safety, task = np.asarray(safety, dtype=np.float64), np.asarray(task, dtype=np.float64)
    return np.minimum(np.minimum(safety, task).sum(axis=-1), 1.0)


def merge(masses: ArrayLike, phi: ArrayLike, size: int | None = None) -> Array:
    """The masses of the images: context ``x`` goes to image ``phi[x]``, ``[..., X] -> [..., K]``.

    ``K`` is ``size`` or the largest image plus 1. Raises ValueError when ``phi [X]`` does not map
    every context to one of ``0 .. K-1``.
    """
    masses, phi = np.asarray(masses, dtype=np.float64), np.asarray(phi)
    if phi.shape != masses.shape[-1:] or not np.issubdtype(phi.dtype, np.integer):
        raise ValueError(
            f"phi needs one whole number for each of {masses.shape[-1:]} contexts, not {phi.shape}."
        )
    size = int(phi.max(initial=-1)) + 1 if size is None else size
    if phi.size and not (phi.min() >= 0 and phi.max() < size):
        raise ValueError(f"phi reaches from {phi.min()} to {phi.max()}, outside 0 .. {size - 1}.")
    merged = np.zeros((*masses.shape[:-1], size))
    np.add.at(np.moveaxis(merged, -1, 0), phi, np.moveaxis(masses, -1, 0))
    return merged


def overlap_from_accuracy(accuracy: ArrayLike) -> Array:
    """Upper bound ``min(1, 2 (1 - a))`` on ``1 - TV`` from a classifier's balanced accuracy.

    Any rule that tells the two apart errs with probability at least ``(1 - TV) / 2``, so a *lower*
    limit of its accuracy on new data gives an upper limit of the overlap. Source: T15 of
    docs/theorems.md.
    """
    accuracy = np.asarray(accuracy, dtype=np.float64)
    if not ((accuracy >= 0) & (accuracy <= 1)).all():
        raise ValueError("an accuracy is not in [0, 1].")
    return np.minimum(1.0, 2.0 * (1.0 - accuracy))


def overlap_sum(safety: ArrayLike, task: ArrayLike, lam: ArrayLike) -> Array:
    """T4's sum ``sum_k b log(1 + a / (lam b))`` with ``tau = 1``, nats, ``[..., K] -> [...]``.

    ``b = safety``, ``a = task``: an upper bound on the (proxy) safety gap of Case I. The
    capability gap's is ``overlap_sum(task, safety, 1 / lam)``. On images it is
    still an upper bound (T15). Raises ValueError for lam <= 0.
    """
    b, a = np.asarray(safety, dtype=np.float64), np.asarray(task, dtype=np.float64)
    lam = np.asarray(lam, dtype=np.float64)[..., None]
    if not (lam > 0).all():
        raise ValueError("lam must be above 0.")
    return mass_sum(b, np.logaddexp(0.0, _log_ratio(a, b, lam)))


def overlap_sum_upper(
    safety: ArrayLike,
    task: ArrayLike,
    lam: float,
    *,
    safety_radius: float,
    task_radius: float,
) -> float:
    """The largest ``overlap_sum`` over all masses within TV radii of the measured ones, nats.

    ``safety, task [K]`` are empirical; with ``confidence.multinomial_tv_radius`` the result bounds
    the sum of the true masses except with the radii's failure probability. The summand is concave
    and positively homogeneous, so for any ratios ``u_k`` it is at most ``p_k a + q_k b`` with
    ``p = 1/(lam (1 + u))``, ``q = log(1 + u) - u/(1 + u)``; a linear form moves by at most its
    oscillation times the radius. Every choice of ``u`` is valid: the ratios of the masses, clipped
    to an interval that is optimised, so non-convergence only loosens. Source: T4, T15 of
    docs/theorems.md.
    """
    b, a = np.asarray(safety, dtype=np.float64), np.asarray(task, dtype=np.float64)
    if b.ndim != 1 or a.shape != b.shape or not b.size:
        raise ValueError(f"safety {b.shape} and task {a.shape} need the same shape [K], K >= 1.")
    if not lam > 0 or min(safety_radius, task_radius) < 0:
        raise ValueError("lam must be above 0 and the radii at least 0.")
    if max(abs(a.sum() - 1.0), abs(b.sum() - 1.0)) > 1e-6:
        raise ValueError("safety and task need to sum to 1.")
    trivial = float(np.log1p(1.0 / lam))  # everything in one image
    if not np.isfinite(lam):
        return 0.0
    log_ratio = _log_ratio(a, b, lam)

    def value(ends: np.ndarray) -> float:
        low, high = np.clip(np.sort(ends), -_LARGEST_LOG, _LARGEST_LOG)
        u = np.exp(np.clip(log_ratio, low, high))
        p, q = 1.0 / (lam * (1.0 + u)), np.log1p(u) - u / (1.0 + u)
        return float(p @ a + q @ b + task_radius * np.ptp(p) + safety_radius * np.ptp(q))

    grid = np.linspace(-12.0, 12.0, 25) - np.log(lam)
    starts = [np.array([low, high]) for low in grid for high in grid[grid >= low]]
    best = min(starts, key=value)
    found = minimize(value, best, method="Nelder-Mead", options={"maxiter": 400, "fatol": 1e-12})
    return min(trivial, value(best), value(found.x))


def overlap_sum_from_accuracy(safety_accuracy: float, task_accuracy: float, lam: float) -> float:
    """T4's sum, at most, from lower limits of a classifier's accuracy on each class, nats.

    The two answers are two images: safety prompts hit theirs with probability at least
    ``safety_accuracy``, task prompts the other with at least ``task_accuracy``. The sum is concave
    and largest where both classes have the same masses, so within the limits it is largest at
    their corner; ``log(1 + 1/lam)`` when they allow equality. Source: T4, T15 of docs/theorems.md.
    """
    if not (0 <= safety_accuracy <= 1 and 0 <= task_accuracy <= 1):
        raise ValueError("an accuracy is not in [0, 1].")
    if safety_accuracy + task_accuracy <= 1.0:
        return float(np.log1p(1.0 / lam))
    safety = [safety_accuracy, 1.0 - safety_accuracy]
    return float(overlap_sum(safety, [1.0 - task_accuracy, task_accuracy], lam))


def _log_ratio(a: Array, b: Array, lam: ArrayLike) -> Array:
    """``log(a / (lam b))``; ``-inf`` where ``a = 0``, ``inf`` where only ``b = 0``."""
    with np.errstate(divide="ignore"):
        ratio = np.log(np.where(a > 0, a, 1.0)) - np.log(np.where(b > 0, b, 1.0)) - np.log(lam)
    return np.where(a > 0, np.where(b > 0, ratio, np.inf), -np.inf)
