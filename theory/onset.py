"""T19: how fast safety goes at the onset of a fine-tune: exactly, to fourth order, and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from theory.bound import Bound, Direction, Quantity, bound
from theory.divergence import Array
from theory.landscape import down, product, up
from theory.power_law import PowerLaw, fit_power_law
from theory.problem import Constant, Known, QuadraticProblem, quadratic_form

_EPS = np.finfo(float).eps
# What the closed forms treat as flat beside the largest curvature.
_FLAT = 1e-13
_QUADRATIC = "f_f and f_s are quadratic on the path, with positive semi-definite curvatures"
_STATIONARY = "theta_s minimises f_s"
_UNSTABLE = "a rate above 2 / |H_f|: gradient descent is not stable"


@dataclass(frozen=True, eq=False)
class Flow:
    """Gradient flow on the task loss from theta_s, for ``time [...] >= 0``.

    Raises ValueError for a time that is negative or not finite.
    """

    time: float | Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "time", _non_negative("time", self.time))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return np.shape(self.time)


@dataclass(frozen=True, eq=False)
class Descent:
    """Plain gradient descent from theta_s, one step of each of ``rates [..., T] >= 0``.

    No momentum. Runs of different lengths share a batch by trailing rates of 0. Raises ValueError
    for a rate that is negative or not finite, or for no rate at all.
    """

    rates: Array

    def __post_init__(self) -> None:
        rates = _non_negative("rates", self.rates)
        if rates.ndim == 0 or rates.shape[-1] == 0:
            raise ValueError("rates needs one rate for each step.")
        object.__setattr__(self, "rates", rates)

    @classmethod
    def constant(cls, rate: float, steps: int) -> Descent:
        """``steps >= 1`` steps of one ``rate``."""
        if steps < 1 or steps != int(steps):
            raise ValueError(f"steps is {steps}: it must be a whole number above 0.")
        return cls(np.full(int(steps), float(rate)))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.rates.shape[:-1]


Path = Flow | Descent


def _path(path: Path | ArrayLike) -> Path:
    return path if isinstance(path, Flow | Descent) else Flow(np.asarray(path, dtype=np.float64))


def _non_negative(name: str, values: ArrayLike) -> Array:
    array = np.array(values, dtype=np.float64)
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{name} must be finite and at least 0.")
    array.setflags(write=False)
    return array


def moments(path: Path) -> tuple[Array, Array, Array]:
    """``e_1, e_2, e_3 [...]`` of ``theta - theta_s = -e_1 g + e_2 H_f g - e_3 H_f^2 g + ...``.

    ``t^k / k!`` for the flow; for gradient descent the elementary symmetric polynomials of the
    rates, ``eta^k T! / (k! (T - k)!)`` when they are equal.
    """
    if isinstance(path, Flow):
        time = np.asarray(path.time)
        with np.errstate(over="ignore"):
            return time, time**2 / 2.0, time**3 / 6.0
    first = second = third = np.zeros(path.batch_shape)
    for rate in np.moveaxis(path.rates, -1, 0):
        with np.errstate(over="ignore"):
            first, second, third = first + rate, second + rate * first, third + rate * second
    return first, second, third


def response(path: Path, curvature: Array) -> Array:
    """``phi(h)`` with ``theta - theta_s = -phi(H_f) g``, for the ``curvature h [..., n] >= 0``.

    ``(1 - e^(-t h)) / h`` for the flow, ``(1 - prod (1 - eta_k h)) / h`` for gradient descent;
    relative accuracy also for tiny ``t h``. Diverges, as descent does, where a rate exceeds 2 / h.
    """
    curvature = np.asarray(curvature, dtype=np.float64)
    if isinstance(path, Flow):
        time = np.asarray(path.time)[..., None]
        x = time * curvature
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(x > 0, -np.expm1(-x) / x, 1.0)
        return time * share
    shape = np.broadcast_shapes((*path.batch_shape, 1), curvature.shape)
    total, kept = np.zeros(shape), np.ones(shape)
    # The sum has only positive terms while rates stay below 1 / h: nothing cancels.
    for rate in np.moveaxis(path.rates, -1, 0):
        total = total + rate[..., None] * kept
        kept = kept * (1.0 - rate[..., None] * curvature)
    return total


@dataclass(frozen=True, eq=False)
class OnsetScalars:
    """The numbers of T19, ``[...]``; ``g = grad f_f(theta_s)``, the rest follows from these.

    ``pull = g'H_s g``, ``turn = g'H_s H_f g``, ``bend = g'H_f H_s H_f g`` (nats times rates);
    ``gradient = |g|``, ``second = |H_f g|``, ``third = |H_f^2 g|``; ``smoothness_safety = |H_s|``,
    ``smoothness_task = |H_f|``; ``distance`` from theta_s to the minimisers of f_f (inf: unknown).
    ``slope = grad f_s' g`` and ``slope_turn = grad f_s' H_f g`` are 0 at a minimiser of f_s;
    a measured theta_s has others, which enter the expansion and make the bounds inapplicable.
    ``known`` is ESTIMATED for a real model, whose losses are not quadratic. Raises ValueError for
    a value that is NaN, or negative where it is a norm or a square.
    """

    pull: float | Array
    turn: float | Array
    bend: float | Array
    gradient: float | Array
    second: float | Array
    third: float | Array
    smoothness_safety: float | Array
    smoothness_task: float | Array
    distance: float | Array = np.inf
    slope: float | Array = 0.0
    slope_turn: float | Array = 0.0
    known: Known = Known.ESTIMATED

    def __post_init__(self) -> None:
        if self.known is Known.HIGH_PROBABILITY:
            raise ValueError("known is given or estimated.")
        for name in self.__dataclass_fields__:
            if name == "known":
                continue
            array = np.asarray(getattr(self, name), dtype=np.float64)
            if np.isnan(array).any():
                raise ValueError(f"{name} is NaN.")
            if name not in ("turn", "slope", "slope_turn") and (array < 0).any():
                raise ValueError(f"{name} is negative: it is a norm or a square.")
            object.__setattr__(self, name, array)


@dataclass(frozen=True, eq=False)
class Expansion:
    """The first orders of the safety loss change along a path, ``[...]`` nats.

    Flow: ``linear = -t grad f_s'g``, ``quadratic = t^2/2 (g'H_s g + grad f_s'H_f g)``,
    ``cubic = -t^3/2 g'H_s H_f g``, ``quartic = t^4/8 g'H_f H_s H_f g``. With ``grad f_s = 0`` the
    ``total`` misses O(t^4), and only O(t^5) if ``H_s g = 0``.
    """

    linear: Array
    quadratic: Array
    cubic: Array
    quartic: Array

    @property
    def total(self) -> Array:
        """All terms together, ``[...]`` nats."""
        return self.linear + self.quadratic + self.cubic + self.quartic


@dataclass(frozen=True, eq=False)
class Onset:
    """The exact safety gap on a quadratic problem, ``[...]`` nats, and its expansion."""

    safety_gap: Array
    expansion: Expansion


def onset(problem: QuadraticProblem, path: Path | ArrayLike) -> Onset:
    """The safety gap after training on the task loss alone, exactly; a number is a flow's time.

    ``problem``'s batch and the path's broadcast. Directions of curvature below 1e-13 of the
    largest count as flat. Source: T19 of docs/theorems.md.
    """
    path = _path(path)
    curvature, basis = np.linalg.eigh(problem.H_f)
    curvature = np.where(curvature > _FLAT * curvature[..., -1:], curvature, 0.0)
    along = np.einsum("...ji,...j->...i", basis, problem.displacement)
    moved = np.einsum("...ij,...j->...i", basis, response(path, curvature) * curvature * along)
    # By the root of H_s, so that a path that all but avoids H_s keeps its accuracy.
    stiffness, axes = np.linalg.eigh(problem.H_s)
    stiffness = np.where(stiffness > _FLAT * stiffness[..., -1:], stiffness, 0.0)
    inside = np.einsum("...ji,...j->...i", axes, moved)
    return Onset(
        safety_gap=0.5 * (stiffness * inside**2).sum(axis=-1),
        expansion=expansion(onset_scalars(problem), path),
    )


def onset_scalars(problem: QuadraticProblem) -> OnsetScalars:
    """The scalars of a quadratic problem; smoothness and distance err upwards."""
    g, turned, twice, distance = _vectors(problem)
    rounding = 1.0 + 8.0 * g.shape[-1] * _EPS
    return OnsetScalars(
        pull=quadratic_form(problem.H_s, g),
        turn=np.einsum("...i,...ij,...j->...", g, problem.H_s, turned),
        bend=quadratic_form(problem.H_s, turned),
        gradient=np.linalg.norm(g, axis=-1),
        second=np.linalg.norm(turned, axis=-1),
        third=np.linalg.norm(twice, axis=-1),
        smoothness_safety=problem.spectrum_s[..., -1] * rounding,
        smoothness_task=problem.spectrum_f[..., -1] * rounding,
        distance=distance,
        known=Known.GIVEN,
    )


def _vectors(problem: QuadraticProblem) -> tuple[Array, Array, Array, Array]:
    """``g``, ``H_f g``, ``H_f^2 g`` ``[..., n]`` and a bound on the distance to argmin f_f."""

    def times(v: Array) -> Array:
        return np.einsum("...ij,...j->...i", problem.H_f, v)

    g = -times(problem.displacement)
    turned = times(g)
    return g, turned, times(turned), np.linalg.norm(problem.displacement, axis=-1)


def expansion(scalars: OnsetScalars, path: Path | ArrayLike) -> Expansion:
    """The safety loss change along a path from the scalars alone: an estimate, not a bound.

    For gradient descent ``t``, ``t^2/2`` become ``sum eta_k``, ``sum_(j<k) eta_j eta_k``: with T
    equal rates ``t^2`` is ``eta^2 T^2``, ``t^3/2`` is ``eta^3 T^2 (T-1)/2`` and ``t^4/8`` is
    ``eta^4 T^2 (T-1)^2/8``. Source: T19 of docs/theorems.md.
    """
    first, second, _ = moments(_path(path))
    with np.errstate(over="ignore"):
        return Expansion(
            linear=-product(first, scalars.slope),
            quadratic=product(0.5, first**2, scalars.pull) + product(second, scalars.slope_turn),
            cubic=-product(first, second, scalars.turn),
            quartic=product(0.5, second**2, scalars.bend),
        )


@dataclass(frozen=True, eq=False)
class _Norms:
    """Of what the bounds are made, ``[...]``: |.|_s is the norm of H_s, each from both sides."""

    first: tuple[Array, Array]  # |e_1 g|_s from below and above
    second: tuple[Array, Array]  # |e_1 g - e_2 H_f g|_s from below and above
    beyond_first: Array  # |H_s|^(1/2) e_2 |H_f g|
    beyond_second: Array  # |H_s|^(1/2) e_3 |H_f^2 g|
    whole: Array  # |H_s|^(1/2) times the longest possible path


def onset_bounds(source: QuadraticProblem | OnsetScalars, path: Path | ArrayLike) -> list[Bound]:
    """T19 as bounds on the safety gap after training on the task loss alone, nats.

    With ``|v|_s^2 = v'H_s v``: ``sqrt(2 G_s)`` differs from ``|e_1 g|_s`` by at most
    ``|H_s|^(1/2) e_2 |H_f g|`` (form "first order") and from ``|e_1 g - e_2 H_f g|_s`` by at most
    ``|H_s|^(1/2) e_3 |H_f^2 g|`` ("second order"; tight also where ``H_s g = 0``), each above and
    below; "any time" is ``|H_s|/2 min(e_1 |g|, R)^2``. ``e_k`` as in ``moments``. A quadratic
    problem gives CERTIFIED bounds, scalars those of their ``known``. Gradient descent needs rates
    of at most ``2 / |H_f|``. Source: T19 of docs/theorems.md.
    """
    path = _path(path)
    scalars = source if isinstance(source, OnsetScalars) else onset_scalars(source)
    with np.errstate(over="ignore", invalid="ignore"):  # of long times; bound() says VACUOUS
        if isinstance(source, OnsetScalars):
            norms = _norms_of_scalars(source, path)
        else:
            norms = _norms_of_problem(source, scalars, path)
    steepness = _largest_rate(path) * up(scalars.smoothness_task)
    side = partial(
        bound,
        "T19",
        Quantity.SAFETY_GAP,
        assumptions=(_STATIONARY, _QUADRATIC),
        constants=(Constant(1.0, scalars.known),),
        applies=(steepness <= 2.0) & (scalars.slope == 0) & (scalars.slope_turn == 0),
        failed=f"{_UNSTABLE}, or the safety loss has a slope at theta_s",
    )
    bounds: list[Bound] = []
    for form, leading, rest in (
        ("first order", norms.first, norms.beyond_first),
        ("second order", norms.second, norms.beyond_second),
    ):
        for direction, norm in ((Direction.UPPER, leading[1]), (Direction.LOWER, leading[0])):
            bounds.append(side(direction, _terms(norm, rest, direction), form=form))
    # Steps beyond 1 / h overshoot the minimiser, by at most as much as they had to go.
    overshoot = np.where(steepness <= 1.0, 1.0, 2.0)
    far = up(product(np.sqrt(scalars.smoothness_safety), overshoot, scalars.distance))
    whole = np.minimum(norms.whole, far)
    return [*bounds, side(Direction.UPPER, {"whole path": up(0.5 * whole**2)}, form="any time")]


def _terms(norm: Array, rest: Array, direction: Direction) -> dict[str, Array]:
    """``1/2 (norm +- rest)_+^2`` as the expansion and what the remainder adds or takes."""
    with np.errstate(over="ignore", invalid="ignore"):
        expanded = 0.5 * norm**2
        if direction is Direction.UPPER:
            return {"expansion": up(expanded), "remainder": up(norm * rest + 0.5 * rest**2)}
        expanded = down(expanded)
        taken = up(np.where(rest < norm, norm * rest - 0.5 * rest**2, expanded))
        return {"expansion": expanded, "remainder": -np.minimum(taken, expanded)}


def _largest_rate(path: Path) -> Array:
    return np.zeros(()) if isinstance(path, Flow) else path.rates.max(axis=-1)


def _norms_of_scalars(scalars: OnsetScalars, path: Path) -> _Norms:
    first, second, third = moments(path)
    root = np.sqrt(scalars.smoothness_safety)
    straight = first**2 * scalars.pull
    parts = (straight, -2.0 * first * second * scalars.turn, second**2 * scalars.bend)
    bent, rounding = sum(parts), 8.0 * _EPS * sum(np.abs(part) for part in parts)
    return _Norms(
        first=(down(np.sqrt(straight)), up(np.sqrt(straight))),
        second=(
            down(np.sqrt(np.maximum(bent - rounding, 0.0))),
            up(np.sqrt(np.maximum(bent + rounding, 0.0))),
        ),
        beyond_first=up(product(root, second, scalars.second)),
        beyond_second=up(product(root, third, scalars.third)),
        whole=up(product(root, first, scalars.gradient)),
    )


def _norms_of_problem(problem: QuadraticProblem, scalars: OnsetScalars, path: Path) -> _Norms:
    """From the vectors themselves, with what rounding and flat directions can change."""
    first, second, third = moments(path)
    n = problem.theta_s.shape[-1]
    g, turned, _, distance = _vectors(problem)
    lowest = np.linalg.eigvalsh(problem.H_s)[..., 0]
    size_f = np.linalg.norm(problem.H_f, axis=(-2, -1))
    size_s = np.linalg.norm(problem.H_s, axis=(-2, -1))
    noise = _FLAT + 16.0 * n * _EPS
    # Errors of the vectors, and of the form v'H_s v relative to |v|^2.
    error_g = noise * size_f * distance
    error_form = noise * size_s + np.maximum(-lowest, 0.0)
    root = np.sqrt(scalars.smoothness_safety) * (1.0 + noise)

    def sides(v: Array, off: Array) -> tuple[Array, Array]:
        form, squared = quadratic_form(problem.H_s, v), (v**2).sum(axis=-1)
        low = np.sqrt(np.maximum(form - error_form * squared, 0.0)) - root * off
        high = np.sqrt(form + error_form * squared) + root * off
        return down(np.maximum(low, 0.0)), up(high)

    bent = first[..., None] * g - second[..., None] * turned
    return _Norms(
        first=sides(first[..., None] * g, first * error_g),
        second=sides(bent, (first + 2.0 * second * size_f) * error_g),
        beyond_first=up(root * second * (scalars.second + 2.0 * size_f * error_g)),
        beyond_second=up(root * third * (scalars.third + 3.0 * size_f**2 * error_g)),
        whole=up(root * first * (scalars.gradient + error_g)),
    )


def onset_exponent(
    times: ArrayLike, gaps: ArrayLike, *, errors: ArrayLike | None = None, level: float = 0.9
) -> PowerLaw:
    """The exponent p of ``G_s ~ c t^p`` over checkpoints ``[n]``, by log-log least squares.

    ``times`` are training times or step counts, ``gaps`` rises of the safety loss (nats),
    ``errors`` their standard errors. T19 expects 2, 4 where the task gradient avoids the safety
    curvature, and 1 where theta_s is not a minimiser of f_s; later orders bend the line, so early
    checkpoints say most. Gaps at or below 0 are left out (``left_out`` counts them), which draws
    the exponent down where they are early ones lost in noise. Raises ValueError as
    ``fit_power_law`` does.
    """
    return fit_power_law(times, gaps, errors=errors, level=level)
