"""From a row of named columns to an example: the column layouts that data files may have."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finebound.errors import InputError
from llm_validation.data.cells import (
    BadRowError,
    MarkedRowError,
    Row,
    UnusableRowError,
    as_json,
    filled,
    is_missing,
    kind,
    listed,
    text,
    to_json,
)
from llm_validation.data.columns import (
    BESIDE_AN_ANSWER,
    CONTEXT_COLUMNS,
    CONTEXT_OF,
    HISTORY_COLUMN,
    NATURAL_PAIRS,
    NESTED_COLUMNS,
    PAIRS_BY_BOTH_NAMES,
    PREFERENCE_COLUMNS,
    PROMPT_COLUMNS,
    RESPONSE_COLUMNS,
    SYSTEM_COLUMNS,
    TEXT_COLUMN,
    TOOL_COLUMNS,
    TURN_COLUMNS,
)
from llm_validation.data.dataset import Example
from llm_validation.data.prepared_text import hh_turns, is_hh, read_prepared
from llm_validation.data.turns import Turns, holds_turns, read_turns, said

EXPECTED = (
    "prompt and response; or messages; or prompt, chosen and rejected; "
    "or instruction, input and output"
)
_NEAR = {
    "prompt": ("prompt_text", "forbidden_prompt", "user_prompt", "behavior", "instructions"),
    "response": ("reply", "model_response", "generation", "ans", "answers"),
}
Origin = tuple[str, int]


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
class Layout:
    """How rows with certain columns are read: ``read`` a row, from the columns ``used``.

    ``needed`` are those without which a row has another layout; ``prompt`` is the prompt's column.
    ``beside`` are known to be no part of the prompt. ``marks`` tells whether a row's mark, such as
    KTO's label, is about the answer.
    """

    read: Callable[[Row, Origin], Read]
    used: frozenset[str]
    needed: tuple[str, ...]
    prompt: str | None = None
    beside: frozenset[str] = frozenset()
    marks: bool = True


def choose_layout(columns: Sequence[str], *, file: str | Path) -> Layout:
    """The reading that these columns call for.

    Raises InputError with the columns found, those expected and the nearest fix.
    """
    found = set(columns)
    around = _Around(
        system=tuple(name for name in SYSTEM_COLUMNS if name in found),
        tools=tuple(name for name in TOOL_COLUMNS if name in found),
        history=HISTORY_COLUMN in found,
    )
    for chosen, rejected in PREFERENCE_COLUMNS:
        if {chosen, rejected} <= found:
            return _preference_layout(found, chosen, rejected, around, file)
    turns = next((name for name in TURN_COLUMNS if name in found), None)
    if turns is not None:
        answer = _pick(found, RESPONSE_COLUMNS, file) if found & {*RESPONSE_COLUMNS[:4]} else None
        return _turns_layout(turns, answer, around)
    if found >= NESTED_COLUMNS:
        return _nested_layout(around)
    pair = _pair(found, file)
    if pair is not None:
        contexts = _contexts(found, *pair)
        beside = BESIDE_AN_ANSWER.get(pair[1], frozenset())
        return _pair_layout(*pair, contexts, around, beside)
    if TEXT_COLUMN in found and _pick(found, (*PROMPT_COLUMNS, *RESPONSE_COLUMNS), file) is None:
        return _text_layout(around)
    prompt = _pick(found, PROMPT_COLUMNS, file)
    response = _pick(found, RESPONSE_COLUMNS, file)
    if prompt is None and "input" in found:
        prompt = "input"
    raise InputError(
        _missing(columns, prompt, response), remedy=_nearest_fix(columns, prompt), file=file
    )


# Columns -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Around:
    """The columns about a whole dialogue: the system's text, tools on offer, earlier turns."""

    system: tuple[str, ...]
    tools: tuple[str, ...]
    history: bool

    def used(self, *more: str) -> frozenset[str]:
        history = (HISTORY_COLUMN,) if self.history else ()
        return frozenset((*self.system, *self.tools, *history, "category", *more))


