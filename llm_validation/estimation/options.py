"""Other ways to train, read off the paths of few unrolls: that of the plan, and one with a mix.

The weights on the way to the plan's end are those of fewer steps and of a smaller rate. Scaled back
from it they are the scaled adapter, what a radius holds, and a LoRA of a lower rank. Between the
plan's end and that of the mix they are smaller mixes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from finebound.base.errors import InputError
from finebound.results.outlook import DECISIONS, Option
from llm_validation.data.dataset import Dataset
from llm_validation.estimation.unroll_sizes import rows_of_an_unroll
from llm_validation.estimation.ways import Way
from llm_validation.forecast.optimiser import Trajectory
from llm_validation.forecast.stored_answers import SELF_GENERATED
from llm_validation.forecast.unroll import TRAINING_SHARE, CoarseUnroll
from llm_validation.forecast.world import World
from llm_validation.training.plan import Lora, TrainingPlan
from theory.strategy import LossConstraint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SCALE, SHORTER, WITHIN = 0.5, 0.5, 0.75
"""Of the plan: the change that is left after training, the steps, the distance that is allowed."""
MIX, SMALLER_MIX = 0.1, 0.03
"""Shares of safety rows: in the mix that is unrolled, and on the way to it."""
DPO_LAMBDA = 1.0
"""Weight of the loss on safety rows, nats per token, beside DPO's, nats per pair."""


def unroll_of(
    world: World, plan: TrainingPlan, share: float, limits: tuple[int, int]
) -> CoarseUnroll:
    """An unroll on the rows of ``rows_of_an_unroll``."""
    whole = plan.steps * plan.rows_per_step
    rows = rows_of_an_unroll(plan, share, limits)
    try:
        return CoarseUnroll.within(world, plan, share=rows / whole / TRAINING_SHARE)
    except InputError:
        return CoarseUnroll(steps=min(5, plan.steps))


def halfway(unroll: CoarseUnroll, plan: TrainingPlan) -> int:
    """After how many coarse steps the rates sum up to ``SHORTER`` of the whole; 0 for never."""
    done = np.cumsum(unroll.rates(plan))
    step = int(np.searchsorted(done, SHORTER * done[-1])) + 1
    return step if step < len(done) else 0


def in_words(kind: str, value: float | None, plan: TrainingPlan, safety: Dataset) -> str:
    """What a person changes; ``safety`` are the rows that are mixed in."""
    rows = "the model's own answers" if safety.source == SELF_GENERATED else safety.name
    share = 100 * (value or 0.0)
    words = {
        "none": "train as planned",
        "mix": f"mix {share:.0f} % safety rows ({rows}) into every step",
        "lambda": f"add {value or 0:g} times the loss on safety rows ({rows}) to DPO's",
        "scale": f"scale the change of the weights by {value or 0:g} after training",
        "radius": f"hold the change of the weights within {value or 0:.3g} while training",
        "steps": f"train {value or 0:.0f} of the {plan.steps} steps, or at half the rate",
        "rank": f"train a LoRA of rank {value or 0:.0f}, at the same ratio of alpha to rank",
    }
    return words[kind]


def mixed_plan(plan: TrainingPlan) -> tuple[str, tuple[float, float], TrainingPlan] | None:
    """The kind of option, its two values (unrolled, on the way), and the plan that is unrolled.

    None where the plan has a constraint of its own.
    """
    if plan.strategy is not None:
        return None
    if plan.objective is not None:
        mixed = replace(plan, strategy=LossConstraint(lam=DPO_LAMBDA))
        return "lambda", (DPO_LAMBDA, DPO_LAMBDA * SMALLER_MIX / MIX), mixed
    mixed = replace(plan, strategy=LossConstraint(lam=MIX / (1 - MIX)))
    return "mix", (MIX, SMALLER_MIX), mixed


def trained_weights(model: PreTrainedModel) -> tuple[np.ndarray, ...]:
    """Copies of what the unroll trained, as it is now, in float32."""
    trained = (p for p in model.parameters() if p.requires_grad)
    return tuple(p.detach().float().cpu().numpy().copy() for p in trained)


@contextmanager
def moved_towards(
    model: PreTrainedModel, there: Sequence[np.ndarray], share: float
) -> Iterator[None]:
    """The model with its trained weights ``share`` of the way to ``there``."""
    trained = [p for p in model.parameters() if p.requires_grad]
    with _changed(trained):
        for p, end in zip(trained, there, strict=True):
            p.lerp_(torch.as_tensor(end).to(p), share)
        yield


def at_the_end(path: Trajectory, plan: TrainingPlan) -> list[tuple[str, float, float]]:
    """The ways that the end of the plan's path holds: kind, value, the share of its change."""
    ways = [("scale", SCALE, SCALE)]
    if plan.strategy is None:
        # Projection onto the ball is this scaling, whatever the method.
        ways.append(("radius", WITHIN * float(path.displacements[-1]), WITHIN))
    if isinstance(plan.method, Lora) and plan.method.rank > 1:
        # Every pair of a row of A and a column of B moves as far, however many pairs there are.
        rank = plan.method.rank // 2
        ways.append(("rank", float(rank), rank / plan.method.rank))
    return ways


@contextmanager
def scaled_change(model: PreTrainedModel, path: Trajectory, alpha: float) -> Iterator[None]:
    """The model with ``alpha`` times the change of its weights; a LoRA by its second factor."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    is_lora = any(".lora_B." in name for name, _ in named)
    with _changed([p for _, p in named]):
        for (name, p), start in zip(named, path.start, strict=True):
            if not is_lora:
                p.copy_(start + alpha * (p - start))
            elif ".lora_B." in name:
                p.mul_(alpha)
        yield


@contextmanager
def _changed(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """What is changed inside is as before afterwards."""
    kept = [p.detach().clone() for p in parameters]
    try:
        with torch.no_grad():
            yield
    finally:
        with torch.no_grad():
            for p, value in zip(parameters, kept, strict=True):
                p.copy_(value)


def option_of(way: Way, planned: Way, budgets: Mapping[str, float], whole: float) -> Option:
    """The way as an option beside the plan, whose fine-tune costs ``whole`` tokens."""
    refusal, over_refusal = way.share(harmful=True), way.share(harmful=False)
    loss, its_gain, whole_gain = way.loss_change(), way.gain(), planned.gain()
    decisions = [way.decide(name, limit).decision for name, limit in budgets.items()]
    return Option(
        strategy=way.kind,
        value=way.value,
        how=way.how,
        refusal=refusal.after,
        interval=refusal.interval,
        over_refusal=over_refusal.after,
        safety_loss_change=loss.value,
        capability_gain=its_gain.value,
        capability_interval=its_gain.interval,
        kept=its_gain.value / whole_gain.value if whole_gain.value > 0 else None,
        within_budget=max(decisions, key=DECISIONS.index),
        cost_share=way.tokens / whole,
        over_refusal_interval=over_refusal.interval,
        safety_loss_interval=loss.interval,
    )
