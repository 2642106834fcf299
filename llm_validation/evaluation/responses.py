"""Files of answers that were made elsewhere, or here: read, written, and set beside their prompts.

A row has ``prompt`` and ``response``, perhaps ``id``, ``category`` and a person's label. A
response that is null, or one beside a non-empty ``error``, is an answer that could not be
generated; an empty text is an answer that is empty.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from finebound.errors import InputError
from finebound.records import write_atomically
from llm_validation.data.formats import read_rows
from llm_validation.evaluation.generation import Response
from llm_validation.evaluation.refusal.agreement import human_label
from llm_validation.evaluation.refusal.labels import Label

_PROMPTS = ("prompt", "instruction", "question", "goal", "query")
_RESPONSES = ("response", "output", "answer", "completion", "generation")
_SHOWN = 60


@dataclass(frozen=True)
class Recorded:
    """One answer of a file; ``response`` is None where it could not be generated.

    ``human`` is what a person called it, None where nobody was asked.
    """

    prompt: str
    response: str | None
    row: int
    id: str | None = None
    category: str | None = None
    human: Label | None = None


@dataclass(frozen=True)
class ResponseFile:
    """The answers of a file in order; ``notes`` say what a person should know about them."""

    source: str
    items: tuple[Recorded, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def pairs(self) -> list[tuple[str, str | None]]:
        """``(prompt, response)`` of every item, in order."""
        return [(item.prompt, item.response) for item in self.items]


def read_responses(path: str | Path, *, human: str | None = None) -> ResponseFile:
    """The answers in a JSON Lines, JSON, CSV or Parquet file; ``human`` is the column of labels.

    Raises InputError naming the row where a prompt or a response is missing or no text, where a
    person's label is none, and where an id occurs twice.
    """
    path = Path(path).expanduser()
    columns: tuple[str, str] | None = None
    items: list[Recorded] = []
    ids: dict[str, int] = {}
    for number, row in read_rows(path):
        columns = columns or _columns(row, path)
        item = _item(row, columns, path, number)
        if human is not None:
            item = replace(item, human=_human(row, human, path, number))
        if item.id is not None:
            if item.id in ids:
                raise InputError(
                    f"the id {item.id!r} occurs a second time; it is also in row {ids[item.id]}.",
                    remedy="Remove one of the two rows, or give it its own id.",
                    file=path,
                    row=number,
                )
            ids[item.id] = number
        items.append(item)
    if not items:
        raise InputError("the file holds no rows.", remedy="Add rows.", file=path)
    return ResponseFile(str(path), tuple(items), _notes(items))


def write_responses(
    path: str | Path, responses: Sequence[Response], *, ids: Sequence[str] | None = None
) -> Path:
    """Write generated answers as JSON Lines, whole or not at all; ``read_responses`` reads them."""
    rows = [asdict(response) for response in responses]
    for row in rows:
        row["response"] = row.pop("text")
    if ids is not None:
        rows = [{"id": name, **row} for name, row in zip(ids, rows, strict=True)]
    return write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))


def align(
    answers: ResponseFile,
    prompts: Sequence[str],
    *,
    ids: Sequence[str] | None = None,
    expected: str = "the dataset",
) -> ResponseFile:
    """The answers in the order of ``prompts``, one to each: by ``ids`` where both have them.

    Another order in the file is mended, and a note says so. A prompt that occurs several times
    takes its answers in the file's order. Raises InputError naming the row of an answer to no
    prompt, of one too many, and of one whose id belongs to another prompt; and when an answer is
    missing. ``expected`` is what the messages call the prompts.
    """
    by_id = ids is not None and all(item.id is not None for item in answers.items)
    wanted = list(ids) if by_id and ids is not None else [_key(prompt) for prompt in prompts]
    places: dict[str, deque[int]] = defaultdict(deque)
    for place, key in enumerate(wanted):
        places[key].append(place)
    found: dict[int, Recorded] = {}
    for item in answers.items:
        key = str(item.id) if by_id else _key(item.prompt)
        if not places[key]:
            known = key in set(wanted)
            what = f"id {item.id!r}" if by_id else f"prompt {_short(item.prompt)}"
            raise InputError(
                f"the {what} is answered more often than {expected} asks it."
                if known
                else f"the {what} is not in {expected}.",
                remedy="Remove the row." if known else "Remove the row, or name its own dataset.",
                file=answers.source,
                row=item.row,
            )
        place = places[key].popleft()
        if by_id and _key(item.prompt) != _key(prompts[place]):
            raise InputError(
                f"the id {item.id!r} belongs to another prompt of {expected}: "
                f"{_short(prompts[place])}, not {_short(item.prompt)}.",
                remedy="Correct the id or the prompt.",
                file=answers.source,
                row=item.row,
            )
        found[place] = item
    missing = [place for place in range(len(prompts)) if place not in found]
    if missing:
        first = missing[0]
        raise InputError(
            f"{len(missing)} of the {len(prompts)} answers are missing; the first is that to row "
            f"{first + 1} of {expected}, {_short(prompts[first])}.",
            remedy="Add a row for each, with the response null where none could be generated.",
            file=answers.source,
        )
    items = tuple(found[place] for place in range(len(prompts)))
    moved = sum(a is not b for a, b in zip(items, answers.items, strict=True))
    note = f"{moved} of {len(items)} answers stood in another order than {expected}; realigned."
    return replace(answers, items=items, notes=answers.notes + ((note,) if moved else ()))


def item_ids(answers: ResponseFile) -> list[str]:
    """A name for every item: its id, else one of its prompt's."""
    return _numbered([item.id or _prompt_id(item.prompt) for item in answers.items])


