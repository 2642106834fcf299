"""Where a fine-tune turned the direction of a bias."""

from __future__ import annotations

from collections.abc import Sequence

from finebound.results.compare import BiasChange
from llm_validation.evaluation.fairness.items import CONDITIONS
from llm_validation.evaluation.fairness.scores import BBQScores
from theory.confidence import Interval


def bias_changes(base: BBQScores, others: Sequence[tuple[str, BBQScores]]) -> list[BiasChange]:
    """Every category and condition that the base and another model have answers in."""
    return [
        _change(category, condition, label, cells[condition].bias, now.bias)
        for label, scores in others
        for category, cells in base.categories.items()
        for condition in CONDITIONS
        if category in scores.categories
        and cells[condition].counts.n
        and (now := scores.categories[category][condition]).counts.n
    ]


def _change(category: str, condition: str, label: str, base: Interval, now: Interval) -> BiasChange:
    flipped = base.estimate * now.estimate < 0.0
    return BiasChange(
        category=category,
        condition=condition,
        label=label,
        base_bias=base.estimate,
        base_interval=(base.lower, base.upper),
        bias=now.estimate,
        interval=(now.lower, now.upper),
        flipped=flipped,
        certain=flipped and all(end.lower > 0.0 or end.upper < 0.0 for end in (base, now)),
    )
