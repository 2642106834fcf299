"""From examples to tokens: the chat template, and which tokens the loss counts.

Every measure and every fine-tune encodes here, so that all losses are of the same tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from finebound.base.errors import InputError
from llm_validation.data.answer_spans import Answers, Unfound
from llm_validation.data.conversations import SupervisedTurns, rendered_answers, turns_of
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding_notes import Seen
from llm_validation.data.rendering import RenderRequest, TemplateFault, render
from llm_validation.data.templates import date_note
from llm_validation.data.token_spans import token_spans

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED_LABEL = -100
OnLong = Literal["error", "drop", "truncate"]
_ROWS = 1024  # encoded together
_NAMED = 8
_Place = tuple[str, int]  # file and row, for errors


@dataclass(frozen=True)
class Encoded:
    """One row of tokens.

    ``input_ids`` int32 ``[t]``; ``supervised`` bool ``[t]``, True where the token is part of the
    loss: the answers and their end-of-turn tokens. Never the first token: nothing predicts it.
    ``row`` is the 1-based row of the dataset it came from; ``cut`` says that its end is missing.
    """

    input_ids: np.ndarray
    supervised: np.ndarray
    row: int = 0
    cut: bool = False

    def __len__(self) -> int:
        return len(self.input_ids)

    def beginning(self, tokens: int) -> Encoded:
        """The row up to its ``tokens``-th supervised token, or up to its last one."""
        (places,) = self.supervised.nonzero()
        end = int(places[:tokens][-1]) + 1
        return replace(
            self,
            input_ids=self.input_ids[:end],
            supervised=self.supervised[:end],
            cut=self.cut or len(places) > tokens,
        )


@dataclass(frozen=True)
class Encoding:
    """Encoded rows, the numbers of those that were too long, and what a person should know.

    ``dropped`` and ``cut`` are 1-based rows of the dataset; ``notes`` are whole sentences.
    """

    rows: list[Encoded]
    dropped: tuple[int, ...]
    cut: tuple[int, ...]
    notes: tuple[str, ...]


def encode(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    on_long: OnLong = "error",
    turns: SupervisedTurns = "all",
) -> list[Encoded]:
    """The rows of ``encode_noted``; rows that were left out or cut are a warning."""
    found = encode_noted(dataset, tokenizer, max_length=max_length, on_long=on_long, turns=turns)
    for rows, what in ((found.dropped, "dropped"), (found.cut, "cut")):
        if rows:
            warnings.warn(
                f"{_where(dataset)}: {what} {len(rows)} of {len(dataset)} rows with more than "
                f"{max_length} tokens.",
                stacklevel=2,
            )
    return found.rows


def encode_noted(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    on_long: OnLong = "error",
    turns: SupervisedTurns = "all",
) -> Encoding:
    """Tokenise every example with its answer, by the tokenizer's chat template.

    Where the template marks its answers (``{% generation %}``), its mark says what is supervised.
    Elsewhere it is what follows the generation prompt, up to and with the end-of-turn token.
    ``turns`` "all" supervises every assistant turn, as TRL, LLaMA-Factory and axolotl do, but for
    those that the source marks as not to be learnt; "last" the answer alone. Of a row with a
    rejected answer it is always the answer alone.

    Rows longer than ``max_length`` tokens raise InputError, which names them; with ``on_long``
    "drop" they are left out, with "truncate" their first ``max_length`` tokens stay, and rows
    without a supervised token among these are left out. InputError too for a row that the template
    refuses, that has tools or tool calls which it does not write, or that has no supervised token.
    """
    # A sample's rows are named as in the file that they come from.
    places = [
        example.origin or (_where(dataset), row)
        for row, example in enumerate(dataset.examples, start=1)
    ]
    _check_text(dataset, places)
    encoded: list[Encoded] = []
    long: dict[int, int] = {}
    dropped: list[int] = []
    seen = Seen()
    for start in range(0, len(dataset), _ROWS):
        some = slice(start, start + _ROWS)
        rows = _encode_rows(dataset.examples[some], tokenizer, places[some], turns, seen)
        for row, (ids, mask) in enumerate(rows, start=start + 1):
            mask[:1] = False
            if not mask.any():
                file, file_row = places[row - 1]
                raise InputError(
                    "The row has no supervised token: its answer is empty, or the chat template "
                    "marks none of it.",
                    remedy="Write an answer, or drop the row.",
                    file=file,
                    row=file_row,
                )
            if len(ids) > max_length:
                long[row] = len(ids)
                if on_long != "truncate" or not mask[:max_length].any():
                    dropped.append(row)
                    continue
            kept = np.asarray(ids[:max_length], dtype=np.int32)
            encoded.append(Encoded(kept, mask[:max_length], row, row in long))
    if long and on_long == "error":
        raise _too_long(long, places, max_length, len(dataset))
    if len(dropped) == len(dataset) > 0:
        no_answer = ", and no answer begins before" if on_long == "truncate" else ""
        raise InputError(
            f"Every one of the {len(dataset)} rows has more than {max_length} tokens{no_answer}.",
            remedy="Raise `max_length`, or shorten the rows.",
            file=_where(dataset),
        )
    cut = tuple(row.row for row in encoded if row.cut)
    date = date_note(tokenizer) if encoded else None
    more = [date] if date else []
    if cut:
        more.append(f"{len(cut)} of {len(dataset)} rows are cut to {max_length} tokens.")
    if dropped:
        more.append(f"{len(dropped)} of {len(dataset)} rows are left out as too long.")
    return Encoding(encoded, tuple(dropped), cut, (*seen.notes(turns), *more))


def prompt_text(messages: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase) -> str:
    """The templated text that a model answers: ``(role, content)`` turns and generation prompt.

    Tokenise it with ``add_special_tokens=False``: the template has written them already. Raises
    InputError as ``encode``.
    """
    return prompt_texts([messages], tokenizer)[0]


def prompt_texts(
    conversations: Sequence[Sequence[tuple[str, str]]], tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """``prompt_text`` of many conversations; an error names the row by its number from 1."""
    requests = [RenderRequest(turns_of(messages), True) for messages in conversations]
    texts: list[str] = []
    for row, found in enumerate(render(requests, tokenizer), start=1):
        if isinstance(found, TemplateFault):
            raise found.error(row=row if len(requests) > 1 else None)
        texts.append(found.text)
    return texts


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


def token_budget_batches(
    encoded: Sequence[Sized], *, tokens: int, apart_at: int | None = None
) -> list[list[int]]:
    """Indices of ``encoded`` in batches of at most ``tokens`` tokens, padding included.

    The longest rows come first, so that running out of memory happens at once; a row longer than
    the budget is a batch of its own. Rows longer than ``apart_at`` tokens and others are never
    together (``models.rope.rope_switch``).
    """
    if tokens < 1:
        raise ValueError(f"the budget must be at least one token, not {tokens}")
    order = sorted(range(len(encoded)), key=lambda index: (-len(encoded[index]), index))
    batches: list[list[int]] = []
    for index in order:
        # A batch's first row is its longest.
        longest = len(encoded[batches[-1][0]]) if batches else 0
        apart = apart_at is not None and len(encoded[index]) <= apart_at < longest
        if batches and not apart and (len(batches[-1]) + 1) * longest <= tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _encode_rows(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    places: Sequence[_Place],
    turns: SupervisedTurns,
    seen: Seen,
) -> list[tuple[list[int], np.ndarray]]:
    """Ids ``[t]`` and which of them are supervised ``[t]``, of every example."""
    found: list[Answers] = []
    rendered = rendered_answers(examples, tokenizer, turns)
    for (file, row), answers in zip(places, rendered, strict=True):
        if isinstance(answers, TemplateFault):
            raise answers.error(file, row)
        if isinstance(answers, Unfound):
            raise _unfound(answers, file, row)
        _require_whole_characters(answers.text, file, row)
        found.append(answers)
    encoded = token_spans([a.text for a in found], [a.spans for a in found], tokenizer)
    asked = [place for place, answers in enumerate(found) if answers.prompt is not None]
    prompts = token_spans([found[i].prompt or "" for i in asked], [()] * len(asked), tokenizer)
    as_asked = {place: prompt.ids for place, prompt in zip(asked, prompts, strict=True)}
    for place, (answers, row) in enumerate(zip(found, encoded, strict=True)):
        letters = next((text for text in row.merged if text.strip()), None)
        if letters is not None and answers.prompt is not None:
            why = f"{letters!r} beside it and letters of it are one token"
            raise _unfound(Unfound(why), *places[place])
        seen.add(examples[place], answers, row, as_asked.get(place))
    return [(row.ids, row.mask) for row in encoded]


def _unfound(reason: Unfound, file: str, row: int) -> InputError:
    if reason.unwritten:
        return InputError(
            f"The chat template does not write {reason.why} of the row, so a part of it would be "
            "left out silently.",
            remedy="Use a model whose template has tools, or take them out of the data.",
            file=file,
            row=row,
        )
    return InputError(
        f"It cannot be told where the answer begins and ends: {reason.why}.",
        remedy="Use a chat template that marks its answers with {% generation %}, or whose "
        "generation prompt is what it writes before an answer.",
        file=file,
        row=row,
    )


def _too_long(long: dict[int, int], places: list[_Place], limit: int, rows: int) -> InputError:
    (row, length), *more = long.items()
    file, file_row = places[row - 1]
    also = ""
    if more:
        named = ", ".join(str(places[other - 1][1]) for other in list(long)[:_NAMED])
        also = (
            f" So it is with {len(long)} of the {rows} rows: {named}"
            f"{', ...' if len(long) > _NAMED else ''}; the longest has {max(long.values())}."
        )
    return InputError(
        f"The row has {length} tokens, and the limit is {limit}.{also}",
        remedy="Raise `max_length` (as far as the model's context goes), leave long rows out "
        "(`drop_long`) or cut them (`truncate`), or shorten them.",
        file=file,
        row=file_row,
    )


def _check_text(dataset: Dataset, places: list[_Place]) -> None:
    """Raise InputError for half a surrogate pair, which no tokenizer reads."""
    for (file, row), example in zip(places, dataset.examples, strict=True):
        text = "".join([example.response, *(text for _, text in example.messages)])
        _require_whole_characters(text, file, row)


def _require_whole_characters(text: str, file: str, row: int) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"The row holds a broken character ({error.object[error.start]!a}).",
            remedy="Save the file as valid UTF-8, or drop the row.",
            file=file,
            row=row,
        ) from error


def _where(dataset: Dataset) -> str:
    return dataset.name if dataset.source == "memory" else dataset.source
