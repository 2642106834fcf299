"""Context overlap by a classifier: who can tell safety prompts from task prompts?"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression

from llm_validation.measure.clusters import checked_embeddings, sorted_rows
from llm_validation.measure.overlap_measure import OverlapMeasure, held_out_overlap
from llm_validation.measure.texts import (
    TextPair,
    fold,
    halve,
    inverse_document_frequency,
    shape_of,
    tfidf,
)

_FEATURES = 2**18
_WHY = (
    "Telling the two apart errs at least (1 - TV)/2, on rows the classifier never saw; prompts "
    "are merged by its score, which can only raise the overlap; the interval covers the sampling."
)
# Fixed bins of the probability of "safety": contexts with one ratio rho_f/rho_s may be merged
# at no cost to the overlap or to T4's sum, and a classifier's score estimates that ratio.
_EDGES = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])


def ngram_classifier(pair: TextPair, *, seed: int, p: float = 0.05) -> OverlapMeasure:
    """Logistic regression on hashed n-gram TF-IDF, fitted on a half, evaluated on the other.

    ``details["balanced_accuracy"]`` is that of the held-out half. Raises ValueError for fewer
    than two rows in a set.
    """
    rng = np.random.default_rng(seed)
    fit_safety, fit_task, safety, task = pair.halves(rng)
    counts = fold(pair.ngrams, _FEATURES)
    idf = inverse_document_frequency(counts[np.concatenate([fit_safety, fit_task])])
    rows = tfidf(counts, idf)
    return _measure(
        "n-gram classifier",
        rows[fit_safety],
        rows[fit_task],
        (rows[safety], rows[task]),
        strength=10.0,
        p=p,
    )


def embedding_classifier(
    safety: ArrayLike, task: ArrayLike, *, seed: int, p: float = 0.05
) -> OverlapMeasure:
    """Logistic regression on standardised embeddings ``[n, d]``, ``[m, d]``; else the same.

    Raises ValueError as ``embedding_clusters``.
    """
    rng = np.random.default_rng(seed)
    halves = [halve(sorted_rows(rows), rng) for rows in checked_embeddings(safety, task)]
    pooled = np.concatenate([fit for fit, _ in halves])
    centre, scale = pooled.mean(axis=0), pooled.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    (fit_safety, held_safety), (fit_task, held_task) = (
        [(rows - centre) / scale for rows in half] for half in halves
    )
    held_out = (held_safety, held_task)
    return _measure("embedding classifier", fit_safety, fit_task, held_out, strength=0.1, p=p)


def fit_classifier(
    safety: NDArray | sp.csr_matrix, task: NDArray | sp.csr_matrix, *, strength: float
) -> LogisticRegression:
    """Balanced ridge logistic regression, ``True`` = safety; ``strength`` is sklearn's ``C``."""
    sparse = sp.issparse(safety)
    both: Any = [safety, task]
    rows: Any = sp.vstack(both, format="csr") if sparse else np.concatenate(both)
    labels = np.arange(shape_of(rows)[0]) < shape_of(safety)[0]
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=200)
    return model.fit(rows, labels)


def _measure(
    method: str,
    fit_safety: NDArray | sp.csr_matrix,
    fit_task: NDArray | sp.csr_matrix,
    held_out: tuple[NDArray | sp.csr_matrix, NDArray | sp.csr_matrix],
    *,
    strength: float,
    p: float,
) -> OverlapMeasure:
    model = fit_classifier(fit_safety, fit_task, strength=strength)
    safety, task = (
        np.searchsorted(_EDGES, model.predict_proba(rows)[:, 1], side="right") for rows in held_out
    )
    return held_out_overlap(
        method,
        safety,
        task,
        size=len(_EDGES) + 1,
        safety_side=np.arange(len(_EDGES) + 1) > np.searchsorted(_EDGES, 0.5),
        p=p,
        why=_WHY,
    )
