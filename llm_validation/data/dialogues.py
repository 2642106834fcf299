"""From the columns of a row to the turns of a dialogue, and from a dialogue to its example."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from llm_validation.data.cells import (
    BadRowError,
    MarkedRowError,
    Row,
    UnusableRowError,
    filled,
    is_missing,
    kind,
    listed,
    text,
    to_json,
    written_in,
)
from llm_validation.data.columns import HISTORY_COLUMN
from llm_validation.data.dataset import Example
from llm_validation.data.turns import Turns, holds_turns, read_turns, said

Origin = tuple[str, int]
# In these layouts the input is always apart: where the prompt holds it, that is by chance.
_ALWAYS_APART = ("instruction", "subject")


@dataclass(frozen=True)
class Read:
    """What one row became: its examples, and the ``unread`` keys of its turns with their values.

    ``joined`` are the columns that were written below the prompt, ``cut`` tells that what follows
    the last answer to be learnt was left away.
    """

    examples: tuple[Example, ...]
    unread: tuple[tuple[str, Any], ...] = ()
    joined: tuple[str, ...] = ()
    cut: bool = False


@dataclass(frozen=True)
class Around:
    """The columns about a whole dialogue: the system's text, tools on offer, earlier turns."""

    system: tuple[str, ...]
    tools: tuple[str, ...]
    history: bool

    def used(self, *more: str) -> frozenset[str]:
        """All of them, ``category`` and ``more``: the columns that a layout reads."""
        history = (HISTORY_COLUMN,) if self.history else ()
        return frozenset((*self.system, *self.tools, *history, "category", *more))


NOTHING_AROUND = Around((), (), False)


def asked_by(
    row: Row, prompt: str, contexts: tuple[str, ...], around: Around
) -> tuple[Turns, tuple[str, ...]]:
    """The turns that a prompt column asks, and the columns joined to it."""
    asked = row[prompt]
    if holds_turns(asked):
        more = [column for column in contexts if not is_missing(row.get(column))]
        if more:
            raise BadRowError(
                f"{listed(more)} cannot be joined to {prompt!r}, which is a list of turns.",
                "Write it into the turn that it belongs to.",
            )
        return surrounded(read_turns(asked, prompt), row, around), ()
    user, joined = filled(asked, repr(prompt)), []
    for column in contexts:
        below = _context(row.get(column), column)
        # A prompt that quotes its context in full has been joined already.
        quoted = prompt not in _ALWAYS_APART and len(below) > 40 and below in user
        if below and not quoted:
            user = f"{user}\n\n{below}"
            joined.append(column)
    return surrounded(said("user", user), row, around), tuple(joined)


def _context(value: Any, column: str) -> str:
    if is_missing(value):
        return ""
    if isinstance(value, list):
        return "\n\n".join(text(part, f"a part of {column!r}") for part in value)
    return text(value, repr(column))


def surrounded(turns: Turns, row: Row, around: Around) -> Turns:
    """The turns after the row's earlier ones and the system's text."""
    if around.history and not is_missing(row.get(HISTORY_COLUMN)):
        turns = _history(row[HISTORY_COLUMN]) + turns
    for column in around.system:
        value = row.get(column)
        if is_missing(value):
            continue
        words = text(value, repr(column))
        first = turns.messages[0]
        if first[0] != "system":
            turns = said("system", words) + turns
        elif first[1].strip() != words.strip():
            raise BadRowError(
                f"{column!r} is not the system turn that the row has already.",
                "Keep one of the two.",
            )
    return turns


def _history(value: Any) -> Turns:
    """Alpaca's ``history``: earlier [prompt, answer] pairs, or turns."""
    if isinstance(value, str):
        value = written_in(value)
    if isinstance(value, list) and not value:
        return Turns()
    if isinstance(value, list) and all(isinstance(turn, dict) for turn in value):
        return read_turns(value, HISTORY_COLUMN)
    pairs = value if isinstance(value, list) else [None]
    turns = Turns()
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise BadRowError(
                f"{HISTORY_COLUMN!r} is not a list of pairs of prompt and answer.",
                'Write it as [["earlier prompt", "its answer"], ...].',
            )
        for role, said_then in zip(("user", "assistant"), pair, strict=True):
            turns.messages.append((role, text(said_then, f"a part of {HISTORY_COLUMN!r}")))
    return turns


