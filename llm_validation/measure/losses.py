"""The loss of a model on encoded rows: float64 sums over tokens, whatever the batch size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.data.encoding import Encoded, collate
from llm_validation.measure.shared_prefix import PrefixReader, prefix_batches, reads_after_a_prefix
from llm_validation.models.rope import rope_switch

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

_POSITIONS_IN_FLOAT64 = 64  # of a row of the vocabulary each: 25 MB at 49,152 tokens


@dataclass(frozen=True)
class Losses:
    """Negative log-likelihoods of answers, in nats.

    ``token_sum`` float64 ``[n]``: summed over the answer's supervised tokens; ``token_count`` int64
    ``[n]``: how many those are.
    """

    token_sum: np.ndarray
    token_count: np.ndarray

    @property
    def per_token(self) -> float:
        """Nats per token over all answers together: long answers weigh more."""
        return float(self.token_sum.sum() / self.token_count.sum())

    @property
    def per_sequence(self) -> float:
        """Nats per answer, the mean over answers."""
        return float(self.token_sum.mean())

    @property
    def response_logprobs(self) -> np.ndarray:
        """Log-probability of each answer given its prompt, float64 ``[n]``."""
        return -self.token_sum


def measure_losses(
    model: PreTrainedModel,
    encoded: Sequence[Encoded],
    *,
    pad_id: int,
    tokens_per_batch: int = 1024,
    progress: Progress = silent,
    doing: str = "measuring losses",
) -> Losses:
    """The loss of ``model`` (a Hugging Face model or a PEFT model) on every row, in their order.

    ``tokens_per_batch`` counts padding and only trades memory for speed. What rows begin with is
    read once where the model can go on from there. The model is measured in evaluation mode and
    left as it was. Raises InputError when the tokenizer and the model do not
    belong together or a loss is not finite, ValueError when there is no row.
    """
    import torch

    if not encoded:
        raise ValueError("there is no row to measure")
    head = model.get_output_embeddings()
    _check_ids(model, encoded)
    token_sum = np.zeros(len(encoded))
    token_count = np.array([int(row.supervised[1:].sum()) for row in encoded], dtype=np.int64)
    shared, apart_at = reads_after_a_prefix(model), rope_switch(model)
    batches = prefix_batches(encoded, tokens=tokens_per_batch, shared=shared, apart_at=apart_at)
    with _evaluation_mode(model), torch.no_grad():
        reader = PrefixReader(model)
        for batch in progress(batches, doing):
            rests = collate(batch.rests(encoded, whole=apart_at is not None), pad_id)
            inputs = reader.inputs(batch, rests["input_ids"], rests["attention_mask"])
            labels = rests["labels"].to(reader.device)
            token_sum[batch.rows] = _batch_sums(model, head, labels, inputs)
    if not np.isfinite(token_sum).all():
        row = int(np.flatnonzero(~np.isfinite(token_sum))[0])
        raise InputError(
            f"The model's loss on row {encoded[row].row or row + 1} is {token_sum[row]}.",
            remedy="Its weights hold numbers that are not finite: a fine-tune that diverged needs "
            "a lower learning rate, a damaged download a new one.",
        )
    return Losses(token_sum, token_count)


def _batch_sums(
    model: PreTrainedModel,
    head: torch.nn.Module | None,
    labels: torch.Tensor,
    inputs: dict[str, Any],
) -> np.ndarray:
    """Loss sums of the rows of one batch with ``labels`` ``[n, t]``, float64 ``[n]``."""
    labels = labels[:, 1:]
    predicting = labels >= 0  # [n, t - 1]: the position before each supervised token
    with _only_positions(head, predicting) as gathered:
        logits = model(**inputs).logits
    if not gathered:
        logits = _last(logits, labels.shape[1])[predicting][None]
    losses = _token_losses(logits[0], labels[predicting])
    rows = predicting.nonzero()[:, 0].cpu().numpy()
    return np.bincount(rows, weights=losses, minlength=len(labels))


def _token_losses(logits: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """``logsumexp(logits) - logits[target]`` in float64, ``[m]``, a few positions at a time."""
    import torch

    parts = []
    for some, target in zip(
        logits.split(_POSITIONS_IN_FLOAT64), targets.split(_POSITIONS_IN_FLOAT64), strict=True
    ):
        exact = some.double()
        parts.append(exact.logsumexp(-1) - exact.gather(-1, target[:, None])[:, 0])
    return torch.cat(parts).cpu().numpy()


@contextmanager
def _only_positions(
    head: torch.nn.Module | None, positions: torch.Tensor
) -> Iterator[list[torch.Tensor]]:
    """Let the output layer see only ``positions`` ``[n, t - 1]`` of the hidden states.

    The vocabulary is far wider than the model, so most time and memory of the last layer goes
    into logits that no loss reads. Narrowing its *input* keeps whatever the architecture does to
    the logits afterwards (scaling, soft-capping), and adapters that put virtual tokens in front.
    The yielded list is non-empty when it worked; else the logits are the full ones.
    """
    gathered: list[torch.Tensor] = []

    def narrow(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]):
        hidden = inputs[0] if inputs else None
        n, t = positions.shape
        if hidden is None or hidden.dim() != 3 or len(hidden) != n or hidden.shape[1] < t:
            return None
        gathered.append(_last(hidden, t)[positions][None])
        return (gathered[-1], *inputs[1:])

    if head is None:
        yield gathered
        return
    handle = head.register_forward_pre_hook(narrow)
    try:
        yield gathered
    finally:
        handle.remove()


def _last(values: torch.Tensor, t: int) -> torch.Tensor:
    """The last ``t`` positions of ``[n, >= t, d]``: virtual tokens come before the row's own."""
    return values[:, values.shape[1] - t :]


def _check_ids(model: PreTrainedModel, encoded: Sequence[Encoded]) -> None:
    known = cast("nn.Embedding", model.get_input_embeddings()).weight.shape[0]
    largest = max(int(row.input_ids.max()) for row in encoded)
    if largest >= known:
        raise InputError(
            f"The tokenizer gives token {largest}, and the model knows only {known} tokens.",
            remedy="Use the tokenizer that belongs to the model.",
        )


@contextmanager
def _evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
