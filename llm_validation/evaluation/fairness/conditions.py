"""BBQ's records by context condition: an accuracy over both says nothing.

A model that is always right in ambiguous contexts and never in disambiguated ones has the same
pooled accuracy as its opposite.
"""

from __future__ import annotations

from collections.abc import Sequence

from finebound.results.evaluation import EvaluationResult
from llm_validation.evaluation.fairness.items import CONDITIONS, Condition
from llm_validation.evaluation.fairness.record import EVALUATION


def by_condition(result: EvaluationResult, condition: Condition | None = None) -> EvaluationResult:
    """A BBQ record with the categories "Age, ambiguous" and so on; any other as it is.

    With a ``condition`` only its items are left, maybe none.
    """
    if result.evaluation != EVALUATION:
        return result
    items = tuple(
        item.model_copy(update={"category": f"{item.category}, {item.more.get('condition')}"})
        for item in result.items
        if condition in (None, item.more.get("condition"))
    )
    return result.model_copy(update={"items": items})


def conditions_of(results: Sequence[EvaluationResult]) -> list[Condition]:
    """The conditions that every one of BBQ's records has items in; else those that any has."""
    found = [{item.more.get("condition") for item in result.items} for result in results]
    shared: list[Condition] = [name for name in CONDITIONS if all(name in own for own in found)]
    either: list[Condition] = [name for name in CONDITIONS if any(name in own for own in found)]
    return shared or either
