"""From a row of named columns to an example: the column layouts that data files may have."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from finebound.errors import InputError
from llm_validation.data.dataset import Example

Row = Mapping[str, Any]
Turns = tuple[tuple[str, str], ...]

# The canonical name first: it wins over the others, which must not meet in one file.
PROMPT_COLUMNS = ("prompt", "instruction", "question", "goal", "query", "source_text", "subject")
RESPONSE_COLUMNS = (
    "response",
    "output",
    "answer",
    "completion",
    "target",
    "canonical_solution",
    "new_contents",
)
CONTEXT_COLUMNS = {"instruction": ("input", "context"), "subject": ("old_contents",)}
SYSTEM_COLUMNS = ("system", "system_prompt")
KNOWN_COLUMNS = frozenset(
    {
        *PROMPT_COLUMNS,
        *RESPONSE_COLUMNS,
        *chain.from_iterable(CONTEXT_COLUMNS.values()),
        *SYSTEM_COLUMNS,
        *("input", "chosen", "rejected", "messages", "conversations", "instances", "category"),
    }
)
EXPECTED = (
    "prompt and response; or messages; or prompt, chosen and rejected; "
    "or instruction, input and output"
)
ROLES = ("system", "user", "assistant")
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
_NESTED = {"instruction", "instances"}
_NEAR = {
    "prompt": ("prompt_text", "forbidden_prompt", "user_prompt", "behavior", "instructions"),
    "response": ("reply", "model_response", "generation", "assistant", "ans"),
}
_DIALOGUE_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")


class BadRowError(Exception):
    """A row that no reading can mend: ``what`` is wrong and the ``remedy``."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


class UnusableRowError(Exception):
    """A well-formed row with nothing to learn from; ``what`` is wrong, the same for its kind."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def read_examples(
    rows: Iterable[tuple[int, Row]],
    *,
    file: str | Path,
    drop_unusable: bool = False,
) -> tuple[list[Example], Counter[str]]:
    """The examples of numbered rows (1-based), and how many rows were left out for what reason.

    The first row's columns decide the layout. No row is left out unless ``drop_unusable``; then
    rows with an empty prompt or answer, or with answers to two different dialogues, are.
    Raises InputError naming file and row.
    """
    examples: list[Example] = []
    unusable: Counter[str] = Counter()
    first: tuple[int, str] | None = None
    to_example: Callable[[Row], Example] | None = None
    nested, total, name = False, 0, str(file)
    for number, row in rows:
        total += 1
        if to_example is None:
            to_example = choose_layout(tuple(row), file=file)
            nested = row.keys() >= _NESTED
        try:
            parts = _instances(row) if nested else [row]
            read = [replace(to_example(part), origin=(name, number)) for part in parts]
            examples += read
        except UnusableRowError as problem:
            unusable[problem.what] += 1
            first = first or (number, problem.what)
        except BadRowError as problem:
            raise InputError(
                problem.what, remedy=problem.remedy, file=file, row=number
            ) from problem
        except KeyError as missing:  # the only look-ups by name are those of the row's columns
            raise InputError(
                f"this row has no {missing.args[0]!r}.",
                remedy="Give every row the same columns.",
                file=file,
                row=number,
            ) from None
    if to_example is None:
        raise InputError(
            "the file holds no rows.", remedy="Add rows, or name another file.", file=file
        )
    if first is not None and not (drop_unusable and examples):
        number, what = first
        raise InputError(
            f"{what}; {_how_many(unusable, what, total)}.",
            remedy="Fill it in or remove the row: an empty or ambiguous answer has no loss.",
            file=file,
            row=number,
        )
    return examples, unusable


def _how_many(unusable: Counter[str], what: str, total: int) -> str:
    if unusable[what] == total:
        return "this is so in the only row" if total == 1 else f"this is so in all {total} rows"
    same = f"this is so in {unusable[what]} of {total} rows"
    other = unusable.total() - unusable[what]
    return same + (f", and {other} more cannot be used for other reasons" if other else "")


def choose_layout(columns: Sequence[str], *, file: str | Path) -> Callable[[Row], Example]:
    """The reading that these columns call for.

    Raises InputError with the columns found, those expected and the nearest fix.
    """
    found = set(columns)
    if {"chosen", "rejected"} <= found:
        prompt = _pick(found, (*PROMPT_COLUMNS, "input"), file)
        return lambda row: _from_preference(row, prompt)
    if "messages" in found:
        return lambda row: _from_turns(row, "messages")
    if "conversations" in found:
        return lambda row: _from_turns(row, "conversations")
    if found >= _NESTED:
        found = {"instruction", "input", "output"}
    prompt = _pick(found, PROMPT_COLUMNS, file)
    if prompt is None and "input" in found:
        prompt = "input"
    response = _pick(found, RESPONSE_COLUMNS, file)
    if prompt is None or response is None:
        raise InputError(
            _missing(columns, prompt, response), remedy=_nearest_fix(columns, prompt), file=file
        )
    return lambda row: _from_pair(row, prompt, response)


def _pick(found: set[str], names: Sequence[str], file: str | Path) -> str | None:
    present = [name for name in names if name in found]
    if len(present) > 1 and present[0] != names[0]:
        raise InputError(
            f"the columns {_listed(present)} could each be the {names[0]}.",
            remedy=f"Rename the one that is meant to {names[0]!r}.",
            file=file,
        )
    return present[0] if present else None


def _missing(columns: Sequence[str], prompt: str | None, response: str | None) -> str:
    wanted = ["the prompt"] if prompt is None else []
    wanted += ["the answer"] if response is None else []
    return (
        f"no column holds {' and none '.join(wanted)}: found {_listed(columns)}; "
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


def _listed(names: Iterable[str]) -> str:
    shown = [repr(name if len(name) <= 40 else name[:37] + "...") for name in names]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")


def _instances(row: Row) -> Iterable[Row]:
    """One row for each entry of self-instruct's ``instances``."""
    instances = row["instances"]
    if not isinstance(instances, list) or not all(isinstance(entry, dict) for entry in instances):
        raise BadRowError(
            "'instances' is not a list of objects.",
            "Write one row an instance, with instruction, input and output.",
        )
    if not instances:
        raise UnusableRowError("'instances' is empty")
    return [
        {**entry, "instruction": row["instruction"], "category": row.get("category")}
        for entry in instances
    ]


