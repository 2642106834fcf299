"""Which task rows cost the safety: the first-order change of the safety loss, row by row.

A step on row i moves the trained numbers by ``-rate P grad l_i``, P being the optimiser's
preconditioner, and the safety loss by ``-rate <P grad f_s, grad l_i>``: what l_i falls by along
``P grad f_s`` is what the row costs. So no gradient of a row is needed: its loss is read a little
to either side. The safety gradient is that of the weights where a coarse unroll (T20) leads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed
from llm_validation.data.encoding import Encoded
from llm_validation.forecast.optimiser import Trajectory
from llm_validation.forecast.world import FORWARD_ONLY, World, total_tokens
from llm_validation.measure.coordinates import Coordinates, norm
from llm_validation.measure.gradients import loss_and_gradient
from llm_validation.measure.losses import measure_losses
from llm_validation.measure.supervised import supervised_count
from llm_validation.training.plan import TrainingPlan

START = (0.0,)
"""Where on the straight line from the path's start (0) to its end (1) the rows' losses are read.

At the start no row has been seen. Halfway was no better than chance where steps were large.
"""
STEP = 0.02
"""How far to either side, in lengths of that line."""
EPSILON = 1e-8  # AdamW's


@dataclass(frozen=True, eq=False)
class RowsThatCost:
    """Scored task rows, the costliest first.

    ``rows`` int64 ``[n]`` are 1-based numbers of the dataset. ``changes`` float64 ``[n]`` is what a
    row adds to the safety loss over the whole fine-tune to first order, nats per token; a row
    below 0 protects. ``of`` rows can be trained on: those that the budget did not pay for have no
    score. ``tokens`` is what the scores cost, a token that is only read counting a third.
    """

    rows: np.ndarray
    changes: np.ndarray
    of: int
    tokens: float

    @property
    def shares(self) -> np.ndarray:
        """``changes`` over the sum of those above 0, float64 ``[n]``; 0 where no row costs."""
        cost = np.clip(self.changes, 0.0, None).sum()
        return self.changes / cost if cost > 0.0 else np.zeros_like(self.changes)

    def costliest(self, fraction: float) -> tuple[int, ...]:
        """Numbers of the ``round(fraction n)`` costliest rows, in the order of the dataset."""
        return tuple(sorted(self.rows[: round(fraction * len(self.rows))].tolist()))


def rows_that_cost(
    world: World,
    plan: TrainingPlan,
    model: PreTrainedModel,
    path: Trajectory,
    rates: np.ndarray,
    safety: Sequence[Encoded],
    *,
    own_answers: bool = True,
    tokens: float = math.inf,
    points: Sequence[float] = START,
    progress: Progress = silent,
) -> RowsThatCost:
    """Score the task's rows, or a seeded sample of them that ``tokens`` pay for.

    ``model`` and ``path`` are what ``CoarseUnroll.unrolled`` yields, inside of it, and ``rates``
    the learning rates ``[K]`` of its steps. The gradient of the mean token loss on the ``safety``
    rows is the mean of those at the path's start and end. Of the model's ``own_answers`` at
    temperature 1 the one at the start is 0 in expectation: what is measured there is the sample's
    noise, which is at the end too, and is taken off. P is ``1 / (sqrt(v) + eps)`` of AdamW's second
    moments at the end, 0 for a number that no step moved; for SGD it is 1. Clipping, momentum and a
    radius change a step's length and are left out: trust signs and ratios (``shares``), not sizes.
    Rows are read at ``points`` of the way, whose mean counts. The weights leave as they came.

    Raises InputError for DPO, whose rows are pairs, for a budget that pays for no row and for a
    path that did not move, ValueError for fewer than two safety rows.
    """
    if plan.objective is not None:
        raise InputError(
            "there is no attribution of a DPO fine-tune to its pairs.",
            remedy="Ask for it of supervised fine-tuning on the chosen answers.",
        )
    trainable = world.encoded("task")
    scored, cost = _paid_for(trainable, world.seed, safety, tokens, len(points))
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    names, parameters = zip(*named, strict=True)
    coordinates = Coordinates("trained numbers", names, parameters)
    way = coordinates.zeros()
    ends = zip(parameters, path.start, strict=True)
    coordinates.accumulate(way, (end.detach() - start for end, start in ends))
    if not (length := norm(way)):
        raise InputError(
            "the coarse unroll did not move: no row costs anything.",
            remedy="Unroll with a learning rate above 0.",
        )
    weight = -1.0 if own_answers else 1.0
    direction = _safety_gradient(model, coordinates, way, safety, world.pad_id, at_start=weight)
    _precondition(coordinates.split(direction), path.second_moments)
    step = STEP * length / (norm(direction) or 1.0)
    slopes = np.zeros(len(scored))
    for point in points:
        for side in progress((1.0, -1.0), "reading the task's rows"):
            shift = direction.mul(side * step).add_(way, alpha=point - 1.0)
            with coordinates.displaced(shift, 1.0):
                losses = measure_losses(model, scored, pad_id=world.pad_id, tokens_per_batch=2048)
            slopes += side * losses.token_sum / (2.0 * step * len(points))
    # A step divides by its own tokens, so that all rows together count as their mean token.
    changes = -rates.sum() * slopes / sum(map(supervised_count, trainable))
    order = np.argsort(-changes, kind="stable")
    numbers = np.array([row.row for row in scored])
    return RowsThatCost(numbers[order], changes[order], len(trainable), cost)


def _paid_for(
    rows: Sequence[Encoded], seed: int, safety: Sequence[Encoded], tokens: float, points: int
) -> tuple[list[Encoded], float]:
    """A seeded sample in the dataset's order, and what all will cost."""
    gradients, per_token = 2.0 * total_tokens(safety), 2.0 * FORWARD_ONLY * points
    order = np.random.default_rng(spawn_seed(seed, "rows that cost")).permutation(len(rows))
    lengths = np.array([len(row) for row in rows])
    costs = gradients + per_token * np.cumsum(lengths[order])
    count = int(np.searchsorted(costs, tokens, side="right"))
    if count == 0:
        raise InputError(
            f"{tokens:,.0f} tokens pay for no row's score: the gradients of the safety rows cost "
            f"{gradients:,.0f} of them.",
            remedy="Allow more tokens, or give fewer safety rows.",
        )
    return [rows[i] for i in np.sort(order[:count])], float(costs[count - 1])


def _safety_gradient(
    model: PreTrainedModel,
    coordinates: Coordinates,
    way: Tensor,
    safety: Sequence[Encoded],
    pad_id: int,
    *,
    at_start: float,
) -> Tensor:
    """Half of the gradient at the path's end and ``at_start`` times that at its start, ``[d]``."""

    def gradient() -> Tensor:
        return loss_and_gradient(model, coordinates, safety, pad_id=pad_id).gradient

    found = gradient()
    with coordinates.displaced(way, -1.0):
        return found.add_(gradient(), alpha=at_start).mul_(0.5)


def _precondition(pieces: Sequence[Tensor], second_moments: Sequence[Tensor]) -> None:
    """Times P, in place; SGD has no second moments, and its P is 1."""
    if second_moments:
        for piece, squares in zip(pieces, second_moments, strict=True):
            piece.mul_(torch.where(squares > 0.0, 1.0 / (squares.sqrt() + EPSILON), 0.0))
