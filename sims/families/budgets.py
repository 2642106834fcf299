"""Optimisers at work, against the radius that their budget allows (T13)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sims.family import Case, Kind, Run
from theory.bound import Quantity
from theory.divergence import Array
from theory.local import AdamBudget, Budget, SgdBudget, lora_product_radius, radius_from_budget

_STEPS = (1, 3, 12, 40)
_DIMENSIONS = (1, 2, 5)


class Budgets:
    """Displacements of SGD, Adam and AdamW, step by step, on gradients of every kind.

    Gradients: of a random quadratic, heavy-tailed noise, or the adversary's: constant beyond the
    clipping norm for SGD, growing by ``beta2 / beta1`` a step for Adam. An instance is a run.
    """

    name = "budgets"
    chunk = 2048

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """One case an optimiser, with one setting a batch, and LoRA products."""
        steps, dimension = int(rng.choice(_STEPS)), int(rng.choice(_DIMENSIONS))
        momentum, clip = float(rng.choice([0.0, 0.5, 0.9])), float(10.0 ** rng.uniform(-2, 2))
        beta1 = float(rng.choice([0.0, 0.5, 0.9, 0.95]))
        beta2 = float(rng.choice([0.9, 0.95, 0.999]))
        eps = float(rng.choice([0.0, 1e-8]))
        for decay in (0.0, float(10.0 ** rng.uniform(-2, 0))):
            rates = _schedules(rng, n, steps)
            gradients = _Gradients(rng, n, dimension, growth=max(beta2 / max(beta1, 1e-3), 1.0))
            start = gradients.start * (rng.random((n, 1)) < 0.7)
            end = _adam(gradients, start, rates, beta1, beta2, eps, decay)
            largest = float(np.linalg.norm(start, axis=-1).max())
            budget = AdamBudget(rates, dimension, beta1, beta2, decay, largest if decay else None)
            words = f"{'AdamW' if decay else 'Adam'}, {steps} steps, {dimension} weights"
            yield _case(budget, end - start, words)
        for nesterov in (False, True):
            rates = _schedules(rng, n, steps)
            gradients = _Gradients(rng, n, dimension, growth=1.0)
            end = _sgd(gradients, gradients.start, rates, clip, momentum, nesterov)
            budget = SgdBudget(rates, clip, momentum, nesterov)
            words = f"SGD{' by Nesterov' if nesterov else ''}, {steps} steps, {dimension} weights"
            yield _case(budget, end - gradients.start, words)
        yield _lora(rng, n, dimension)


def _schedules(rng: np.random.Generator, n: int, steps: int) -> Array:
    """Rates ``[n, T]``: constant, warmed up and decayed, or at random with pauses."""
    peak = 10.0 ** rng.uniform(-4, 0, size=(n, 1))
    t = (np.arange(steps) + 1.0) / steps
    random = rng.random((n, steps)) * (rng.random((n, steps)) < 0.8)
    kind = rng.integers(3, size=(n, 1))
    return peak * np.choose(
        kind, [np.ones((n, steps)), np.sin(np.pi * t) ** 2 + 0 * random, random]
    )


@dataclass(frozen=True, eq=False)
class _Source:
    hessian: Array
    optimum: Array
    kind: np.ndarray
    side: Array
    growth: float


class _Gradients:
    """Of ``n`` runs from ``start [n, d]``; ``growth`` a step is what the adversary uses."""

    def __init__(self, rng: np.random.Generator, n: int, dimension: int, *, growth: float) -> None:
        self.rng = rng
        factor = rng.normal(size=(n, dimension, dimension))
        kind = rng.choice(3, size=(n, 1), p=[0.25, 0.25, 0.5])
        side = rng.choice([-1.0, 1.0], size=(n, dimension))
        # The adversary pushes every weight towards 0, as decay does. All starts are as far.
        start = np.where(kind == 2, side, rng.normal(size=(n, dimension)))
        length = 10.0 ** rng.uniform(-1, 1) * np.sqrt(dimension)
        self.start = start * (length / np.linalg.norm(start, axis=-1, keepdims=True))
        self.source = _Source(
            factor @ np.swapaxes(factor, -1, -2),
            rng.normal(size=(n, dimension)),
            kind,
            side,
            growth,
        )

    def __call__(self, theta: Array, t: int) -> Array:
        s = self.source
        slope = np.einsum("nij,nj->ni", s.hessian, theta - s.optimum)
        noise = self.rng.standard_t(2, size=theta.shape)
        return np.choose(s.kind, [slope, noise, 1e3 * s.side * s.growth**t])


def _sgd(
    gradients: _Gradients, theta: Array, rates: Array, clip: float, momentum: float, nesterov: bool
) -> Array:
    velocity = np.zeros_like(theta)
    for t in range(rates.shape[-1]):
        g = gradients(theta, t)
        norm = np.linalg.norm(g, axis=-1, keepdims=True)
        g = g * np.minimum(1.0, clip / np.where(norm > 0, norm, 1.0))
        velocity = momentum * velocity + g
        theta = theta - rates[:, t, None] * (g + momentum * velocity if nesterov else velocity)
    return theta


def _adam(
    gradients: _Gradients,
    theta: Array,
    rates: Array,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
) -> Array:
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(rates.shape[-1]):
        g = gradients(theta, t)
        rate = rates[:, t, None]
        first = beta1 * first + (1.0 - beta1) * g
        second = beta2 * second + (1.0 - beta2) * g**2
        mean = first / (1.0 - beta1 ** (t + 1))
        root = np.sqrt(second / (1.0 - beta2 ** (t + 1))) + eps
        theta = theta - rate * decay * theta
        theta = theta - rate * np.divide(mean, root, out=np.zeros_like(mean), where=root > 0)
    return theta


def _case(budget: Budget, moved: Array, words: str) -> Case:
    n = len(moved)
    return Case(
        bounds=[radius_from_budget(budget)],
        runs=[_run(np.linalg.norm(moved, axis=-1))],
        n=n,
        words=words,
        finetunes=n,
    )


def _lora(rng: np.random.Generator, n: int, rank: int) -> Case:
    """Factors of rank one meet the product of norms, others do not."""
    a, b = rng.normal(size=(n, rank, 3)), rng.normal(size=(n, 4, rank))
    alone = (rng.random((n, 1, 1)) < 0.3) & (np.arange(rank) > 0)
    a, b = np.where(np.swapaxes(alone, -1, -2), 0.0, a), np.where(alone, 0.0, b)
    scaling = float(10.0 ** rng.uniform(-1, 1))
    norms = [np.linalg.norm(factor, axis=(-2, -1)) for factor in (a, b)]
    return Case(
        bounds=[lora_product_radius(*norms, scaling=scaling)],
        runs=[_run(scaling * np.linalg.norm(b @ a, axis=(-2, -1)))],
        n=n,
        words=f"LoRA of rank {rank}",
        finetunes=n,
    )


def _run(radius: Array) -> Run:
    # T additions that round by 2^-53 of the weights they move.
    error = {Quantity.RADIUS: 1e-13 * (1.0 + radius)}
    return Run(kind=Kind.MINIMISER, truth={Quantity.RADIUS: radius}, error=error)