def _from_pair(row: Row, prompt: str, response: str) -> Example:
    asked = row[prompt]
    if isinstance(asked, list):
        messages = _turns(asked, prompt)
    else:
        user = _filled(asked, repr(prompt))
        for column in CONTEXT_COLUMNS.get(prompt, ()):
            context = row.get(column)
            if context is not None and _text(context, repr(column)).strip():
                user = f"{user}\n\n{context}"
        messages = (*_system(row), ("user", user))
    answer = row[response]
    if isinstance(answer, list):
        more, text = _split(_turns(answer, response), response)
        return _example(messages + more, text, row)
    return _example(messages, _filled(answer, repr(response)), row)


def _from_turns(row: Row, column: str) -> Example:
    messages, response = _split(_turns(row[column], column), column)
    return _example(messages, response, row)


def _from_preference(row: Row, prompt: str | None) -> Example:
    messages, chosen = _answer_in_context(row, "chosen", prompt)
    other, rejected = _answer_in_context(row, "rejected", prompt)
    if messages != other:
        raise UnusableRowError("chosen and rejected answer different dialogues")
    return _example(messages, chosen, row, rejected=rejected)


def _answer_in_context(row: Row, column: str, prompt: str | None) -> tuple[Turns, str]:
    """The turns before the answer in ``column``, and the answer.

    The column may hold the answer, the whole dialogue as turns, or the whole dialogue in the
    "Human: ... Assistant: ..." text of the HH-RLHF files; only an answer needs the prompt column.
    """
    value = row[column]
    if isinstance(value, str) and value.lstrip("\n").startswith("Human:"):
        return _split(_dialogue(_text(value, repr(column))), column)
    if isinstance(value, list):
        messages, answer = _split(_turns(value, column), column)
        if any(role == "user" for role, _ in messages) or prompt is None:
            return messages, answer
    else:
        messages, answer = (), _filled(value, repr(column))
    if prompt is None:
        raise BadRowError(
            f"{column!r} holds an answer only, and there is no prompt column.",
            "Add a column 'prompt', or write the whole dialogue as turns.",
        )
    asked = row[prompt]
    if isinstance(asked, list):
        return _turns(asked, prompt) + messages, answer
    return (*_system(row), ("user", _filled(asked, repr(prompt))), *messages), answer


