"""Quadratic losses in two dimensions: every form of T1, T2, T6 to T10 and T12 that they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sims.adversary.ascent import Parameters, World
from sims.adversary.form import FROM_START, Attempt, Form
from sims.families.quadratic import Quadratic, run_at
from sims.family import Kind
from theory.bound import Direction, Quantity
from theory.divergence import Array
from theory.problem import QuadraticProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

UPPER, LOWER = Direction.UPPER, Direction.LOWER
SAFETY, PROXY, TASK = Quantity.SAFETY_GAP, Quantity.PROXY_SAFETY_GAP, Quantity.CAPABILITY_GAP
TOTAL, ROOTS = Quantity.WEIGHTED_SUM, Quantity.SQRT_SUM
# Of a minimiser in the ball to the rounding of its radius.
_INSIDE = 1.0 + 2.0**-50

_HALF = (
    "both losses are convex along the segment to theta_s: <grad F, theta_s - theta> = 0 at the "
    "minimiser gives f_f(theta_s) - f_f(theta) >= 2 lambda G_s"
)
_QUARTER = "in the common basis each share is f lam s / (f + lam s)^2 <= 1/4"
_DECAY = "lambda G_s <= |grad f_f| dist / 2 <= (L_f / 2) sqrt(2 G_s / mu)"


class Plane(NamedTuple):
    """A vector, or a symmetric matrix ``[[a, b], [b, c]]``, by coordinates: quick to compile."""

    a: jax.Array
    c: jax.Array
    b: jax.Array | float = 0.0


def _times(m: Plane, v: Plane) -> Plane:
    return Plane(m.a * v.a + m.b * v.c, m.b * v.a + m.c * v.c)


def _dot(v: Plane, w: Plane) -> jax.Array:
    return v.a * w.a + v.c * w.c


def _plus(m: Plane, n: Plane, weight: jax.Array | float = 1.0) -> Plane:
    return Plane(m.a + weight * n.a, m.c + weight * n.c, m.b + weight * n.b)


def _form(m: Plane, v: Plane) -> jax.Array:
    return 0.5 * _dot(v, _times(m, v))


def _solve(m: Plane, v: Plane) -> Plane:
    determinant = m.a * m.c - m.b * m.b
    return Plane((m.c * v.a - m.b * v.c) / determinant, (m.a * v.c - m.b * v.a) / determinant)


class Spectrum(NamedTuple):
    """The least and the largest curvature."""

    least: jax.Array
    most: jax.Array


class Valleys:
    """One instance: two Hessians by their spectra, and the minimisers of every strategy."""

    def __init__(self, p: Mapping[str, jax.Array]) -> None:
        self.s, self.H_s = self._hessian(p["turn_s"], jnp.exp(p["log_s"]))
        self.f, self.H_f = self._hessian(p["turn_f"], jnp.exp(p["log_f"]))
        self.d, self.any = Plane(*p["d"]), Plane(*p["any"])
        self.lam = jnp.exp(p["log_lam"])
        # At most two thirds of the way: who arrives meets any bound that ends at 0.
        self.nu = self.f.most * (0.5 + jnp.exp(p["log_nu"]))
        self.pull = _times(self.H_f, self.d)

    def _hessian(self, turn: jax.Array, spectrum: jax.Array) -> tuple[Spectrum, Plane]:
        (first, second), c, s = spectrum, jnp.cos(turn), jnp.sin(turn)
        matrix = Plane(
            c * c * first + s * s * second, s * s * first + c * c * second, c * s * (first - second)
        )
        return Spectrum(jnp.minimum(first, second), jnp.maximum(first, second)), matrix

    @cached_property
    def start(self) -> jax.Array:
        """``G_f(theta_s)``, which is ``G_f(theta_hat_s)`` too: theta_s is isolated."""
        return _form(self.H_f, self.d)

    @cached_property
    def at_task(self) -> jax.Array:
        """``G_s(theta_f)``."""
        return _form(self.H_s, self.d)

    @cached_property
    def penalised(self) -> Plane:
        return _solve(_plus(self.H_f, self.H_s, self.lam), self.pull)

    @cached_property
    def bounded(self) -> Plane:
        """The best step of the ball whose multiplier is ``nu``."""
        return _solve(_plus(self.H_f, Plane._make((1.0, 1.0, 0.0)), self.nu), self.pull)

    @cached_property
    def radius(self) -> jax.Array:
        return self._length(self.bounded)

    @cached_property
    def reach(self) -> jax.Array:
        return self._length(self.penalised)

    def _length(self, step: Plane) -> jax.Array:
        return jnp.sqrt(jnp.maximum(_dot(step, step), 1e-60))

    @cached_property
    def safety(self) -> jax.Array:
        return _form(self.H_s, self.penalised)

    @cached_property
    def task(self) -> jax.Array:
        return _form(self.H_f, _plus(self.d, self.penalised, -1.0))

    @cached_property
    def ball_safety(self) -> jax.Array:
        return _form(self.H_s, self.bounded)

    @cached_property
    def drop(self) -> jax.Array:
        """``G_f(theta_s) - G_f`` of the best point of the ball, without cancellation."""
        return _dot(self.pull, self.bounded) - _form(self.H_f, self.bounded)

    @cached_property
    def value_gap(self) -> jax.Array:
        step = self.penalised
        return (_dot(self.pull, step) - _form(self.H_f, step)) / self.lam

    @cached_property
    def slope(self) -> jax.Array:
        """``|grad f_f(theta_s)|``."""
        return self._length(self.pull)

    @cached_property
    def distance(self) -> jax.Array:
        return self._length(self.d)

    @cached_property
    def total(self) -> jax.Array:
        return self.task + self.lam * self.safety

    def fallen(self, curvature: jax.Array, beyond: float) -> jax.Array:
        """``G_0 - (sqrt G_0 - r sqrt(curvature / 2))^2``; further on that share of ``G_0``."""
        root, fall = jnp.sqrt(self.start), self.radius * jnp.sqrt(0.5 * curvature)
        part = self.start - (root - fall) ** 2
        return jnp.where(fall < 0.3 * root, part, beyond * self.start)


def _start(q: Valleys) -> jax.Array:
    return 16.0 * (q.start + q.f.most * q.distance**2)


def _step(q: Valleys) -> jax.Array:
    # A small step is known to the rounding of d, not to its own.
    return 4.0 * q.s.most * q.distance**2


def _by_lambda(q: Valleys) -> jax.Array:
    return _start(q) / q.lam + _step(q)


def _convex_upper(q: Valleys) -> tuple[jax.Array, jax.Array]:
    t = q.radius / q.distance
    bent = 0.5 * q.f.least * t * (1.0 - t) * q.distance**2
    return t * q.start + bent, q.drop


def _smooth_upper(q: Valleys) -> tuple[jax.Array, jax.Array]:
    s = jnp.minimum(q.radius, q.slope / q.f.most)
    return q.slope * s - 0.5 * q.f.most * s**2, q.drop


def _convex_lower(q: Valleys) -> tuple[jax.Array, jax.Array]:
    s = jnp.minimum(q.radius, q.slope / q.f.least)
    return q.drop, q.slope * s - 0.5 * q.f.least * s**2


def _local_lower(q: Valleys) -> tuple[jax.Array, jax.Array]:
    return q.drop, q.slope * q.radius + 0.5 * q.f.most * q.radius**2


def _front(q: Valleys) -> tuple[jax.Array, jax.Array]:
    # By the multiplier lam: the ascent finds the best one.
    return q.drop, q.start - (q.total - q.lam * q.ball_safety)


def _strides(q: Valleys) -> jax.Array:
    gained = jnp.sqrt(q.start) - jnp.sqrt(q.task)
    return jnp.maximum(gained, 0.0) * jnp.sqrt(2.0 / q.f.most)


def _half_gained(q: Valleys) -> jax.Array:
    return 0.5 * jnp.minimum(q.slope * q.reach, q.start) / q.lam


def _any_total(q: Valleys) -> jax.Array:
    return _form(q.H_f, _plus(q.d, q.any, -1.0)) + q.lam * _form(q.H_s, q.any)


def _any_roots(q: Valleys) -> jax.Array:
    return jnp.sqrt(_form(q.H_f, _plus(q.d, q.any, -1.0))) + jnp.sqrt(_form(q.H_s, q.any))


def _chord(q: Valleys) -> tuple[jax.Array, jax.Array]:
    return q.task, (1.0 - q.safety / q.at_task) * q.start


def _parametric(q: Valleys) -> jax.Array:
    rate = jnp.sqrt(q.f.most / q.s.least)
    return jnp.sqrt(q.start) / jnp.maximum(1.0, rate)


def _forms() -> tuple[Form, ...]:
    rise, task, proxy = Quantity.SAFETY_LOSS_INCREASE, "task optimum", "proxy optimum"
    half = partial(Form, size=_by_lambda, sharpest=0.5, why=_HALF)
    quarter = partial(Form, sharpest=0.25, why=_QUARTER)
    total = "G_f + lambda G_hat_s, "
    epsilon = partial(Form, "T2", strategy="epsilon")
    ball = partial(Form, "T6", SAFETY, strategy="radius", size=_start)
    fall = partial(Form, strategy="radius", size=_start, part=FROM_START)
    hybrid, free = partial(Form, "T9", strategy="hybrid"), partial(Form, "T10", strategy="any")
    forced = "(d) forced radius, smooth"
    return (
        half("T1", SAFETY, UPPER, "perfect proxy", lambda q: (q.safety, q.value_gap)),
        Form(
            "T1",
            PROXY,
            UPPER,
            "quadratic growth",
            lambda q: (q.safety, 4.0 * q.f.most * q.start / (q.s.least * q.lam**2)),
            size=_step,
            sharpest=0.25,
            why=_DECAY,
        ),
        Form("T2", TOTAL, UPPER, total + task, lambda q: (q.total, q.lam * q.at_task)),
        Form("T2", TOTAL, UPPER, total + proxy, lambda q: (q.total, q.start)),
        quarter("T2", TASK, UPPER, task, lambda q: (q.task, q.lam * q.at_task)),
        Form("T2", TASK, UPPER, proxy, lambda q: (q.task, q.start)),
        Form("T2", PROXY, UPPER, task, lambda q: (q.safety, q.at_task)),
        quarter("T2", PROXY, UPPER, proxy, lambda q: (q.safety, q.start / q.lam)),
        epsilon(PROXY, UPPER, "constrained", lambda q: (q.safety, q.safety)),
        epsilon(TASK, UPPER, "constrained", _chord),
        ball(UPPER, "smooth", lambda q: (q.ball_safety, 0.5 * q.s.most * q.radius**2)),
        ball(LOWER, "quadratic growth", lambda q: (0.5 * q.s.least * q.radius**2, q.ball_safety)),
        fall("T7", TASK, UPPER, "convex", _convex_upper),
        fall("T7", TASK, UPPER, "smooth", _smooth_upper),
        fall("T7", TASK, UPPER, "Polyak-Lojasiewicz", lambda q: (q.fallen(q.f.least, 0.0), q.drop)),
        fall("T7", TASK, LOWER, "convex", _convex_lower),
        fall("T7", TASK, LOWER, "smooth, local", _local_lower),
        fall("T7", TASK, LOWER, "smooth", lambda q: (q.drop, q.fallen(q.f.most, 1.0))),
        fall("T8", TASK, LOWER, "(c) Pareto front", _front),
        Form(
            "T8",
            Quantity.RADIUS,
            LOWER,
            forced,
            lambda q: (_strides(q), q.reach),
            size=lambda q: 16.0 * q.distance,
        ),
        Form(
            "T8",
            SAFETY,
            LOWER,
            forced,
            lambda q: (0.5 * q.s.least * _strides(q) ** 2, q.safety),
            size=lambda q: 16.0 * q.s.most * q.distance * q.reach,
        ),
        hybrid(
            SAFETY,
            UPPER,
            "quadratic, perfect proxy",
            lambda q: (q.safety, _half_gained(q)),
            size=_step,
        ),
        hybrid(TASK, UPPER, "comparator theta_s", lambda q: (q.task, q.start)),
        free(TOTAL, LOWER, "G_f + lambda G_s, any policy", lambda q: (q.total, _any_total(q))),
        free(ROOTS, LOWER, "parametric", lambda q: (_parametric(q), _any_roots(q))),
        half("T12", rise, UPPER, "perfect proxy", lambda q: (q.safety, q.value_gap)),
    )


class Quadratics(World):
    """Two coordinates, condition numbers up to e^6; minimisers by linear equations."""

    name = "quadratics"

    def __init__(self) -> None:
        self.forms = tuple(replace(form, family="quadratic") for form in _forms())
        self.limits = {
            **dict.fromkeys(("log_s", "log_f"), (-3.0, 3.0)),
            **dict.fromkeys(("turn_s", "turn_f"), (-10.0, 10.0)),
            **dict.fromkeys(("d", "any"), (-10.0, 10.0)),
            **dict.fromkeys(("log_lam", "log_nu"), (-12.0, 12.0)),
        }

    def draw(self, rng: np.random.Generator, form: Form, n: int) -> Parameters:
        """Hessians of random spectra and directions, a displacement, and a point of its own."""
        d = rng.normal(size=(n, 2))
        return {
            **{name: rng.normal(size=(n, 2)) for name in ("log_s", "log_f")},
            **{name: rng.uniform(0.0, np.pi, size=n) for name in ("turn_s", "turn_f")},
            **{name: 2.0 * rng.normal(size=n) for name in ("log_lam", "log_nu")},
            "d": d,
            "any": rng.random((n, 1)) * d,
        }

    def quantities(self, parameters: Mapping[str, jax.Array]) -> Any:
        return Valleys(parameters)

    def instance(self, quantities: Valleys) -> dict[str, jax.Array]:
        """Hessians, displacement and the strength of every strategy."""
        q = quantities
        matrices = {
            name: jnp.stack([m.a, m.b, m.b, m.c]).reshape(2, 2)
            for name, m in (("H_s", q.H_s), ("H_f", q.H_f))
        }
        vectors = {name: jnp.stack([v.a, v.c]) for name, v in (("d", q.d), ("any", q.any))}
        return {**matrices, **vectors, "lam": q.lam, "radius": q.radius}

    def attempt(self, form: Form, x: Mapping[str, Array]) -> Attempt:
        """Minimisers by elimination in long double, or the free point."""
        problem = QuadraticProblem(x["H_s"], x["H_f"], 0.0 * x["d"], x["d"])
        lam = x["lam"]
        strategy: Any = LossConstraint(lam=lam)
        if form.strategy == "radius":
            strategy = ParameterConstraint(x["radius"])
        family, rng = Quadratic(), np.random.default_rng(0)
        attained = {}
        if form.strategy == "any":
            run = run_at(problem, x["any"], Kind.ANY, lam)
            attained["theta"] = x["any"]
        else:
            run = next(iter(family.runs(rng, problem, strategy)))
        truth, error = dict(run.truth), dict(run.error)
        if form.strategy == "hybrid":
            # The minimiser without a radius lies in the ball, so it is the hybrid's too.
            strategy = Hybrid(lam=lam, radius=truth[Quantity.RADIUS] * _INSIDE)
        elif form.strategy == "epsilon":
            # What lam leaves of the proxy loss; rounded, it moves f_f by lam times as much.
            strategy = LossConstraint(epsilon=truth[PROXY])
            error[TASK] = error[TASK] + 2.0**-52 * lam * truth[PROXY]
        truth[TOTAL], error[TOTAL] = (v[TASK] + lam * v[SAFETY] for v in (truth, error))
        truth[ROOTS] = np.sqrt(truth[SAFETY]) + np.sqrt(truth[TASK])
        with np.errstate(divide="ignore"):
            of_roots = [
                np.minimum(np.sqrt(error[q]), error[q] / np.sqrt(truth[q])) for q in (SAFETY, TASK)
            ]
            error[ROOTS] = of_roots[0] + of_roots[1]
        return Attempt(
            problem,
            strategy,
            truth=truth[form.quantity],
            start=problem.capability_gap_at_aligned if form.part == FROM_START else 0.0 * lam,
            error=error[form.quantity],
            checked=run.checked,
            attained=attained,
        )
