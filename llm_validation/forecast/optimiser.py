"""A plan's optimiser in a plain loop: the trainer's step without its folder, log and checkpoints.

With the plan's own rows and rates the trajectory is that of ``training.finetune`` (tests); a
forecast makes a handful of these steps and throws the weights away.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.data.encoding import Encoded
from llm_validation.forecast.world import FORWARD_ONLY, IN_A_PAIR
from llm_validation.measure.losses import measure_losses
from llm_validation.measure.supervised import SupervisedBatch
from llm_validation.training.displacement import Displacement, displacement_of
from llm_validation.training.dpo import PairStream, PreferenceLoss
from llm_validation.training.parameter_constraint import SoftPenalty, fisher_diagonal
from llm_validation.training.plan import SoftParameterConstraint, TrainingPlan
from llm_validation.training.streams import (
    PROXY,
    TASK,
    StepRow,
    Streams,
    collate_rows,
    micro_batches,
)

# What the Trainer leaves out of weight decay.
_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(^|\.)norm($|\.)|_norm($|\.)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """``displacements`` after and ``objective`` before every step ``[K]``; ``start`` the weights.

    ``rows`` is how many the steps saw, a preference pair being one; ``tokens`` were read and
    differentiated, those only read counting a third, the reference's of pairs among them.
    ``second_moments`` are AdamW's mean squares of the gradient at the end, as ``start``; none of
    SGD.
    """

    displacements: np.ndarray
    objective: np.ndarray
    start: tuple[Tensor, ...]
    rows: int
    tokens: float
    second_moments: tuple[Tensor, ...] = ()


AfterStep = Callable[[PreTrainedModel, int], None]


def ignored(model: PreTrainedModel, step: int) -> None:
    """Nothing is looked at after a step."""


def train(
    model: PreTrainedModel,
    plan: TrainingPlan,
    streams: Streams,
    rates: np.ndarray,
    *,
    pad_id: int,
    speed: float = 1.0,
    fisher_rows: Sequence[Encoded] = (),
    after_step: AfterStep = ignored,
    progress: Progress = silent,
) -> Trajectory:
    """Take ``len(rates)`` steps of the plan's optimiser and strategy on ``model``, in place.

    The model's trainable parameters move. The task of a DPO plan is a ``PairStream``. ``speed``
    says how many of the plan's steps one of these stands for: dual ascent moves lambda so much
    faster. ``fisher_rows`` weigh a soft constraint with ``fisher``. ``after_step`` gets the model
    and the number of steps taken; it leaves the weights as they are. Raises InputError when the
    loss or its gradient is not finite.
    """
    if isinstance(streams.task, PairStream) is (plan.objective is None):
        raise ValueError("DPO, and nothing else, trains on pairs")
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    parameters = [p for _, p in trained]
    start = tuple(p.detach().clone() for p in parameters)
    moved = displacement_of(model)
    optimiser = _optimiser(trained, plan)
    penalty = _penalty(model, moved, plan, fisher_rows, pad_id)
    dual = _DualAscent(model, plan, streams, len(rates), pad_id, speed)
    displacements, objectives, seen = [], [], 0
    tokens = dual.tokens + (sum(map(len, fisher_rows)) if penalty is not None else 0)
    for step, rate in enumerate(progress(list(rates), "training")):
        for group in optimiser.param_groups:
            group["lr"] = float(rate)
        optimiser.zero_grad()
        rows = streams.rows(step)
        sums = _backward(model, rows, plan, dual.lam, pad_id)
        tokens += sum(map(_cost, rows))
        seen += len(rows)
        objective = sums[TASK] + dual.lam * sums.get(PROXY, 0.0)
        if penalty is not None:
            objective += float(penalty.add_gradient())
        norm = nn.utils.clip_grad_norm_(parameters, plan.clip or math.inf)
        if not (math.isfinite(objective) and math.isfinite(float(norm))):
            raise InputError(
                f"the coarse unroll diverged at its step {step + 1}.",
                remedy="Unroll in more steps, or lower the plan's learning rate.",
            )
        optimiser.step()
        reached = moved.norm()
        if plan.radius is not None and reached > plan.radius:
            reached = moved.shrink(reached, plan.radius)
        displacements.append(reached)
        objectives.append(objective)
        dual.ascend(step, sums)
        after_step(model, step + 1)
    optimiser.zero_grad()
    squares = _second_moments(optimiser, parameters) if plan.optimizer == "adamw" else ()
    return Trajectory(np.array(displacements), np.array(objectives), start, seen, tokens, squares)


def _optimiser(trained: list[tuple[str, nn.Parameter]], plan: TrainingPlan):
    if plan.optimizer == "sgd":
        return torch.optim.SGD(
            [p for _, p in trained], lr=plan.learning_rate, momentum=plan.momentum
        )
    groups = [
        {
            "params": [p for name, p in trained if bool(_NO_DECAY.search(name)) is not decays],
            "weight_decay": plan.weight_decay if decays else 0.0,
        }
        for decays in (True, False)
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=plan.learning_rate, betas=plan.betas
    )


def _second_moments(
    optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """AdamW's, corrected for their start at 0; 0 for a parameter that never had a gradient."""
    beta = optimiser.param_groups[0]["betas"][1]
    states = [(p, optimiser.state.get(p)) for p in parameters]
    return tuple(
        state["exp_avg_sq"].div_(1.0 - beta ** float(state["step"]))
        if state
        else torch.zeros_like(p)
        for p, state in states
    )


