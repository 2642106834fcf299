"""From a row of named columns to an example: the column layouts that data files may have."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.cells import (
    BadRowError,
    Row,
    UnusableRowError,
    filled,
    is_missing,
    listed,
    text,
)
from llm_validation.data.columns import (
    BESIDE_AN_ANSWER,
    CONTEXT_COLUMNS,
    CONTEXT_OF,
    HISTORY_COLUMN,
    NATURAL_PAIRS,
    NESTED_COLUMNS,
    OTHER_TURN_COLUMNS,
    PAIRS_BY_BOTH_NAMES,
    PREFERENCE_COLUMNS,
    PROMPT_COLUMNS,
    RESPONSE_COLUMNS,
    SEVERAL_ANSWERS,
    SYSTEM_COLUMNS,
    TEXT_COLUMN,
    TOOL_COLUMNS,
    TURN_COLUMNS,
)
from llm_validation.data.dataset import Example
from llm_validation.data.dialogues import (
    NOTHING_AROUND,
    Around,
    Origin,
    Read,
    answer_in,
    asked_by,
    assistant_places,
    category_of,
    example_of,
    require_answer,
    surrounded,
)
from llm_validation.data.prepared_text import hh_turns, is_hh, read_prepared
from llm_validation.data.turns import Turns, holds_turns, read_turns

EXPECTED = (
    "prompt and response; or messages; or prompt, chosen and rejected; "
    "or instruction, input and output"
)
_NEAR = {
    "prompt": ("prompt_text", "forbidden_prompt", "user_prompt", "behavior", "instructions"),
    "response": ("reply", "model_response", "generation", "ans", "answers"),
}


@dataclass(frozen=True)
class RowLayout:
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


def choose_layout(columns: Sequence[str], *, file: str | Path) -> RowLayout:
    """The reading that these columns call for.

    Raises InputError with the columns found, those expected and the nearest fix.
    """
    found = set(columns)
    around = Around(
        system=tuple(name for name in SYSTEM_COLUMNS if name in found),
        tools=tuple(name for name in TOOL_COLUMNS if name in found),
        history=HISTORY_COLUMN in found,
    )
    for chosen, rejected in PREFERENCE_COLUMNS:
        if {chosen, rejected} <= found:
            return _preference_layout(found, chosen, rejected, around, file)
    turns = next((name for name in TURN_COLUMNS if name in found), None)
    if turns is not None:
        answers = [name for name in RESPONSE_COLUMNS if name in found]
        return _turns_layout(turns, answers[0] if len(answers) == 1 else None, around)
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
    turns = next((name for name in OTHER_TURN_COLUMNS if name in found), None)
    if turns is not None and prompt is None:
        return _turns_layout(turns, response, around)
    if prompt is None and "input" in found:
        prompt = "input"
    raise InputError(
        _missing(columns, prompt, response), remedy=_nearest_fix(columns, prompt), file=file
    )


# Columns -----------------------------------------------------------------------------------------


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
        answer = other or response
        if one in found and answer in found and (prompt is None or prompt == one):
            return one, answer
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
    several = next((name for name in columns if name in SEVERAL_ANSWERS), None)
    if prompt and several:
        return (
            f"If {several!r} holds one text per row, rename it to 'response'. If it holds several "
            "answers, or an object as in SQuAD, add a column 'response' with the text of one of "
            "them, or 'chosen' and 'rejected' with a better and a worse one."
        )
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
    around: Around,
    beside: frozenset[str],
) -> RowLayout:
    plain = not (contexts or around.system or around.tools or around.history)
    of_prompt, of_response = repr(prompt), repr(response)

    def read(row: Row, origin: Origin) -> Read:
        asked, answer = row[prompt], row[response]
        if plain and not (holds_turns(asked) or holds_turns(answer)):
            user, answer = filled(asked, of_prompt), filled(answer, of_response)
            category = category_of(row.get("category"))
            return Read((Example(user, answer, (("user", user),), None, category, origin),))
        before, joined = asked_by(row, prompt, contexts, around)
        if holds_turns(asked):  # a dialogue's own earlier answers are context, as TRL has it
            before.unlearnt |= assistant_places(before, prompt)
        return example_of(
            before + answer_in(answer, response), row, around, origin, response, joined
        )

    used = around.used(prompt, response, *contexts)
    return RowLayout(read, used, (prompt, response), prompt, beside)


def _turns_layout(column: str, answer: str | None, around: Around) -> RowLayout:
    def read(row: Row, origin: Origin) -> Read:
        said_in = row[column]
        alternating = _is_of_texts(said_in)
        turns = _by_turns(said_in, column) if alternating else read_turns(said_in, column)
        turns = surrounded(turns, row, around)
        last = turns.messages[-1][0]
        if answer is not None and not is_missing(row[answer]):
            if last == "assistant":
                turns.unread.append((answer, row[answer]))
            else:
                turns = turns + answer_in(row[answer], answer)
        return example_of(turns, row, around, origin, column)

    used = around.used(column) if answer is None else around.used(column, answer)
    return RowLayout(read, used, (column,), column)


def _is_of_texts(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) > 1 and all(isinstance(part, str) for part in value)
    )


def _by_turns(texts: list[str], column: str) -> Turns:
    """LIMA's dialogues: texts alone, of user and assistant by turns."""
    roles = ("user", "assistant") * (len(texts) // 2 + 1)
    labelled = ((words, f"turn {place} of {column!r}") for place, words in enumerate(texts, 1))
    return Turns([(role, text(*one)) for role, one in zip(roles, labelled, strict=False)])


def _nested_layout(around: Around) -> RowLayout:
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
    return RowLayout(read, used, ("instruction", "instances"), "instruction")


def _text_layout(around: Around) -> RowLayout:
    def read(row: Row, origin: Origin) -> Read:
        prepared = read_prepared(filled(row[TEXT_COLUMN], repr(TEXT_COLUMN)), TEXT_COLUMN)
        turns = surrounded(prepared, row, around)
        return example_of(turns, row, around, origin, TEXT_COLUMN)

    return RowLayout(read, around.used(TEXT_COLUMN), (TEXT_COLUMN,), TEXT_COLUMN)


def _preference_layout(
    found: set[str], chosen: str, rejected: str, around: Around, file: str | Path
) -> RowLayout:
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
        good, bad = (surrounded(side, row, around) for side in sides)
        for side, column in ((good, chosen), (bad, rejected)):
            require_answer(side, column)
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
        return example_of(good, row, around, origin, chosen, joined, rejected=worse)

    def _before(row: Row) -> tuple[Turns, tuple[str, ...]]:
        if prompt is not None and not is_missing(row.get(prompt)):
            asked = row[prompt]
            if isinstance(asked, dict) and "messages" in asked:  # OpenAI's preference files
                return read_turns(asked["messages"], f"{prompt}.messages"), ()
            return asked_by(row, prompt, contexts, NOTHING_AROUND)
        if turns is not None and not is_missing(row.get(turns)):
            return read_turns(row[turns], turns), ()
        if prompt is not None:
            filled(row[prompt], repr(prompt))
        raise BadRowError(
            f"{chosen!r} holds an answer only, and there is no prompt column.",
            "Add a column 'prompt', or write the whole dialogue as turns.",
        )

    used = around.used(chosen, rejected, *before)
    return RowLayout(read, used, (chosen, rejected), prompt or turns, marks=False)


def _side(value: Any, column: str) -> Turns:
    """One answer of a preference row, alone or with the dialogue before it."""
    if isinstance(value, str) and is_hh(value):
        return hh_turns(text(value, repr(column)))
    return answer_in(value, column)


def _is_dialogue(turns: Turns) -> bool:
    return any(role == "user" for role, _ in turns.messages)
