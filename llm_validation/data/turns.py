"""The turns of a dialogue as chat files write them: roles, parts, tool calls, marks."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from llm_validation.data.cells import (
    BadRowError,
    as_json,
    is_missing,
    kind,
    listed,
    objects_in,
    text,
    to_json,
)
from llm_validation.data.marks import is_on

CALLS = "tool_calls"
_CALLING = "function_call"
# What files call a turn's role (capitals do not matter), and what templates call it.
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "function_call": _CALLING,
    "tool_call": _CALLING,
}
_TEMPLATE_ROLES = ("system", "user", "assistant", "tool")
# Passed on to the template as they are.
_TEMPLATE_FIELDS = ("reasoning_content", "reasoning", "thinking", "tool_call_id")
MEDIA = ("image", "images", "audio", "audios", "video", "videos", "file", "files", "attachments")
# 0 or false: the turn is not to be learnt (OpenAI, axolotl, LLaMA-Factory, ms-swift).
LEARNT_MARKS = (
    "weight", "loss_weight", "loss", "loss_mask", "train", "training", "train_on_turn", "trainable",
)  # fmt: skip
_NOT_UNDERSTOOD = ("train_detail", "training_detail", "mask", "masked")
_PLAIN = ({"role", "content"}, {"from", "value"})


@dataclass(slots=True)
class Turns:
    """``messages`` are ``(role, content)``; by a turn's place in them, from 0: its ``fields``.

    ``unlearnt`` maps the places of assistant turns not to be learnt to the mark that says so.
    ``unread`` are pairs of a turn's key that is in no example and its value.
    """

    messages: list[tuple[str, str]] = field(default_factory=list)
    fields: dict[int, dict[str, Any]] = field(default_factory=dict)
    unlearnt: dict[int, str] = field(default_factory=dict)
    unread: list[tuple[str, Any]] = field(default_factory=list)

    def __add__(self, other: Turns) -> Turns:
        shift = len(self.messages)
        return Turns(
            self.messages + other.messages,
            self.fields | {place + shift: found for place, found in other.fields.items()},
            self.unlearnt | {place + shift: mark for place, mark in other.unlearnt.items()},
            self.unread + other.unread,
        )

    def text(self, place: int) -> str:
        """What a turn says: its content, and below it the functions that it calls as JSON."""
        content = self.messages[place][1]
        calls = self.fields.get(place, {}).get(CALLS) if self.fields else None
        if calls is None:
            return content
        # Without the calls' ids, which are drawn anew for every dialogue.
        written = json.dumps([call["function"] for call in calls], ensure_ascii=False)
        return f"{content}\n{written}" if content.strip() else written


def said(role: str, content: str) -> Turns:
    """One plain turn."""
    return Turns([(role, content)])


def read_turns(value: Any, column: str) -> Turns:
    """The turns of a cell: a list of objects, such a list as text, or one turn alone.

    Raises BadRowError for what is no dialogue, and for parts of one that are not read.
    """
    if isinstance(value, str):  # a CSV cell can hold a list only as text
        value = objects_in(value)
    if isinstance(value, dict):
        value = _rows_of_columns(value) or [value]
    if not isinstance(value, list) or not value:
        raise BadRowError(
            f"{column!r} is not a list of turns.",
            'Write it as [{"role": "user", "content": "..."}, '
            '{"role": "assistant", "content": "..."}].',
        )
    turns = Turns()
    for place, turn in enumerate(value, 1):
        _add_turn(turns, turn, place, column)
    return turns


def _rows_of_columns(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The turns of an object of lists, as `datasets` may give a list of objects."""
    lists = [part for part in value.values() if isinstance(part, list)]
    if len(lists) != len(value) or len({len(part) for part in lists}) != 1:
        return None
    return [dict(zip(value, parts, strict=True)) for parts in zip(*lists, strict=True)]


def holds_turns(value: Any) -> bool:
    """Whether a cell is a dialogue rather than one text."""
    if isinstance(value, str):
        found = objects_in(value) if value.lstrip()[:1] == "[" else None
        return bool(found) and all(_looks_like_turn(turn) for turn in found)
    if isinstance(value, dict):
        return "role" in value or "from" in value
    return isinstance(value, list)


def _looks_like_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and any(keys <= turn.keys() for keys in _PLAIN)


def _add_turn(turns: Turns, turn: Any, place: int, column: str) -> None:
    if not isinstance(turn, dict):
        raise BadRowError(
            f"turn {place} of {column!r} is {kind(turn)}, not an object.",
            "Give each turn a 'role' and a 'content'.",
        )
    by_role = "role" in turn or "from" not in turn
    given = turn.get("role" if by_role else "from")
    role = ROLES.get(given.lower()) if isinstance(given, str) else None
    content = turn.get("content" if by_role else "value")
    if content is None:
        content = turn.get("value" if by_role else "content")
    if role is None:
        raise BadRowError(
            f"turn {place} of {column!r} has the role {_short(given)}.",
            f"Use one of {listed(_TEMPLATE_ROLES)}.",
        )
    if len(turn) == 2 and isinstance(content, str) and role != _CALLING:
        turns.messages.append((role, text(content, f"turn {place} of {column!r}")))
        return
    _add_rich_turn(turns, turn, role, content, f"turn {place} of {column!r}", column)


