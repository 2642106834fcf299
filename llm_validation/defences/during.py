"""Defences that are a training plan's strategy: data mixing, KL to the aligned model, EWC.

Data mixing (SafeInstr, arXiv 2309.07875) is Case I: ``loss_task + lambda loss_safety``. The KL
divergence to the aligned model on safety-like prompts is, up to a constant, the loss on answers
that the aligned model gives itself: Case I with the self-generated proxy of T5. Elastic weight
consolidation is Case II's penalty weighted by the squared gradients on the safety rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from finebound.base.progress import Progress, silent
from llm_validation.data.dataset import Dataset
from llm_validation.defences.protocol import Evidence, Faithfulness, Report, Stage
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.strategies import SoftParameterConstraint
from theory.strategy import LossConstraint


@dataclass
class DataMixing:
    """Train on the task and, with weight ``lam``, on the safety rows: ``proxy`` after ``fit``."""

    lam: float = 1.0
    proxy: Dataset | None = None

    name = "data-mixing"
    stage: Stage = "during"
    faithfulness = Faithfulness(
        paper="Safety rows are trained on beside the task's (SafeInstr, arXiv 2309.07875).",
        ours="As Case I: the two losses are averaged apart and weighted by lambda, so that the "
        "share of safety rows in a batch decides nothing.",
    )

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``safety``, the rows to mix in."""
        self.proxy = evidence.need("safety", "data mixing")

    def apply(self, subject: TrainingPlan) -> TrainingPlan:
        """The plan with the loss constraint; its proxy is ``proxy``."""
        return replace(subject, strategy=LossConstraint(lam=self.lam))

    def report(self) -> Report:
        return Report(self.name, self.stage, {"lam": self.lam})


@dataclass
class KLToAligned(DataMixing):
    """Keep the aligned model's answers on the safety rows' prompts, with weight ``lam``.

    ``fit`` samples one answer a prompt from the aligned model, at temperature 1.
    """

    max_new_tokens: int = 128
    seed: int = 0

    name = "kl-to-aligned"
    faithfulness = Faithfulness(
        paper="A KL divergence to the aligned model on safety-like prompts.",
        ours="The cross-entropy on answers that the aligned model samples itself, which is "
        "that divergence up to a constant and the samples' error (T5's self-generated "
        "proxy).",
    )

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``model`` (the aligned one) and ``safety``, whose prompts it answers."""
        from llm_validation.evaluation.self_generated import answer_with

        self.proxy = answer_with(
            evidence.need("model", self.name),
            evidence.need("safety", self.name),
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
            progress=progress,
        )

    def report(self) -> Report:
        rows = 0 if self.proxy is None else len(self.proxy)
        settings = {"lam": self.lam, "max_new_tokens": self.max_new_tokens, "seed": self.seed}
        return Report(self.name, self.stage, settings, details={"rows": rows})


@dataclass
class EWC:
    """``strength / 2 sum_i F_i (theta_i - theta_s,i)^2``, F on the safety rows: ``proxy``."""

    strength: float = 1000.0
    proxy: Dataset | None = None

    name = "ewc"
    stage: Stage = "during"
    faithfulness = Faithfulness(
        paper="A quadratic penalty weighted by the Fisher information of the old task (arXiv "
        "1612.00796).",
        ours="The old task is safety; the information is the empirical one (squared gradients "
        "of the rows' own answers) at the aligned model.",
    )

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``safety``, the rows of the Fisher information."""
        self.proxy = evidence.need("safety", "EWC")

    def apply(self, subject: TrainingPlan) -> TrainingPlan:
        """The plan with the weighted penalty; its proxy is ``proxy``."""
        return replace(subject, strategy=SoftParameterConstraint(self.strength, fisher=True))

    def report(self) -> Report:
        return Report(self.name, self.stage, {"strength": self.strength})
