"""T16: the linearised forecast of a fine-tune, from a kernel of gradients alone. An estimate.

Around theta_s each loss is taken as ``m(d) = g'd + 1/2 d'H d`` with ``g = J'a`` and
``H = J'diag(w) J`` over rows of one matrix ``J [n, dimension]``. Only ``K = J J' [n, n]`` enters:
every minimiser lies in the span of the rows. No array has the model's dimension.

Rows of a language model. Curvature: for each example draw a label at every position from the
model's own prediction and take the gradient of the summed loss of these labels: with weight
``1 / tokens`` one such row an example is an unbiased factor of the Gauss-Newton matrix (the drawn
labels' gradients are independent with mean 0). Gradient: a row with the true labels, weight 0 and
slope ``1 / tokens``; or the true-label rows serve as both (the empirical Fisher matrix). Few rows
see only few directions: ``ridge`` stands for the curvature that they miss.

Preconditioned optimisers: scale the columns of J by ``P^(1/2)`` (for Adam ``P_ii = 1 / (sqrt(v_i)
+ eps)``) before forming K. Steps, ``ridge``, ``radius`` and ``displacement`` are then measured as
``|P^(-1/2) d|``, changes of the losses stay what they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from theory.bound import Status
from theory.divergence import Array
from theory.onset import Path, response

_EPS = np.finfo(float).eps
# A pull this small beside the whole gradient, along a flat direction, is rounding.
_PULL_NOISE = 1e-9
_NEWTON_STEPS = 200


@dataclass(frozen=True, eq=False)
class Population:
    """One loss to second order, ``m = slope'u + 1/2 sum weight u^2`` with ``u = J d`` on ``rows``.

    ``rows [m]`` index the kernel, ``weight [m] >= 0`` (nats) makes the curvature
    ``J'diag(weight) J`` and ``slope [m]`` (nats) the gradient ``J'slope``. Raises ValueError for
    unequal lengths, values that are not finite, or a negative weight or index.
    """

    rows: np.ndarray
    weight: Array
    slope: Array

    def __post_init__(self) -> None:
        rows = np.asarray(self.rows)
        if rows.size == 0:
            rows = rows.astype(np.int64)
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer) or (rows < 0).any():
            raise ValueError("rows needs row numbers [m] of the kernel, 0 or more.")
        object.__setattr__(self, "rows", rows)
        for name in ("weight", "slope"):
            array = np.asarray(getattr(self, name), dtype=np.float64)
            if array.shape != rows.shape or not np.isfinite(array).all():
                raise ValueError(f"{name} needs one finite number for each of its rows.")
            object.__setattr__(self, name, array)
        if (self.weight < 0).any():
            raise ValueError("a weight is negative: the curvature would not be semi-definite.")

    def change(self, row_change: ArrayLike) -> Array:
        """The change of this loss for ``u = J d`` on all rows, ``[..., n] -> [...]``, nats."""
        u = np.asarray(row_change, dtype=np.float64)[..., self.rows]
        return (self.slope * u).sum(axis=-1) + 0.5 * (self.weight * u**2).sum(axis=-1)


@dataclass(frozen=True, eq=False, init=False)
class Kernel:
    """``gram = J J' [n, n]`` of the rows of task, safety and proxy, and the three losses on them.

    ``proxy`` defaults to ``safety`` (a perfect proxy). Populations may share rows. Raises
    ValueError when ``gram`` is not finite, symmetric and positive semi-definite, or a population
    names a row that it lacks.
    """

    gram: Array
    task: Population
    safety: Population
    proxy: Population

    def __init__(
        self,
        gram: ArrayLike,
        task: Population,
        safety: Population,
        proxy: Population | None = None,
    ) -> None:
        gram = np.asarray(gram, dtype=np.float64)
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.size == 0:
            raise ValueError(f"gram has shape {gram.shape}: it needs [n, n] with n >= 1.")
        if not np.isfinite(gram).all():
            raise ValueError("gram holds a NaN or an infinity.")
        if np.abs(gram - gram.T).max() > 1e-6 * np.abs(gram).max():
            raise ValueError("gram is not symmetric.")
        object.__setattr__(self, "gram", 0.5 * (gram + gram.T))
        for name, population in (("task", task), ("safety", safety), ("proxy", proxy or safety)):
            object.__setattr__(self, name, population)
            rows = population.rows
            if rows.size and rows.max() >= gram.shape[0]:
                raise ValueError(f"{name} names row {rows.max()} of a kernel of {gram.shape[0]}.")
        size = self._spectrum[0]
        if size[0] < -1e-6 * max(size[-1], 0.0):
            raise ValueError(
                f"gram is not positive semi-definite: its least eigenvalue is {size[0]:.3g}."
            )

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        size, basis = np.linalg.eigh(self.gram)
        return size, basis

    @cached_property
    def factor(self) -> Array:
        """``B [n, r]`` with ``B B' = gram``: the rows in an orthonormal basis of their span."""
        size, basis = self._spectrum
        live = size > size.size * _EPS * size[-1]
        return basis[:, live] * np.sqrt(size[live])

    def quadratic(self, population: Population) -> tuple[Array, Array]:
        """``(H [r, r], g [r])`` of a population in the basis of ``factor``."""
        factor = self.factor[population.rows]
        return (factor.T * population.weight) @ factor, population.slope @ factor