def _pair(found: set[str], file: str | Path) -> tuple[str, str] | None:
    """The columns of prompt and answer; None where one of them is not there."""
    prompts = [name for name in PROMPT_COLUMNS if name in found]
    responses = [name for name in RESPONSE_COLUMNS if name in found]
    canonical = prompts[:1] == ["prompt"] or responses[:1] == ["response"]
    if not canonical and len(prompts) + len(responses) > 2:
        natural = [pair for pair in NATURAL_PAIRS if {*pair} <= found]
        if natural and len(prompts) == 1:
            return natural[0]
    prompt = _pick(found, PROMPT_COLUMNS, file)
    response = _pick(found, RESPONSE_COLUMNS, file)
    if prompt and response:
        return prompt, response
    for one, other in PAIRS_BY_BOTH_NAMES:
        if one in found and (other or response) in found and (prompt is None or prompt == one):
            return one, other or response
    return None


def _contexts(found: set[str], prompt: str, response: str | None) -> tuple[str, ...]:
    names = CONTEXT_OF.get(prompt, CONTEXT_COLUMNS)
    return tuple(name for name in names if name in found and name not in (prompt, response))


def _pick(found: Collection[str], names: Sequence[str], file: str | Path) -> str | None:
    present = [name for name in names if name in found]
    if len(present) > 1 and present[0] != names[0]:
        raise InputError(
            f"the columns {listed(present)} could each be the {names[0]}.",
            remedy=f"Rename the one that is meant to {names[0]!r}.",
            file=file,
        )
    return present[0] if present else None


def _missing(columns: Sequence[str], prompt: str | None, response: str | None) -> str:
    wanted = ["the prompt"] if prompt is None else []
    wanted += ["the answer"] if response is None else []
    return (
        f"no column holds {' and none '.join(wanted)}: found {listed(columns)}; "
        f"expected {EXPECTED}."
    )


def _nearest_fix(columns: Sequence[str], prompt: str | None) -> str:
    if "chosen" in columns or "rejected" in columns:
        return "Give both 'chosen' and 'rejected', or rename the answer's column to 'response'."
    names = ("response",) if prompt else ("prompt", "response")
    fixes, spare = [], [column for column in columns if column != prompt]
    for name in names:
        plain = {column.strip().lower(): column for column in spare}
        close = [near for near in _NEAR[name] if near in plain]
        close = close or difflib.get_close_matches(name, plain, 1, 0.75)
        if close:
            column = plain[close[0]]
            fixes.append(f"rename {column!r} to {name!r}")
        else:
            fixes.append(f"add a column {name!r}")
    sentence = " and ".join(fixes)
    sentence = sentence[0].upper() + sentence[1:] + "."
    if prompt:
        return f"{sentence} Prompts alone have no answers to measure a loss on."
    if any(len(column) > 40 for column in columns):
        return f"{sentence} The first line must name the columns; here it looks like data."
    return sentence


# Layouts -----------------------------------------------------------------------------------------


def _pair_layout(
    prompt: str,
    response: str,
    contexts: tuple[str, ...],
    around: _Around,
    beside: frozenset[str],
) -> Layout:
    plain = not (contexts or around.system or around.tools or around.history)
    of_prompt, of_response = repr(prompt), repr(response)

    def read(row: Row, origin: Origin) -> Read:
        asked, answer = row[prompt], row[response]
        if plain and not (holds_turns(asked) or holds_turns(answer)):
            user, answer = filled(asked, of_prompt), filled(answer, of_response)
            category = _category(row.get("category"))
            return Read((Example(user, answer, (("user", user),), None, category, origin),))
        before, joined = _asked(row, prompt, contexts, around)
        if holds_turns(asked):  # a dialogue's own earlier answers are context, as TRL has it
            before.unlearnt |= _assistant_places(before, prompt)
        return _finish(before + _answer(answer, response), row, around, origin, response, joined)

    used = around.used(prompt, response, *contexts)
    return Layout(read, used, (prompt, response), prompt, beside)


