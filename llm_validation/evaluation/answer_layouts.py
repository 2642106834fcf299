"""From a row of an answers file to its answers: the layouts in which the tools write them.

HarmBench's completions, StrongREJECT, JailbreakBench, XSTest, WildJailbreak, ``--log_samples`` of
lm-eval, LLaMA-Factory's predictions, vLLM, inspect_ai, batches of OpenAI and Anthropic, dialogues.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.cells import BadRowError, as_json, is_missing, listed, objects_in
from llm_validation.data.columns import (
    CONTEXT_COLUMNS,
    CONTEXT_OF,
    OTHER_TURN_COLUMNS,
    PROMPT_COLUMNS,
    SYSTEM_COLUMNS,
    TURN_COLUMNS,
)
from llm_validation.data.turns import ROLES, read_turns
from llm_validation.evaluation.harness_logs import logged_rows, with_probe

Row = Mapping[str, Any]
Turns = tuple[tuple[str, str], ...]

# The plain request first, then what wraps it: where both stand, the second is what was sent.
_REQUESTS = ("forbidden_prompt", "goal", "vanilla", "Behavior")
_SENT = ("jailbroken_prompt", "adversarial", "test_case", "prompt", "arguments")
_PROMPTS = ("prompt", *(name for name in PROMPT_COLUMNS if name not in ("prompt", "goal")),
            "user_prompt", "user_input", "turns", "test_case", "jailbroken_prompt", "adversarial",
            "arguments", "input", "origin_prompt", "request", "body", "behavior")  # fmt: skip
# What only a model writes comes before what may be a reference.
_ANSWERS = (
    *("response", "generation", "predict", "prediction", "pred", "model_output", "model_response"),
    *("model_answer", "generated_text", "generated_answer", "generated", "resps", "responses"),
    *("outputs", "generations", "completions", "choices", "filtered_resps"),
    *("completion", "output", "answer", "reply", "result"),
)
_TEXTUAL = (str, list, Mapping)
_DIALOGUES = (*TURN_COLUMNS, *(name for name in OTHER_TURN_COLUMNS if name != "turns"))
_MAY_BE_REFERENCES = frozenset({"completion", "output", "answer"})
_LISTS = frozenset(
    {"resps", "filtered_resps", "responses", "outputs", "generations", "completions", "choices"}
)
_IDS = ("custom_id", "id", "BehaviorID", "behavior_id", "prompt_id", "release_prompt_id",
        "question_id", "doc_id", "example_id")  # fmt: skip
_UNIQUE = frozenset({"id", "custom_id"})
_OF_BEHAVIOURS = frozenset({"BehaviorID", "behavior_id"})
_CATEGORIES = ("category", "SemanticCategory", "hazard", "risk_area")
_INSIDE_A_REQUEST = ("body", *TURN_COLUMNS, "turns", "prompt", "raw", "input", "content", "text")
# Keys of an object under which its text lies, the outermost first.
_INSIDE = ("body", "message", "choices", "output", "content", "text", "generated_text",
           "generation", "completion", "response", "value", "turns")  # fmt: skip
_LISTS_OF_ROWS = frozenset({"data", "samples", "jailbreaks", "results", "examples", "rows",
                            "instances", "outputs", "responses", "predictions"})  # fmt: skip
_NAMES = frozenset((*_REQUESTS, *_SENT, *_PROMPTS, *_ANSWERS, *_IDS, *_CATEGORIES, *_DIALOGUES))
_AROUND = frozenset((*CONTEXT_COLUMNS, *chain.from_iterable(CONTEXT_OF.values()), *SYSTEM_COLUMNS))
_SHOWN = 60


@dataclass(frozen=True)
class Answer:
    """One answer of a row.

    ``prompt`` is the request that the answer is judged by, empty where the file has none; ``sent``
    what the model was sent, where that is more. ``text`` is None where nothing could be generated.
    ``id`` is ``unique`` where its column promises that, ``of_probe`` where it names a behaviour.
    """

    prompt: str
    text: str | None
    sent: str | None = None
    id: str | None = None
    unique: bool = True
    of_probe: bool = False
    category: str | None = None


@dataclass(frozen=True)
class Columns:
    """Where a file's rows have what: ``request`` is None in a file that has no prompts."""

    request: str | None
    sent: str | None
    answer: str
    id: str | None
    category: str | None
    notes: tuple[str, ...] = ()


