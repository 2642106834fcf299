"""From examples to tokens: the chat template, and which tokens the loss counts.

Every measure and every fine-tune encodes here, so that all losses are of the same tokens.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from finebound.errors import InputError
from llm_validation.data.dataset import Dataset

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED_LABEL = -100
# Llama 3's templates write today's date into the prompt unless they are given one; this is their
# own default. Templates without a date ignore it.
TEMPLATE_DATE = "26 Jul 2024"
_GENERATION_BLOCK = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class Encoded:
    """One row of tokens.

    ``input_ids`` int32 ``[t]``; ``supervised`` bool ``[t]``, True where the token is part of the
    loss: the answer and its end-of-turn token. Never the first token: nothing predicts it.
    ``row`` is the 1-based row of the dataset it came from.
    """

    input_ids: np.ndarray
    supervised: np.ndarray
    row: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)


def encode(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    on_long: Literal["error", "drop"] = "error",
) -> list[Encoded]:
    """Tokenise every example with its answer, by the tokenizer's chat template.

    Where the template marks its answers (``{% generation %}``), its mark says what is supervised.
    Elsewhere it is what follows the generation prompt, up to and with the end-of-turn token.

    Rows longer than ``max_length`` tokens raise InputError; with ``on_long="drop"`` they are left
    out and a warning tells how many. InputError too for a row that the template refuses or that
    has no supervised token.
    """
    where = dataset.name if dataset.source == "memory" else dataset.source
    # A sample's rows are named as in the file that they come from.
    places = [
        example.origin or (where, row) for row, example in enumerate(dataset.examples, start=1)
    ]
    _check_text(dataset, places)
    conversations = [
        (_turns(example.messages), {"role": "assistant", "content": example.response})
        for example in dataset.examples
    ]
    by_mark = tokenizer.is_fast and _GENERATION_BLOCK.search(tokenizer.get_chat_template())
    ids, masks = (_by_mark if by_mark else _by_prefix)(conversations, tokenizer, places)

    encoded = []
    too_long = 0
    for row, (row_ids, mask) in enumerate(zip(ids, masks, strict=True), start=1):
        file, file_row = places[row - 1]
        if len(row_ids) > max_length:
            if on_long == "drop":
                too_long += 1
                continue
            raise InputError(
                f"The row has {len(row_ids)} tokens, and the limit is {max_length}.",
                remedy="Raise --max-length (as far as the model's context goes), or shorten or "
                "drop the row.",
                file=file,
                row=file_row,
            )
        mask[:1] = False
        if not mask.any():
            raise InputError(
                "The row has no supervised token: its answer is empty, or the chat template marks "
                "none of it.",
                remedy="Write an answer, or drop the row.",
                file=file,
                row=file_row,
            )
        encoded.append(Encoded(np.asarray(row_ids, dtype=np.int32), mask, row))
    if too_long == len(dataset) > 0:
        raise InputError(
            f"Every one of the {too_long} rows has more than {max_length} tokens.",
            remedy="Raise --max-length, or shorten the rows.",
            file=where,
        )
    if too_long:
        warnings.warn(
            f"{where}: dropped {too_long} of {len(dataset)} rows with more than {max_length} "
            "tokens.",
            stacklevel=2,
        )
    return encoded


def prompt_text(messages: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase) -> str:
    """The templated text that a model answers: ``(role, content)`` turns and generation prompt.

    Tokenise it with ``add_special_tokens=False``: the template has written them already.
    """
    return _render(_turns(messages), tokenizer, add_generation_prompt=True)


def collate(encoded: Sequence[Encoded], pad_id: int) -> dict[str, torch.Tensor]:
    """Right-padded ``input_ids``, ``attention_mask`` and ``labels``, each int64 ``[n, t]``.

    Labels are -100 where not supervised. They follow ``supervised`` and never the pad id, which in
    many models is also the end-of-turn token.
    """
    import torch

    shape = (len(encoded), max(len(row) for row in encoded))
    input_ids = np.full(shape, pad_id, dtype=np.int64)
    attention_mask = np.zeros(shape, dtype=np.int64)
    labels = np.full(shape, IGNORED_LABEL, dtype=np.int64)
    for index, row in enumerate(encoded):
        input_ids[index, : len(row)] = row.input_ids
        attention_mask[index, : len(row)] = 1
        labels[index, : len(row)][row.supervised] = row.input_ids[row.supervised]
    return {
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(attention_mask),
        "labels": torch.from_numpy(labels),
    }


def token_budget_batches(encoded: Sequence[Sized], *, tokens: int) -> list[list[int]]:
    """Indices of ``encoded`` in batches of at most ``tokens`` tokens, padding included.

    The longest rows come first, so that running out of memory happens at once; a row longer than
    the budget is a batch of its own.
    """
    if tokens < 1:
        raise ValueError(f"the budget must be at least one token, not {tokens}")
    order = sorted(range(len(encoded)), key=lambda index: (-len(encoded[index]), index))
    batches: list[list[int]] = []
    for index in order:
        # A batch's first row is its longest.
        if batches and (len(batches[-1]) + 1) * len(encoded[batches[-1][0]]) <= tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


_Message = dict[str, str]
_Conversations = list[tuple[list[_Message], _Message]]
_Place = tuple[str, int]  # file and row, for errors
_IdsAndMasks = tuple[list[list[int]], list[np.ndarray]]


def _by_mark(
    conversations: _Conversations, tokenizer: PreTrainedTokenizerBase, places: list[_Place]
) -> _IdsAndMasks:
    """Supervise the last run of tokens that the template marks; earlier answers are context."""
    all_ids, masks = [], []
    for place, (turns, answer) in zip(places, conversations, strict=True):
        with_mask = _apply(
            [*turns, answer],
            tokenizer,
            place,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        marked = np.asarray(with_mask["assistant_masks"], dtype=bool)
        mask = np.zeros_like(marked)
        if marked.any():
            end = int(np.flatnonzero(marked)[-1]) + 1
            before = np.flatnonzero(~marked[:end])
            mask[int(before[-1]) + 1 if before.size else 0 : end] = True
        all_ids.append(with_mask["input_ids"])
        masks.append(mask)
    return all_ids, masks


def _by_prefix(
    conversations: _Conversations, tokenizer: PreTrainedTokenizerBase, places: list[_Place]
) -> _IdsAndMasks:
    """Supervise what follows the generation prompt, to the first special token after the answer."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    special.update(tokenizer.all_special_tokens)
    end_of_turn = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))))
    prompts, ends, texts = [], [], []
    for place, (turns, answer) in zip(places, conversations, strict=True):
        prompt = _render(turns, tokenizer, place, add_generation_prompt=True)
        text = _render([*turns, answer], tokenizer, place)
        start = text.find(answer["content"].strip(), len(prompt))
        if not text.startswith(prompt) or start < 0:
            raise _not_a_prefix(place)
        end = start + len(answer["content"].strip())
        closing = end_of_turn.search(text, end) if special else None
        prompts.append(prompt)
        ends.append(text[: closing.end()] if closing else text)
        texts.append(text)

    prompt_ids, end_ids, ids = (_tokenise(part, tokenizer) for part in (prompts, ends, texts))
    masks = []
    for place, before, upto, whole in zip(places, prompt_ids, end_ids, ids, strict=True):
        if whole[: len(before)] != before or whole[: len(upto)] != upto:
            raise _not_a_prefix(place)
        mask = np.zeros(len(whole), dtype=bool)
        mask[len(before) : len(upto)] = True
        masks.append(mask)
    return ids, masks


