"""Context overlap by clusters: a map of prompts to images, fitted on one half of the rows."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD

from llm_validation.measure.overlap_measure import OverlapMeasure, held_out_overlap
from llm_validation.measure.texts import (
    TextPair,
    fold,
    halve,
    inverse_document_frequency,
    tfidf,
)

_FEATURES, _RANK = 2**12, 32
_FIT_ROWS = 20_000  # a map needs no more rows to be fitted; what is evaluated is never cut
_SMALL = 5_000
_AT_ONCE = 20_000
_WHY = (
    "Clusters were fitted on one half of the rows and counted on the other, and merging prompts "
    "can only raise the overlap (data processing); the interval covers the sampling."
)


def ngram_clusters(
    pair: TextPair, *, seed: int, p: float = 0.05, clusters: int | None = None
) -> OverlapMeasure:
    """Overlap on k-means clusters of hashed n-gram TF-IDF (32 singular directions).

    ``clusters`` defaults to one for 50 held-out rows of the smaller set, 8 to 512. Raises
    ValueError for fewer than two rows in a set.
    """
    rng = np.random.default_rng(seed)
    fit_safety, fit_task, safety, task = pair.halves(rng)
    points = _directions(pair, np.concatenate([fit_safety, fit_task]), rng)
    return _measure(
        "n-gram clusters",
        (points[fit_safety], points[fit_task]),
        (points[safety], points[task]),
        rng=rng,
        p=p,
        clusters=clusters,
    )


def ngram_points(pair: TextPair, *, seed: int) -> tuple[NDArray, NDArray]:
    """Both sets as points of length 1 in the pooled rows' 32 singular directions, float32.

    Pooled and sorted, so swapping the labels of two rows, or their order, changes no direction.
    """
    rng = np.random.default_rng(seed)
    points = _directions(pair, np.sort(np.concatenate([pair.safety, pair.task])), rng)
    return points[np.sort(pair.safety)], points[np.sort(pair.task)]


def embedding_clusters(
    safety: ArrayLike,
    task: ArrayLike,
    *,
    seed: int,
    p: float = 0.05,
    clusters: int | None = None,
) -> OverlapMeasure:
    """Overlap on k-means clusters of embeddings ``safety [n, d]``, ``task [m, d]``.

    Rows are scaled to length 1. ``clusters`` as in ``ngram_clusters``. Raises ValueError for
    shapes that do not match, NaN or infinite entries, or fewer than two rows.
    """
    rng = np.random.default_rng(seed)
    safety, task = checked_embeddings(safety, task)
    (fit_safety, safety), (fit_task, task) = (
        halve(sorted_rows(unit_rows(rows)), rng) for rows in (safety, task)
    )
    return _measure(
        "embedding clusters",
        (fit_safety, fit_task),
        (safety, task),
        rng=rng,
        p=p,
        clusters=clusters,
    )


def checked_embeddings(safety: ArrayLike, task: ArrayLike) -> tuple[NDArray, NDArray]:
    """Both as float32 ``[n, d]`` and ``[m, d]``; raises ValueError where they are not."""
    safety, task = (np.asarray(rows, dtype=np.float32) for rows in (safety, task))
    if safety.ndim != 2 or task.ndim != 2 or safety.shape[1:] != task.shape[1:]:
        raise ValueError(f"embeddings {safety.shape} and {task.shape} need [n, d] and [m, d].")
    for name, rows in (("safety", safety), ("task", task)):
        bad = ~np.isfinite(rows).all(axis=1)
        if bad.any():
            raise ValueError(f"the {name} embedding of row {np.argmax(bad) + 1} is not finite.")
    return safety, task


def _directions(pair: TextPair, fit: NDArray[np.int64], rng: np.random.Generator) -> NDArray:
    """Every unique text as a unit point, ``[u, 32]``; weights and directions from ``fit`` only."""
    counts = fold(pair.ngrams, _FEATURES)
    fit = _thin(fit, rng)
    rows = tfidf(counts, inverse_document_frequency(counts[fit]))
    rank = min(_RANK, len(fit) - 1)
    svd = TruncatedSVD(rank, random_state=_sklearn_seed(rng), n_iter=4)
    with np.errstate(invalid="ignore"):  # its explained variance is 0/0 where all rows are equal
        svd.fit(rows[fit])
    return unit_rows(svd.transform(rows))


def _measure(
    method: str,
    fit: tuple[NDArray, NDArray],
    held_out: tuple[NDArray, NDArray],
    *,
    rng: np.random.Generator,
    p: float,
    clusters: int | None,
) -> OverlapMeasure:
    if clusters is None:
        clusters = int(np.clip(min(map(len, held_out)) // 50, 8, 512))
    pooled = _thin(np.concatenate(fit), rng)
    centres = _fit_centres(pooled, clusters, rng)
    size = len(centres)
    safety_fit, task_fit = (
        np.bincount(nearest(rows, centres), minlength=size) / len(rows) for rows in fit
    )
    return held_out_overlap(
        method,
        *(nearest(rows, centres) for rows in held_out),
        size=size,
        safety_side=safety_fit > task_fit,
        p=p,
        why=_WHY,
    )


def _fit_centres(points: NDArray, clusters: int, rng: np.random.Generator) -> NDArray:
    distinct = np.unique(points, axis=0)
    if len(distinct) <= clusters:
        return distinct
    seed = _sklearn_seed(rng)
    if len(points) <= _SMALL:
        model = cast(Any, KMeans)(clusters, n_init=4, random_state=seed)
    else:
        model = cast(Any, MiniBatchKMeans)(clusters, n_init=1, batch_size=4096, random_state=seed)
    return model.fit(points).cluster_centers_


def nearest(points: NDArray, centres: NDArray) -> NDArray[np.int64]:
    """The index of the nearest centre of each point, ``[n, d], [k, d] -> [n]``."""
    half_squares = 0.5 * (centres * centres).sum(axis=1)
    return np.concatenate(
        [
            np.argmin(half_squares - points[start : start + _AT_ONCE] @ centres.T, axis=1)
            for start in range(0, len(points), _AT_ONCE)
        ]
    )


def unit_rows(rows: NDArray) -> NDArray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1.0)).astype(np.float32)


def sorted_rows(rows: NDArray) -> NDArray:
    """Rows in an order of their own, so that a seeded split does not see the file's order."""
    rows = np.ascontiguousarray(rows + np.float32(0.0))  # -0.0 and 0.0 are one
    return rows[np.argsort(rows.view(f"V{rows.strides[0]}").ravel(), kind="stable")]


def _thin(rows: NDArray, rng: np.random.Generator) -> NDArray:
    if len(rows) <= _FIT_ROWS:
        return rows
    return rows[rng.choice(len(rows), size=_FIT_ROWS, replace=False)]


def _sklearn_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31 - 1))
