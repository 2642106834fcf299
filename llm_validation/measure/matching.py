"""Rows of two datasets that answer the same prompt, nearly the same, or a comparable one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_validation.measure.classifier import fit_classifier
from llm_validation.measure.near_duplicates import similar_pairs
from llm_validation.measure.texts import (
    TextPair,
    fold,
    halve,
    inverse_document_frequency,
    tfidf,
)

NEAR_THRESHOLD = 0.8
_BINS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


@dataclass(frozen=True, eq=False)
class MatchedRows:
    """Row ``first[i]`` of the safety set belongs to row ``second[i]`` of the other."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)


def shuffled_by_content(
    rows: NDArray[np.int64], responses: Sequence[str], rng: np.random.Generator
) -> NDArray[np.int64]:
    """A random order of the rows that depends on their content alone, not on the file's order.

    The matches below take the first rows they can: in this order, random ones.
    """
    by_content = sorted(range(len(rows)), key=lambda row: (rows[row], responses[row]))
    return np.array(by_content, dtype=np.int64)[rng.permutation(len(rows))]


def exact_rows(pair: TextPair) -> MatchedRows:
    """One-to-one matches of rows with the same normalised prompt."""
    first, second = (np.argsort(rows, kind="stable") for rows in (pair.safety, pair.task))
    a, b = pair.safety[first], pair.task[second]
    # The k-th row of a prompt belongs to the k-th of the other set.
    nth_a, nth_b = (np.arange(len(x)) - np.searchsorted(x, x) for x in (a, b))
    size = max(len(a), len(b))
    _, i, j = np.intersect1d(
        a * size + nth_a, b * size + nth_b, assume_unique=True, return_indices=True
    )
    return MatchedRows(first[i], second[j])


def near_rows(pair: TextPair, taken: MatchedRows, *, seed: int) -> MatchedRows:
    """One-to-one matches of the rows left whose prompts have Jaccard similarity >= 0.8.

    The most similar first; the first row of a prompt stands for it.
    """
    first, second, similarity = similar_pairs(pair, seed=seed, threshold=NEAR_THRESHOLD)
    rows_of = []
    for rows, used in ((pair.safety, taken.first), (pair.task, taken.second)):
        left = np.setdiff1d(np.arange(len(rows)), used)
        texts, where = np.unique(rows[left], return_index=True)
        rows_of.append(dict(zip(texts.tolist(), left[where].tolist(), strict=True)))
    found: list[tuple[int, int]] = []
    for edge in np.lexsort((second, first, -similarity)):
        a, b = int(first[edge]), int(second[edge])
        for s, t in ((a, b), (b, a)):
            if s in rows_of[0] and t in rows_of[1]:
                found.append((rows_of[0].pop(s), rows_of[1].pop(t)))
                break
    return _rows(found)


def balanced_rows(pair: TextPair, *, rng: np.random.Generator) -> MatchedRows:
    """Random matches of rows whose prompts a classifier finds equally typical of either set.

    The classifier of each half was fitted on the other, and matches stay within a tenth of its
    probability of "safety". Empty when it tells the prompts apart everywhere. Within a bin the
    prompts still differ in what the classifier cannot see.
    """
    if min(len(pair.safety), len(pair.task)) < 4:
        return _rows([])
    counts = fold(pair.ngrams, 2**18)
    rows = tfidf(counts, inverse_document_frequency(counts))
    halves = [halve(np.argsort(texts, kind="stable"), rng) for texts in (pair.safety, pair.task)]
    found: list[tuple[int, int]] = []
    for fit, scored in ((0, 1), (1, 0)):
        model = fit_classifier(
            rows[pair.safety[halves[0][fit]]], rows[pair.task[halves[1][fit]]], strength=10.0
        )
        bins = []
        for texts, side in ((pair.safety, 0), (pair.task, 1)):
            probability = model.predict_proba(rows[texts[halves[side][scored]]])[:, 1]
            bins.append(np.searchsorted(_BINS, probability))
        for number in range(len(_BINS) + 1):
            left, right = (
                rng.permutation(halves[side][scored][bins[side] == number]) for side in (0, 1)
            )
            found.extend(zip(left.tolist(), right.tolist(), strict=False))
    return _rows(found)


def _rows(found: list[tuple[int, int]]) -> MatchedRows:
    array = np.array(found, dtype=np.int64).reshape(-1, 2)
    return MatchedRows(array[:, 0], array[:, 1])