def _check_text(dataset: Dataset, places: list[_Place]) -> None:
    """Raise InputError for half a surrogate pair, which no tokenizer reads."""
    for (file, row), example in zip(places, dataset.examples, strict=True):
        try:
            "".join([example.response, *(text for _, text in example.messages)]).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"The row holds a broken character ({error.object[error.start]!a}).",
                remedy="Save the file as valid UTF-8, or drop the row.",
                file=file,
                row=row,
            ) from error


def _not_a_prefix(place: _Place) -> InputError:
    file, row = place
    return InputError(
        "It cannot be told where the answer begins: the chat template's prompt is not a prefix of "
        "the prompt with its answer.",
        remedy="Remove white space at the answer's beginning; if every row fails, use a chat "
        "template that marks its answers with {% generation %}.",
        file=file,
        row=row,
    )


def _tokenise(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    # verbose=False: the tokenizer's own length warning knows nothing of max_length.
    if not texts:
        return []
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]


def _turns(messages: Sequence[tuple[str, str]]) -> list[_Message]:
    return [{"role": role, "content": content} for role, content in messages]


def _render(
    turns: list[_Message],
    tokenizer: PreTrainedTokenizerBase,
    place: _Place | None = None,
    *,
    add_generation_prompt: bool = False,
) -> str:
    return _apply(
        turns, tokenizer, place, tokenize=False, add_generation_prompt=add_generation_prompt
    )


def _apply(
    turns: list[_Message],
    tokenizer: PreTrainedTokenizerBase,
    place: _Place | None,
    **options: Any,
) -> Any:
    """``apply_chat_template``, whose refusals name the row."""
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(turns, date_string=TEMPLATE_DATE, **options)
    except (TemplateError, ValueError) as error:
        file, row = place or (None, None)
        raise InputError(
            f"The model's chat template refuses the conversation: {str(error).rstrip('.')}.",
            remedy="Check the roles and their order (an optional system turn, then user and "
            "assistant in turn), or use another model.",
            file=file,
            row=row,
        ) from error