@dataclass(frozen=True, eq=False)
class Forecast:
    """Forecast changes of the losses (nats) and the step's length, ``[...]``; status ESTIMATED.

    ``row_change [..., n]`` is ``J d`` on every row of the kernel: any further population of its
    rows, held-out ones say, is ``population.change(forecast.row_change)``.
    """

    safety_change: Array
    proxy_change: Array
    task_change: Array
    displacement: Array
    lam: Array
    row_change: Array
    status: Status = field(default=Status.ESTIMATED, init=False)


def forecast(
    kernel: Kernel,
    *,
    lam: ArrayLike = 0.0,
    radius: ArrayLike = np.inf,
    ridge: float = 0.0,
    path: Path | None = None,
) -> Forecast:
    """T16: minimise ``m_f + lam m_proxy + ridge/2 |d|^2`` over ``|d| <= radius``, or descend it.

    Case I is ``lam`` (0 to inf, the limit), Case II ``radius`` (0 to inf), both the hybrid; arrays
    broadcast. ``path`` stops early instead: gradient flow or descent on that objective from
    theta_s, its batch broadcast with ``lam``; it takes no radius and no infinite ``lam``. Of
    several minimisers the shortest step is taken. The changes leave the ridge out. Raises
    ValueError for a negative or NaN option, or where the objective falls for ever: the gradient
    has a part without curvature, and neither ridge, radius nor path holds it.
    """
    lam, radius = (np.asarray(values, dtype=np.float64) for values in (lam, radius))
    for name, values in (("lam", lam), ("radius", radius)):
        if not (values >= 0).all():
            raise ValueError(f"{name} must be at least 0.")
    if not 0.0 <= ridge < np.inf:
        raise ValueError(f"ridge is {ridge}: it must be finite and at least 0.")
    if path is not None and (np.isfinite(radius).any() or np.isinf(lam).any()):
        raise ValueError("a path goes with a finite lam and without a radius.")
    batch = () if path is None else path.batch_shape
    shape = np.broadcast_shapes(lam.shape, radius.shape, batch)
    lam, radius = np.broadcast_to(lam, shape), np.broadcast_to(radius, shape)
    task, proxy = kernel.quadratic(kernel.task), kernel.quadratic(kernel.proxy)
    step = np.zeros((*shape, kernel.factor.shape[1]))
    for value in np.unique(lam):
        at = lam == value
        if np.isinf(value):
            step[at] = [_infinite_penalty(task, proxy, ridge, r) for r in radius[at]]
            continue
        matrix = task[0] + value * proxy[0] + ridge * np.eye(step.shape[-1])
        gradient = task[1] + value * proxy[1]
        if path is None:
            step[at] = _trust_region(matrix, gradient, radius[at])
        else:
            step[at] = np.broadcast_to(_descended(matrix, gradient, path), step.shape)[at]
    row_change = step @ kernel.factor.T
    return Forecast(
        safety_change=kernel.safety.change(row_change),
        proxy_change=kernel.proxy.change(row_change),
        task_change=kernel.task.change(row_change),
        displacement=np.linalg.norm(step, axis=-1),
        lam=lam,
        row_change=row_change,
    )