def answer_in(value: Any, column: str) -> Turns:
    """The answer in a cell: one text, or turns of which the last is the answer."""
    if holds_turns(value):
        return read_turns(value, column)
    return said("assistant", filled(value, repr(column)))


def assistant_places(turns: Turns, column: str) -> dict[int, str]:
    """The places of all assistant turns, each with the column that they are from."""
    places = (place for place, (role, _) in enumerate(turns.messages) if role == "assistant")
    return dict.fromkeys(places, column)


def require_answer(turns: Turns, column: str) -> None:
    """Raises BadRowError where the last turn is no assistant's."""
    role = turns.messages[-1][0] if turns.messages else "missing"
    if role == "assistant":
        return
    if not any(name == "assistant" for name, _ in turns.messages):
        raise BadRowError(
            f"{column!r} has no assistant turn, so there is no answer to learn from.",
            "End each dialogue with an assistant turn.",
        )
    raise BadRowError(
        f"{column!r} ends with a {role} turn, which nobody answers.",
        "Remove what follows the last assistant turn, or add the answer.",
    )


def example_of(
    turns: Turns,
    row: Row,
    around: Around,
    origin: Origin,
    column: str,
    joined: tuple[str, ...] = (),
    rejected: str | None = None,
) -> Read:
    """The example of a whole dialogue: its last answer to be learnt, and all before that."""
    require_answer(turns, column)
    messages, unlearnt = turns.messages, turns.unlearnt
    last = len(messages) - 1
    while last >= 0 and (messages[last][0] != "assistant" or last in unlearnt):
        last -= 1
    if last < 0:
        mark = unlearnt[len(messages) - 1]
        raise MarkedRowError(f"{mark!r} marks every answer as not to be learnt")
    before, response = tuple(messages[:last]), messages[last][1]
    texts = [content for _, content in before]
    fields: tuple[tuple[int, str], ...] = ()
    if turns.fields:
        texts, response = [turns.text(place) for place in range(last)], turns.text(last)
        found = {place: dict(had) for place, had in turns.fields.items() if place <= last}
        if response != messages[last][1]:
            found[last]["content"] = messages[last][1]
        fields = tuple((place, to_json(had, "a turn")) for place, had in sorted(found.items()))
    if "user" not in (role for role, _ in before):
        raise BadRowError("no user turn comes before the answer.", "Add the user's turn.")
    if all(is_missing(content) for role, content in before if role != "system"):
        raise UnusableRowError("the prompt is empty")
    tools = _tools(row, around) if around.tools else None
    if tools is not None:
        texts.insert(0, tools)
    example = Example(
        texts[0] if len(texts) == 1 else "\n".join(texts),
        filled(response, f"the last turn of {column!r}"),
        before,
        rejected,
        category_of(row.get("category")),
        origin,
        tools,
        fields,
        tuple(place for place in unlearnt if place < last),
    )
    return Read((example,), tuple(turns.unread), joined, last < len(messages) - 1)


def _tools(row: Row, around: Around) -> str | None:
    """The tools on offer as a JSON list; the same text for all rows that offer the same."""
    for column in around.tools:
        value = row.get(column)
        if isinstance(value, str) and not is_missing(value):
            value = written_in(value)
        elif is_missing(value):
            continue
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
            raise BadRowError(
                f"{column!r} is not a list of tools.",
                'Write it as [{"type": "function", "function": {"name": "...", ...}}].',
            )
        if not value:
            continue
        if column == "functions":
            value = [{"type": "function", "function": tool} for tool in value]
        return sys.intern(to_json(value, repr(column)))
    return None


def category_of(value: Any) -> str | None:
    """The row's label as one text: of an object of booleans, those that hold."""
    if isinstance(value, dict):  # BeaverTails: {"violence": true, ...}
        return ", ".join(str(name) for name, holds in value.items() if holds) or None
    if is_missing(value) and not isinstance(value, list):
        return None
    if isinstance(value, str | int | float):
        return text(str(value), "'category'")
    raise BadRowError(f"'category' is {kind(value)}.", "Write the category as one text.")