def _turns_layout(column: str, answer: str | None, around: _Around) -> Layout:
    def read(row: Row, origin: Origin) -> Read:
        turns = _surrounded(read_turns(row[column], column), row, around)
        last = turns.messages[-1][0]
        if answer is not None and not is_missing(row[answer]):
            if last == "assistant":
                turns.unread.append((answer, row[answer]))
            else:
                turns = turns + _answer(row[answer], answer)
        return _finish(turns, row, around, origin, column)

    used = around.used(column) if answer is None else around.used(column, answer)
    return Layout(read, used, (column,), column)


def _nested_layout(around: _Around) -> Layout:
    """Self-instruct's: one row for each entry of ``instances``."""
    inner = _pair_layout("instruction", "output", ("input",), around, frozenset())

    def read(row: Row, origin: Origin) -> Read:
        instances = row["instances"]
        if not isinstance(instances, list) or not all(isinstance(e, dict) for e in instances):
            raise BadRowError(
                "'instances' is not a list of objects.",
                "Write one row an instance, with instruction, input and output.",
            )
        if not instances:
            raise UnusableRowError("'instances' is empty")
        rows = [{"output": None, **row, **entry} for entry in instances]
        examples = [example for each in rows for example in inner.read(each, origin).examples]
        known = ("input", "output")
        unread = (pair for entry in instances for pair in entry.items() if pair[0] not in known)
        return Read(tuple(examples), tuple((f"instances.{key}", value) for key, value in unread))

    used = around.used("instruction", "instances")
    return Layout(read, used, ("instruction", "instances"), "instruction")


def _text_layout(around: _Around) -> Layout:
    def read(row: Row, origin: Origin) -> Read:
        prepared = read_prepared(filled(row[TEXT_COLUMN], repr(TEXT_COLUMN)), TEXT_COLUMN)
        turns = _surrounded(prepared, row, around)
        return _finish(turns, row, around, origin, TEXT_COLUMN)

    return Layout(read, around.used(TEXT_COLUMN), (TEXT_COLUMN,), TEXT_COLUMN)


def _preference_layout(
    found: set[str], chosen: str, rejected: str, around: _Around, file: str | Path
) -> Layout:
    prompt = _pick(found, PROMPT_COLUMNS, file)
    turns = next((name for name in TURN_COLUMNS if name in found), None)
    if prompt is None and "input" in found:
        prompt = "input"
    contexts = () if prompt is None else _contexts(found, prompt, None)
    before = (prompt, *contexts) if prompt is not None else (turns,) if turns is not None else ()

    def read(row: Row, origin: Origin) -> Read:
        sides = [_side(row[column], column) for column in (chosen, rejected)]
        joined: tuple[str, ...] = ()
        unread: list[tuple[str, Any]] = []
        if all(map(_is_dialogue, sides)):
            # The dialogue in its own column: usually, but not always, the same once more.
            unread = [(column, row[column]) for column in before if column in row]
        else:
            asked, joined = _before(row)
            sides = [side if _is_dialogue(side) else asked + side for side in sides]
        good, bad = (_surrounded(side, row, around) for side in sides)
        for side, column in ((good, chosen), (bad, rejected)):
            _require_answer(side, column)
        last = len(good.messages) - 1
        if good.messages[:last] != bad.messages[:-1]:
            raise UnusableRowError("chosen and rejected answer different dialogues")
        if last in bad.fields:
            raise BadRowError(
                f"the answer in {rejected!r} has tool calls or a thought beside its text.",
                "Only texts can be rejected: leave out the row, or write the answer as text.",
            )
        worse = filled(bad.messages[-1][1], f"the answer in {rejected!r}")
        good.unread += unread
        return _finish(good, row, around, origin, chosen, joined, rejected=worse)

    def _before(row: Row) -> tuple[Turns, tuple[str, ...]]:
        if prompt is not None and not is_missing(row.get(prompt)):
            asked = row[prompt]
            if isinstance(asked, dict) and "messages" in asked:  # OpenAI's preference files
                return read_turns(asked["messages"], f"{prompt}.messages"), ()
            return _asked(row, prompt, contexts, _NOTHING_AROUND)
        if turns is not None and not is_missing(row.get(turns)):
            return read_turns(row[turns], turns), ()
        if prompt is not None:
            filled(row[prompt], repr(prompt))
        raise BadRowError(
            f"{chosen!r} holds an answer only, and there is no prompt column.",
            "Add a column 'prompt', or write the whole dialogue as turns.",
        )

    used = around.used(chosen, rejected, *before)
    return Layout(read, used, (chosen, rejected), prompt or turns, marks=False)