def _add_rich_turn(
    turns: Turns, turn: dict[str, Any], role: str, content: Any, label: str, column: str
) -> None:
    here = len(turns.messages)
    found: dict[str, Any] = {}
    calls = turn.get(CALLS)
    if not is_missing(turn.get(_CALLING)):  # OpenAI's older form of one call
        calls = [turn[_CALLING]]
    if role == _CALLING:
        role, calls = "assistant", as_json(content) if isinstance(content, str) else content
        content = ""
        if not isinstance(calls, list | dict) or not calls:
            raise BadRowError(
                f"{label} is a function call that is not JSON.",
                'Write it as {"name": "...", "arguments": {...}}.',
            )
    if not is_missing(calls):
        found[CALLS] = _calls(calls, label)
    if content is None and isinstance(turn.get("refusal"), str):
        content = turn["refusal"]
    content, thought = _content(content, label)
    if thought:
        found["reasoning_content"] = thought
    for key in (*_TEMPLATE_FIELDS, "name") if role == "tool" else _TEMPLATE_FIELDS:
        if not is_missing(turn.get(key)):
            found[key] = text(turn[key], f"{key!r} of {label}")
    if content is None:
        if CALLS not in found:
            raise BadRowError(f"{label} has no content.", "Give it a 'content' that is text.")
        content = ""
    for key, value in turn.items():
        if key in _READ_KEYS or key in found or is_missing(value):
            continue
        if key in MEDIA or key in _NOT_UNDERSTOOD:
            raise BadRowError(
                f"{label} has {key!r}, which is not read.",
                "Remove it, or leave out the row: only texts, tool calls and thoughts are learnt.",
            )
        turns.unread.append((f"{column}.{key}", value))
    if role == "assistant":
        mark = _unlearnt_by(turn, label)
        if mark is not None:
            turns.unlearnt[here] = mark
    if found:
        turns.fields[here] = found
    turns.messages.append((role, content))


_READ_KEYS = frozenset(
    ("role", "from", "content", "value", CALLS, _CALLING, "refusal", *_TEMPLATE_FIELDS)
) | frozenset(LEARNT_MARKS)


def _content(value: Any, label: str) -> tuple[str | None, str]:
    """A turn's content and the thought within it; of OpenAI's parts, their text joined."""
    if value is None or isinstance(value, str):
        return (None if value is None else text(value, label)), ""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise BadRowError(f"{label} is {kind(value)}, not text.", "Write it as a string.")
    texts, thoughts = [], []
    for part in value:
        if isinstance(part, str):
            texts.append(text(part, label))
            continue
        if not isinstance(part, dict):
            raise BadRowError(
                f"a part of {label} is {kind(part)}, not an object.",
                'Write parts as {"type": "text", "text": "..."}.',
            )
        sort = part.get("type", "text")
        into = {"thinking": thoughts, "reasoning": thoughts}.get(str(sort), texts)
        if sort not in _TEXT_PARTS:
            raise BadRowError(
                f"{label} holds a part of type {_short(sort)}, which is not text.",
                "Remove it, or leave out the row: only texts can be learnt from.",
            )
        for key in ("text", sort, "content"):
            if part.get(key) is not None:
                into.append(text(part[key], f"a part of {label}"))
                break
        else:
            raise BadRowError(
                f"a part of {label} has no text.", 'Write it as {"type": "text", "text": "..."}.'
            )
    return ("".join(texts) if texts or not thoughts else None), "".join(thoughts)


_TEXT_PARTS = ("text", "input_text", "output_text", "refusal", "thinking", "reasoning")


def _calls(value: Any, label: str) -> list[dict[str, Any]]:
    """Tool calls as templates take them: each a function with a name and an object of arguments."""
    if isinstance(value, str):
        value = as_json(value)
    calls = []
    for call in value if isinstance(value, list) else [value]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadRowError(
                f"{label} has 'tool_calls' that are not calls of named functions.",
                'Write them as [{"type": "function", "function": {"name": "...", '
                '"arguments": {...}}}].',
            )
        arguments = function.get("arguments", function.get("parameters", {}))
        if isinstance(arguments, str):  # OpenAI's: JSON as text
            parsed = as_json(arguments)
            arguments = parsed if isinstance(parsed, dict) else arguments
        made = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
        if call is not function and isinstance(call.get("id"), str):
            made["id"] = call["id"]
        to_json(made, f"'tool_calls' of {label}")
        calls.append(made)
    return calls


def _unlearnt_by(turn: dict[str, Any], label: str) -> str | None:
    """The mark by which an assistant turn is not to be learnt; None where it is."""
    for mark in LEARNT_MARKS:
        value = turn.get(mark)
        if is_missing(value):
            continue
        on = is_on(value)
        if on is None:
            raise BadRowError(
                f"{label} has the {mark} {_short(value)}, which is neither 1 nor 0.",
                "Write 1 (learn the turn) or 0 (do not).",
            )
        if not on:
            return mark
    return None


def _short(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."
