"""Proxy mismatch: its context and teacher parts (T1(iii)) and kernel two-sample statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.divergence import Array, kl, mass_sum, tv

_PAIRS_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class ContextTeacherSplit:
    """T1(iii): how far two joint distributions are apart, by contexts and by teachers.

    ``tv <= tv_context + tv_teacher`` and ``kl = kl_context + kl_teacher`` (nats), each ``[...]``.
    """

    tv: Array
    tv_context: Array
    tv_teacher: Array
    kl: Array
    kl_context: Array
    kl_teacher: Array


def context_teacher_split(safety: ArrayLike, proxy: ArrayLike) -> ContextTeacherSplit:
    """The split for joint tables ``D(x, y)`` of shape ``[..., X, V]`` that each sum to 1.

    The teacher terms are expectations under the safety contexts. Where the proxy has no mass its
    teacher is free and taken to agree: the whole mismatch there is context. Raises ValueError when
    a table is no distribution. Source: T1(iii) of docs/theorems.md.
    """
    safety, proxy = _joint("safety", safety), _joint("proxy", proxy)
    if safety.shape != proxy.shape:
        raise ValueError(f"safety {safety.shape} and proxy {proxy.shape} differ in shape.")
    context, proxy_context = safety.sum(axis=-1), proxy.sum(axis=-1)
    known = (context > 0) & (proxy_context > 0)
    teacher = safety / np.where(known, context, 1.0)[..., None]
    proxy_teacher = proxy / np.where(known, proxy_context, 1.0)[..., None]
    flat = (*safety.shape[:-2], -1)
    return ContextTeacherSplit(
        tv=tv(safety.reshape(flat), proxy.reshape(flat)),
        tv_context=tv(context, proxy_context),
        tv_teacher=mass_sum(context, tv(teacher, proxy_teacher), where=known),
        kl=kl(safety.reshape(flat), proxy.reshape(flat)),
        kl_context=kl(context, proxy_context),
        kl_teacher=mass_sum(context, kl(teacher, proxy_teacher), where=known),
    )


def teacher_tv_from_pair_accuracy(accuracy: ArrayLike) -> Array:
    """Lower bound on ``E TV(mu_s, mu_hat_s)`` from telling apart two answers to one prompt.

    A rule sees one answer of each teacher, in unknown order, and names the safety teacher's with
    accuracy ``a``. Coupling the answers gives ``2 a - 1 <= 1 - (1 - tau)^2`` at every prompt, and
    the right side is concave, so ``E tau >= 1 - sqrt(2 (1 - a))``; 0 for ``a <= 1/2``.
    """
    accuracy = np.asarray(accuracy, dtype=np.float64)
    if not ((accuracy >= 0) & (accuracy <= 1)).all():
        raise ValueError("an accuracy is not in [0, 1].")
    return np.maximum(0.0, 1.0 - np.sqrt(2.0 * (1.0 - accuracy)))


def median_bandwidth(x: ArrayLike, y: ArrayLike, *, rng: np.random.Generator) -> float:
    """The median distance between rows of the pooled ``x [n, d], y [m, d]``; 1 if that is 0.

    From all pairs of at most 1000 pooled rows drawn by ``rng``.
    """
    pooled = np.concatenate(_samples(x, y))
    if len(pooled) > 1000:
        pooled = pooled[rng.choice(len(pooled), size=1000, replace=False)]
    upper = np.triu_indices(len(pooled), k=1)
    distance = float(np.sqrt(np.median(_squared_distances(pooled, pooled)[upper])))
    return distance if distance > 0 else 1.0


@dataclass(frozen=True)
class TwoSampleTest:
    """A statistic of two samples and its permutation p-value under "same distribution"."""

    statistic: float
    p_value: float
    method: str


def mmd_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    rng: np.random.Generator,
    permutations: int = 199,
    exact_rows: int = 2000,
    features: int = 128,
) -> TwoSampleTest:
    """Unbiased ``MMD^2``, RBF kernel with the median heuristic, and its permutation p-value.

    Up to ``exact_rows`` pooled rows by the kernel matrix, above by ``2 * features`` random Fourier
    features (then linear in the rows, and the statistic is that of the approximate kernel). The
    p-value is valid for both. Source: Gretton et al. 2012; Rahimi & Recht 2007.
    """
    x, y = _samples(x, y)
    bandwidth = median_bandwidth(x, y, rng=rng)
    pooled, n, m = np.concatenate([x, y]), len(x), len(y)
    first = np.zeros((permutations + 1, n + m), dtype=bool)  # row 0 is what was observed
    first[0, :n] = True
    for row in first[1:]:
        row[rng.permutation(n + m)[:n]] = True
    if n + m <= exact_rows:
        kernel = np.exp(-_squared_distances(pooled, pooled) / (2.0 * bandwidth**2))
        weights = first.astype(np.float64)
        of_first = weights @ kernel
        everything = kernel.sum(axis=0)
        xx = (of_first * weights).sum(axis=1)
        xy = of_first.sum(axis=1) - xx
        yy = everything.sum() - xx - 2.0 * xy
        method = "kernel matrix"
    else:
        sums, total = np.zeros((permutations + 1, 2 * features)), np.zeros(2 * features)
        frequencies = rng.normal(size=(pooled.shape[1], features)) / bandwidth
        step = max(1, _PAIRS_AT_ONCE // (permutations + 1 + 2 * features))
        for start in range(0, n + m, step):
            angle = pooled[start : start + step] @ frequencies
            # cos^2 + sin^2 = 1: the approximate kernel has ones on its diagonal, as the exact.
            block = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) / np.sqrt(features)
            sums += first[:, start : start + step].astype(np.float64) @ block
            total += block.sum(axis=0)
        rest = total - sums
        xx, xy, yy = ((a * b).sum(axis=1) for a, b in ((sums, sums), (sums, rest), (rest, rest)))
        method = f"{2 * features} random features"
    values = (xx - n) / (n * (n - 1)) + (yy - m) / (m * (m - 1)) - 2.0 * xy / (n * m)
    extreme = int((values[1:] >= values[0] - 1e-12).sum())
    return TwoSampleTest(float(values[0]), (1 + extreme) / (1 + permutations), method)


def _squared_distances(x: Array, y: Array) -> Array:
    squared = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2.0 * (x @ y.T)
    return np.maximum(squared, 0.0)


def _samples(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"{x.shape} and {y.shape} need [n, d] and [m, d], n and m at least 2.")
    return x, y


def _joint(name: str, table: ArrayLike) -> Array:
    array = np.asarray(table, dtype=np.float64)
    if array.ndim < 2 or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"{name} needs non-negative, finite entries [..., X, V].")
    if (np.abs(array.sum(axis=(-2, -1)) - 1.0) > 1e-6).any():
        raise ValueError(f"{name} does not sum to 1 over its contexts and responses.")
    return array
