"""Constrained SFT as the task's loss: every token beside its probability under theta_s.

The reference is theta_s, frozen, so the token losses under it are measured once, before the first
step (in full precision), and no second model is kept.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from finebound.base.integrity import as_written
from finebound.base.records import write_atomically
from llm_validation.training.evaluation import AGAIN, read_arrays
from llm_validation.training.strategies import TokenConstraint
from llm_validation.training.streams import StepRow, Stream


@dataclass(frozen=True, eq=False)
class ReferencedStream(Stream):
    """A stream whose rows know their token losses under the reference, ``[tokens]`` each, nats."""

    reference: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.encoded) != len(self.reference):
            raise ValueError("every row needs its token losses under the reference")

    def row(self, index: int) -> StepRow:
        """The row at a place in the stream."""
        return replace(super().row(index), token_reference=self.reference[index])


@dataclass(frozen=True)
class ConstrainedTokens:
    """``2/beta_t softplus(beta_t (loss - loss_ref))`` summed over a micro-batch's tokens."""

    constraint: TokenConstraint
    extras = 2

    def units(self, pairs: int, tokens: int) -> int:
        """The loss is a mean over tokens."""
        return tokens

    def __call__(
        self, losses: Tensor, inputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """The sum; the cross-entropies' and the weights' sums, from token losses ``[m]``."""
        losses = losses.double()
        known = self.constraint.betas(int(inputs["nth"].max()) + 1)
        betas = torch.from_numpy(known).to(losses.device)[inputs["nth"]]
        lag = betas * (losses - inputs["token_reference"])
        weights = 2.0 * torch.sigmoid(lag.detach())
        return (2.0 / betas * nn.functional.softplus(lag)).sum(), [
            losses.detach().sum(),
            weights.sum(),
        ]

    def record(
        self, mean: float, extras: Sequence[float], *, units: int, tokens: int
    ) -> dict[str, float]:
        """The cross-entropy, the constrained loss, and the mean weight of a token's gradient."""
        loss, weight = extras
        return {
            "task_loss": loss / tokens,
            "constrained_loss": mean,
            "token_weight": weight / tokens,
        }


def constrained_loss(
    constraint: TokenConstraint, losses: Sequence[np.ndarray], reference: Sequence[np.ndarray]
) -> float:
    """The constrained loss per token of whole answers, from token losses ``[tokens]`` of each."""
    total = 0.0
    for now, before in zip(losses, reference, strict=True):
        betas = constraint.betas(len(now))
        total += float((2.0 / betas * np.logaddexp(0.0, betas * (now - before))).sum())
    return total / sum(map(len, losses))


def write_token_losses(file: Path, losses: Sequence[np.ndarray]) -> None:
    """Write token losses as ``losses`` (one row after the other) and ``counts``, whole or not."""
    buffer = io.BytesIO()
    np.savez(buffer, losses=np.concatenate(losses), counts=[len(row) for row in losses])
    write_atomically(file, buffer.getvalue())


def read_token_losses(file: Path) -> list[np.ndarray] | None:
    """What ``write_token_losses`` wrote; None when it did not. Raises Damaged for a cut file."""
    if not file.is_file():
        return None
    arrays = read_arrays(file)
    with as_written(arrays, file, remedy=AGAIN):
        return np.split(arrays["losses"], np.cumsum(arrays["counts"])[:-1])
