"""A point of the comparison: one model, its held-out losses beside theta_s's, its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from finebound.results.tradeoff import Budget, CoherenceGate, DefendedSeed
from llm_validation.experiments.answers import Answer, rates
from llm_validation.experiments.statistics import Pair
from llm_validation.tradeoff.coherence import coherence

_DETAILS = ("displacement", "kept", "cost")
"""Of a defence's report, besides its modules."""


@dataclass(frozen=True, eq=False)
class Point:
    """One seed of one strength of one family.

    ``budget`` says what made it and how that differs from the undefended run; ``report`` is what
    the defence said of the modules it changed; ``command`` makes the defended adapter again.
    ``answers`` is None where the model was not kept (an early checkpoint) or nothing was asked.
    """

    id: str
    method: str
    family: str
    strength: str
    stage: str
    run: str
    seed: int
    safety: Pair
    task: Pair
    answers: tuple[Answer, ...] | None
    budget: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)
    command: str | None = None

    @property
    def label(self) -> str:
        return f"{self.family} {self.strength}".strip()

    def gate(self, vocabulary: int, own: Sequence[Answer]) -> CoherenceGate:
        """Whether the model still speaks, beside theta_s's ``own`` answers."""
        sets = {"safety rows": self.safety, "task rows": self.task}
        return coherence(sets, self.answers, vocabulary=vocabulary, own=own)

    def entry(self, gate: CoherenceGate) -> DefendedSeed:
        """The point in the result, without the coordinates that it has in the plane."""
        return DefendedSeed(
            id=self.id,
            method=self.method,
            family=self.family,
            strength=self.strength,
            stage=self.stage,
            run=self.run,
            seed=self.seed,
            safety_loss=self.safety.end.per_token,
            task_loss=self.task.end.per_token,
            gate=gate,
            answers=rates(self.answers or ()),
            budget=Budget(**self.budget),
            same_budget=not self.budget["other"],
            settings=self.report.get("settings", {}),
            changed_modules=sum(m["changed"] for m in self.report.get("modules", ())),
            details={n: self.report[n] for n in _DETAILS if n in self.report},
            notes=self.report.get("notes", []),
            command=self.command,
        )
