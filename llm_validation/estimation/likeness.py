"""In what a plan is unlike finished fine-tunes: there T25's assumption is in doubt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finebound.results.evidence import EvidenceResult
from llm_validation.estimation.unroll_sizes import PLAN_ROWS, PLAN_SHARE, rows_of_an_unroll
from llm_validation.evaluation.hazards.probes import builtin_pairs, probes_sha256
from llm_validation.training.plan import TrainingPlan, plan_from_dict

_SLACK = 1e-9


@dataclass(frozen=True)
class Setting:
    """A plan for the model and the probes of these hashes."""

    plan: TrainingPlan
    model_sha256: str
    probes_sha256: str

    @property
    def stretch(self) -> float:
        """How many rows of the plan one row of its unroll stands for."""
        whole = self.plan.steps * self.plan.rows_per_step
        return whole / rows_of_an_unroll(self.plan, PLAN_SHARE, PLAN_ROWS)


def setting_of(one: EvidenceResult) -> Setting:
    """Of a finished fine-tune; without a hash its probes are the built-in pairs."""
    probes = one.probes_sha256 or probes_sha256(builtin_pairs().probes)
    return Setting(plan_from_dict(one.plan), one.model_sha256, probes)


def method_of(plan: Mapping[str, Any]) -> str:
    """The method of a plan in plain values, such as "lora q, v", "lora all" or "ia3"."""
    method = plan["method"]
    kind, targets = method["kind"], method.get("targets", ())
    if "lora" not in kind:
        return kind
    if "all-linear" in targets:
        return f"{kind} all"
    short = (target.removesuffix("_proj") for target in sorted(targets))
    return f"{kind} {', '.join(short)}"


def unlike(asked: Setting, finished: Sequence[Setting]) -> tuple[str, ...]:
    """Every property in which ``asked`` is outside of what ``finished`` fine-tunes were, by name.

    A learning rate is compared with those of the same method.
    """
    plan, plans = asked.plan, [one.plan for one in finished]
    reasons = []
    if asked.model_sha256 not in {one.model_sha256 for one in finished}:
        reasons.append("another model")
    if asked.probes_sha256 not in {one.probes_sha256 for one in finished}:
        reasons.append("other probes")
    if plan.objective is not None and all(one.objective is None for one in plans):
        reasons.append("DPO")
    method = method_of(plan.as_dict())
    alike = [one for one in plans if method_of(one.as_dict()) == method]
    if not alike:
        reasons.append(f"the method {method}")
    strategy = plan.as_dict()["strategy"]["kind"]
    if strategy not in {one.as_dict()["strategy"]["kind"] for one in plans}:
        reasons.append(f"the strategy {strategy}")
    if plan.optimizer not in {one.optimizer for one in plans}:
        reasons.append(f"the optimizer {plan.optimizer}")
    reasons += _outside("{} steps", plan.steps, (one.steps for one in plans))
    reasons += _outside(
        "{} rows per step", plan.rows_per_step, (one.rows_per_step for one in plans)
    )
    reasons += _outside(
        "{} rows of the plan per row of its unroll",
        asked.stretch,
        (one.stretch for one in finished),
    )
    reasons += _outside(
        "a learning rate of {}", plan.learning_rate, (one.learning_rate for one in alike)
    )
    return tuple(reasons)


def _outside(words: str, value: float, known: Iterable[float]) -> list[str]:
    """``words`` of a value that is outside of the range of what is known, and that range."""
    found = sorted(known)
    if not found or found[0] * (1 - _SLACK) <= value <= found[-1] * (1 + _SLACK):
        return []
    ends = dict.fromkeys(f"{end:.3g}" for end in (found[0], found[-1]))
    return [f"{words.format(f'{value:.3g}')} (theirs: {' to '.join(ends)})"]
