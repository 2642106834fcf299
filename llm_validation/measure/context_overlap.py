"""Context overlap of safety and task prompts, by every measure that needs no language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from finebound.base.progress import Progress, silent
from llm_validation.measure.classifier import embedding_classifier, ngram_classifier
from llm_validation.measure.closest_pairs import closest_pairs
from llm_validation.measure.clusters import embedding_clusters, ngram_clusters
from llm_validation.measure.exact_match import exact_match
from llm_validation.measure.near_duplicates import near_duplicates
from llm_validation.measure.overlap_measure import Errs, OverlapMeasure, tightest_upper
from llm_validation.measure.texts import TextPair

__all__ = [
    "Embed",
    "Errs",
    "OverlapMeasure",
    "TextPair",
    "closest_pairs",
    "context_overlap",
    "embedding_overlap",
    "tightest_upper",
]

Embed = Callable[[Sequence[str]], NDArray[np.floating]]


def context_overlap(
    safety_prompts: Sequence[str],
    task_prompts: Sequence[str],
    *,
    seed: int,
    p: float = 0.05,
    embed: Embed | None = None,
    pair: TextPair | None = None,
    progress: Progress = silent,
) -> tuple[OverlapMeasure, ...]:
    """Exact match, near-duplicates, n-gram clusters and classifier, and both on embeddings.

    ``embed`` maps texts to ``[n, d]``; without it the last two are left out. Every measure that
    carries a probability fails with at most ``p`` (see ``tightest_upper`` for several at once).
    ``pair`` passes in texts already read. Raises ValueError for an empty set of prompts, or for
    fewer than two prompts in one. Source: T15 of docs/theorems.md.
    """
    pair = TextPair.of(safety_prompts, task_prompts) if pair is None else pair
    steps: list[Callable[[], OverlapMeasure]] = [
        lambda: exact_match(pair),
        lambda: near_duplicates(pair, seed=seed),
        lambda: ngram_clusters(pair, seed=seed, p=p),
        lambda: ngram_classifier(pair, seed=seed, p=p),
    ]
    found = tuple(step() for step in progress(steps, "measuring context overlap"))
    if embed is not None:
        found += embedding_overlap(embed, safety_prompts, task_prompts, seed=seed, p=p)
    return found


def embedding_overlap(
    embed: Embed,
    safety_prompts: Sequence[str],
    task_prompts: Sequence[str],
    *,
    seed: int,
    p: float = 0.05,
) -> tuple[OverlapMeasure, ...]:
    """Clusters and classifier on embeddings; arguments as in ``context_overlap``."""
    safety, task = embed_both(embed, safety_prompts, task_prompts)
    return (
        embedding_clusters(safety, task, seed=seed, p=p),
        embedding_classifier(safety, task, seed=seed, p=p),
    )


def embed_both(
    embed: Embed, safety: Sequence[str], task: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings of both sets, each distinct text embedded once."""
    distinct = list(dict.fromkeys([*safety, *task]))
    vectors = np.asarray(embed(distinct), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(distinct):
        raise ValueError(f"embed gave {vectors.shape} for {len(distinct)} texts, not [n, d].")
    place = {text: index for index, text in enumerate(distinct)}
    return vectors[[place[t] for t in safety]], vectors[[place[t] for t in task]]
