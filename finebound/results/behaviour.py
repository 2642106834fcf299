"""How a run behaves beside the aligned model, as ``validate.json`` holds it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from finebound.results.result import Known, Number, Part
from finebound.results.spans import Span

SCORES = {"ambiguous": "s_AMB", "disambiguated": "s_DIS"}
"""What BBQ's bias is called in each context condition (Parrish et al. 2022)."""


class Cells(Part):
    """Mean scores of ``n`` items and their paired differences.

    ``theta_s`` is the aligned model, ``start`` the run's own start (None where it is the aligned
    model), ``end`` the run. ``change`` and ``start_change`` are against the aligned model,
    ``training_change`` against the own start.
    """

    n: int
    end: Span
    theta_s: Span
    start: Span | None
    change: Span
    start_change: Span | None
    training_change: Span | None


class ConditionCells(Cells):
    """The same in one context condition of BBQ, and how many answers failed there."""

    failed: int


class CheckpointScore(Part):
    """A mean score while the run trained, and its change against the aligned model."""

    step: int
    fraction: Number
    mean: Span
    change: Span


class CorpusScore(Part):
    """chrF of the whole corpus; ``theta_s`` is the aligned model's."""

    estimate: Known
    interval: tuple[Number, Number]
    theta_s: Known


class BiasCell(Part):
    """A bias in one dimension and context; ``certain`` where a turned sign is beyond noise."""

    end: Span | None = None
    theta_s: Span | None = None
    start: Span | None = None
    flipped: bool
    certain: bool


class Bias(Part):
    """BBQ's bias of a run. The first two are by who was asked: end, theta_s, start."""

    mean_absolute_ambiguous: dict[str, Known]
    mean_accuracy: dict[str, dict[str, Span]]
    categories: dict[str, dict[str, BiasCell]]

    @property
    def cells(self) -> list[BiasCell]:
        return [cell for both in self.categories.values() for cell in both.values()]

    @property
    def turned(self) -> tuple[int, int, int]:
        """How many biases there are, how many turned their sign, and how many beyond noise."""
        cells = self.cells
        return len(cells), sum(c.flipped for c in cells), sum(c.certain for c in cells)


class Evaluated(Part):
    """One evaluation of a run. ``why_not`` says why it stands beside nothing; then the rest lacks.

    Of BBQ the categories are "Age, ambiguous" and so on, and ``conditions`` has the numbers by
    context condition: those that mix both tell no two models apart.
    """

    measure: str
    n: int
    failed: int
    why_not: str | None = None
    end: Span | None = None
    theta_s: Span | None = None
    start: Span | None = None
    change: Span | None = None
    start_change: Span | None = None
    training_change: Span | None = None
    conditions: dict[str, ConditionCells] | None = None
    bias: Bias | None = None
    categories: dict[str, Cells] = Field(default={})
    corpus_chrf: CorpusScore | None = None
    checkpoints: list[CheckpointScore] = Field(default=[])


Behaviour = dict[str, Evaluated]
"""By the evaluation's name."""


def by_condition(behaviour: Mapping[str, Evaluated] | None) -> dict[str, Evaluated]:
    """Every evaluation by name, BBQ once for each context condition: "bbq, ambiguous".

    An entry that was written before conditions were told apart stays whole.
    """
    found: dict[str, Evaluated] = {}
    for name, entry in (behaviour or {}).items():
        if entry.conditions is None:
            found[name] = entry
            continue
        for condition, cells in entry.conditions.items():
            mine = {k: v for k, v in entry.categories.items() if k.endswith(f", {condition}")}
            told = {field: getattr(cells, field) for field in ConditionCells.model_fields}
            found[f"{name}, {condition}"] = entry.model_copy(update={**told, "categories": mine})
    return found


class OwnScore(Part):
    """An evaluation of the aligned model alone."""

    n: int
    measure: str
    mean: Known


class PooledCell(Part):
    """The change over all runs that passed their gates, resampled over items and runs."""

    n: int
    change: Span


class Pooled(Part):
    """An evaluation over all runs that passed their gates, as a whole and by category."""

    runs: int
    n: int
    change: Span
    conditions: dict[str, PooledCell] | None = None
    categories: dict[str, PooledCell]


class RankCorrelation(Part):
    """Of an evaluation's change with the change in held-out safety loss, over ``n`` runs."""

    n: int
    pearson: Known
    p_value: Known
    spearman: Span


class Correlations(Part):
    """Over the runs that passed every gate, and over all."""

    passed: RankCorrelation
    all: RankCorrelation


class SharedBehaviour(Part):
    """What all runs show together, each by the evaluation's name."""

    theta_s: dict[str, OwnScore]
    pooled: dict[str, Pooled | None]
    correlations: dict[str, Correlations]