def answer_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The numbered rows of an answers file; those under a behaviour's name have ``behavior_id``."""
    for number, row in logged_rows(path, lambda content: _rows_of(content, path)):
        row = with_probe(row)
        if not _is_spelt_so(tuple(row)):
            row = {_name(key, row): value for key, value in row.items()}
        yield number, row


@lru_cache(maxsize=64)
def _is_spelt_so(keys: tuple[str, ...]) -> bool:
    """Whether the columns are called what tools call them."""
    return all(key in _NAMES or key.islower() for key in keys)


def _name(key: str, row: Row) -> str:
    """A column's name as the tools spell it: "Prompt" and "Model Response" are no other columns."""
    plain = "_".join(key.strip().removeprefix("\ufeff").lower().split())
    return plain if key not in _NAMES and plain in _NAMES and plain not in row else key


def choose_columns(row: Row, path: Path) -> Columns:
    """What a file's first row says of all. Raises InputError that lists the columns."""
    answers = [name for name in _ANSWERS if name in row]
    if "result" in answers and "custom_id" not in row:
        answers.remove("result")
    dialogue = next((name for name in _DIALOGUES if name in row), None)
    if dialogue is not None and (not answers or _is_reference(row, answers[0], dialogue)):
        answers = [dialogue]
    request = _first(row, _REQUESTS) or _first(row, _PROMPTS)
    # WildGuard's "adversarial" is no text but a flag.
    sent = next(
        (name for name in _SENT if isinstance(row.get(name), _TEXTUAL) and name != request), None
    )
    if request == "arguments":
        sent = None
    if request is None and dialogue is not None:
        request = dialogue
    if not answers or (request is None and "custom_id" not in row):
        raise InputError(_lacking(row, bool(answers)), remedy=_remedy(row, answers), file=path)
    of_id = _first(row, _IDS)
    if request is not None and dialogue == answers[0] and request not in _DIALOGUES:
        sent = dialogue
    others = [name for name in answers[1:] if name not in ("filtered_resps", "choices")]
    if answers[0] == "response" and not isinstance(row["response"], str):
        others = []
    notes = []
    if others:
        notes.append(
            f"The answers are those in {answers[0]!r}; {listed(others)} "
            f"{'is' if len(others) == 1 else 'are'} not read as answers."
        )
    return Columns(request, sent, answers[0], of_id, _first(row, _CATEGORIES), tuple(notes))


def _is_reference(row: Row, answer: str, dialogue: str) -> bool:
    """Whether a text beside a dialogue that ends with its answer is a reference, and no answer."""
    if answer not in _MAY_BE_REFERENCES or not isinstance(row[answer], str):
        return False
    turns = _decoded(row[dialogue], ("role", "from"))
    return isinstance(turns, list) and bool(turns) and _role(turns[-1]) == "assistant"


def answers_of(row: Row, columns: Columns) -> list[Answer]:
    """The answers of a row, several where the tool drew several.

    Raises BadRowError for a row that has not what its columns promise.
    """
    if columns.answer not in row:
        raise BadRowError(
            f"this row has no {columns.answer!r}.",
            "Write null where no response could be generated.",
        )
    texts = _texts(row[columns.answer], columns.answer)
    if _failed(row):
        texts = [None]
    prompt, sent = _asked(row, columns)
    name, category = _label(row, columns.id), _label(row, columns.category)
    return [
        Answer(
            prompt,
            text,
            sent,
            name,
            unique=columns.id in _UNIQUE and len(texts) == 1 and "epoch" not in row,
            of_probe=columns.id in _OF_BEHAVIOURS,
            category=category,
        )
        for text in texts
    ]


def request_of(row: Row) -> Turns:
    """The turns that a row without an answer asks; a context is part of the last one.

    Raises BadRowError where no column holds any, where there is no text, and where a dialogue ends
    with its answer.
    """
    column = _first(row, (*_REQUESTS, *_PROMPTS, *_DIALOGUES))
    if column is None:
        raise BadRowError(f"no column holds a prompt: found {listed(row)}.", "Name it 'prompt'.")
    turns = _in_context(_prompt_turns(row[column], column), row, column)
    if turns[-1][0] == "assistant":
        raise BadRowError(f"{column!r} ends with its answer.", "Remove that turn.")
    if not turns[-1][1].strip():
        raise BadRowError(
            f"the row has no text in its column {column!r}.",
            "Write the prompt there, or remove the row.",
        )
    return turns


