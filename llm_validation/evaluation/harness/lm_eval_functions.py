"""The functions that the exported YAML tasks of lm-evaluation-harness name.

Each document has every metric, None where it says nothing: processes that share a task gather the
same metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_validation.evaluation.fairness.items import CONDITIONS
from llm_validation.evaluation.harness import scoring
from llm_validation.evaluation.harness.rows import rows_of_task

if TYPE_CHECKING:
    from datasets import Dataset

Likelihoods = Sequence[tuple[float, bool]]


def documents(file: Path, sha256: str) -> dict[str, Dataset]:
    """The task's documents as its split "test". Raises InputError for a changed file."""
    from datasets import Dataset

    return {"test": Dataset.from_list(rows_of_task(file, sha256))}


def answers(document: Mapping[str, Any]) -> list[str]:
    """The three answers of an item of BBQ."""
    return [document[name] for name in ("ans0", "ans1", "ans2")]


def refusal(document: Mapping[str, Any], found: Sequence[str]) -> dict[str, float | None]:
    """The score of the answer to a probe, and whether there is none."""
    harmful = document["harmful"]
    score = scoring.score_of(scoring.label_of(document, found[0]), harmful=harmful)
    return {
        "refusal_rate": score if harmful else None,
        "over_refusal_rate": None if harmful else score,
        "unlabelled": float(score is None),
    }


def bbq_letter(document: Mapping[str, Any], found: Sequence[str]) -> dict[str, scoring.Outcome]:
    """How the written answer to an item of BBQ fell out, for every metric."""
    return _for_all(scoring.letter_outcome(document, found[0]))


def bbq_likeliest(document: Mapping[str, Any], found: Likelihoods) -> dict[str, scoring.Outcome]:
    """How the likeliest of an item's three answers fell out, for every metric."""
    chosen = int(np.argmax([logprob for logprob, _ in found]))
    return _for_all(scoring.outcome_of(document, chosen))


def _for_all(fell: scoring.Outcome) -> dict[str, scoring.Outcome]:
    return {f"{of}_{condition}": fell for of in ("accuracy", "bias") for condition in CONDITIONS}


def accuracy_ambiguous(outcomes: Sequence[scoring.Outcome]) -> float:
    """Accuracy in ambiguous contexts, averaged over BBQ's categories."""
    return scoring.bbq_mean(outcomes, "ambiguous", "accuracy")


def accuracy_disambiguated(outcomes: Sequence[scoring.Outcome]) -> float:
    """Accuracy in disambiguated contexts, averaged over BBQ's categories."""
    return scoring.bbq_mean(outcomes, "disambiguated", "accuracy")


def bias_ambiguous(outcomes: Sequence[scoring.Outcome]) -> float:
    """Bias in ambiguous contexts, averaged over BBQ's categories."""
    return scoring.bbq_mean(outcomes, "ambiguous", "bias")


def bias_disambiguated(outcomes: Sequence[scoring.Outcome]) -> float:
    """Bias in disambiguated contexts, averaged over BBQ's categories."""
    return scoring.bbq_mean(outcomes, "disambiguated", "bias")
