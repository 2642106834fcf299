"""Every predictor of a fine-tune, for one table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from finebound.results.forecasts import Prediction
from llm_validation.forecast.baselines import data_baselines
from llm_validation.forecast.gradient_baselines import ROWS, gradient_baselines
from llm_validation.forecast.linearised import Linearised
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import Predictor, World
from llm_validation.training.plan import TrainingPlan


@dataclass(frozen=True)
class UnrollWithin:
    """The coarse unroll that ``share`` of a fine-tune pays for, chosen when it is asked."""

    share: float = 0.1
    name: str = "coarse unroll (T20)"

    def predict(self, world: World, plan: TrainingPlan) -> Prediction:
        """Raises InputError for a fine-tune too short for it, and as the unroll does."""
        unroll = CoarseUnroll.within(world, plan, share=self.share)
        return replace(unroll, name=self.name).predict(world, plan)


def all_predictors(*, share: float = 0.1, gradients: int = ROWS) -> list[Predictor]:
    """Ours within ``share`` of the fine-tune, then the baselines, names apart.

    ``gradients`` is how many rows of each dataset T16 and the gradient baselines share. A plan
    that a predictor cannot forecast (the epsilon form, a soft constraint, a very short run) raises
    InputError when that predictor is asked.
    """
    found: list[Predictor] = [
        UnrollWithin(share),
        Linearised(rows=gradients),
        *data_baselines(),
        *gradient_baselines(rows=gradients),
    ]
    return found
