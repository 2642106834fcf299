"""How a proxy differs from the safety data: its contexts and its teacher, apart (T1(iii))."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finebound.base.progress import Progress, silent
from finebound.results.estimate import (
    PromptDifference,
    ProxyDifference,
    SampleTest,
    TeacherDifference,
)
from llm_validation.data.dataset import Dataset
from llm_validation.measure.clusters import ngram_points, unit_rows
from llm_validation.measure.context_overlap import Embed, context_overlap, embed_both
from llm_validation.measure.matching import (
    MatchedRows,
    balanced_rows,
    exact_rows,
    near_rows,
    shuffled_by_content,
)
from llm_validation.measure.overlap_measure import tightest_upper
from llm_validation.measure.teacher import compare_teachers
from llm_validation.measure.texts import TextPair
from theory.mismatch import mmd_test

_LEAST_PAIRS = 10
_PROJECTIONS = 64
_TRANSPORT_ROWS = 20_000


def proxy_mismatch(
    safety: Dataset,
    proxy: Dataset,
    *,
    seed: int,
    p: float = 0.05,
    level: float = 0.05,
    embed: Embed | None = None,
    log_likelihoods: tuple[ArrayLike, ArrayLike] | None = None,
    progress: Progress = silent,
) -> ProxyDifference:
    """Both parts of the mismatch between safety and proxy data.

    ``log_likelihoods`` are, for every row of ``safety [n]`` and of ``proxy [m]``, those of the
    response in nats a token under one model. ``p`` is each context measure's failure probability,
    ``level`` that of the teacher's verdict. Raises ValueError for fewer than two rows in a set.
    Source: T1(iii) of docs/theorems.md.
    """
    pair = TextPair.of(safety.prompts, proxy.prompts)
    context = context_mismatch(
        safety.prompts, proxy.prompts, seed=seed, p=p, embed=embed, pair=pair, progress=progress
    )
    teacher = teacher_mismatch(
        safety, proxy, seed=seed, level=level, log_likelihoods=log_likelihoods, pair=pair
    )
    return ProxyDifference(context=context, teacher=teacher)


def context_mismatch(
    safety_prompts: list[str],
    proxy_prompts: list[str],
    *,
    seed: int,
    p: float = 0.05,
    embed: Embed | None = None,
    pair: TextPair | None = None,
    progress: Progress = silent,
) -> PromptDifference:
    """The context part alone; arguments as in ``proxy_mismatch``."""
    pair = TextPair.of(safety_prompts, proxy_prompts) if pair is None else pair
    if embed is None:
        points, name = ngram_points(pair, seed=seed), "n-grams"
    else:
        vectors = embed_both(embed, safety_prompts, proxy_prompts)
        points, name = tuple(unit_rows(v) for v in vectors), "embeddings"
    measures = context_overlap(
        safety_prompts, proxy_prompts, seed=seed, p=p, embed=embed, pair=pair, progress=progress
    )
    limit = tightest_upper(measures)
    rng = np.random.default_rng(seed)
    return PromptDifference(
        tv_lower=1.0 - limit.value,
        failure_probability=limit.failure_probability,
        mmd=SampleTest(**vars(mmd_test(*points, rng=rng))),
        sliced_wasserstein=sliced_wasserstein(*points, rng=rng),
        points=name,
        measures=list(measures),
    )


def teacher_mismatch(
    safety: Dataset,
    proxy: Dataset,
    *,
    seed: int,
    level: float = 0.05,
    log_likelihoods: tuple[ArrayLike, ArrayLike] | None = None,
    pair: TextPair | None = None,
) -> TeacherDifference:
    """The teacher part alone: on identical prompts, else near-duplicates, else comparable ones.

    From 10 matched rows on the next kind is not needed. Without them contexts and teachers cannot
    be separated: rows are then paired by a classifier of their prompts, or at random, and the
    result says ``separated=False``. Raises ValueError where log-likelihoods do not fit the rows.
    """
    rng = np.random.default_rng(seed)
    pair = TextPair.of(safety.prompts, proxy.prompts) if pair is None else pair
    values = None
    if log_likelihoods is not None:
        values = tuple(np.asarray(v, dtype=np.float64) for v in log_likelihoods)
        if [v.shape for v in values] != [(len(safety),), (len(proxy),)]:
            raise ValueError(
                f"log-likelihoods of shapes {[v.shape for v in values]} do not fit "
                f"{len(safety)} safety and {len(proxy)} proxy rows."
            )
    orders = (
        shuffled_by_content(pair.safety, safety.responses, rng),
        shuffled_by_content(pair.task, proxy.responses, rng),
    )
    shuffled = pair.reordered(*orders)
    rows, matching, separated = _matched(shuffled, seed=seed, rng=rng)
    first, second = orders[0][rows.first], orders[1][rows.second]
    return compare_teachers(
        [safety.examples[i].response for i in first],
        [proxy.examples[j].response for j in second],
        rng=rng,
        level=level,
        matching=matching,
        separated=separated,
        log_likelihoods=None if values is None else (values[0][first], values[1][second]),
    )


def _matched(
    pair: TextPair, *, seed: int, rng: np.random.Generator
) -> tuple[MatchedRows, str, bool]:
    exact = exact_rows(pair)
    if len(exact) >= _LEAST_PAIRS:
        return exact, "identical prompts", True
    near = near_rows(pair, exact, seed=seed)
    both = MatchedRows(
        np.concatenate([exact.first, near.first]), np.concatenate([exact.second, near.second])
    )
    if len(both) >= _LEAST_PAIRS:
        return both, "near-duplicate prompts", True
    balanced = balanced_rows(pair, rng=rng)
    if len(balanced) >= _LEAST_PAIRS:
        return balanced, "prompts balanced by a classifier", False
    # The rows are in random order: any rows will do.
    whole = np.arange(min(len(pair.safety), len(pair.task)))
    return MatchedRows(whole, whole), "whole datasets", False


def sliced_wasserstein(
    first: NDArray[np.floating], second: NDArray[np.floating], *, rng: np.random.Generator
) -> float:
    """Sliced 2-Wasserstein distance of ``[n, d]`` and ``[m, d]`` over 64 directions.

    In the points' unit. At most 20,000 rows a side, drawn by ``rng``. Source: POT.
    """
    import ot

    first, second = (
        rows[rng.permutation(len(rows))[:_TRANSPORT_ROWS]].astype(np.float64)
        for rows in (first, second)
    )
    directions = rng.normal(size=(first.shape[1], _PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    distance: Any = ot.sliced_wasserstein_distance(first, second, projections=directions)
    return float(distance)
