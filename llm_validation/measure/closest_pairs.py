"""Where overlap comes from: the closest pairs of a safety and a task prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from finebound.base.progress import Progress, silent
from finebound.results.estimate import PromptPair
from llm_validation.measure.texts import TextPair, inverse_document_frequency, shape_of, tfidf

_SAME = 0.8  # prompts as close as this to one already listed would say nothing new
_PER_PROMPT = 3
_LEAST_PRODUCTS, _PRODUCTS_PER_PROMPT = 50_000_000, 500
_PRODUCTS_AT_ONCE = 10_000_000
_ROWS_AT_ONCE = 100_000


def closest_pairs(
    safety_prompts: Sequence[str],
    task_prompts: Sequence[str],
    k: int = 20,
    *,
    pair: TextPair | None = None,
    progress: Progress = silent,
) -> list[PromptPair]:
    """Up to ``k`` pairs by TF-IDF cosine of word 1-2-grams, closest first, similarity above 0.

    No prompt comes twice, nor one that nearly repeats a prompt already listed. Candidates are
    found on the rarer n-grams, as many as a number of products linear in the prompts allows (all
    n-grams up to some 10,000 prompts a side); their similarity is exact. Memory is bounded.
    ``pair`` passes in texts already read.
    """
    if k < 1:
        raise ValueError(f"k is {k}: at least one pair is needed.")
    pair = TextPair.of(safety_prompts, task_prompts) if pair is None else pair
    safety_ids, safety_rows = np.unique(pair.safety, return_index=True)
    task_ids, task_rows = np.unique(pair.task, return_index=True)
    rows = tfidf(pair.ngrams, inverse_document_frequency(pair.ngrams))
    safety, task = rows[safety_ids], rows[task_ids]
    i, j = _candidates(safety, task, progress)
    similarity = _cosines(safety, task, i, j)
    listed = _spread(safety, task, i, j, similarity, k)
    return [
        PromptPair(
            safety=safety_prompts[int(safety_rows[i[c]])],
            task=task_prompts[int(task_rows[j[c]])],
            similarity=float(min(similarity[c], 1.0)),
            safety_index=int(safety_rows[i[c]]),
            task_index=int(task_rows[j[c]]),
        )
        for c in listed
    ]


def _candidates(
    safety: sp.csr_matrix, task: sp.csr_matrix, progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every safety prompt its closest few task prompts on the n-grams that can be afforded."""
    width = shape_of(safety)[1]
    in_safety, in_task = (np.bincount(m.indices, minlength=width) for m in (safety, task))
    products = in_safety.astype(np.float64) * in_task
    shared = np.flatnonzero(products)
    shared = shared[np.argsort(products[shared], kind="stable")]
    budget = max(_LEAST_PRODUCTS, _PRODUCTS_PER_PROMPT * (shape_of(safety)[0] + shape_of(task)[0]))
    kept = shared[np.cumsum(products[shared]) <= budget]
    if not kept.size:
        kept = shared[:1]
    kept = np.sort(kept)
    safety, task = safety[:, kept], task[:, kept].T.tocsr()
    row_products = np.zeros(shape_of(safety)[0] + 1)
    row_products[1:] = np.cumsum(
        np.bincount(
            np.repeat(np.arange(shape_of(safety)[0]), np.diff(safety.indptr)),
            weights=in_task[kept][safety.indices],
            minlength=shape_of(safety)[0],
        )
    )
    chunk = (row_products[1:] // _PRODUCTS_AT_ONCE).astype(np.int64)
    ends = np.flatnonzero(np.diff(chunk, append=chunk[-1] + 1)) + 1
    found_i, found_j = [], []
    starts = np.concatenate([[0], ends[:-1]])
    for start, end in progress(list(zip(starts, ends, strict=True)), "comparing prompts"):
        i, j = _largest_in_rows((safety[start:end] @ task).tocsr())
        found_i.append(i + start)
        found_j.append(j)
    return np.concatenate(found_i), np.concatenate(found_j)


def _largest_in_rows(scores: sp.csr_matrix) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the few largest entries of each row."""
    data = scores.data.copy()
    sizes = np.diff(scores.indptr)
    filled = np.flatnonzero(sizes)
    starts, row = scores.indptr[filled], np.repeat(np.arange(len(filled)), sizes[filled])
    found_i, found_j = [], []
    for _ in range(_PER_PROMPT if filled.size else 0):
        largest = np.maximum.reduceat(data, starts)
        places = np.flatnonzero((data == largest[row]) & (largest[row] > 0))
        owner, first = np.unique(row[places], return_index=True)
        places = places[first]
        found_i.append(filled[owner])
        found_j.append(scores.indices[places].astype(np.int64))
        data[places] = -1.0
    none = np.empty(0, dtype=np.int64)
    return np.concatenate([none, *found_i]), np.concatenate([none, *found_j])


def _cosines(
    safety: sp.csr_matrix, task: sp.csr_matrix, i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.float64]:
    cosines = np.empty(len(i))
    for start in range(0, len(i), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        cosines[part] = np.asarray(safety[i[part]].multiply(task[j[part]]).sum(axis=1)).ravel()
    return cosines


def _spread(
    safety: sp.csr_matrix,
    task: sp.csr_matrix,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    similarity: NDArray[np.float64],
    k: int,
) -> list[int]:
    """Candidates by similarity, each blocking those that repeat one of its prompts."""
    # Equal up to rounding counts as equal, so that the texts' order decides.
    order = np.lexsort((j, i, -np.round(similarity, 6)))
    order = order[similarity[order] > 0]
    free = np.ones(len(order), dtype=bool)
    listed: list[int] = []
    while len(listed) < k and free.any():
        best = order[np.argmax(free)]
        listed.append(int(best))
        for rows, index in ((safety, i), (task, j)):
            close = (rows @ rows[index[best]].T).toarray().ravel() >= _SAME
            close[index[best]] = True
            free &= ~close[index[order]]
    return listed
