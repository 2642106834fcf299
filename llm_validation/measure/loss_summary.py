"""A model's loss on one dataset, with its intervals."""

from __future__ import annotations

import numpy as np

from finebound.results.estimate import ModelLoss
from finebound.results.spans import Limits
from llm_validation.measure.losses import Losses
from theory.confidence import empirical_bernstein
from theory.resampling import paired_bootstrap, ratio_of_sums


def summarise(
    losses: Losses, *, rows_of: int, loss_range: float, p: float, rng: np.random.Generator
) -> ModelLoss:
    """The loss with its intervals; ``rows_of`` is how many rows the dataset has in all."""
    per_row = losses.token_sum / losses.token_count
    while per_row.max() > loss_range:
        loss_range *= 2.0
    mean, influence = ratio_of_sums(losses.token_sum, losses.token_count)
    centred = paired_bootstrap(mean + influence, rng=rng, level=0.95)
    return ModelLoss(
        per_token=losses.per_token,
        per_sequence=losses.per_sequence,
        tokens_a_row=float(losses.token_count.mean()),
        rows=len(per_row),
        rows_of=rows_of,
        bootstrap=Limits.from_interval(centred),
        bernstein=Limits.from_interval(empirical_bernstein(per_row, bound=loss_range, p=p)),
        loss_range=loss_range,
    )
