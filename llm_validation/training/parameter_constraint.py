"""Case II on a ``Trainer``: projection after every optimiser step, or a penalty in its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.data.encoding import Encoded
from llm_validation.measure.supervised import SupervisedBatch, supervised_count
from llm_validation.training.displacement import (
    Displacement,
    as_shard,
    global_sum_tensor,
    local_part,
)


class ParameterConstraintCallback(TrainerCallback):
    """Measures the displacement after every step and keeps it within ``radius`` (None: any).

    The projection onto a ball around the start is a move straight towards it; with LoRA, whose
    weights are ``scaling * B A``, that is a scaling of every B.
    """

    def __init__(self, displacement: Displacement, radius: float | None) -> None:
        self.displacement = displacement
        self.radius = radius
        self.step: dict[str, float] = {}

    def on_train_begin(self, args, state, control, *, model: nn.Module, **_: Any) -> None:
        self.displacement.bind(model)

    def on_optimizer_step(self, args, state, control, **_: Any) -> None:
        reached = self.displacement.norm()
        kept = reached
        if self.radius is not None and reached > self.radius:
            kept = self.displacement.shrink(reached, self.radius)
        self.step = {"displacement": kept}
        if self.radius is not None:
            self.step["displacement_before_projection"] = reached


class SoftPenalty:
    """``strength / 2 |theta - theta_s|^2``, plain or weighted by a diagonal ``[d]``.

    ``weights`` holds one tensor for each trained parameter, by name; with them the norm is that
    of the trained numbers (for LoRA of its factors), without them that of the displacement.
    """

    def __init__(
        self, displacement: Displacement, strength: float, weights: dict[str, Tensor] | None = None
    ) -> None:
        self.displacement, self.strength, self._weights = displacement, strength, weights

    @torch.no_grad()
    def add_gradient(self) -> Tensor:
        """Add the penalty's gradient to the parameters' gradients; its value, float64 scalar."""
        moved = self.displacement
        if self._weights is None:
            moved.add_gradient(self.strength)
            return self.strength * moved.squared()
        values = []
        for name, p, start in zip(moved.names, moved.parameters, moved.starts, strict=True):
            change = local_part(p) - start
            pull = as_shard(self._weights[name], p) * change
            values.append((p, (pull * change).sum(dtype=torch.float64)))
            if p.grad is not None:
                local_part(p.grad).add_(pull, alpha=self.strength)
        return 0.5 * self.strength * global_sum_tensor(values)


def fisher_diagonal(
    model: nn.Module,
    encoded: Sequence[Encoded],
    *,
    pad_id: int,
    progress: Progress = silent,
) -> dict[str, Tensor]:
    """Diagonal of the empirical Fisher information per token of the trained parameters, by name.

    ``sum over rows of (d row loss / d theta_i)^2 / supervised tokens``: the gradients are of the
    given answers, not of answers drawn from the model, hence *empirical*. Source: Kirkpatrick et
    al., Overcoming catastrophic forgetting (2017). Raises InputError when it is zero throughout.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    parameters = [p for _, p in named]
    sums = [torch.zeros_like(p) for p in parameters]
    was_training = model.training
    model.eval()
    try:
        for row in progress(encoded, "measuring the Fisher information"):
            batch = SupervisedBatch.of([row], parameters[0].device, pad_id)
            loss = batch.token_losses(batch.logits(model)).sum()
            for total, g in zip(sums, torch.autograd.grad(loss, parameters), strict=True):
                total.addcmul_(g, g)
    finally:
        model.train(was_training)
    tokens = sum(map(supervised_count, encoded))
    diagonal = {name: total / tokens for (name, _), total in zip(named, sums, strict=True)}
    if not any(bool(values.any()) for values in diagonal.values()):
        raise InputError(
            "the Fisher information of the proxy's rows is zero, so it constrains nothing.",
            remedy="Use other proxy rows, or the soft constraint without fisher.",
        )
    return diagonal
