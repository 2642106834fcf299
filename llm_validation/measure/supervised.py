"""A batch that computes logits at its supervised positions only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from llm_validation.data.encoding import Encoded, collate


def supervised_count(row: Encoded) -> int:
    """Number of the row's tokens in the loss: the first token is predicted from nothing."""
    return int(row.supervised[1:].sum())


@dataclass(frozen=True, eq=False)
class SupervisedBatch:
    """A collated batch that knows which positions predict a supervised token.

    ``positions`` ``[m]`` index the flattened ``[rows * length]`` hidden states, ``targets``
    ``[m]`` are the tokens predicted there, ``rows`` ``[m]`` their rows.
    """

    input_ids: Tensor
    attention_mask: Tensor
    positions: Tensor
    targets: Tensor
    rows: Tensor

    @classmethod
    def of(cls, encoded: Sequence[Encoded], device: torch.device, pad_id: int) -> SupervisedBatch:
        """Collate the rows and move them to ``device``."""
        batch = {name: tensor.to(device) for name, tensor in collate(encoded, pad_id).items()}
        rows, places = (batch["labels"][:, 1:] != -100).nonzero(as_tuple=True)
        length = batch["labels"].shape[1]
        return cls(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            positions=rows * length + places,
            targets=batch["labels"][rows, places + 1],
            rows=rows,
        )

    def logits(self, model: nn.Module) -> Tensor:
        """Logits ``[m, V]`` at the supervised positions only, in at least float32.

        A hook hands just these hidden states to the output layer, whose rows cost as much as a
        fifth of a small model; whatever the model does to its logits afterwards still happens.
        """
        head: Any = cast(Any, model).get_output_embeddings()
        if head is None:
            logits = self._selected(self._forward(model))
        else:
            handle = head.register_forward_pre_hook(
                lambda _, inputs: (self._selected(inputs[0]).unsqueeze(0), *inputs[1:])
            )
            try:
                logits = self._forward(model)[0]
            finally:
                handle.remove()
        return logits if logits.dtype == torch.float64 else logits.float()

    def _forward(self, model: nn.Module) -> Tensor:
        return model(
            input_ids=self.input_ids, attention_mask=self.attention_mask, use_cache=False
        ).logits

    def _selected(self, values: Tensor) -> Tensor:
        """The supervised positions of ``[rows, >= length, n]``: ``[m, n]``.

        Virtual tokens come before the row's own, so positions count from the end.
        """
        own = values[:, values.shape[1] - self.input_ids.shape[1] :]
        return own.reshape(-1, values.shape[-1]).index_select(0, self.positions)

    def token_losses(self, logits: Tensor) -> Tensor:
        """Cross-entropy ``[m]`` of every supervised token, nats."""
        return nn.functional.cross_entropy(logits, self.targets, reduction="none")

    def sum_by_row(self, losses: Tensor) -> np.ndarray:
        """Token losses ``[m]`` summed within each row, in float64: ``[rows]``."""
        sums = torch.zeros(len(self.input_ids), dtype=torch.float64, device=losses.device)
        return sums.index_add_(0, self.rows, losses.detach().double()).cpu().numpy()
