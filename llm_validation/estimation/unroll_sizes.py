"""How many rows of a plan its unrolls train on."""

from __future__ import annotations

from llm_validation.training.plan import TrainingPlan

PLAN_ROWS, MIX_ROWS = (24, 60), (24, 42)
"""The fewest and the most rows that the unroll of the plan, and that of the mix, trains on."""
PLAN_SHARE, MIX_SHARE = 0.0375, 0.0263
"""Of the fine-tune's rows, what they train on between those limits."""


def rows_of_an_unroll(plan: TrainingPlan, share: float, limits: tuple[int, int]) -> float:
    """``share`` of the plan's rows, between two limits; never more than the plan has."""
    whole = plan.steps * plan.rows_per_step
    return min(max(share * whole, limits[0]), limits[1], whole)
