"""Direct preference optimisation as the task's loss: pairs, their reference, their margin.

The reference is theta_s, frozen, so each pair's log-probabilities under it are measured once,
before the first step (in full precision), and no second model is kept. A pair is one row of a
step: chosen and rejected answer are always in the same micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from finebound.base.errors import InputError
from llm_validation.data.conversations import earlier_answers
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded
from llm_validation.measure.losses import Losses
from llm_validation.models.loading import LoadedModel
from llm_validation.training.checks import encode_checked
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.streams import StepRow, Stream


@dataclass(frozen=True, eq=False)
class PairStream(Stream):
    """A stream of pairs: ``encoded`` are chosen answers, ``rejected`` those beside them.

    ``reference`` ``[n]``: log-probability of the chosen less that of the rejected answer under
    the reference model, nats.
    """

    rejected: tuple[Encoded, ...]
    reference: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.encoded) == len(self.rejected) == len(self.reference):
            raise ValueError("every chosen answer needs its rejected one and its reference")

    def row(self, index: int) -> StepRow:
        """The pair at a place in the stream."""
        reference = float(self.reference[index])
        return StepRow(self.name, index, self.encoded[index], self.rejected[index], reference)


@dataclass(frozen=True)
class PreferenceLoss:
    """``-log sigmoid(beta margin)`` summed over a micro-batch's pairs."""

    beta: float
    extras = 3

    def units(self, pairs: int, tokens: int) -> int:
        """The loss is a mean over pairs."""
        return pairs

    def __call__(
        self, losses: Tensor, inputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """The sum in float64, from token losses ``[m]``; sums of the margins, of the positive ones
        and of the chosen answers' token losses."""
        losses = losses.double()
        if "chosen" not in inputs:
            return losses[:0].sum(), [losses.new_zeros(())] * self.extras
        sums = losses.new_zeros(len(inputs["input_ids"])).index_add(0, inputs["owners"], losses)
        ratio = sums[inputs["rejected"]] - sums[inputs["chosen"]]
        margin = ratio - inputs["reference"]
        chosen = losses.detach()[torch.isin(inputs["owners"], inputs["chosen"])]
        found = margin.detach()
        loss = nn.functional.softplus(-self.beta * margin).sum()
        return loss, [found.sum(), (found > 0).sum(), chosen.sum()]

    def record(
        self, mean: float, extras: Sequence[float], *, units: int, tokens: int
    ) -> dict[str, float]:
        """The loss and the margin per pair, the share of pairs preferred, the chosen's loss."""
        margin, preferred, chosen = extras
        return {
            "task_loss": mean,
            "margin": margin / units,
            "preferred": preferred / units,
            "chosen_loss": chosen / tokens,
        }


def log_ratio(chosen: Losses, rejected: Losses) -> np.ndarray:
    """Log-probability of each chosen answer less that of its rejected one, nats ``[n]``."""
    return rejected.token_sum - chosen.token_sum


def preference_losses(margins: np.ndarray, beta: float) -> np.ndarray:
    """``-log sigmoid(beta margin)`` of each pair, nats ``[n]``."""
    return np.logaddexp(0.0, -beta * margins)


def encode_pairs(
    task: Dataset, model: LoadedModel, plan: TrainingPlan
) -> tuple[list[Encoded], Dataset, list[Encoded]]:
    """Chosen answers, the dataset of the rejected ones, and these, pair by pair.

    Raises InputError for a row without a rejected answer, for data in which no pair differs, and
    as ``encode_checked``. With ``drop_long`` a pair goes as a whole.
    """
    rejected = rejected_answers(task)
    first = encode_checked(task, model, plan, role="task")
    second = encode_checked(rejected, model, plan, role="task")
    chosen, beside = whole_pairs(first, second, task)
    return chosen, rejected, beside


def whole_pairs(
    chosen: Sequence[Encoded], rejected: Sequence[Encoded], task: Dataset
) -> tuple[list[Encoded], list[Encoded]]:
    """Those of both answers' rows that have each other. Raises InputError where none has."""
    both = {row.row for row in chosen} & {row.row for row in rejected}
    if not both:
        raise InputError(
            "of every pair one answer is too long.",
            remedy="Raise max_length, or shorten the rows.",
            file=task.source,
        )
    first, second = ([row for row in side if row.row in both] for side in (chosen, rejected))
    return first, second


def rejected_answers(task: Dataset) -> Dataset:
    """The task's prompts with their rejected answers, of which alone the loss is, as of the chosen.

    Raises InputError for a row without one, and for data in which no pair differs.
    """
    for row, example in enumerate(task.examples, start=1):
        if not example.rejected:
            file, number = example.origin or (
                task.name if task.source == "memory" else task.source,
                row,
            )
            raise InputError(
                "The row has no rejected answer, and DPO trains on pairs.",
                remedy="Give prompt, chosen and rejected, or use the objective sft.",
                file=file,
                row=number,
            )
    if task.examples and all(e.rejected == e.response for e in task.examples):
        raise InputError(
            "in every pair the chosen answer is the rejected one, so there is nothing to prefer.",
            remedy="Check which columns are read as chosen and rejected.",
            file=task.source,
        )
    swapped = (
        replace(
            e,
            response=e.rejected,
            rejected=None,
            unlearnt=earlier_answers(e),
            # A thought or calls beside the chosen answer are not the rejected one's.
            turn_fields=tuple(f for f in e.turn_fields if f[0] < len(e.messages)),
        )
        for e in task.examples
    )
    return Dataset.of(swapped, name=task.name, source=task.source)