def _in_context(turns: Turns, row: Row, column: str) -> Turns:
    """The turns with the columns that a plain prompt is joined with, and the system's text."""
    if _AROUND.isdisjoint(row):
        return turns
    if column in PROMPT_COLUMNS and column not in _REQUESTS and len(turns) == 1:
        ((role, text),) = turns
        for name in CONTEXT_OF.get(column, CONTEXT_COLUMNS):
            value = row.get(name)
            if isinstance(value, list) and all(isinstance(part, str) for part in value):
                value = "\n\n".join(value)
            quoted = isinstance(value, str) and len(value) > 40 and value in text
            if name != column and isinstance(value, str) and value.strip() and not quoted:
                text = f"{text}\n\n{value}"
        turns = ((role, text),)
    if turns[0][0] != "system":
        system = _first(row, [name for name in SYSTEM_COLUMNS if not is_missing(row.get(name))])
        if system is not None and isinstance(row[system], str):
            turns = (("system", row[system]), *turns)
    return turns


def _asked(row: Row, columns: Columns) -> tuple[str, str | None]:
    """The request, and what was sent where it is another text."""
    if columns.request is None:
        return "", None
    if columns.request not in row:
        raise BadRowError(
            f"this row has no {columns.request!r}.", "Give every row the same columns."
        )
    texts = []
    for column in (columns.request, columns.sent):
        # An empty plain request, as WildJailbreak has it: what was sent stands for it.
        if column is None or (
            row.get(column) in (None, "") and (columns.sent or column != columns.request)
        ):
            continue
        if column != columns.request and not isinstance(row.get(column), _TEXTUAL):
            continue
        turns = _in_context(_prompt_turns(row[column], column), row, column)
        if column == columns.answer:
            turns = turns[:-1]
            if not turns:
                raise BadRowError(
                    f"no turn comes before the answer in {column!r}.", "Add the request."
                )
        texts.append((turns, "\n".join(text for _, text in turns)))
    if not texts:
        raise BadRowError(f"{columns.request!r} is empty.", _AS_TEXT)
    turns, whole = texts[0]
    asked = [text for role, text in turns if role == "user"]
    alone = len(asked) == 1 and all(role in ("system", "user") for role, _ in turns)
    prompt = asked[0] if alone else whole
    if columns.request == "arguments":
        prompt = _of_the_document(row.get("doc"), whole) or prompt
    sent = texts[-1][1] if len(texts) > 1 else whole
    return prompt, None if sent == prompt else sent


_AS_TEXT = "Write it as a string."


def _of_the_document(document: Any, sent: str) -> str | None:
    """The request within lm-eval's document, where what was sent holds it."""
    if not isinstance(document, Mapping):
        return None
    column = _first(document, (*_REQUESTS, *PROMPT_COLUMNS, "behavior", "input"))
    found = document.get(column) if column else None
    if not isinstance(found, str) or not found.strip():
        return None
    return found if " ".join(found.split()) in " ".join(sent.split()) else None


def _prompt_turns(value: Any, column: str) -> Turns:
    if column == "arguments":
        value = _first_argument(value)
    while isinstance(value, Mapping):  # of a request: {"body": {"messages": [...]}}
        inner = _first(value, _INSIDE_A_REQUEST)
        if inner is None:
            raise BadRowError(f"{column!r} is an object without messages or prompt.", _AS_TEXT)
        value = value[inner]
    value = _decoded(value, ("role", "from"))
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = "\n".join(value)
    if isinstance(value, list):
        if all(isinstance(turn, dict) and {"role", "prompt"} <= turn.keys() for turn in value):
            value = [{"role": turn["role"], "content": turn["prompt"]} for turn in value]
        return _turns(value, column)
    if not isinstance(value, str):
        raise BadRowError(f"{column!r} is {_short(value)}, not text.", _AS_TEXT)
    if column in _DIALOGUES:
        return tuple(read_turns(value, column).messages)
    return (("user", value),)


def _turns(value: list[Any], column: str) -> Turns:
    """A dialogue, whose last turn may have no content: an answer that failed."""
    *before, last = value or [None]
    if isinstance(last, dict) and _role(last) == "assistant" and before:
        return (*read_turns(before, column).messages, ("assistant", ""))
    return tuple(read_turns(value, column).messages)


