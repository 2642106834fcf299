"""Files of answers that were made elsewhere, or here: read, written, and set beside their prompts.

A row has ``prompt`` and ``response``, perhaps ``id``, ``category`` and a person's label, or is what
a common tool writes (``answer_layouts``). A response that is null, or one beside a non-empty
``error``, is an answer that could not be generated; an empty text is an answer that is empty.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.base.records import write_atomically
from llm_validation.data.cells import BadRowError
from llm_validation.evaluation.answer_layouts import (
    Answer,
    answer_rows,
    answers_of,
    choose_columns,
)
from llm_validation.evaluation.generation import Response
from llm_validation.evaluation.refusal.agreement import human_label
from llm_validation.evaluation.refusal.labels import Label

# Columns in which true says that the answer helps, where a person's label says that it refuses.
_HELPS = frozenset({"jailbroken", "harmful", "is_harmful", "unsafe", "is_unsafe", "success"})
_TRUTHS = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), Label.COMPLIANCE),
    **dict.fromkeys(("0", "0.0", "false", "no"), Label.REFUSAL),
}
_SHOWN = 60


@dataclass(frozen=True)
class Recorded:
    """One answer of a file; ``response`` is None where it could not be generated.

    ``prompt`` is the request that it is judged by, empty where the file has none; ``sent`` what the
    model was sent where that is more (a jailbreak around the request, a chat template). ``human``
    is what a person called it, None where nobody was asked. ``of_probe``: the id is the name of a
    request that the prompt may only paraphrase.
    """

    prompt: str
    response: str | None
    row: int
    id: str | None = None
    category: str | None = None
    human: Label | None = None
    sent: str | None = None
    of_probe: bool = False


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


def read_responses(
    path: str | Path, *, human: str | None = None, drop_unusable: bool = False
) -> ResponseFile:
    """The answers in a JSON Lines, JSON, CSV or Parquet file; ``human`` is the column of labels.

    The first row's columns tell which tool wrote the file; a row may hold several answers. Raises
    InputError naming the row where a prompt or a response is missing or no text, where a person's
    label is none, and where an id occurs twice. With ``drop_unusable`` rows of the first kind are
    left out, and a note counts them by reason.
    """
    path = Path(path).expanduser()
    items: list[Recorded] = []
    ids: dict[str, int] = {}
    left_out: Counter[str] = Counter()
    columns, kind, repeated = None, None, 0
    for number, row in answer_rows(path):
        if columns is None:
            columns, kind = choose_columns(row, path), row.get("filter")
        if row.get("filter") != kind and "resps" in row:
            repeated += 1  # lm-eval: the same answer, seen through another filter
            continue
        try:
            answers = answers_of(row, columns)
        except BadRowError as problem:
            if drop_unusable:
                left_out[problem.what.removesuffix(".")] += 1
                continue
            raise InputError(
                problem.what, remedy=problem.remedy, file=path, row=number
            ) from problem
        label = None if human is None else _human(row, human, path, number)
        for answer in answers:
            _require_new(answer, ids, path, number)
            items.append(
                Recorded(
                    answer.prompt,
                    answer.text,
                    number,
                    answer.id,
                    answer.category,
                    label,
                    answer.sent,
                    answer.of_probe,
                )
            )
    if columns is None or not items:
        raise InputError(
            "the file holds no rows."
            if not left_out
            else f"no row can be read: {_counted(left_out)}.",
            remedy="Add rows.",
            file=path,
        )
    notes = [*columns.notes, *_notes(items)]
    if repeated:
        notes.append(f"{repeated} rows repeat an answer through another filter; read once.")
    if left_out:
        notes.append(f"{left_out.total()} rows were left out: {_counted(left_out)}.")
    return ResponseFile(str(path), tuple(items), tuple(notes))


def _require_new(answer: Answer, ids: dict[str, int], path: Path, number: int) -> None:
    if answer.id is None or not answer.unique:
        return
    if answer.id in ids:
        raise InputError(
            f"the id {answer.id!r} occurs a second time; it is also in row {ids[answer.id]}.",
            remedy="Remove one of the two rows, or give it its own id.",
            file=path,
            row=number,
        )
    ids[answer.id] = number


def _counted(left_out: Counter[str]) -> str:
    return "; ".join(f"{count} where {what}" for what, count in left_out.items())


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
    if not by_id and not any(item.prompt for item in answers.items):
        raise InputError(
            f"the file holds no prompts, so its answers cannot be set beside {expected}.",
            remedy="Add each row's prompt as 'prompt'.",
            file=answers.source,
        )
    wanted = list(ids) if by_id and ids is not None else [_key(prompt) for prompt in prompts]
    places: dict[str, deque[int]] = defaultdict(deque)
    for place, key in enumerate(wanted):
        places[key].append(place)
    asked = set(wanted)
    found: dict[int, Recorded] = {}
    for item in answers.items:
        key = str(item.id) if by_id else _key(item.prompt)
        if not by_id and key not in asked and item.sent is not None:
            key = _key(item.sent)
        if not places[key]:
            known = key in asked
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
        if by_id and item.prompt and not _is_prompt(item, prompts[place]):
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


def _is_prompt(item: Recorded, prompt: str) -> bool:
    return _key(prompt) in (_key(item.prompt), _key(item.sent or ""))


def item_ids(answers: ResponseFile) -> list[str]:
    """A name for every item: its id, else one of its prompt's."""
    return _numbered([item.id or _prompt_id(item.prompt) for item in answers.items])


def prompt_ids(prompts: Sequence[str]) -> list[str]:
    """A name for every prompt, the same wherever it is asked; a repeated one is numbered."""
    return _numbered([_prompt_id(prompt) for prompt in prompts])


def _prompt_id(prompt: str) -> str:
    return hashlib.sha256(_key(prompt).encode(errors="surrogatepass")).hexdigest()[:16]


def _numbered(names: Sequence[str]) -> list[str]:
    times: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(f"{name}-{times[name]}" if times[name] else name)
        times[name] += 1
    return found


def _human(row: dict[str, Any], column: str, path: Path, number: int) -> Label:
    column = column if column in row else column.lower()
    if column not in row:
        raise InputError(
            f"this row has no {column!r}; its columns are {', '.join(map(repr, row))}.",
            remedy="Name the column that holds people's labels.",
            file=path,
            row=number,
        )
    given = row[column]
    # HarmBench's own label and JailbreakBench's say that the answer helps, not that it refuses.
    if (column in _HELPS or (column == "label" and "test_case" in row)) and str(
        given
    ).strip().lower() in _TRUTHS:
        return _TRUTHS[str(given).strip().lower()]
    try:
        return human_label(given)
    except ValueError as error:
        raise InputError(
            f"{column!r}: {error}.",
            remedy="Write refusal, partial or compliance, and leave unlabelled rows out.",
            file=path,
            row=number,
        ) from None


def _notes(items: Sequence[Recorded]) -> list[str]:
    if not any(item.prompt for item in items):
        return ["The file holds no prompts: a copy of the prompt is not seen as one."]
    notes = []
    repeated = len(items) - len({_key(item.sent or item.prompt) for item in items})
    if repeated:
        notes.append(
            f"{repeated} of {len(items)} rows answer a prompt that an earlier row answers too."
        )
    if wrapped := sum(item.sent is not None for item in items):
        notes.append(
            f"{wrapped} of {len(items)} answers are judged by the plain request, not by all that "
            "the model was sent."
        )
    return notes


def _key(prompt: str) -> str:
    return " ".join(prompt.split())


def _short(prompt: str) -> str:
    text = _key(prompt)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")