def _backward(
    model: PreTrainedModel, rows: list[StepRow], plan: TrainingPlan, lam: float, pad_id: int
) -> dict[str, float]:
    """Adds the objective's gradient to the parameters; the mean loss of each stream."""
    tokens = {stream: Streams.tokens(rows, stream) for stream in (TASK, PROXY)}
    preference = None if plan.objective is None else PreferenceLoss(plan.objective.beta)
    units = tokens[TASK]
    if preference is not None:
        units = preference.units(sum(row.stream == TASK for row in rows), units)
    sums = {stream: 0.0 for stream, count in tokens.items() if count}
    device = next(model.parameters()).device
    for part in micro_batches(rows, count=min(plan.gradient_accumulation, len(rows))):
        inputs = {name: value.to(device) for name, value in collate_rows(part, pad_id).items()}
        batch = SupervisedBatch(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            positions=inputs["positions"],
            targets=inputs["targets"],
            rows=inputs["positions"] // inputs["input_ids"].shape[1],
        )
        losses = batch.token_losses(batch.logits(model))
        is_proxy = inputs["is_proxy"]
        exact = losses.detach().double()
        of_proxy = lam / max(tokens[PROXY], 1)
        if preference is None:
            task = exact[~is_proxy].sum()
            (losses * torch.where(is_proxy, of_proxy, 1.0 / units)).sum().backward()
        else:
            task, _ = preference(losses, inputs)
            (task / units + of_proxy * (losses * is_proxy).sum()).backward()
        sums[TASK] += float(task.detach()) / units
        if PROXY in sums:
            sums[PROXY] += float(exact[is_proxy].sum()) / tokens[PROXY]
    return sums


def _cost(row: StepRow) -> float:
    if row.rejected is None:
        return len(row.encoded)
    return IN_A_PAIR * (len(row.encoded) + len(row.rejected))


def _penalty(
    model: PreTrainedModel,
    moved: Displacement,
    plan: TrainingPlan,
    fisher_rows: Sequence[Encoded],
    pad_id: int,
) -> SoftPenalty | None:
    soft = plan.strategy
    if not isinstance(soft, SoftParameterConstraint):
        return None
    weights = fisher_diagonal(model, fisher_rows, pad_id=pad_id) if soft.fisher else None
    return SoftPenalty(moved, soft.strength, weights)


class _DualAscent:
    """Lambda, fixed or moved by the violation of ``epsilon``, ``speed`` times as fast."""

    def __init__(
        self,
        model: PreTrainedModel,
        plan: TrainingPlan,
        streams: Streams,
        steps: int,
        pad_id: int,
        speed: float,
    ) -> None:
        self.lam, self.plan, self.tokens = plan.lam, plan, 0.0
        self._rate = plan.dual_rate * speed
        self._starts: list[float] = []
        self._epsilon = plan.epsilon or 0.0
        if plan.epsilon is None:
            return
        for step in range(steps):
            rows = [row.encoded for row in streams.rows(step) if row.stream == PROXY]
            self._starts.append(measure_losses(model, rows, pad_id=pad_id).per_token)
            self.tokens += FORWARD_ONLY * sum(map(len, rows))

    def ascend(self, step: int, sums: dict[str, float]) -> None:
        if self._starts:
            violation = sums[PROXY] - self._starts[step] - self._epsilon
            self.lam = max(0.0, self.lam + self._rate * violation)
