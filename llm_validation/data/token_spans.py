"""Which tokens of a text are those of some of its places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TokenSpans:
    """Tokens ``ids`` of a text and ``mask`` bool ``[t]``, True for those of the places.

    ``first`` is the first of the last place. ``merged`` are the texts of tokens that begin before
    a place or end after it.
    """

    ids: list[int]
    mask: np.ndarray
    first: int
    merged: tuple[str, ...]


def token_spans(
    texts: Sequence[str],
    places: Sequence[Sequence[tuple[int, int]]],
    tokenizer: PreTrainedTokenizerBase,
) -> list[TokenSpans]:
    """The tokens of every text, without special tokens of the tokenizer's own, and of its places.

    A token is of a place if it has a character of it.
    """
    if not texts:
        return []
    # verbose=False: the tokenizer's own length warning knows nothing of the limit.
    found = tokenizer(list(texts), add_special_tokens=False, verbose=False)
    if tokenizer.is_fast:
        return [
            _spans(encoding.ids, _ends(encoding.offsets), text, spans)
            for encoding, text, spans in zip(found.encodings or (), texts, places, strict=True)
        ]
    return [
        _spans(ids, _ends_by_prefix(ids, text, spans, tokenizer), text, spans)
        for ids, text, spans in zip(found["input_ids"], texts, places, strict=True)
    ]


def _spans(
    ids: list[int], edges: tuple[np.ndarray, np.ndarray], text: str, spans: Sequence[tuple]
) -> TokenSpans:
    starts, ends = edges
    mask = np.zeros(len(ids), dtype=bool)
    first, merged = 0, []
    for start, end in spans:
        first = int(np.searchsorted(ends, start, side="right"))
        last = int(np.searchsorted(ends, end, side="right"))
        if first < len(ids) and starts[first] < start < end:
            merged.append(text[starts[first] : start])
        if last < len(ids) and start < end and starts[last] < end:
            merged.append(text[end : ends[last]])
            last += 1
        mask[first:last] = True
    return TokenSpans(ids, mask, first, tuple(merged))


def _ends(offsets: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Where each token begins and ends, int64 ``[t]``.

    White space that the tokenizer leaves out of the offsets is the next token's; the bytes of one
    character have all its place.
    """
    edges = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    ends = np.maximum.accumulate(edges[:, 1]) if len(edges) else edges[:, 1]
    before = np.concatenate([[0], ends[:-1]])[: len(ends)]
    return np.minimum(edges[:, 0], before), ends


def _ends_by_prefix(
    ids: list[int], text: str, spans: Sequence[tuple], tokenizer: PreTrainedTokenizerBase
) -> tuple[np.ndarray, np.ndarray]:
    """``_ends`` of a tokenizer that tells no offsets: right at the borders of the places."""
    starts = np.zeros(len(ids), dtype=np.int64)
    ends = np.full(len(ids), len(text), dtype=np.int64)
    for border in sorted({edge for span in spans for edge in span}, reverse=True):
        before = tokenizer(text[:border], add_special_tokens=False, verbose=False)["input_ids"]
        same = next(
            (i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b),
            min(len(before), len(ids)),
        )
        ends[:same] = border
        starts[same:] = np.maximum(starts[same:], border if same == len(before) else border - 1)
    return np.minimum(starts, ends), ends
