"""Context overlap by near-duplicate prompts: MinHash bands, then exact Jaccard similarity."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from llm_validation.measure.overlap_measure import Errs, OverlapMeasure, estimated_overlap
from llm_validation.measure.texts import TextPair, shape_of

THRESHOLD = 0.7  # one word changed in twenty leaves 0.86 of the 1- and 2-grams, two leave 0.73
BANDS, ROWS = 16, 4  # finds a pair of similarity 0.7 with probability 0.988, of 0.8 with 0.9998
_PAIRS_AT_ONCE = 100_000
_ROWS_AT_ONCE = 2_000  # their features stay in the processor's cache

Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def near_duplicates(pair: TextPair, *, seed: int, threshold: float = THRESHOLD) -> OverlapMeasure:
    """Overlap when prompts of word 1-2-gram Jaccard similarity ``>= threshold`` are one.

    Images are the connected groups of near-duplicates. Time and memory are linear in the prompts
    even where thousands of them share a template.
    """
    first, second, _ = similar_pairs(pair, seed=seed, threshold=threshold)
    size = len(pair.unique)
    graph = sp.coo_matrix((np.ones(first.size, dtype=bool), (first, second)), shape=(size, size))
    _, image = connected_components(graph, directed=False)
    safety, task = pair.counts()
    return estimated_overlap(
        "near duplicates",
        np.bincount(image, weights=safety),
        np.bincount(image, weights=task),
        errs=Errs.EITHER_WAY,
        why=(
            "Merging similar prompts raises the overlap, but finite samples and a hashed search "
            "miss some of it, and the groups depend on the sample."
        ),
        details={"threshold": threshold, "pairs": float(first.size)},
    )


def similar_pairs(pair: TextPair, *, seed: int, threshold: float = THRESHOLD) -> Edges:
    """``(i, j, similarity)``, indices ``i < j`` of ``pair.unique`` that are near-duplicates.

    Every pair found is exact; a few are not found. In a crowded bucket each text meets only its
    neighbours in it, those of the other set included, so a group is linked but not fully.
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"the similarity threshold {threshold} is not in (0, 1].")
    ngrams = pair.ngrams
    signatures = minhash_signatures(ngrams, seed=seed)
    filled = np.diff(ngrams.indptr) > 0
    safety, task = pair.counts()
    keys = np.empty(0, dtype=np.int64)
    size = len(pair.unique)
    for band in range(BANDS):
        rows = signatures[filled, band * ROWS : (band + 1) * ROWS]
        low, high = _neighbours(rows, safety[filled] > 0, task[filled] > 0)
        place = np.flatnonzero(filled)
        low, high = place[low], place[high]
        # Signatures estimate the similarity to +-0.06: what is far off needs no exact look.
        near = _agreement(signatures, low, high) >= threshold - 0.25
        keys = np.union1d(keys, low[near] * size + high[near])
    first, second = np.divmod(keys, size)
    similarity = _jaccard(ngrams, first, second)
    kept = similarity >= threshold
    return first[kept], second[kept], similarity[kept]


def minhash_signatures(ngrams: sp.csr_matrix, *, seed: int) -> NDArray[np.uint32]:
    """``[n, BANDS * ROWS]``: the least of each of 64 hashes over a row's features.

    Two rows agree in a column with probability equal to their Jaccard similarity. Empty rows are
    all ones. Source: Broder 1997; multiply-shift hashing, Dietzfelbinger et al. 1997.
    """
    rng = np.random.default_rng(seed)
    width = BANDS * ROWS
    factors = rng.integers(2**63, size=(2, width), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    signatures = np.full((shape_of(ngrams)[0], width), 2**32 - 1, dtype=np.uint32)
    filled = np.flatnonzero(np.diff(ngrams.indptr))
    for start in range(0, filled.size, _ROWS_AT_ONCE):
        rows = filled[start : start + _ROWS_AT_ONCE]
        first, last = ngrams.indptr[rows[0]], ngrams.indptr[rows[-1] + 1]
        features = ngrams.indices[first:last].astype(np.uint64) + np.uint64(1)
        starts = ngrams.indptr[rows] - first
        for column in range(width):
            # One multiply-shift is monotone in stretches; a second round mixes its high bits.
            mixed = features * factors[0, column]
            mixed ^= mixed >> np.uint64(29)
            mixed *= factors[1, column]
            mixed >>= np.uint64(32)
            signatures[rows, column] = np.minimum.reduceat(mixed.astype(np.uint32), starts)
    return signatures


def _neighbours(
    rows: NDArray[np.uint32], safety: NDArray[np.bool_], task: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs ``low < high`` of rows equal in this band: adjacent ones, and nearest across sets."""
    key = np.zeros(len(rows), dtype=np.uint64)
    for column in rows.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(31)
    order = np.argsort(key, kind="stable")
    key = key[order]
    place = np.arange(len(order))
    start = np.ones(len(order), dtype=bool)
    start[1:] = key[1:] != key[:-1]
    bucket = np.maximum.accumulate(np.where(start, place, 0))
    before = []
    for mine, other in ((None, None), (safety, task), (task, safety)):
        if mine is None or other is None:
            last = place - 1
            wanted = ~start
        else:
            seen = np.maximum.accumulate(np.where(other[order], place, -1))
            last = np.concatenate([[-1], seen[:-1]])
            wanted = mine[order] & (last >= bucket)
        before.append((last[wanted], place[wanted]))
    low, high = (np.concatenate([b[side] for b in before]) for side in (0, 1))
    low, high = order[low], order[high]
    return np.minimum(low, high), np.maximum(low, high)


def _agreement(
    signatures: NDArray[np.uint32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    agreement = np.empty(len(first))
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        agreement[part] = (signatures[first[part]] == signatures[second[part]]).mean(axis=1)
    return agreement


def _jaccard(
    ngrams: sp.csr_matrix, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Exact Jaccard similarity of the feature sets of pairs of rows."""
    sizes = np.diff(ngrams.indptr)
    ones = sp.csr_matrix(
        (np.ones(ngrams.nnz, dtype=np.float32), ngrams.indices, ngrams.indptr), shape=ngrams.shape
    )
    similarity = np.empty(len(first))
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        i, j = first[start : start + _PAIRS_AT_ONCE], second[start : start + _PAIRS_AT_ONCE]
        common = np.asarray(ones[i].multiply(ones[j]).sum(axis=1)).ravel()
        similarity[start : start + len(i)] = common / (sizes[i] + sizes[j] - common)
    return similarity