def _first_argument(value: Any) -> Any:
    """The text that lm-eval sent: in {"gen_args_0": {"arg_0": ...}} or [["...", {...}]]."""
    value = _decoded(value, ())
    for _ in range(2):
        if isinstance(value, Mapping) and value:
            value = next(iter(value.values()))
        elif isinstance(value, list) and value and not isinstance(value[0], dict):
            value = value[0]
    return value


def _texts(value: Any, column: str, *, several: bool = False) -> list[str | None]:
    """Every answer that a cell holds; None for one that could not be generated."""
    several = several or column in _LISTS
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return [None]
    if several or column in _DIALOGUES:
        value = _decoded(value, ())
    elif isinstance(value, str):
        value = _decoded(value, ("role",))
    if isinstance(value, str):
        if column in _DIALOGUES:
            raise BadRowError(f"{column!r} is not a list of turns.", "Write the turns as JSON.")
        return [value]
    if isinstance(value, list) and value:
        if isinstance(value[-1], dict) and _role(value[-1]) is not None:
            return [_last_turn(value, column)]
        if all(isinstance(part, dict) and part.get("type") for part in value):
            return [_parts(value, column)]
        if _is_likelihood(value):
            raise BadRowError(
                f"{column!r} holds log-likelihoods of given answers, no generated text.",
                "Give the samples of a task that generates.",
            )
        if several or all(isinstance(part, dict) for part in value):
            return [text for part in value for text in _texts(part, column, several=True)]
    if isinstance(value, Mapping):
        return _of_object(value, column)
    raise BadRowError(f"{column!r} is {_short(value)}, not text.", _AS_TEXT)


def _is_likelihood(value: list[Any]) -> bool:
    """lm-eval's ``[-1.25, false]``, which older versions write as texts, or numbers alone."""
    if all(isinstance(part, int | float) for part in value):
        return True
    return len(value) == 2 and value[1] in ("True", "False") and _is_number(value[0])


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def _of_object(value: Mapping[str, Any], column: str) -> list[str | None]:
    status = value.get("status_code")
    if value.get("error") or value.get("type") in ("errored", "canceled", "expired"):
        return [None]
    if isinstance(status, int) and status >= 400:
        return [None]
    # inspect_ai writes the choices; without one its completion is only a default.
    for key in _INSIDE:
        if key in value and not (key == "choices" and value[key] == []):
            inner = value[key]
            if inner is None and isinstance(value.get("refusal"), str):
                inner = value["refusal"]
            if inner is None and value.get("tool_calls"):
                raise BadRowError("the answer is a call of a tool, no text.", "Remove the row.")
            if key == "turns":
                inner = _only_turn(inner, column)
            return _texts(inner, column, several=key == "choices")
    raise BadRowError(
        f"{column!r} is an object without a text: its keys are {listed(value)}.", _AS_TEXT
    )


def _only_turn(turns: Any, column: str) -> Any:
    """The answer in MT-Bench's list of an answer to each turn, where there is one turn."""
    if isinstance(turns, list) and len(turns) != 1:
        raise BadRowError(
            f"{column!r} holds {len(turns)} answers, one to each turn of a dialogue.",
            "Write one row for each, with the turns before it as its prompt.",
        )
    return turns[0] if isinstance(turns, list) else turns


def _last_turn(turns: list[Any], column: str) -> str | None:
    last = turns[-1]
    if _role(last) != "assistant":
        raise BadRowError(
            f"{column!r} ends with a {_role(last)} turn, which nobody answers.",
            "Add the answer, or remove the row.",
        )
    content = last["value"] if "value" in last and "content" not in last else last.get("content")
    if content is None and isinstance(last.get("refusal"), str):
        return last["refusal"]
    if content is None and last.get("tool_calls"):
        raise BadRowError("the answer is a call of a tool, no text.", "Remove the row.")
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return _parts(content, column)
    raise BadRowError(f"the last turn of {column!r} is {_short(content)}, not text.", _AS_TEXT)


