"""Random tables of mixed sparsity and scale, with the degenerate and the tight ones among them."""

from __future__ import annotations

import numpy as np

from theory.divergence import Array
from theory.problem import Distribution, TabularProblem

# (contexts, responses): one size a batch, so that every batch is one compiled shape.
SIZES = ((1, 2), (3, 3), (5, 4), (2, 1))
_SIZE_SHARES = (0.25, 0.3, 0.4, 0.05)
# Strengths that aligned models on the front and strategies share.
LAMBDAS = (0.01, 0.1, 1.0, 10.0, 1000.0)


def lambdas(rng: np.random.Generator, n: int) -> Array:
    """``lambda [n]``: half of them over eight decades, half of them :data:`LAMBDAS`."""
    anywhere = rng.random(n) < 0.5
    return np.where(anywhere, 10.0 ** rng.uniform(-4, 4, size=n), rng.choice(LAMBDAS, size=n))


def _rows(rng: np.random.Generator, shape: tuple[int, ...], size: int) -> Array:
    """``[*shape, size]`` distributions; concentration and zeros vary from instance to instance."""
    per_instance = (shape[0],) + (1,) * len(shape)
    concentration = rng.choice([0.1, 1.0, 10.0], size=per_instance)
    weights = rng.gamma(concentration, size=(*shape, size)) + 1e-12
    sparsity = rng.choice([0.0, 0.3, 0.7], size=per_instance)
    dropped = rng.random((*shape, size)) < sparsity
    dropped &= np.arange(size) != rng.integers(size, size=(*shape, 1))
    weights = np.where(dropped, 0.0, weights)
    return weights / weights.sum(axis=-1, keepdims=True)


def _share(rng: np.random.Generator, n: int, probability: float) -> np.ndarray:
    return rng.random((n, 1, 1)) < probability


def tables(rng: np.random.Generator, n: int) -> TabularProblem:
    """``n`` problems of one of :data:`SIZES`, chosen at random.

    Contexts: apart, shared, or the same for safety and proxy. Targets: independent, almost equal
    (1e-1 to 1e-9), equal or disjoint; coins (two answers of one context). Proxies: perfect, of
    the same teacher, of another. Aligned models: exact, near, elsewhere, or already on the front.
    """
    contexts, responses = SIZES[rng.choice(len(SIZES), p=_SIZE_SHARES)]
    shape = (n, contexts)
    masses = [_rows(rng, (n,), contexts) for _ in range(3)]
    safety, proxy, task = (_rows(rng, shape, responses) for _ in range(3))
    task = _related(rng, safety, task)
    proxy = np.where(_share(rng, n, 0.2), _related(rng, safety, proxy), proxy)
    proxy = np.where(_share(rng, n, 0.4), safety, proxy)
    if responses > 1:
        coin = _share(rng, n, 0.25)
        safety, proxy, task = (
            np.where(coin, side, whole)
            for side, whole in zip(
                _coins(rng, shape, responses), (safety, proxy, task), strict=True
            )
        )
        alone = coin[:, 0] & (np.arange(contexts) == 0)
        masses = [np.where(coin[:, 0], alone.astype(float), mass) for mass in masses]
    rho_s, rho_hat, rho_f = masses
    rho_hat = np.where(_share(rng, n, 0.35)[:, 0], rho_s, rho_hat)
    rho_f = np.where(_share(rng, n, 0.1)[:, 0], rho_hat, rho_f)
    return TabularProblem(
        safety=Distribution(rho_s, safety),
        proxy=Distribution(rho_hat, proxy),
        task=Distribution(rho_f, task),
        aligned=_aligned(rng, safety, (rho_hat, proxy), (rho_f, task)),
    )


def _related(rng: np.random.Generator, safety: Array, other: Array) -> Array:
    """Some of ``other`` moved close to ``safety``, onto it, or to where it puts no mass."""
    n = len(other)
    kind = rng.integers(5, size=(n, 1, 1))
    near = 10.0 ** -rng.uniform(1, 9, size=(n, 1, 1))
    apart = np.where(safety > 0, 0.0, rng.random(other.shape) + 1e-3)
    total = apart.sum(axis=-1, keepdims=True)
    apart = np.where(total > 0, apart / np.where(total > 0, total, 1.0), other)
    close = (1 - near) * safety + near * other
    return np.choose(np.broadcast_to(kind, other.shape), [close, safety, apart, other, other])


def _coins(
    rng: np.random.Generator, shape: tuple[int, int], responses: int
) -> tuple[Array, Array, Array]:
    """Targets on two answers: fair, nearly fair, or nearly certain."""
    n = shape[0]

    def coin() -> Array:
        lean = 10.0 ** -rng.uniform(0.5, 4, size=n)
        certain = 10.0 ** -rng.uniform(1, 9, size=n)
        p = np.choose(
            rng.integers(6, size=n),
            [np.full(n, 0.5), 0.5 + 0.5 * lean, 0.5 - 0.5 * lean, certain, 1 - certain, 0.0 * lean],
        )
        row = np.zeros((n, responses))
        row[:, 0], row[:, 1] = p, 1.0 - p
        return np.broadcast_to(row[:, None, :], (*shape, responses)).copy()

    safety, proxy, task = coin(), coin(), coin()
    mirrored = safety.copy()
    mirrored[..., :2] = safety[..., 1::-1]
    return (
        safety,
        np.where(_share(rng, n, 0.7), safety, proxy),
        np.where(_share(rng, n, 0.3), mirrored, task),
    )


def _aligned(
    rng: np.random.Generator,
    safety: Array,
    proxy: tuple[Array, Array],
    task: tuple[Array, Array],
) -> Array:
    n = len(safety)
    mix = 10.0 ** -rng.uniform(0, 6, size=(n, 1, 1))
    other = _rows(rng, safety.shape[:2], safety.shape[2])
    near = (1 - mix) * safety + mix * other
    lam = rng.choice(LAMBDAS, size=(n, 1, 1))
    total = task[0][..., None] + lam * proxy[0][..., None]
    front = task[0][..., None] * task[1] + lam * proxy[0][..., None] * proxy[1]
    front = np.where(total > 0, front / np.where(total > 0, total, 1.0), safety)
    on_front = (1 - mix) * front + mix * other
    kind = rng.choice(4, size=(n, 1, 1), p=[0.45, 0.2, 0.15, 0.2])
    rows = np.choose(np.broadcast_to(kind, safety.shape), [safety, near, other, on_front])
    return rows / rows.sum(axis=-1, keepdims=True)
