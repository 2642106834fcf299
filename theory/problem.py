"""The problems a bound is computed for: tabular, quadratic, or named constants of a real model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from theory.constants import CONSTANTS, Constant, Constants, Known
from theory.divergence import Array, kl, mass_sum, tv

__all__ = [
    "CONSTANTS",
    "Constant",
    "Constants",
    "Distribution",
    "Known",
    "Problem",
    "QuadraticProblem",
    "TabularProblem",
    "quadratic_form",
]

_SUM_TOLERANCE = 1e-6
_ROUNDING = 1e-14
# A curvature this small beside the largest is rounding noise: the direction is flat.
_FLAT = 1e-13
# Times the number of coordinates: asymmetry and negative curvature beyond it are no rounding.
_NOT_ROUNDING = 1e-13


def _probabilities(name: str, values: ArrayLike) -> Array:
    """``[..., K]`` non-negative rows that sum to 1 (within 1e-6), normalised to float64."""
    array = np.array(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name} is empty: it needs at least one entry.")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} holds a NaN or an infinity at index {_first(~np.isfinite(array))}."
        )
    if (array < 0).any():
        raise ValueError(f"{name} holds a negative probability at index {_first(array < 0)}.")
    with np.errstate(over="ignore"):
        total = array.sum(axis=-1)
    off = np.abs(total - 1.0) > _SUM_TOLERANCE
    if off.any():
        where = _first(off)
        row = f" (row {where})" if where else ""
        raise ValueError(f"{name}{row} sums to {total[tuple(where)]:.9g}, not to 1.")
    # A row that is 1 up to rounding stays as it is, so that equal rows stay equal.
    array /= np.where(np.abs(total - 1.0) > _ROUNDING, total, 1.0)[..., None]
    array.setflags(write=False)
    return array


def _first(mask: np.ndarray) -> list[int]:
    return [int(i) for i in np.argwhere(mask)[0]] if mask.ndim else []


@dataclass(frozen=True, eq=False, init=False)
class Distribution:
    """``D(x, y) = context(x) target(y | x)``: ``context [..., X]``, ``target [..., X, V]``.

    Leading axes are a batch of instances. Raises ValueError unless every row is finite,
    non-negative and sums to 1 within 1e-6. Source: set-up 2.0 of docs/theorems.md.
    """

    context: Array
    target: Array

    def __init__(self, context: ArrayLike, target: ArrayLike) -> None:
        object.__setattr__(self, "context", _probabilities("context", context))
        object.__setattr__(self, "target", _probabilities("target", target))
        if self.target.shape[:-1] != self.context.shape:
            raise ValueError(
                f"target has shape {self.target.shape}: it needs one row for each of the "
                f"contexts {self.context.shape}."
            )

    @classmethod
    def trusted(cls, context: Array, target: Array) -> Distribution:
        """A distribution from arrays already checked: a slice of a batch, say."""
        made = object.__new__(cls)
        object.__setattr__(made, "context", context)
        object.__setattr__(made, "target", target)
        return made


@dataclass(frozen=True, eq=False, init=False)
class TabularProblem:
    """Safety, proxy and task distributions over the same finite contexts and responses.

    ``proxy`` defaults to ``safety`` (a perfect proxy), ``aligned [..., X, V]`` (the aligned
    model's policy P_theta_s) to ``safety.target``. All share ``[..., X, V]``; leading axes are
    a batch. Raises ValueError when shapes differ or rows are not distributions.
    """

    safety: Distribution
    task: Distribution
    proxy: Distribution
    aligned: Array

    def __init__(
        self,
        safety: Distribution,
        task: Distribution,
        proxy: Distribution | None = None,
        aligned: ArrayLike | None = None,
    ) -> None:
        policy = safety.target if aligned is None else _probabilities("aligned", aligned)
        self._set(safety=safety, task=task, proxy=proxy or safety, aligned=policy)
        shape = safety.target.shape
        for name, other in (
            ("proxy", self.proxy.target),
            ("task", self.task.target),
            ("aligned", self.aligned),
        ):
            if other.shape != shape:
                raise ValueError(
                    f"{name} has targets of shape {other.shape} and safety of shape {shape}: all "
                    "distributions need the same contexts and responses in the same order."
                )

    @classmethod
    def trusted(
        cls, *, safety: Distribution, task: Distribution, proxy: Distribution, aligned: Array
    ) -> TabularProblem:
        """A problem from parts already checked: a slice of a batch, say."""
        made = object.__new__(cls)
        made._set(safety=safety, task=task, proxy=proxy, aligned=aligned)
        return made

    def _set(self, **parts: Distribution | Array) -> None:
        for name, part in parts.items():
            object.__setattr__(self, name, part)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.safety.context.shape[:-1]

    @property
    def responses(self) -> int:
        """``V``, the number of responses."""
        return self.safety.target.shape[-1]

    @cached_property
    def overlap(self) -> np.ndarray:
        """``O = supp rho_f & supp rho_hat_s``, ``[..., X]`` bool: the contested contexts."""
        return (self.task.context > 0) & (self.proxy.context > 0)

    @cached_property
    def disagreement(self) -> Array:
        """``tau(x) = TV(mu_f, mu_hat_s)``, ``[..., X]``, rounded up: for upper bounds."""
        return tv(self.task.target, self.proxy.target)

    @cached_property
    def disagreement_floor(self) -> Array:
        """``tau(x)`` rounded down: for lower bounds."""
        return tv(self.task.target, self.proxy.target, side="lower")

    @cached_property
    def kl_proxy_task(self) -> Array:
        """``KL(mu_hat_s || mu_f)``, ``[..., X]``, nats."""
        return kl(self.proxy.target, self.task.target)

    @cached_property
    def kl_task_proxy(self) -> Array:
        """``KL(mu_f || mu_hat_s)``, ``[..., X]``, nats."""
        return kl(self.task.target, self.proxy.target)

    @cached_property
    def safety_gap_at_aligned(self) -> Array:
        """``G_s(theta_s)``, nats: 0 unless ``aligned`` differs from the safety targets."""
        return mass_sum(self.safety.context, kl(self.safety.target, self.aligned))

    @cached_property
    def proxy_gap_at_aligned(self) -> Array:
        """``G_hat_s(theta_s)``, nats."""
        return mass_sum(self.proxy.context, kl(self.proxy.target, self.aligned))

    @cached_property
    def capability_gap_at_aligned(self) -> Array:
        """``G_f(theta_s)``, nats: what the fine-tune can gain."""
        return mass_sum(self.task.context, kl(self.task.target, self.aligned))

    @cached_property
    def same_teacher(self) -> np.ndarray:
        """Whether ``mu_hat_s = mu_s`` wherever the proxy has mass, ``[...]`` bool."""
        equal = (self.safety.target == self.proxy.target).all(axis=-1)
        return (equal | (self.proxy.context == 0)).all(axis=-1)


@dataclass(frozen=True, eq=False, init=False)
class QuadraticProblem:
    """``f_s = 1/2 |theta - theta_s|^2_{H_s}``, ``f_f = 1/2 |theta - theta_f|^2_{H_f}``, nats.

    ``H_s, H_f [..., n, n]`` symmetric positive semi-definite, ``theta_s, theta_f [..., n]``;
    the proxy is perfect. Raises ValueError when a matrix is not symmetric PSD or not finite.
    Source: quadratic model of docs/theorems.md.
    """

    H_s: Array
    H_f: Array
    theta_s: Array
    theta_f: Array

    def __init__(
        self, H_s: ArrayLike, H_f: ArrayLike, theta_s: ArrayLike, theta_f: ArrayLike
    ) -> None:
        given = {"H_s": H_s, "H_f": H_f, "theta_s": theta_s, "theta_f": theta_f}
        for name, values in given.items():
            array = np.array(values, dtype=np.float64)
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{name} holds a NaN or an infinity at {_first(~np.isfinite(array))}."
                )
            object.__setattr__(self, name, array)
        n = self.theta_s.shape[-1] if self.theta_s.ndim else 0
        if n == 0 or self.theta_f.shape != self.theta_s.shape:
            raise ValueError("theta_s and theta_f need the same number of coordinates, at least 1.")
        for name in ("H_s", "H_f"):
            matrix = getattr(self, name)
            if matrix.shape != (*self.theta_s.shape, n):
                raise ValueError(f"{name} has shape {matrix.shape}, expected {n} x {n}.")
            scale = np.abs(matrix).max(axis=(-2, -1))
            flipped = np.swapaxes(matrix, -1, -2)
            with np.errstate(over="ignore"):
                apart = np.abs(matrix - flipped)
            uneven = apart > n * _NOT_ROUNDING * scale[..., None, None]
            if uneven.any():
                raise ValueError(
                    f"{name} is not symmetric: entries {_first(uneven)} and their mirror differ "
                    f"by {apart.max():.3g}."
                )
            if apart.any():
                object.__setattr__(self, name, 0.5 * matrix + 0.5 * flipped)
                matrix = getattr(self, name)
            smallest = np.linalg.eigvalsh(matrix)[..., 0]
            wrong = smallest < -n * _NOT_ROUNDING * scale
            if wrong.any():
                least = np.where(wrong, smallest, 0.0).min()
                raise ValueError(
                    f"{name} is not positive semi-definite: its least eigenvalue is {least:.3g}, "
                    "which is more than the rounding of its numbers."
                )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.theta_s.shape[:-1]

    @cached_property
    def displacement(self) -> Array:
        """``d = theta_f - theta_s``, ``[..., n]``."""
        return self.theta_f - self.theta_s

    @cached_property
    def spectrum_s(self) -> Array:
        """Eigenvalues of ``H_s``, ascending, rounding noise set to 0, ``[..., n]``."""
        return _clean_spectrum(np.linalg.eigvalsh(self.H_s))

    @cached_property
    def spectrum_f(self) -> Array:
        """Eigenvalues of ``H_f``, ascending, rounding noise set to 0, ``[..., n]``."""
        return _clean_spectrum(np.linalg.eigvalsh(self.H_f))

    @cached_property
    def _scaled_sum(self) -> tuple[list[Array], Array, Array]:
        """``|H_f|, |H_s|`` and the eigenvalues and vectors of ``H_f / |H_f| + H_s / |H_s|``."""
        scales = [
            np.maximum(spectrum[..., -1], np.finfo(float).tiny)[..., None, None]
            for spectrum in (self.spectrum_f, self.spectrum_s)
        ]
        sizes, vectors = np.linalg.eigh(self.H_f / scales[0] + self.H_s / scales[1])
        return scales, sizes, vectors

    @cached_property
    def common_basis_below(self) -> tuple[Array, Array, Array, Array]:
        """``(f, s, |d| from below, |d| from above)`` of ``common_basis``, ``[..., n]``.

        Whitening blows the rounding of a Hessian up by one over the least eigenvalue of the scaled
        sum. With it taken off, the diagonal forms lie below ``H_f`` and ``H_s``; flat directions
        become slightly negative, because it is not known exactly which way they point.
        """
        task, safety, _, d = self.common_basis
        (task_scale, safety_scale), sizes, _ = self._scaled_sum
        live = sizes > _FLAT * sizes[..., -1:]
        least = np.where(live, sizes, np.inf).min(axis=-1, keepdims=True)
        rounding = 8.0 * sizes.shape[-1] * np.finfo(float).eps
        # White directions have H_f / |H_f| + H_s / |H_s| = 1, left-out ones have 0.
        white = np.minimum(task / task_scale[..., 0] + safety / safety_scale[..., 0], 1.0)
        lost = rounding * sizes[..., -1:] / least * white
        reach = np.sqrt(np.maximum(sizes[..., -1:], 0.0)) * np.linalg.norm(
            self.displacement, axis=-1, keepdims=True
        )
        return (
            task - lost * task_scale[..., 0],
            safety - lost * safety_scale[..., 0],
            np.maximum(np.abs(d) - rounding * reach, 0.0),
            np.abs(d) + rounding * reach,
        )

    @cached_property
    def common_basis(self) -> tuple[Array, Array, Array, Array]:
        """``(f, s, basis, d)``: ``H_f`` and ``H_s`` diagonal together, ``[..., n]`` and a matrix.

        ``basis' H_f basis = diag f``, ``basis' H_s basis = diag s``, and ``basis d`` is
        theta_f - theta_s up to directions in which both losses are flat, which are left out.
        """
        scales, sizes, vectors = self._scaled_sum
        live = sizes > _FLAT * sizes[..., -1:]
        root = np.sqrt(np.where(live, sizes, 1.0))
        white = np.where(live[..., None, :], vectors / root[..., None, :], 0.0)
        task, turn = np.linalg.eigh(np.swapaxes(white, -1, -2) @ self.H_f @ white)
        basis = white @ turn
        safety = (basis * (self.H_s @ basis)).sum(axis=-2)
        # White directions make H_f / |H_f| + H_s / |H_s| the identity: both shares are at most 1.
        task = np.where(task > _FLAT * scales[0][..., 0], task, 0.0)
        safety = np.where(safety > _FLAT * scales[1][..., 0], safety, 0.0)
        back = np.where(live[..., None, :], vectors * root[..., None, :], 0.0) @ turn
        return task, safety, basis, (self.displacement[..., None, :] @ back)[..., 0, :]

    @cached_property
    def capability_gap_at_aligned(self) -> Array:
        """``G_f(theta_s) = 1/2 d' H_f d``, nats."""
        return 0.5 * quadratic_form(self.H_f, self.displacement)


def _clean_spectrum(eigenvalues: np.ndarray) -> Array:
    noise = _FLAT * np.abs(eigenvalues).max(axis=-1, keepdims=True)
    return np.where(eigenvalues <= noise, 0.0, eigenvalues)


def quadratic_form(matrix: Array, vector: Array) -> Array:
    """``v' H v``, ``[..., n, n], [..., n] -> [...]``, never below 0 for PSD ``H``."""
    pulled = (matrix @ vector[..., None])[..., 0]
    return np.maximum((vector * pulled).sum(axis=-1), 0.0)


Problem = TabularProblem | QuadraticProblem | Constants
