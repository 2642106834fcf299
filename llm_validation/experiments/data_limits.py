"""T10 on an experiment's own rows: what they force on every policy, whatever the fine-tune."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from llm_validation.data.dataset import Dataset
from llm_validation.estimation.bounds import PER_RESPONSE
from llm_validation.estimation.shared_contexts import shared_contexts
from llm_validation.experiments.datasets import SAFETY, task_set
from llm_validation.experiments.prepare import Prepared
from theory.bound import Bound, Direction, Quantity, Status
from theory.evaluation import evaluate
from theory.strategy import LossConstraint

_LAMS = (0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class DataLimits:
    """T10 on the training rows, nats per response; entropies ``(H_s, H_f)`` of their answers."""

    conflicting: int
    shared: int
    weighted: tuple[tuple[float, Bound], ...]
    roots: tuple[Bound, ...]
    entropies: tuple[float, float]

    def least_safety_gap(self, capability_gap: float) -> float:
        """The least safety gap of any policy with this capability gap, nats per response."""
        best = 0.0
        for lam, b in self.weighted:
            best = max(best, (float(b.value) - capability_gap) / lam)
        return best


def data_limits(
    prepared: Prepared, task: str, *, safety_set: str = SAFETY, task_rows: str | None = None
) -> DataLimits:
    """What the rows force on every policy: prompts are equal only if they are letter by letter."""
    safety = _opaque(prepared.sets[safety_set])
    rows = _opaque(prepared.sets[task_rows or task_set(task)])
    shared = shared_contexts(safety, rows)
    weighted, roots = [], []
    for lam in _LAMS:
        for b in evaluate(shared.problem, LossConstraint(lam=lam), statements=("T10",)):
            b = replace(b, unit=PER_RESPONSE)
            if b.status == Status.NOT_APPLICABLE or b.direction is not Direction.LOWER:
                continue
            if b.quantity is Quantity.WEIGHTED_SUM:
                weighted.append((lam, b))
            elif b.quantity is Quantity.SQRT_SUM and lam == _LAMS[0]:
                roots.append(b)
    return DataLimits(
        conflicting=shared.conflicting,
        shared=shared.shared,
        weighted=tuple(weighted),
        roots=tuple(roots),
        entropies=(_answer_entropy(safety), _answer_entropy(rows)),
    )


def _opaque(dataset: Dataset) -> Dataset:
    """Prompts and answers as digests, so that only identical ones count as equal."""

    def digest(value: object) -> str:
        return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()

    return Dataset.of(
        ((digest(e.messages), digest(e.response)) for e in dataset.examples), name=dataset.name
    )


def _answer_entropy(dataset: Dataset) -> float:
    """``E_rho H(mu(.|x))`` of the empirical answers, nats per response."""
    prompts: dict[str, dict[str, int]] = {}
    for e in dataset.examples:
        answers = prompts.setdefault(e.prompt, {})
        answers[e.response] = answers.get(e.response, 0) + 1
    total = 0.0
    for answers in prompts.values():
        counts = np.array(list(answers.values()), dtype=np.float64)
        p = counts / counts.sum()
        total -= float(counts.sum() * (p * np.log(p)).sum())
    return total / len(dataset)
