"""Columns that are in no example: which of them look like text of the prompt, and are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.cells import is_missing, listed
from llm_validation.data.columns import CATEGORY
from llm_validation.data.dataset import Example

# Parts of what a model is asked or answers, however short their texts are.
_PROMPT_LIKE = {
    "context", "contexts", "passage", "passages", "document", "documents", "article",
    "paragraph", "story", "input", "inputs", "background", "hint", "hints", "evidence", "fact",
    "facts", "knowledge", "text", "abstract", "table", "schema", "choices", "options",
    "premise", "hypothesis", "persona", "dialogue", "dialog", "conversation", "turns", "prefix",
    "suffix", "examples", "few_shot", "demonstrations", "history", "memory", "preamble",
    "constraints", "instructions", "system", "system_prompt", "system_message",
    "system_instruction", "tools", "functions", "tool_calls", "function_call", "attachments",
    "chat_template_kwargs", "loss_mask", "prompt", "instruction", "question", "query",
}  # fmt: skip
_ANSWER_LIKE = {
    "reasoning", "reasoning_content", "thinking", "thought", "thoughts", "cot",
    "chain_of_thought", "rationale",
}  # fmt: skip
# About a row, not of it, however long their texts are.
_ABOUT = re.compile(
    r"(?:^|[_\-. ])(?:ids?|uuid|hash|sha\d*|md5|urls?|uris?|links?|date|time|timestamp|created_at"
    r"|updated_at|version|licen[cs]e|models?|model_name|generator|engine|authors?|annotators?"
    r"|tokens?|length|counts?|scores?|ratings?|rewards?|embeddings?|citation|copyright|path"
    r"|filename|repos?|commit|lang|language|locale|metadata)$",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '\-][^\W\d_]+){0,3}[.?!]?")
_FEW_WORDS = 4
_LONG_TEXT = 100
_LONGEST_NAME = 60  # characters of a category: what is longer is more than a name
_SHARE_OF_TEXTS = 0.2
_SHARE_OF_KINDS = 0.1
_MOST_KEPT = 2_000
_DEEPEST = 12


@dataclass(slots=True)
class _Seen:
    """What one unread column holds: how many cells are filled, and those that are texts."""

    file: str
    of_prompt: bool
    of_answer: bool
    row: int = 0
    filled: int = 0
    texts: int = 0
    characters: int = 0
    example: str = ""
    kinds: set[int] = field(default_factory=set)
    kinds_of_words: set[int] = field(default_factory=set)
    frames: set[int] = field(default_factory=set)
    booleans: list[int] = field(default_factory=lambda: [0, 0])


class UnreadColumns:
    """Looks at the cells that no example holds, row by row, and judges their columns."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._prompts: set[int] = set()

    def see(self, column: str, value: Any, origin: tuple[str, int], example: Example) -> None:
        """Take note of one cell beside the example that its row became."""
        if column == CATEGORY and len(str(value)) <= _LONGEST_NAME:
            return
        if isinstance(value, bool):
            self._of(column, origin).booleans[value] += 1
            return
        if value is None or isinstance(value, int | float) or is_missing(value):
            return
        seen = self._of(column, origin)
        seen.filled += 1
        if len(self._prompts) < _MOST_KEPT:
            self._prompts.add(hash(example.prompt))
        named = seen.of_prompt or seen.of_answer
        if isinstance(value, str):
            if not named and not _is_text(value):
                self._take_words(seen, value.strip(), origin, example)
                return
            parts = texts = [value]
        else:
            parts = list(_texts(value))
            texts = [part for part in parts if _is_text(part)]
            if not texts and not named:
                return
        # What is asked may be quoted in the answer, and is not read for that.
        apart = seen.of_prompt and isinstance(value, str)
        if parts and all(_within(part.strip(), example, apart) for part in texts or parts):
            return
        cell = "\n".join(parts).strip()
        frame = _frame(cell, example)
        if frame is not None:  # the whole row once more, in a form for training
            seen.frames.add(hash(frame))
            if len(seen.frames) <= max(2, seen.filled // 50):
                return
        seen.texts += 1
        seen.characters += len(cell)
        if len(seen.kinds) < _MOST_KEPT:
            seen.kinds.add(hash(cell))
        if seen.texts == 1:
            seen.row, seen.example = origin[1], cell or repr(value)

    def _take_words(
        self, seen: _Seen, cell: str, origin: tuple[str, int], example: Example
    ) -> None:
        kinds = seen.kinds_of_words
        if len(kinds) >= _MOST_KEPT or hash(cell) in kinds:
            return
        if _WORDS.fullmatch(cell) and cell not in example.prompt:
            kinds.add(hash(cell))
            if len(kinds) == 1 and not seen.texts:
                seen.row, seen.example = origin[1], cell

    def refuse(self) -> None:
        """Raises InputError naming every column seen so far that looks like text of the prompt."""
        found = [column for column, seen in self._seen.items() if self._is_prompt(column, seen)]
        if not found:
            return
        first = self._seen[found[0]]
        shown = " ".join(first.example.split())
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        one = len(found) == 1
        them = "it" if one else "them"
        raise InputError(
            f"the column{'' if one else 's'} {listed(found)} would not be read, and "
            f"look{'s' if one else ''} like a part of what the model is asked or answers "
            f"(there: {shown!r}).",
            remedy=f"Write {them} into the prompt or the answer, remove {them}, or leave {them} "
            f"unread with `ignore_columns` {' '.join(map(_quoted, found))}.",
            file=first.file,
            row=first.row,
        )

    def notes(self) -> Iterable[str]:
        """Of every column that is true in some rows and false in others, how often."""
        for column, seen in self._seen.items():
            no, yes = seen.booleans
            if no and yes:
                yield (
                    f"The column {column!r} is not read; it is false in {no} of {no + yes} rows, "
                    "which are learnt as the others are."
                )

    def holds(self, column: str) -> bool:
        """Whether a cell of this column was filled."""
        return column in self._seen

    def _is_prompt(self, column: str, seen: _Seen) -> bool:
        if seen.texts and (seen.of_prompt or seen.of_answer):
            return True
        if seen.texts and seen.texts >= _SHARE_OF_TEXTS * seen.filled:
            if len(seen.kinds) == 1:
                return seen.filled == 1
            varied = len(seen.kinds) > _SHARE_OF_KINDS * min(seen.texts, _MOST_KEPT)
            return varied or seen.characters >= _LONG_TEXT * seen.texts
        # Words that tell rows apart which ask the same.
        most = min(seen.filled, _MOST_KEPT)
        kinds, prompts = len(seen.kinds_of_words), len(self._prompts)
        return kinds > 2 and kinds >= most / 2 and prompts <= most / 2

    def _of(self, column: str, origin: tuple[str, int]) -> _Seen:
        seen = self._seen.get(column)
        if seen is None:
            # Of a turn's key, "messages.hint", the key is the name.
            name = column.rpartition(".")[2].strip().lower()
            seen = _Seen(origin[0], name in _PROMPT_LIKE, name in _ANSWER_LIKE)
            self._seen[column] = seen
        return seen


def is_about(column: str) -> bool:
    """Whether a column's name alone says that it is no part of the prompt."""
    return _ABOUT.search(column) is not None


def _is_text(cell: str) -> bool:
    """Whether a cell has some words; scripts without spaces count two letters as one."""
    if len(cell) < 8:
        return False
    start = cell[:400]
    words = len(start.split(None, _FEW_WORDS))
    if words < _FEW_WORDS and not start.isascii():
        words += sum(letter > "\u0e00" for letter in start) // 2
    return words >= _FEW_WORDS


def _within(cell: str, example: Example, in_prompt: bool) -> bool:
    if cell in example.prompt or in_prompt:
        return cell in example.prompt
    return cell in example.response or (example.rejected is not None and cell in example.rejected)


def _frame(cell: str, example: Example) -> str | None:
    """What is left of a cell without the texts of its row; None if it does not hold them all."""
    parts = [example.response.strip()]
    for _, content in example.messages:
        parts += (part.strip() for part in content.split("\n\n"))
    for part in parts:
        if part not in cell:
            return None
        cell = cell.replace(part, "", 1)
    return cell


def _texts(value: Any, depth: int = 0) -> Iterable[str]:
    """Every text within lists and objects, their keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple) and depth < _DEEPEST:
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part, depth + 1)


def _quoted(column: str) -> str:
    plain = re.fullmatch(r"[\w.\-:]+", column)
    return column if plain else "'" + column.replace("'", "'\\''") + "'"
