"""What rows begin with is read once: their system prompt, or one question of several answers."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_validation.data.encoding import Encoded, token_budget_batches
from llm_validation.models.adapters import is_prompt_learning
from llm_validation.models.rope import rope_switch

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache, PreTrainedModel

Tokens = tuple[int, ...]
_WORTH = 128  # tokens not read: a call of its own for the prefix costs as much as some 30
_NEEDED = {"past_key_values", "position_ids", "logits_to_keep"}


@dataclass(frozen=True)
class Batch:
    """Rows read together: ``rows[i]`` begins with ``prefixes[owners[i]]``, which may be empty."""

    rows: list[int]
    prefixes: list[Tokens]
    owners: list[int]

    def rests(self, encoded: Sequence[Encoded], *, whole: bool = False) -> list[Encoded]:
        """The rows from after their prefixes to the last token in the loss.

        ``whole`` rows go to their end, and a token more: the last one is never read.
        """
        rests = []
        for index, owner in zip(self.rows, self.owners, strict=True):
            row = encoded[index]
            after = 0 if whole else int(row.supervised[::-1].argmax())
            rest = slice(len(self.prefixes[owner]), len(row) - after)
            ids, supervised = row.input_ids[rest], row.supervised[rest]
            if whole:
                ids, supervised = np.append(ids, 0), np.append(supervised, False)
            rests.append(Encoded(ids, supervised, row.row))
        return rests


def prefix_batches(
    encoded: Sequence[Encoded], *, tokens: int, shared: bool, apart_at: int | None = None
) -> list[Batch]:
    """Every row in one batch of at most ``tokens`` tokens, padding and prefixes included.

    Batches share what all rows begin with, or rows share their own prompts, whichever leaves less
    to read; nothing unless ``shared``. Longest first, the rows or those of a prompt together; a row
    longer than the budget is a batch of its own. ``apart_at`` as in ``token_budget_batches``.
    """
    prefixes = _prefixes(encoded) if shared else [()] * len(encoded)
    groups: dict[Tokens, list[int]] = {}
    for index, prefix in enumerate(prefixes):
        groups.setdefault(prefix, []).append(index)
    if len(groups) == 1:
        batches = token_budget_batches(encoded, tokens=tokens, apart_at=apart_at)
        return [Batch(rows, [prefixes[0]], [0] * len(rows)) for rows in batches]
    pieces: list[tuple[Tokens, list[int], int]] = []
    for prefix, rows in groups.items():
        longest = max(len(encoded[index]) for index in rows)
        fit = max(1, tokens // longest)
        for chosen in (rows[start : start + fit] for start in range(0, len(rows), fit)):
            pieces.append((prefix, chosen, len(chosen) * longest))
    found = []
    for together in token_budget_batches([range(size) for *_, size in pieces], tokens=tokens):
        own = [pieces[index][:2] for index in together]
        owners = [owner for owner, (_, rows) in enumerate(own) for _ in rows]
        found.append(Batch([i for _, rows in own for i in rows], [p for p, _ in own], owners))
    return found


def _prefixes(encoded: Sequence[Encoded]) -> list[Tokens]:
    """The tokens that each row shares.

    The token before an answer is never among them: what it predicts is in the loss.
    """
    return shared_prefixes(
        [row.input_ids[: max(0, int(row.supervised.argmax()) - 1)].tolist() for row in encoded]
    )


def shared_prefixes(contexts: Sequence[Sequence[int]]) -> list[Tokens]:
    """The beginning of each context that is read once: what all begin with, or the whole of it.

    Whichever leaves less to read; nothing where little would be left out.
    """
    contexts = [tuple(context) for context in contexts]
    first, last = min(contexts), max(contexts)  # between them, all begin as these two do
    pairs = enumerate(zip(first, last, strict=False))
    everywhere = first[: next((place for place, (a, b) in pairs if a != b), len(first))]
    saved = len(everywhere) * (len(contexts) - 1)
    saved_by_prompt = sum(map(len, contexts)) - sum(map(len, set(contexts)))
    if max(saved, saved_by_prompt) < _WORTH:
        return [()] * len(contexts)
    return [everywhere] * len(contexts) if saved >= saved_by_prompt else contexts


def tokens_to_read(encoded: Sequence[Encoded], *, shared: bool) -> int:
    """Of the rows, what they share counted once."""
    return sum(map(len, encoded)) - unread(_prefixes(encoded) if shared else [])


def unread(prefixes: Sequence[Tokens]) -> int:
    """Tokens that are not read again."""
    return sum(map(len, prefixes)) - sum(map(len, set(prefixes)))


def reads_after_a_prefix(model: PreTrainedModel) -> bool:
    """Whether the model can go on from the keys and values of earlier tokens, and to the same end.

    Not with virtual tokens in front of the row, with sliding windows or states in place of keys,
    where a row's positions cannot be given, nor where they depend on the row's length.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer

    if is_prompt_learning(model) or rope_switch(model) is not None:
        return False
    unwrap: Any = getattr(model, "get_base_model", None)
    base = model if unwrap is None else unwrap()
    if not inspect.signature(base.forward).parameters.keys() >= _NEEDED:
        return False
    # Unsloth's classes read one token at a time after a prefix; a trainer may wrap the instance's.
    if any(f.__module__.startswith("unsloth") for f in (base.forward, type(base).forward)):
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=base.config).layers)


class PrefixReader:
    """Reads the prefixes of batches; those of the batch before are not read again."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.device = model, next(model.parameters()).device
        self._read: tuple[list[Tokens], DynamicCache] | None = None

    def inputs(self, batch: Batch, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
        """The model's inputs for the collated rests ``[n, t]``, but for the last of the columns.

        Nothing that a last token predicts is in a loss.
        """
        import torch

        ids, mask = ids[:, :-1].to(self.device), mask[:, :-1].to(self.device)
        if not any(batch.prefixes):
            return {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        cache, before = self.read(batch.prefixes, batch.owners)
        places = torch.arange(ids.shape[1], device=self.device)
        return {
            "input_ids": ids,
            "attention_mask": torch.cat([before.to(mask), mask], dim=1),
            "position_ids": before.sum(dim=1, keepdim=True) + places,
            "past_key_values": cache,
            "use_cache": True,
        }

    def read(
        self, prefixes: list[Tokens], owners: Sequence[int]
    ) -> tuple[DynamicCache, torch.Tensor]:
        """Keys and values of ``prefixes[owners[i]]`` for every row i, and their mask ``[n, p]``.

        Shorter ones are padded on the right.
        """
        import torch

        lengths = torch.tensor([len(prefix) for prefix in prefixes], device=self.device)
        mask = (torch.arange(int(lengths.max()), device=self.device) < lengths[:, None]).long()
        if self._read is None or self._read[0] != prefixes:
            self._read = prefixes, self._cache(prefixes, mask)
        cache = copy.deepcopy(self._read[1])  # reading the rests lengthens it
        chosen = torch.tensor(owners, device=self.device)
        cache.batch_select_indices(chosen)
        return cache, mask[chosen]

    def _cache(self, prefixes: list[Tokens], mask: torch.Tensor) -> DynamicCache:
        """Keys and values of prefixes, right-padded to ``mask`` ``[g, p]``."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        ids = torch.zeros_like(mask)
        for row, prefix in zip(ids, prefixes, strict=True):
            row[: len(prefix)] = torch.tensor(prefix)
        self.model(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cache
