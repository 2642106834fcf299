"""Gradients of the mean token loss, with the noise that a finite sample leaves in them.

The loss is f = (sum of token losses) / (number of supervised tokens), in nats per token; its
gradient is accumulated over batches with exactly those weights, so that it does not depend on how
rows are batched. T12 of docs/theorems.md needs the gradient mismatch
``|| grad f_s - grad f_proxy ||``, T6 and T7 the gradients' norms.

A norm of a sampled gradient is too large: with g the mean of n rows' gradients of covariance S,
``E ||g||^2 = ||E g||^2 + trace(S) / n``. ``GradientNorm`` says how much of it is noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.results.estimate import GradientNorm
from llm_validation.data.encoding import Encoded, token_budget_batches
from llm_validation.measure.coordinates import DOT_CHUNK, Coordinates, dot, norm
from llm_validation.measure.losses import Losses
from llm_validation.measure.supervised import SupervisedBatch, supervised_count
from llm_validation.models.rope import rope_switch


@dataclass(frozen=True, eq=False)
class LossGradient:
    """Losses of every row and the gradient ``[d]`` of their mean token loss.

    ``half_difference`` ``[d]`` is ``g_1 - g_2``, the gradients over the rows at even and at odd
    places; ``half_weights`` their shares of the tokens, so that ``gradient = w_1 g_1 + w_2 g_2``.
    """

    losses: Losses
    gradient: Tensor
    half_difference: Tensor
    half_weights: tuple[float, float]

    @cached_property
    def estimate(self) -> GradientNorm:
        """The gradient's norm, and how much of it is noise."""
        weight_1, weight_2 = self.half_weights
        g, d = self.gradient, self.half_difference
        squared, cross, spread = dot(g, g), dot(g, d), weight_1 * weight_2 * dot(d, d)
        # (g + w_2 d) . (g - w_1 d), the inner product of the halves' gradients.
        return _estimate(squared, squared + (weight_2 - weight_1) * cross - spread, spread)

    @property
    def norm(self) -> float:
        """Euclidean norm of the gradient on this sample, nats per token and unit length."""
        return self.estimate.value


def loss_and_gradient(
    model: nn.Module,
    coordinates: Coordinates,
    encoded: Sequence[Encoded],
    *,
    pad_id: int,
    tokens_per_batch: int = 512,
    progress: Progress = silent,
    doing: str = "measuring gradients",
) -> LossGradient:
    """Row losses and the gradient of their mean token loss, from one pass over the rows.

    Raises ValueError unless at least two rows have a supervised token (one row alone does not tell
    a gradient from its noise), InputError when a loss or the gradient is not finite.
    """
    counted = [index for index, row in enumerate(encoded) if supervised_count(row)]
    if len(counted) < 2:
        raise ValueError("at least two rows with a supervised token are needed")
    batches = [
        (half, [rows[index] for index in batch])
        for half, rows in enumerate((counted[0::2], counted[1::2]))
        for batch in token_budget_batches(
            [encoded[row] for row in rows], tokens=tokens_per_batch, apart_at=rope_switch(model)
        )
    ]
    token_sum = np.zeros(len(encoded))
    token_count = np.array([supervised_count(row) for row in encoded], dtype=np.int64)
    sums = (coordinates.zeros(), coordinates.zeros())
    with coordinates.differentiable(model):
        for half, rows in progress(batches, doing):
            batch = SupervisedBatch.of([encoded[row] for row in rows], coordinates.device, pad_id)
            losses = batch.token_losses(batch.logits(model))
            coordinates.accumulate(
                sums[half],
                torch.autograd.grad(losses.sum(), coordinates.parameters, allow_unused=True),
            )
            token_sum[rows] = batch.sum_by_row(losses)
    first, second = sums
    if not all(map(np.isfinite, (token_sum.sum(), norm(first), norm(second)))):
        raise InputError(
            "The model's loss or its gradient is not finite.",
            remedy="Its weights hold numbers that are not finite: a fine-tune that diverged needs "
            "a lower learning rate, a damaged download a new one.",
        )
    counts = [int(token_count[counted[start::2]].sum()) for start in (0, 1)]
    # In place: over all weights each of these vectors is as large as the model.
    gradient = first.add(second).div_(sum(counts))
    difference = first.div_(counts[0]).sub_(second.div_(counts[1]))
    return LossGradient(
        losses=Losses(token_sum=token_sum, token_count=token_count),
        gradient=gradient,
        half_difference=difference,
        half_weights=(counts[0] / sum(counts), counts[1] / sum(counts)),
    )


def gradient_mismatch(safety: LossGradient, proxy: LossGradient) -> GradientNorm:
    """``|| grad f_s - grad f_proxy ||`` (T12): the slope of Delta = f_s - f_proxy.

    What counts is whether the proxy pulls the weights as the safety data do, not whether their
    prompts look alike. Rows of the two samples are paired by place for the noise, so the same
    data on both sides give exactly 0 with no error.
    """
    squared = product = spread = 0.0
    # By chunks, as differences: from inner products alone a small mismatch would be cancelled.
    for start in range(0, len(safety.gradient), DOT_CHUNK):
        chunk = slice(start, start + DOT_CHUNK)
        total = first = second = scaled = 0.0
        for sign, part in ((1.0, safety), (-1.0, proxy)):
            weight_1, weight_2 = part.half_weights
            g = sign * part.gradient[chunk].double()
            d = sign * part.half_difference[chunk].double()
            total = total + g
            first = first + (g + weight_2 * d)
            second = second + (g - weight_1 * d)
            scaled = scaled + (weight_1 * weight_2) ** 0.5 * d
        squared += float(total @ total)
        product += float(first @ second)
        spread += float(scaled @ scaled)
    return _estimate(squared, product, spread)


def _estimate(squared: float, product: float, spread: float) -> GradientNorm:
    """From ``|g|^2``, the inner product of the halves' gradients, and the variance of g.

    ``Var(g) = w_1 w_2 Var(g_1 - g_2)`` when a half's variance is inverse to its tokens.
    """
    value, error = squared**0.5, spread**0.5
    return GradientNorm(
        value=value, squared_unbiased=product, standard_error=error, upper=value + error
    )