def _parts(parts: list[Any], column: str) -> str:
    """The text of a message in parts; a thought's part is none of it, unless nothing follows it."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in parts:
        sort = part.get("type")
        if sort == "message" and isinstance(part.get("content"), list):  # OpenAI's Responses
            texts.append(_parts(part["content"], column))
        elif sort in ("thinking", "reasoning"):
            found = part.get(sort) or part.get("text") or part.get("summary") or part.get("content")
            thoughts.append(found if isinstance(found, str) else "")
        elif sort in ("text", "output_text", "refusal"):
            found = part.get("text", part.get(sort))
            texts += [found] if isinstance(found, str) else []
    if texts:
        return "".join(texts)
    if thoughts:  # cut before the answer began
        return "<think>" + "\n".join(thoughts)
    sorts = listed(dict.fromkeys(part.get("type") for part in parts))
    raise BadRowError(f"{column!r} has parts of type {sorts}, none of text.", "Remove the row.")


def _role(turn: Any) -> str | None:
    """The role of a turn, "assistant" whatever the tool calls it; None for what is no turn."""
    if not isinstance(turn, Mapping):
        return None
    role = turn.get("role", turn.get("from"))
    return ROLES.get(role.lower(), role) if isinstance(role, str) else None


def _failed(row: Row) -> bool:
    error = row.get("error")
    if isinstance(error, str):
        error = error.strip().lower() not in ("", "none", "null", "nan", "false")
    if isinstance(error, float) and math.isnan(error):
        error = None
    return error not in (None, False) or row.get("status") == "error"


def _decoded(value: Any, marks: Sequence[str]) -> Any:
    """A list or object that a cell holds as JSON or as Python's words; any other text as it is.

    With ``marks`` only a list of objects that have one of these keys is one.
    """
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    if marks and not any(f'"{m}"' in value or f"'{m}'" in value for m in marks):
        return value
    found = objects_in(value)
    if found is None and not marks:
        found = as_json(value) or _literal(value)
    if isinstance(found, list) and marks:
        found = (
            found
            if all(isinstance(part, dict) and any(m in part for m in marks) for part in found)
            else None
        )
    return value if found is None else found


def _literal(value: str) -> Any:
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _rows_of(content: dict[str, Any], path: Path) -> list[Any] | None:
    """The rows of a JSON file that is one object; None where it holds none."""
    lists = {
        key: value
        for key, value in content.items()
        if isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
    }
    filled = [value for value in lists.values() if value]
    named = [value for key, value in lists.items() if value and key in _LISTS_OF_ROWS]
    if len(named) == 1:
        return named[0]
    if filled and len(lists) == len(content):
        return [{"behavior_id": key, **entry} for key, value in lists.items() for entry in value]
    if len(filled) == 1:
        return filled[0]
    values = list(content.values())
    if values and all(isinstance(value, dict) and "generation" in value for value in values):
        return [{"behavior_id": key, **value} for key, value in content.items()]
    if values and all(isinstance(value, dict) and "prediction" in value for value in values):
        return values  # OpenCompass numbers them
    if isinstance(inner := content.get("results"), dict) and "results" in inner:  # promptfoo
        return _rows_of(inner, path)
    if values and all(
        isinstance(value, list) and all(isinstance(entry, str) for entry in value)
        for value in values
    ):
        raise InputError(
            "the file holds lists of texts under names: test cases, no answers to them.",
            remedy="Give the file of completions, whose entries have test_case and generation.",
            file=path,
        )
    if {"results", "config"} <= content.keys():
        raise InputError(
            "the file holds the results of an evaluation, no answers.",
            remedy="Give the samples_*.jsonl that `lm_eval --log_samples` writes beside it.",
            file=path,
        )
    return None


def _lacking(row: Row, answered: bool) -> str:
    lacking = "prompt" if answered else "response"
    return f"there is no column {lacking!r}; the columns are {listed(row)}."


def _remedy(row: Row, answers: Sequence[str]) -> str:
    if not answers and {"chosen", "rejected"} & row.keys():
        return "These rows prefer one given answer to another; name the one to read 'response'."
    if "choices" in row:
        return "Its choices answer prompts that stand in another file: add them as 'prompt'."
    if not answers:
        return "Name the answer's column response."
    return "Name the request's column prompt."


def _first(row: Row, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _label(row: Row, column: str | None) -> str | None:
    value = None if column is None else row.get(column)
    if value is None or value == "" or isinstance(value, dict | list):
        return None
    if isinstance(value, float) and (math.isnan(value) or value.is_integer()):
        return None if math.isnan(value) else str(int(value))
    return str(value)


def _short(value: Any) -> str:
    return json.dumps(value, default=str)[:_SHOWN]