def _dialogue(text: str) -> Turns:
    parts = _DIALOGUE_TURN.split("\n\n" + text.lstrip("\n"))
    roles = ["user" if name == "Human" else "assistant" for name in parts[1::2]]
    return tuple(zip(roles, (part.strip() for part in parts[2::2]), strict=True))


def _system(row: Row) -> Turns:
    for column in SYSTEM_COLUMNS:
        value = row.get(column)
        if value is not None and _text(value, repr(column)).strip():
            return (("system", value),)
    return ()


def _turns(value: Any, column: str) -> Turns:
    if isinstance(value, str):  # a CSV cell can hold a list only as JSON text
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list) or not value:
        raise BadRowError(
            f"{column!r} is not a list of turns.",
            'Write it as [{"role": "user", "content": "..."}, '
            '{"role": "assistant", "content": "..."}].',
        )
    return tuple(_turn(turn, column, place) for place, turn in enumerate(value, 1))


def _turn(turn: Any, column: str, place: int) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise BadRowError(
            f"turn {place} of {column!r} is {_kind(turn)}, not an object.",
            "Give each turn a 'role' and a 'content'.",
        )
    if "role" not in turn and "from" in turn:
        role, content = SHAREGPT_ROLES.get(str(turn["from"]), turn["from"]), turn.get("value")
    else:
        role, content = turn.get("role"), turn.get("content")
    if role not in ROLES:
        raise BadRowError(
            f"turn {place} of {column!r} has the role {role!r}.", f"Use one of {_listed(ROLES)}."
        )
    if content is None:
        raise BadRowError(
            f"turn {place} of {column!r} has no content.", "Give it a 'content' that is text."
        )
    return role, _text(content, f"turn {place} of {column!r}")


def _split(turns: Turns, column: str) -> tuple[Turns, str]:
    *before, (role, answer) = turns
    if role != "assistant":
        if not any(name == "assistant" for name, _ in turns):
            raise BadRowError(
                f"{column!r} has no assistant turn, so there is no answer to learn from.",
                "End each dialogue with an assistant turn.",
            )
        raise BadRowError(
            f"{column!r} ends with a {role} turn, which nobody answers.",
            "Remove what follows the last assistant turn, or add the answer.",
        )
    return tuple(before), _filled(answer, f"the last turn of {column!r}")


def _example(messages: Turns, response: str, row: Row, rejected: str | None = None) -> Example:
    if not any(role == "user" for role, _ in messages):
        raise BadRowError("no user turn comes before the answer.", "Add the user's turn.")
    prompt = messages[0][1] if len(messages) == 1 else "\n".join(text for _, text in messages)
    if not prompt.strip():
        raise UnusableRowError("the prompt is empty")
    return Example(prompt, response, messages, rejected, _category(row.get("category")))


def _category(value: Any) -> str | None:
    if isinstance(value, dict):  # BeaverTails: {"violence": true, ...}
        return ", ".join(name for name, holds in value.items() if holds) or None
    if value is None or value == "":
        return None
    if isinstance(value, str | int | float):
        return _text(str(value), "'category'")
    raise BadRowError(f"'category' is {_kind(value)}.", "Write the category as one text.")


def _filled(value: Any, label: str) -> str:
    if value is None:
        raise UnusableRowError(f"{label} is empty (null)")
    text = _text(value, label)
    if not text.strip():
        raise UnusableRowError(f"{label} is empty")
    return text


def _text(value: Any, label: str) -> str:
    if not isinstance(value, str):
        raise BadRowError(f"{label} is {_kind(value)}, not text.", "Write it as a string.")
    if "\0" in value:
        raise BadRowError(
            f"{label} contains a NUL character.", "Remove it: the file may be damaged."
        )
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadRowError(
                f"{label} contains half of a surrogate pair, which is no character.",
                "Write the file again as UTF-8, with whole characters.",
            ) from None
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {str: "text", bool: "true or false", dict: "an object", list: "a list", bytes: "bytes"}
    if type(value) in names:
        return names[type(value)]
    return f"a number ({value})" if isinstance(value, int | float) else type(value).__name__