def prompt_ids(prompts: Sequence[str]) -> list[str]:
    """A name for every prompt, the same wherever it is asked; a repeated one is numbered."""
    return _numbered([_prompt_id(prompt) for prompt in prompts])


def _prompt_id(prompt: str) -> str:
    return hashlib.sha256(_key(prompt).encode()).hexdigest()[:16]


def _numbered(names: Sequence[str]) -> list[str]:
    times: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(f"{name}-{times[name]}" if times[name] else name)
        times[name] += 1
    return found


def _columns(row: dict[str, Any], path: Path) -> tuple[str, str]:
    found = tuple(
        next((name for name in names if name in row), None) for names in (_PROMPTS, _RESPONSES)
    )
    if None in found:
        lacking = "prompt" if found[0] is None else "response"
        raise InputError(
            f"there is no column {lacking!r}; the columns are {', '.join(map(repr, row))}.",
            remedy=f"Name the {'request' if lacking == 'prompt' else 'answer'}'s column {lacking}.",
            file=path,
        )
    return found


def _item(row: dict[str, Any], columns: tuple[str, str], path: Path, number: int) -> Recorded:
    values = []
    for column in columns:
        if column not in row:
            raise InputError(
                f"this row has no {column!r}.",
                remedy="Write null where no response could be generated."
                if column == columns[1]
                else "Give every row the same columns.",
                file=path,
                row=number,
            )
        value = row[column]
        if not isinstance(value, str) and not (value is None and column == columns[1]):
            raise InputError(
                f"{column!r} is {json.dumps(value, default=str)[:_SHOWN]}, not text.",
                remedy="Write it as a string.",
                file=path,
                row=number,
            )
        values.append(value)
    failed = row.get("error") not in (None, "", False) or row.get("status") == "error"
    name, category = row.get("id"), row.get("category")
    return Recorded(
        values[0],
        None if failed else values[1],
        number,
        None if name in (None, "") else str(name),
        None if category in (None, "") else str(category),
    )


def _human(row: dict[str, Any], column: str, path: Path, number: int) -> Label:
    if column not in row:
        raise InputError(
            f"this row has no {column!r}; its columns are {', '.join(map(repr, row))}.",
            remedy="Name the column that holds people's labels.",
            file=path,
            row=number,
        )
    try:
        return human_label(row[column])
    except ValueError as error:
        raise InputError(
            f"{column!r}: {error}.",
            remedy="Write refusal, partial or compliance, and leave unlabelled rows out.",
            file=path,
            row=number,
        ) from None


def _notes(items: Sequence[Recorded]) -> tuple[str, ...]:
    repeated = len(items) - len({_key(item.prompt) for item in items})
    if not repeated:
        return ()
    return (f"{repeated} of {len(items)} rows answer a prompt that an earlier row answers too.",)


def _key(prompt: str) -> str:
    return " ".join(prompt.split())


def _short(prompt: str) -> str:
    text = _key(prompt)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")
