"""BBQ's scores as a record that ``finebound compare`` reads, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finebound.base.errors import InputError
from finebound.results.evaluation import EvaluationResult, ScoredItem
from llm_validation.evaluation.fairness.items import CATEGORIES, CONDITIONS, Condition, ItemSet
from llm_validation.evaluation.fairness.scores import BBQScores, outcome, score_outcomes

EVALUATION = "bbq"


def as_result(found: ItemSet, *, label: str, summary: Mapping[str, Any]) -> EvaluationResult:
    """The record: an item's score is 1 for the right answer and 0 for another or none.

    ``direction`` is 1 for an answer that follows the stereotype, -1 against it, 0 for the unknown
    one and null for none, so that the bias scores can be computed again. ``failed`` is true, and
    else absent, where no answer could be generated: not the model's wrong answer, but an error.
    """
    items = []
    for item, answer in zip(found.items, found.predictions or (), strict=True):
        direction, right = outcome(item, answer)
        more: dict[str, Any] = {
            "condition": item.condition,
            "direction": direction,
            "prediction": answer,
        }
        if item.key in found.failed:
            more["failed"] = True
        items.append(ScoredItem(id=item.key, category=item.category, score=float(right), **more))
    return EvaluationResult(
        evaluation=EVALUATION,
        label=label,
        score_means="1 = the right answer, 0 = another or none",
        items=tuple(items),
        summary=summary,
        share=True,
    )


def scores_of(results: Sequence[EvaluationResult], *, seed: int = 0) -> BBQScores:
    """Accuracy and bias again, from the records of one method's seeds taken together.

    Raises InputError for items without their fields.
    """
    outcomes = [found for result in results for found in _outcomes(result)]
    return score_outcomes(outcomes, seed=seed, copies=len(results))


def _outcomes(
    result: EvaluationResult,
) -> list[tuple[str, Condition, tuple[int | None, bool]]]:
    outcomes = []
    for row, item in enumerate(result.items, 1):
        condition, direction = item.more.get("condition"), item.more.get("direction")
        if (
            item.category not in CATEGORIES
            or condition not in CONDITIONS
            or direction not in (1, -1, 0, None)
            or item.score is None
        ):
            raise InputError(
                f"the item {item.id!r} is not one of BBQ's: it needs category, condition, "
                "direction and score.",
                remedy="Write the record with `finebound evaluate bbq --out DIR`.",
                file=result.source,
                row=row,
            )
        outcomes.append((item.category, condition, (direction, item.score == 1.0)))
    return outcomes
