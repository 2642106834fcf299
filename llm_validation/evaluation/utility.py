"""Utility: how near answers come to their references, by ROUGE-1 or chrF, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from llm_validation.evaluation.refusal.reasoning import split_reasoning
from llm_validation.evaluation.statistics.intervals import mean_over_items_and_seeds
from llm_validation.evaluation.translation import chrf
from theory.confidence import Interval

Metric = Literal["rouge1", "chrf"]
HIGHEST: dict[Metric, float] = {"rouge1": 1.0, "chrf": 100.0}
"""A metric's score of an answer that is its reference; the lowest is 0."""
MEANS: dict[Metric, str] = {
    "rouge1": "ROUGE-1 F of one answer, 0 to 1",
    "chrf": "chrF of one answer, 0 to 100",
}


@dataclass(frozen=True)
class Utility:
    """Scores of ``n`` answers, 0 to ``HIGHEST[metric]``, and their mean with a bootstrap interval.

    ``failed`` counts answers that could not be generated: they score 0. The mean of chrF over
    items is not the chrF of the corpus, which ``translation.chrf`` has.
    """

    metric: Metric
    items: tuple[float, ...]
    mean: Interval
    failed: int

    @property
    def n(self) -> int:
        return len(self.items)

    def as_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "mean": self.mean.estimate,
            "interval": [self.mean.lower, self.mean.upper],
            "n": self.n,
            "failed": self.failed,
        }


def utility(
    answers: Sequence[str | None],
    references: Sequence[str],
    *,
    metric: Metric = "rouge1",
    seed: int = 0,
) -> Utility:
    """The score of every answer (None: one that failed) against its reference, and their mean.

    Raises ValueError without items, for lengths that differ, and for an unknown metric.
    """
    if metric not in HIGHEST:
        raise ValueError(f"the metric {metric!r} is none of {', '.join(HIGHEST)}")
    if not answers or len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers to {len(references)} references")
    if metric == "rouge1":
        items = tuple(rouge1(answers, references))
    else:
        # Each item's own score; the corpus score with its interval is not asked for.
        items = tuple(
            chrf([answer], [reference], rng=np.random.default_rng(seed)).items[0]
            for answer, reference in zip(answers, references, strict=True)
        )
    found = mean_over_items_and_seeds([items], rng=np.random.default_rng(seed))
    mean = Interval(
        found.estimate, max(0.0, found.lower), min(HIGHEST[metric], found.upper)
    )  # a single item's interval is the whole line
    return Utility(metric, items, mean, sum(answer is None for answer in answers))


def rouge1(answers: Sequence[str | None], references: Sequence[str]) -> list[float]:
    """ROUGE-1's F-measure of every answer, 0 to 1, by the rouge-score package without stemming.

    Its words are runs of a to z and 0 to 9: texts in another script score 0. None scores 0. A
    thought before an answer is no part of it.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1"], use_stemmer=False)
    return [
        float(
            scorer.score(reference, split_reasoning(answer or "").answer or "")["rouge1"].fmeasure
        )
        for answer, reference in zip(answers, references, strict=True)
    ]
