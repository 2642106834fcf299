"""Two sets of texts, read once: normalised, made unique, and counted as hashed word n-grams."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer

NGRAM_FEATURES = 2**20

# Words, single characters of scripts that write no spaces, single punctuation marks.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af"
_TOKEN = rf"[^\W{_UNSPACED}]+|[{_UNSPACED}]|[^\w\s]"


def normalise(text: str) -> str:
    """NFKC, case folded, runs of white space as one space: what counts as the same prompt."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(text.lower().split())


def hashed_ngrams(texts: Sequence[str]) -> sp.csr_matrix:
    """Counts of word 1- and 2-grams in 2^20 hashed features, ``[n, 2^20]`` float32."""
    vectorizer = cast(Any, HashingVectorizer)(
        n_features=NGRAM_FEATURES,
        ngram_range=(1, 2),
        token_pattern=_TOKEN,
        lowercase=False,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    return vectorizer.transform(texts)


def fold(ngrams: sp.csr_matrix, features: int) -> sp.csr_matrix:
    """The same counts in fewer hashed features, ``[n, features]``; a power of two divides them."""
    folded = sp.csr_matrix(
        (ngrams.data.copy(), ngrams.indices % features, ngrams.indptr.copy()),
        shape=(shape_of(ngrams)[0], features),
    )
    folded.sum_duplicates()
    return folded


def shape_of(rows: NDArray[Any] | sp.csr_matrix) -> tuple[int, int]:
    """Rows and columns, which scipy's own types do not tell."""
    return cast("tuple[int, int]", rows.shape)


def inverse_document_frequency(ngrams: sp.csr_matrix) -> NDArray[np.float32]:
    """``log((1 + n) / (1 + df)) + 1`` of each feature."""
    df = np.bincount(ngrams.indices, minlength=shape_of(ngrams)[1])
    return (np.log((1.0 + shape_of(ngrams)[0]) / (1.0 + df)) + 1.0).astype(np.float32)


def tfidf(ngrams: sp.csr_matrix, idf: NDArray[np.float32]) -> sp.csr_matrix:
    """Rows ``(1 + log count) idf`` of Euclidean length 1; an empty row stays 0."""
    weights = (1.0 + np.log(ngrams.data)) * idf[ngrams.indices]
    filled = np.flatnonzero(np.diff(ngrams.indptr))
    lengths = np.ones(shape_of(ngrams)[0], dtype=np.float32)
    if filled.size:
        lengths[filled] = np.sqrt(np.add.reduceat(weights * weights, ngrams.indptr[filled]))
    weights /= np.repeat(lengths, np.diff(ngrams.indptr))
    return sp.csr_matrix((weights, ngrams.indices, ngrams.indptr), shape=ngrams.shape)


@dataclass(frozen=True, eq=False)
class TextPair:
    """Safety texts beside task (or proxy) texts.

    ``unique`` are the distinct normalised texts of both, sorted; ``safety [n]`` and ``task [m]``
    say which of them each row is. All measures work on ``unique``, so none depends on the order
    of the rows.
    """

    unique: tuple[str, ...]
    safety: NDArray[np.int64]
    task: NDArray[np.int64]

    @classmethod
    def of(cls, safety: Sequence[str], task: Sequence[str]) -> TextPair:
        """Raises ValueError when one of the sets is empty."""
        if not len(safety) or not len(task):
            raise ValueError(f"{len(safety)} safety and {len(task)} other texts: both need one.")
        rows = [[normalise(text) for text in texts] for texts in (safety, task)]
        unique = sorted({text for texts in rows for text in texts})
        place = {text: index for index, text in enumerate(unique)}
        indices = (np.array([place[text] for text in texts], dtype=np.int64) for texts in rows)
        return cls(tuple(unique), *indices)

    def reordered(self, safety: NDArray[np.int64], task: NDArray[np.int64]) -> TextPair:
        """The same texts with their rows in another order."""
        other = TextPair(self.unique, self.safety[safety], self.task[task])
        if "ngrams" in self.__dict__:
            other.__dict__["ngrams"] = self.ngrams
        return other

    @cached_property
    def ngrams(self) -> sp.csr_matrix:
        """Hashed 1- and 2-gram counts of ``unique``, ``[u, 2^20]``."""
        return hashed_ngrams(self.unique)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How often each unique text occurs, ``[u]`` and ``[u]``."""
        size = len(self.unique)
        return np.bincount(self.safety, minlength=size), np.bincount(self.task, minlength=size)

    def halves(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
        """Random halves of the rows as indices of ``unique``: fit s, fit t, held-out s, t."""
        (fit_safety, safety), (fit_task, task) = (
            halve(np.sort(rows), rng) for rows in (self.safety, self.task)
        )
        return fit_safety, fit_task, safety, task


def halve(rows: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """A random half (the smaller) of the rows and the rest. Raises ValueError below 2 rows."""
    if len(rows) < 2:
        raise ValueError("one row cannot be split into a half to fit and a half to evaluate.")
    order = rng.permutation(len(rows))
    middle = len(rows) // 2
    return rows[order[:middle]], rows[order[middle:]]
