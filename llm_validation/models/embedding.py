"""Embeddings of texts by a language model: the mean of its last hidden states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from finebound.base.progress import Progress, silent

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel


def embedder(
    loaded: LoadedModel,
    *,
    max_tokens: int = 256,
    tokens_per_batch: int = 4096,
    progress: Progress = silent,
) -> Callable[[Sequence[str]], np.ndarray]:
    """A function from texts to float32 ``[n, hidden]``: mean last hidden state over the tokens.

    Only the first ``max_tokens`` tokens of a text are read. An empty text gives zeros.
    """
    import torch

    tokenizer, model = loaded.tokenizer, loaded.model
    device = next(model.parameters()).device
    pad = tokenizer.pad_token_id

    def embed(texts: Sequence[str]) -> np.ndarray:
        ids = [
            row[:max_tokens]
            for row in tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        ]
        hidden = np.zeros((len(ids), model.config.hidden_size), dtype=np.float32)
        order = sorted((i for i in range(len(ids)) if ids[i]), key=lambda i: -len(ids[i]))
        batches = []
        while order:
            size = max(1, tokens_per_batch // len(ids[order[0]]))
            batches.append(order[:size])
            order = order[size:]
        with torch.no_grad():
            for batch in progress(batches, "embedding prompts"):
                width = len(ids[batch[0]])
                short = [width - len(ids[i]) for i in batch]
                padded = torch.tensor(
                    [ids[i] + [pad] * n for i, n in zip(batch, short, strict=True)]
                )
                mask = torch.tensor([[1] * (width - n) + [0] * n for n in short])
                # The body alone: no logits over the vocabulary.
                output = model.base_model(
                    input_ids=padded.to(device), attention_mask=mask.to(device), use_cache=False
                ).last_hidden_state
                weights = mask.to(device)[..., None]
                mean = (output * weights).sum(dim=1) / weights.sum(dim=1)
                hidden[batch] = mean.float().cpu().numpy()
        return hidden

    return embed
