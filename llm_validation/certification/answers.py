"""Files of labelled or plain answers, and the probes on which they meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from finebound.base.errors import InputError
from llm_validation.certification.labels import WORDS, Said, said_by, said_in_words, truth
from llm_validation.data.cells import BadRowError, is_missing
from llm_validation.evaluation.answer_layouts import (
    Columns,
    answer_rows,
    answers_of,
    choose_columns,
    request_of,
)
from llm_validation.evaluation.refusal.classifier import classify

Cache = dict[tuple[str, str | None], Said]
_SHOWN = 60
_IDS = ("id", "custom_id", "prompt_id")


@dataclass(frozen=True, eq=False)
class Answered:
    """The answers of one model, in the file's order.

    ``ids`` and ``prompts`` are empty where the file has none. ``said`` int8 ``[n]`` of ``Said``;
    ``harmful`` int8 ``[n]``: 1, 0, or -1 where the file does not say. ``by_rules``: at least one
    answer was labelled by the refusal classifier. ``rows`` are numbers as an editor counts.
    """

    name: str
    source: str
    ids: Sequence[str]
    prompts: Sequence[str]
    said: np.ndarray
    harmful: np.ndarray
    rows: Sequence[int]
    by_rules: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, places: np.ndarray) -> Answered:
        """The answers at these places, in their order."""
        return replace(
            self,
            ids=[self.ids[place] for place in places] if self.ids else (),
            prompts=[self.prompts[place] for place in places] if self.prompts else (),
            said=self.said[places],
            harmful=self.harmful[places],
            rows=[self.rows[place] for place in places],
        )


def read_answers(file: Path, *, cache: Cache) -> Answered:
    """The answers of a JSON Lines, JSON, CSV or Parquet file, each labelled.

    A row has an ``id`` or a ``prompt``, and ``safe``, ``label`` or ``response``, the first of them
    that it has. A null is an answer that is not known. ``cache`` keeps what was labelled.
    Raises InputError naming the row for what is none of this, and for a probe that stands twice.
    """
    file = file.expanduser()
    ids: list[str] = []
    prompts: list[str] = []
    said: list[Said] = []
    harmful: list[int] = []
    rows: list[int] = []
    columns, names = None, None
    for number, row in answer_rows(file):
        if names is None:
            names = _names_of(row, file, number)
        try:
            label = _said(row)
            if label is None:
                columns = columns or choose_columns(row, file)
                prompt, label = _classified(row, columns, cache)
            else:
                prompt = _prompt(row) if names.prompt else ""
            harmful.append(_harmful(_cell(row, "harmful")))
            if names.id is not None:
                ids.append(_filled(row.get(names.id), "id"))
            if names.prompt:
                prompts.append(" ".join(_filled(prompt, "prompt").split()))
        except BadRowError as problem:
            raise InputError(
                problem.what, remedy=problem.remedy, file=file, row=number
            ) from problem
        said.append(label)
        rows.append(number)
    if not rows:
        raise InputError("the file holds no rows.", remedy="Add rows.", file=file)
    found = Answered(
        name=file.name.partition(".")[0],
        source=str(file),
        ids=ids,
        prompts=prompts,
        said=np.array(said, dtype=np.int8),
        harmful=np.array(harmful, dtype=np.int8),
        rows=rows,
        by_rules=columns is not None,
    )
    _require_once(found)
    return found


def meet(reference: Answered, candidates: Sequence[Answered]) -> tuple[Answered, list[Answered]]:
    """The candidates in the reference's order, all with the same ``harmful``, 1 where nobody says.

    They meet by id where all files have ids, else by prompt. Raises InputError for a probe that one
    of them lacks, for an id of another prompt, and for files that disagree about ``harmful``.
    """
    by_id = all(one.ids for one in (reference, *candidates))
    if not by_id and not all(one.prompts for one in (reference, *candidates)):
        lacking = next(one for one in (reference, *candidates) if not one.prompts)
        raise InputError(
            "the file has no prompts, and not every file has ids, so the answers do not meet.",
            remedy="Give every file the same ids, or prompts.",
            file=lacking.source,
        )
    met = [_in_order(reference, one, by_id=by_id) for one in candidates]
    harmful = reference.harmful.copy()
    for one in met:
        differ = (harmful >= 0) & (one.harmful >= 0) & (harmful != one.harmful)
        if differ.any():
            place = int(np.argmax(differ))
            raise InputError(
                f"'harmful' is not what {reference.source} says of the same probe in row "
                f"{reference.rows[place]}.",
                remedy="Correct one of the two.",
                file=one.source,
                row=one.rows[place],
            )
        harmful = np.maximum(harmful, one.harmful)
    known = np.where(harmful == 0, 0, 1).astype(np.int8)
    return replace(reference, harmful=known), [replace(one, harmful=known) for one in met]


@dataclass(frozen=True)
class _Names:
    """The column of ids, None without one, and whether the rows have prompts."""

    id: str | None
    prompt: bool


def _names_of(row: dict[str, Any], file: Path, number: int) -> _Names:
    """What the first row says of how the rows of a file name their probes."""
    ids = next((name for name in _IDS if not is_missing(row.get(name))), None)
    try:
        prompt = bool(_prompt(row))
    except BadRowError:
        prompt = False
    if ids is None and not prompt:
        raise InputError(
            f"the row has neither an 'id' nor a 'prompt'; its columns are "
            f"{', '.join(map(repr, row))}.",
            remedy="Say in each row which probe it is about.",
            file=file,
            row=number,
        )
    return _Names(ids, prompt)


def _prompt(row: dict[str, Any]) -> str:
    given = row.get("prompt")
    return given if isinstance(given, str) else "\n".join(text for _, text in request_of(row))


def _filled(value: Any, name: str) -> str:
    if is_missing(value):
        raise BadRowError(
            f"this row has no {name}, and the first row has one.", "Give it to every row."
        )
    return value if isinstance(value, str) else str(value)


def _cell(row: dict[str, Any], name: str) -> Any:
    value = row.get(name)
    if isinstance(value, list | dict):
        raise BadRowError(f"{name!r} is a list or an object.", f"Write one value as {name!r}.")
    return value


def _said(row: dict[str, Any]) -> Said | None:
    """What the row itself says of its answer; None where it says nothing."""
    for name, read in (("safe", _of_safe), ("label", _of_label)):
        if name in row and (found := read(_cell(row, name))) is not None:
            return found
    labelled = "response" not in row and ("safe" in row or "label" in row)
    return Said.NOT_KNOWN if labelled else None


@cache
def _of_safe(value: Any) -> Said | None:
    if is_missing(value):
        return None
    if (safe := truth(value)) is None:
        raise BadRowError(f"'safe' is {value!r}.", "Write true or false.")
    return Said.SAFE if safe else Said.UNSAFE


@cache
def _of_label(value: Any) -> Said | None:
    if is_missing(value):
        return None
    if (said := said_in_words(value)) is None:
        raise BadRowError(f"'label' is {value!r}.", f"It is one of {WORDS}.")
    return said


@cache
def _harmful(value: Any) -> int:
    if is_missing(value):
        return -1
    if (harmful := truth(value)) is None:
        raise BadRowError(f"'harmful' is {value!r}.", "Write true or false.")
    return int(harmful)


def _classified(row: dict[str, Any], columns: Columns, cache: Cache) -> tuple[str, Said]:
    answers = answers_of(row, columns)
    if len(answers) != 1:
        raise BadRowError(
            f"the row holds {len(answers)} answers to one probe.",
            "Keep one: several answers to a probe are not independent.",
        )
    key = (answers[0].prompt, answers[0].text)
    if key not in cache:
        cache[key] = said_by(classify(*key))
    return answers[0].prompt, cache[key]


def _require_once(answers: Answered) -> None:
    for what, names in (("id", answers.ids), ("prompt", answers.prompts)):
        if len(set(names)) == len(names):
            continue
        first: dict[str, int] = {}
        for place, name in enumerate(names):
            if name in first:
                raise InputError(
                    f"the {what} {_short(name)} stands in row {answers.rows[first[name]]} too.",
                    remedy="Keep one row of each probe: repeated ones are not independent, and "
                    "would count as more evidence than they are.",
                    file=answers.source,
                    row=answers.rows[place],
                )
            first[name] = place


def _in_order(reference: Answered, one: Answered, *, by_id: bool) -> Answered:
    what = "id" if by_id else "prompt"
    for mine, other in ((reference, one), (one, reference)):
        names, there = (x.ids if by_id else x.prompts for x in (mine, other))
        known = set(there)
        if missing := [place for place, name in enumerate(names) if name not in known]:
            raise InputError(
                f"{len(missing)} of {len(names)} probes are not in {other.source}; the first has "
                f"the {what} {_short(names[missing[0]])}.",
                remedy="Give both files the same probes: write null where there is no answer, so "
                "that nobody has to guess why it is missing.",
                file=mine.source,
                row=mine.rows[missing[0]],
            )
    wanted, has = (x.ids if by_id else x.prompts for x in (reference, one))
    place_of = {name: place for place, name in enumerate(has)}
    met = one.taken(np.fromiter((place_of[name] for name in wanted), dtype=np.int64))
    if by_id and reference.prompts and met.prompts:
        for place, (first, second) in enumerate(zip(reference.prompts, met.prompts, strict=True)):
            if first != second:
                raise InputError(
                    f"the id {wanted[place]!r} is of another prompt than in {reference.source}: "
                    f"{_short(second)}, not {_short(first)}.",
                    remedy="Correct the id or the prompt.",
                    file=one.source,
                    row=met.rows[place],
                )
    return met


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")
