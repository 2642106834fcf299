"""What an experiment's own runs are in the plane: the undefended sweep and the defended ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finebound.results.tradeoff import UNDEFENDED
from llm_validation.defences.asft import AsFT
from llm_validation.defences.constrained_sft import ConstrainedSFT
from llm_validation.defences.during import EWC, DataMixing, KLToAligned
from llm_validation.defences.lisa import Lisa
from llm_validation.defences.protocol import Faithfulness
from llm_validation.defences.registry import compared
from llm_validation.experiments.run import Measured
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.strategies import (
    BiState,
    SoftParameterConstraint,
    SubspacePenalty,
    TokenConstraint,
)
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

_OURS = {
    "dual-ascent": Faithfulness(
        paper="Case I with the proxy's loss held below a budget (T2).",
        ours="Lambda is moved by dual ascent during the run.",
    ),
    "radius": Faithfulness(
        paper="Case II: the weights stay within a radius of the aligned model's.",
        ours="A Euclidean projection after every optimiser step.",
    ),
    "hybrid": Faithfulness(
        paper="Case I and Case II together (T9).",
        ours="Data mixing with the projection of Case II.",
    ),
    "l2-penalty": Faithfulness(
        paper="Case II as a penalty on the squared distance from the aligned model (L2-SP).",
        ours="On the displacement that a radius would limit.",
    ),
    UNDEFENDED: Faithfulness(
        paper="Plain fine-tuning.",
        ours="The baseline is swept too: early checkpoints and every learning rate of the grid.",
    ),
}


@dataclass(frozen=True)
class Family:
    """One sweep: a defence, and the rows it is given where those differ."""

    method: str
    proxy: str | None = None

    @property
    def name(self) -> str:
        return self.method if self.proxy is None else f"{self.method} ({self.proxy})"


def family_of(run: Measured) -> Family:
    """Which defence a run of the grid was trained with."""
    strategy, proxy = run.run.plan.strategy, run.run.proxy
    match strategy:
        case None:
            return Family(UNDEFENDED)
        case LossConstraint():
            if strategy.epsilon is not None:
                return Family("dual-ascent", proxy)
            generated = proxy == "self-generated"
            return Family(KLToAligned.name) if generated else Family(DataMixing.name, proxy)
        case ParameterConstraint():
            return Family("radius")
        case Hybrid():
            return Family("hybrid", proxy)
        case SoftParameterConstraint():
            return Family(EWC.name, proxy) if strategy.fisher else Family("l2-penalty")
        case TokenConstraint():
            return Family(ConstrainedSFT.name)
        case BiState():
            return Family(Lisa.name, proxy)
        case SubspacePenalty():
            return Family(AsFT.name)


def faithfulness_of(method: str) -> Faithfulness:
    """What of a defence, or of a family of the grid, is its paper's and what is ours."""
    kinds = (DataMixing, KLToAligned, EWC, *compared().values())
    return {kind.name: kind.faithfulness for kind in kinds}.get(method) or _OURS[method]


def budget_of(plan: TrainingPlan, step: int, *, against: Measured) -> dict[str, Any]:
    """Steps and rows that made a point; ``other`` says how that differs from the undefended run.

    Compared are what was trained on and for how long, not what a defence needs besides.
    """
    reference, other = against.run.plan, []
    if step != against.last:
        other.append(f"{step} steps instead of {against.last}")
    for name in ("learning_rate", "batch_size", "schedule", "optimizer"):
        own, theirs = getattr(plan, name), getattr(reference, name)
        if own != theirs:
            other.append(f"{name.replace('_', ' ')} {own} instead of {theirs}")
    on_task, on_safety = step, step
    if isinstance(plan.strategy, BiState):
        on_safety = plan.strategy.alignment_steps_of(step)
        on_task = step - on_safety
        other.append(
            f"{on_safety} of the {step} steps on {plan.proxy_rows_per_step} safety rows instead of "
            "the task's"
        )
    elif plan.proxy_rows_per_step:
        other.append(f"{plan.proxy_rows_per_step} safety rows more in every step")
    return {
        "training_steps": step,
        "task_rows": on_task * plan.batch_size,
        "safety_rows": on_safety * plan.proxy_rows_per_step,
        "harmful_rows": 0,
        "extra_seconds": 0.0,
        "needs": "a run of its own" if plan.strategy is not None else "",
        "other": other,
    }


def sweep(runs: Sequence[Measured], base: Measured) -> list[tuple[Measured, int]]:
    """The undefended runs and checkpoints of the base's seed: its own, and other learning rates.

    The end of each is a point, and so is every checkpoint before it.
    """
    found = []
    for m in runs:
        same = m.run.seed == base.run.seed and m.run.plan.strategy is None
        if same and _differs_in_rate_only(m, base):
            found += [(m, step) for step in m.steps if step > 0]
    return found


def _differs_in_rate_only(m: Measured, base: Measured) -> bool:
    plans = [run.run.plan.as_dict() for run in (m, base)]
    return all(
        plans[0].get(name) == plans[1].get(name) for name in plans[1] if name != "learning_rate"
    )