def _spectral(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues ``[r]``, rounding noise set to 0, and eigenvectors of a PSD matrix."""
    if matrix.size == 0:
        return np.zeros(0), matrix
    curvature, basis = np.linalg.eigh(matrix)
    return np.where(curvature > curvature.size * _EPS * curvature[-1], curvature, 0.0), basis


def _descended(matrix: Array, gradient: Array, path: Path) -> Array:
    """``-phi(H) g [..., r]``, which is ``-H^-1 (1 - (1 - eta H)^T) g`` for equal rates."""
    curvature, basis = _spectral(matrix)
    return -(response(path, curvature) * (gradient @ basis)) @ basis.T


def _trust_region(matrix: Array, gradient: Array, radius: Array) -> Array:
    """The shortest minimiser of ``g'd + 1/2 d'Hd`` in each ball of ``radius [k]``, ``[k, r]``."""
    curvature, basis = _spectral(matrix)
    pull = -(gradient @ basis)
    size = float(np.linalg.norm(pull))
    noise = (curvature == 0) & (np.abs(pull) <= _PULL_NOISE * size)
    pull = np.where(noise, 0.0, pull)
    free = np.linalg.norm(pull[curvature == 0])
    if free > 0 and np.isinf(radius).any():
        raise ValueError(
            "the quadratic model falls for ever: the gradient has a part in directions without "
            "curvature. Give a ridge, a radius, or a path that stops early."
        )
    step = np.zeros((radius.size, pull.size))
    moving = radius > 0
    if size == 0 or not moving.any():
        return step
    step[moving] = _damped(curvature, pull, _multiplier(curvature, pull, radius[moving]))
    length = np.linalg.norm(step, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        step *= np.where(length > radius, radius / length, 1.0)[:, None]
    return step @ basis.T


def _damped(curvature: Array, pull: Array, nu: Array) -> Array:
    """``pull / (curvature + nu)``, ``[k, r]``; 0 where nothing pulls."""
    total = curvature + nu[:, None]
    return np.divide(pull, total, out=np.zeros_like(total), where=(pull != 0) & (total > 0))


def _multiplier(curvature: Array, pull: Array, radius: Array) -> Array:
    """The least ``nu [k] >= 0`` whose step fits into the radius: the secular equation.

    Newton on ``1/|d(nu)| - 1/radius``, which is concave and increasing: from the left it rises to
    the root without passing it.
    """
    size, free = np.linalg.norm(pull), np.linalg.norm(pull[curvature == 0])
    nu = np.maximum(np.maximum(size / radius - curvature[-1], free / radius), 0.0)
    for _ in range(_NEWTON_STEPS):
        step = _damped(curvature, pull, nu)
        length = np.linalg.norm(step, axis=-1)
        total = curvature + nu[:, None]
        slope = np.divide(step**2, total, out=np.zeros_like(step), where=total > 0).sum(axis=-1)
        long = length > radius * (1.0 + 4.0 * _EPS)
        with np.errstate(divide="ignore", invalid="ignore"):
            ahead = nu + (length / radius - 1.0) * length**2 / slope
        ahead = np.where(long, ahead, nu)
        if (ahead <= nu).all():
            break
        nu = np.maximum(ahead, nu)
    return nu


def _infinite_penalty(
    task: tuple[Array, Array], proxy: tuple[Array, Array], ridge: float, radius: float
) -> Array:
    """The limit ``lam -> inf``: of all minimisers of the proxy loss the best for the task."""
    (matrix, gradient), (stiffness, slope) = task, proxy
    first = _trust_region(stiffness, slope, np.array([radius]))[0]
    length = np.linalg.norm(first)
    if length >= radius * (1.0 - 1e-12):
        return first
    curvature, basis = _spectral(stiffness)
    null = basis[:, curvature == 0]
    left = np.sqrt(radius**2 - length**2) if np.isfinite(radius) else np.inf
    inner = null.T @ matrix @ null + ridge * np.eye(null.shape[1])
    pulled = null.T @ (gradient + matrix @ first)
    if null.shape[1] == 0 or np.linalg.norm(pulled) <= _PULL_NOISE * np.linalg.norm(gradient):
        return first
    return first + null @ _trust_region(inner, pulled, np.array([left]))[0]
