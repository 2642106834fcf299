"""Lisa (arXiv 2405.18641): safety and task steps take turns, each near where the other ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

from finebound.base.progress import Progress, silent
from llm_validation.data.dataset import Dataset
from llm_validation.defences.protocol import Evidence, Faithfulness, Report, Stage
from llm_validation.defences.trials import Trial
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.strategies import BiState


@dataclass
class Lisa:
    """``alignment_steps`` on the safety rows (``proxy`` after ``fit``), ``task_steps`` on the task.

    The plan's steps are those of both: a defended run trains as long as the undefended one, and
    on fewer task rows.
    """

    alignment_steps: int = 100
    task_steps: int = 900
    rho: float = 1.0
    proxy: Dataset | None = None

    name = "lisa"
    stage: Stage = "during"
    faithfulness = Faithfulness(
        paper="Alignment and fine-tuning states take turns, 100 and 900 steps, and each step adds "
        "rho/2 |w - w_other|^2 towards the last weights of the other state, rho 1.",
        release="Leaves the proximal term out of the first tenth of the steps; one optimiser and "
        "one schedule run through both states.",
        ours="The term is there from the first step on; the norm is over the trained numbers (of a "
        "LoRA its factors), as in the release. A short run has shorter turns of the same shares.",
    )

    @classmethod
    def trials(cls) -> list[Trial]:
        # The first is the paper's share, whose turns of 100 and 900 steps are long for short runs.
        return [
            Trial(
                cls,
                "plan",
                f"safety in 2 of {2 + task} steps",
                {"alignment_steps": 2, "task_steps": task},
            )
            for task in (18, 8, 2)
        ]

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``safety``, the rows of the alignment state."""
        self.proxy = evidence.need("safety", "Lisa")

    def apply(self, subject: TrainingPlan) -> TrainingPlan:
        """The plan with both states; its proxy is ``proxy``."""
        return replace(subject, strategy=BiState(self.alignment_steps, self.task_steps, self.rho))

    def report(self) -> Report:
        settings = {
            "alignment_steps": self.alignment_steps,
            "task_steps": self.task_steps,
            "rho": self.rho,
        }
        return Report(self.name, self.stage, settings)
