"""Constrained SFT (Qi et al., arXiv 2406.05946): hold an answer's first tokens near theta_s."""

from __future__ import annotations

from dataclasses import dataclass, replace

from finebound.base.progress import Progress, silent
from llm_validation.defences.protocol import Evidence, Faithfulness, Report, Stage
from llm_validation.defences.trials import Trial, sweep
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.strategies import TokenConstraint


@dataclass
class ConstrainedSFT:
    """Every task token's gradient falls as the token becomes likelier than under theta_s.

    ``beta`` is that of the tokens after the fifth, per nat; needs no safety rows.
    """

    beta: float = 0.1

    name = "constrained-sft"
    stage: Stage = "during"
    faithfulness = Faithfulness(
        paper="-2/beta_t log sigmoid(beta_t log(p_t / p_ref,t)) per token: the cross-entropy's "
        "gradient times 2 (1 - sigmoid). beta is 0.5 on the first token, 2 on the second to fifth, "
        "0.1 after them.",
        release="Multiplies the cross-entropy by that weight, held fixed and at least 0.001: the "
        "same gradient but for that floor.",
        ours="The loss itself, a mean over all tokens of a step. The reference is theta_s's token "
        "losses, measured once; the two factors on beta, 5 and 20, are those of the release.",
    )

    @classmethod
    def trials(cls) -> list[Trial]:
        return sweep(cls, "beta", 0.02, 0.1, 0.5, on="plan")

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs nothing: the reference is the model that the plan starts from."""

    def apply(self, subject: TrainingPlan) -> TrainingPlan:
        """The plan with the token-wise constraint."""
        return replace(subject, strategy=TokenConstraint(self.beta))

    def report(self) -> Report:
        constraint = TokenConstraint(self.beta)
        settings = {"beta": self.beta, "first": constraint.first, "early": constraint.early}
        return Report(self.name, self.stage, settings)
