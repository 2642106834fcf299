"""Features of single rows at a model: gradients of their loss in an adapter, hidden states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from finebound.base.progress import Progress, silent
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded, collate, encode
from llm_validation.measure.coordinates import Coordinates, adapter, norm
from llm_validation.measure.supervised import SupervisedBatch
from llm_validation.models.loading import LoadedModel


def encoded_rows(loaded: LoadedModel, rows: Dataset, *, first_tokens: int | None) -> list[Encoded]:
    """The rows with only the first so many answer tokens supervised (None: all).

    Raises InputError for a row that is longer than the model's context.
    """
    encoded = encode(rows, loaded.tokenizer, max_length=loaded.context_length)
    if first_tokens is None:
        return encoded
    return [replace(row, supervised=_only_first(row.supervised, first_tokens)) for row in encoded]


@contextmanager
def gradient_space(loaded: LoadedModel, *, seed: int) -> Iterator[Coordinates]:
    """Inside, the model carries a fresh LoRA whose B the gradients are taken in; after, none."""
    wrapped, coordinates = adapter(loaded.model, seed=seed)
    try:
        yield coordinates
    finally:
        wrapped.unload()


def gradients(
    loaded: LoadedModel,
    coordinates: Coordinates,
    encoded: Sequence[Encoded],
    *,
    progress: Progress = silent,
    doing: str,
) -> Iterator[Tensor]:
    """Each row's gradient of its mean token loss ``[d]``, at norm 1 (zero stays zero)."""
    for row in progress(encoded, doing):
        batch = SupervisedBatch.of([row], coordinates.device, loaded.pad_id)
        gradient = coordinates.zeros()
        with coordinates.differentiable(loaded.model):
            loss = batch.token_losses(batch.logits(loaded.model)).mean()
            parts = torch.autograd.grad(loss, coordinates.parameters, allow_unused=True)
            coordinates.accumulate(gradient, parts)
        length = norm(gradient)
        yield gradient / length if length else gradient


@torch.no_grad()
def representations(
    loaded: LoadedModel,
    encoded: Sequence[Encoded],
    *,
    progress: Progress = silent,
    doing: str,
) -> Iterator[Tensor]:
    """Each row's last hidden state at its last supervised token ``[hidden]``, at norm 1."""
    model = loaded.model
    device = next(model.parameters()).device
    for row in progress(encoded, doing):
        tensors = collate([row], loaded.pad_id)
        states = model(
            input_ids=tensors["input_ids"].to(device),
            attention_mask=tensors["attention_mask"].to(device),
            output_hidden_states=True,
            logits_to_keep=1,
        ).hidden_states[-1][0]
        last = states[int(np.flatnonzero(row.supervised)[-1])].float()
        yield last / last.norm().clamp(min=torch.finfo(torch.float32).tiny)


def _only_first(supervised: np.ndarray, count: int) -> np.ndarray:
    kept = np.zeros_like(supervised)
    kept[np.flatnonzero(supervised)[:count]] = True
    return kept