_NOTHING_AROUND = _Around((), (), False)


def _side(value: Any, column: str) -> Turns:
    """One answer of a preference row, alone or with the dialogue before it."""
    if isinstance(value, str) and is_hh(value):
        return hh_turns(text(value, repr(column)))
    return _answer(value, column)


def _is_dialogue(turns: Turns) -> bool:
    return any(role == "user" for role, _ in turns.messages)


# Turns -------------------------------------------------------------------------------------------


def _asked(
    row: Row, prompt: str, contexts: tuple[str, ...], around: _Around
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
        return _surrounded(read_turns(asked, prompt), row, around), ()
    user, joined = filled(asked, repr(prompt)), []
    for column in contexts:
        below = _context(row.get(column), column)
        # A prompt that quotes its context in full has been joined already.
        quoted = prompt not in CONTEXT_QUOTED_BY_CHANCE and len(below) > 40 and below in user
        if below and not quoted:
            user = f"{user}\n\n{below}"
            joined.append(column)
    return _surrounded(said("user", user), row, around), tuple(joined)


# In these layouts the input is always apart, so that a quotation of it is no join.
CONTEXT_QUOTED_BY_CHANCE = ("instruction", "subject")


def _context(value: Any, column: str) -> str:
    if is_missing(value):
        return ""
    if isinstance(value, list):
        return "\n\n".join(text(part, f"a part of {column!r}") for part in value)
    return text(value, repr(column))


def _surrounded(turns: Turns, row: Row, around: _Around) -> Turns:
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
        value = as_json(value)
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


def _answer(value: Any, column: str) -> Turns:
    if holds_turns(value):
        return read_turns(value, column)
    return said("assistant", filled(value, repr(column)))


def _assistant_places(turns: Turns, column: str) -> dict[int, str]:
    places = (place for place, (role, _) in enumerate(turns.messages) if role == "assistant")
    return dict.fromkeys(places, column)


def _require_answer(turns: Turns, column: str) -> None:
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


def _finish(
    turns: Turns,
    row: Row,
    around: _Around,
    origin: Origin,
    column: str,
    joined: tuple[str, ...] = (),
    rejected: str | None = None,
) -> Read:
    """The example of a whole dialogue: its last answer to be learnt, and all before that."""
    _require_answer(turns, column)
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
        _category(row.get("category")),
        origin,
        tools,
        fields,
        tuple(place for place in unlearnt if place < last),
    )
    return Read((example,), tuple(turns.unread), joined, last < len(messages) - 1)


def _tools(row: Row, around: _Around) -> str | None:
    """The tools on offer as a JSON list; the same text for all rows that offer the same."""
    for column in around.tools:
        value = row.get(column)
        if isinstance(value, str) and not is_missing(value):
            value = as_json(value)
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


def _category(value: Any) -> str | None:
    if isinstance(value, dict):  # BeaverTails: {"violence": true, ...}
        return ", ".join(str(name) for name, holds in value.items() if holds) or None
    if is_missing(value) and not isinstance(value, list):
        return None
    if isinstance(value, str | int | float):
        return text(str(value), "'category'")
    raise BadRowError(f"'category' is {kind(value)}.", "Write the category as one text.")
