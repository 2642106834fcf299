"""Tables under a parameter constraint: T6, T7 and T8 at any policy of the ball, T7 at the best."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sims.adversary.ascent import Parameters, World
from sims.adversary.form import FROM_START, Attempt, Form
from sims.adversary.mixture import RESPONSES, centred, distance, front, kl, norm
from sims.adversary.mixtures import tabular_attempt
from sims.families.trust_region import moved
from theory.bound import Direction, Quantity
from theory.divergence import Array
from theory.problem import Distribution, TabularProblem
from theory.strategy import ParameterConstraint

CONTEXTS = 2
UPPER, LOWER = Direction.UPPER, Direction.LOWER
SAFETY, TASK = Quantity.SAFETY_GAP, Quantity.CAPABILITY_GAP
_ROOT = float(np.sqrt(2.0))
# The radius is rounded up, so that the policy is inside whatever rounding did to the step.
_INSIDE = 1.0 + 2.0**-50


class Ball:
    """One instance: an aligned table, a step of the length of the radius, where it ends."""

    def __init__(self, p: Mapping[str, jax.Array]) -> None:
        self.rho_s, self.rho_f = jax.nn.softmax(p["rho_s"]), jax.nn.softmax(p["rho_f"])
        self.mu_s, self.mu_f = jax.nn.softmax(p["mu_s"]), jax.nn.softmax(p["mu_f"])
        free = jax.nn.softmax(p["aligned"])
        self.aligned = jnp.where(p["fixed_exact"] > 0, self.mu_s, free)
        turn = centred(p["turn"])
        self.radius = jnp.exp(p["log_radius"])
        self.step = self.radius * turn / jnp.maximum(norm(turn), 1e-30)
        self.policy = jax.nn.softmax(jnp.log(self.aligned) + self.step)
        self.lam = jnp.exp(p["log_lam"])

    @cached_property
    def change(self) -> jax.Array:
        """``l(theta) - l(theta_s)``, ``[X, V]``."""
        grown = jnp.log1p((self.aligned * jnp.expm1(self.step)).sum(axis=-1, keepdims=True))
        return grown - self.step

    @cached_property
    def rise(self) -> jax.Array:
        return (self.rho_s[:, None] * self.mu_s * self.change).sum()

    @cached_property
    def drop(self) -> jax.Array:
        return -(self.rho_f[:, None] * self.mu_f * self.change).sum()

    @cached_property
    def start(self) -> jax.Array:
        return (self.rho_s * kl(self.mu_s, self.aligned)).sum()

    @cached_property
    def task_start(self) -> jax.Array:
        return (self.rho_f * kl(self.mu_f, self.aligned)).sum()

    @cached_property
    def slope(self) -> jax.Array:
        return norm(self.rho_s[:, None] * (self.aligned - self.mu_s)) * self.radius

    @cached_property
    def bend(self) -> jax.Array:
        return 0.25 * self.rho_s.max() * self.radius**2

    @cached_property
    def task_slope(self) -> jax.Array:
        return norm(self.rho_f[:, None] * (self.aligned - self.mu_f)) * self.radius

    @cached_property
    def task_bend(self) -> jax.Array:
        return 0.25 * self.rho_f.max() * self.radius**2

    @cached_property
    def lipschitz(self) -> jax.Array:
        return jnp.minimum(_ROOT * norm(self.rho_s), _ROOT) * self.radius

    @cached_property
    def off(self) -> jax.Array:
        return _ROOT * self.radius * (self.rho_s * distance(self.mu_s, self.aligned)).sum()

    @cached_property
    def root(self) -> jax.Array:
        """What ``(sqrt G_0 - r sqrt(beta / 2))^2`` is below ``G_0``; further on all of it."""
        root, fall = jnp.sqrt(jnp.maximum(self.task_start, 1e-30)), jnp.sqrt(self.task_bend)
        part = self.task_start - (root - fall) ** 2
        return jnp.where(fall < 0.3 * root, part, self.task_start)

    @cached_property
    def front(self) -> jax.Array:
        """``v(S)`` from below, by the multiplier ``lam``: the ascent finds the best one."""
        task, safety = front((self.rho_f, self.mu_f), (self.rho_s, self.mu_s), self.lam)
        uppers = (self.lipschitz, self.slope + self.bend, 0.25 * self.radius**2 + self.off)
        allowed = self.start + jnp.stack(uppers).min()
        return task + self.lam * (safety - allowed)


def _safety(form: str, part: str, ratio, *, exact: bool = False) -> Form:
    setting = {"exact": 1.0} if exact else {}
    size = lambda q: 1.0 + 16.0 * q.start  # noqa: E731
    return Form("T6", SAFETY, UPPER, form, ratio, part, "radius", setting, size)


def _task(statement: str, form: str, ratio, **options) -> Form:
    size = lambda q: 1.0 + 16.0 * q.task_start  # noqa: E731
    return Form(
        statement, TASK, LOWER, form, ratio, FROM_START, strategy="radius", size=size, **options
    )


class Balls(World):
    """``[X, V]`` tables and any policy at the distance of the radius from the aligned one."""

    name = "balls"
    told = ("rho_s", "rho_f", "mu_s", "mu_f", "aligned", "step")

    def __init__(self) -> None:
        self.forms = (
            _safety("Lipschitz", "slope", lambda q: (q.rise, q.lipschitz)),
            _safety("smooth", "slope", lambda q: (q.rise - q.bend, q.slope)),
            _safety("smooth", "curvature", lambda q: (q.rise, q.bend), exact=True),
            _safety("(A-J)", "curvature", lambda q: (q.rise, 0.25 * q.radius**2), exact=True),
            _safety(
                "(A-J)",
                "aligned model off the safety data",
                lambda q: (q.rise - 0.25 * q.radius**2, q.off),
            ),
            _task("T7", "convex", lambda q: (q.drop, q.task_slope)),
            _task("T7", "smooth, local", lambda q: (q.drop, q.task_slope + q.task_bend)),
            _task("T7", "smooth", lambda q: (q.drop, q.root)),
            _task("T7", "(A-J)", _logit_slope),
            _task("T8", "(b) price of the radius", _logit_slope),
            _task(
                "T8",
                "(c) Pareto front",
                lambda q: (q.drop, q.task_start - q.front),
                setting={"exact": 1.0},
            ),
        )
        logits = ("rho_s", "rho_f", "mu_s", "mu_f", "aligned", "turn")
        self.limits = {
            **dict.fromkeys(logits, (-40.0, 40.0)),
            "log_radius": (-9.0, 4.0),
            "log_lam": (-12.0, 12.0),
        }

    def draw(self, rng: np.random.Generator, form: Form, n: int) -> Parameters:
        """Masses, targets and aligned tables of several scales, a direction and its length."""
        scale = rng.choice([0.3, 1.0, 4.0], size=(n, 1, 1))
        shape = (n, CONTEXTS, RESPONSES)
        exact = np.full(n, float(form.setting.get("exact", 0.0)))
        return {
            **{name: rng.normal(size=shape[:2]) for name in ("rho_s", "rho_f")},
            **{name: scale * rng.normal(size=shape) for name in ("mu_s", "mu_f", "aligned")},
            "turn": rng.normal(size=shape),
            "log_radius": rng.uniform(-5.0, 2.0, size=n),
            "log_lam": rng.normal(size=n),
            "fixed_exact": exact,
        }

    def quantities(self, parameters: Mapping[str, jax.Array]) -> Any:
        return Ball(parameters)

    def attempt(self, form: Form, x: Mapping[str, Array]) -> Attempt:
        """The policy that the step leads to, in long double, and a radius that just allows it."""
        problem = TabularProblem(
            safety=Distribution(x["rho_s"], x["mu_s"]),
            task=Distribution(x["rho_f"], x["mu_f"]),
            aligned=x["aligned"],
        )
        return step_attempt(form, problem, x["step"])


def _logit_slope(q: Ball) -> tuple[jax.Array, jax.Array]:
    return q.drop, _ROOT * q.radius


def step_attempt(form: Form, problem: TabularProblem, step: Array) -> Attempt:
    """What a ``step`` of the logits leads to, under a radius of its length."""
    length = np.sqrt((step.astype(np.longdouble) ** 2).sum(axis=(-2, -1))).astype(np.float64)
    strategy = ParameterConstraint(length * _INSIDE)
    policy = moved(problem.aligned, step)
    return tabular_attempt(form, problem, strategy, policy, np.ones(len(length)))


class Coin:
    """One instance: log-odds of an aligned coin, of its target, and a share of the way between."""

    def __init__(self, p: Mapping[str, jax.Array]) -> None:
        self.here, self.there = p["here"], p["there"]
        share = jax.nn.sigmoid(p["share"])
        self.share, self.move = share, share * (self.there - self.here)
        self.distance = jnp.abs(self.there - self.here) / _ROOT
        self.radius = share * self.distance
        self.start = self._loss(self.here)
        self.drop = self.start - self._loss(self.here + self.move)

    def _loss(self, x: jax.Array) -> jax.Array:
        """``KL(target || coin of log-odds x)``."""
        log_p, log_q = jax.nn.log_sigmoid(self.there), jax.nn.log_sigmoid(-self.there)
        heads = jnp.exp(log_p) * (log_p - jax.nn.log_sigmoid(x))
        return heads + jnp.exp(log_q) * (log_q - jax.nn.log_sigmoid(-x))

    @property
    def descent(self) -> jax.Array:
        """``g s - beta s^2 / 2`` at the best step, with beta = 1/2."""
        slope = _ROOT * jnp.abs(jax.nn.sigmoid(self.there) - jax.nn.sigmoid(self.here))
        step = jnp.minimum(self.radius, 2.0 * slope)
        return slope * step - 0.25 * step**2


class Coins(World):
    """One context with two answers: the best policy of a ball is as far as one may go."""

    name = "coins"
    told = ("here", "there", "move")

    def __init__(self) -> None:
        size = lambda q: 1.0 + 16.0 * q.start  # noqa: E731
        self.forms = tuple(
            Form("T7", TASK, UPPER, form, ratio, FROM_START, strategy="radius", size=size)
            for form, ratio in (
                ("convex", lambda q: (q.share * q.start, q.drop)),
                ("smooth", lambda q: (q.descent, q.drop)),
            )
        )
        # Far from its target a cross-entropy is straight; e^-600 is still a float. At most half
        # of the way: a coin that arrives meets any bound that ends at 0.
        self.limits = {"here": (-600.0, 600.0), "there": (-30.0, 30.0), "share": (-12.0, 0.0)}

    def draw(self, rng: np.random.Generator, form: Form, n: int) -> Parameters:
        """Coins near their targets, and very far from them."""
        far = rng.choice([1.0, 10.0, 200.0], size=n)
        return {
            "here": far * rng.normal(size=n),
            "there": rng.normal(size=n),
            "share": -rng.exponential(2.0, size=n),
        }

    def quantities(self, parameters: Mapping[str, jax.Array]) -> Any:
        return Coin(parameters)

    def attempt(self, form: Form, x: Mapping[str, Array]) -> Attempt:
        """The loss is convex in the log-odds: the best policy is as near the target as allowed."""

        def coin(odds: Array) -> Array:
            sides = np.stack([-np.logaddexp(0.0, -odds), -np.logaddexp(0.0, odds)], axis=-1)
            return np.exp(sides)[:, None, :]

        alone = np.ones((len(x["here"]), 1))
        there = Distribution(alone, coin(x["there"]))
        problem = TabularProblem(safety=there, task=there, aligned=coin(x["here"]))
        half = 0.5 * x["move"]
        return step_attempt(form, problem, np.stack([half, -half], axis=-1)[:, None, :])
