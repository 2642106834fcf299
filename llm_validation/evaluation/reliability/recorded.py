"""Uncertainties that were measured elsewhere: a file's rows, checked and named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.formats import read_rows
from llm_validation.evaluation.answer_layouts import answer_rows
from llm_validation.evaluation.reliability.assessment import Assessed
from llm_validation.evaluation.responses import (
    Recorded,
    ResponseFile,
    align,
    item_ids,
    read_responses,
)
from llm_validation.evaluation.translation import item_names
from llm_validation.evaluation.utility import Metric, utility


@dataclass(frozen=True)
class AssessedFile:
    """A file's answers in order; ``notes`` say what a person should know about them."""

    items: tuple[Assessed, ...]
    notes: tuple[str, ...] = ()


def read_scored(path: str | Path) -> AssessedFile:
    """Rows with ``score`` and ``uncertainty``, ``confidence`` or both; perhaps id and category.

    A null score is an answer that failed. Without an uncertainty it is 1 - confidence. Scores lie
    in [0, 1] where there are confidences to compare with. Raises InputError naming the row.
    """
    path = Path(path).expanduser()
    rows = list(read_rows(path))
    first = _first(rows, path)
    if "score" not in first:
        raise InputError(
            f"there is no column 'score'; the columns are {', '.join(map(repr, first))}.",
            remedy="Add each answer's score, or give the references as `data`.",
            file=path,
        )
    columns = _columns(first, path)
    names = _names(rows, path)
    items = []
    for (number, row), name in zip(rows, names, strict=True):
        score = _number(row, "score", path, number)
        if "confidence" in columns and score is not None and not 0.0 <= score <= 1.0:
            raise InputError(
                f"the score is {score:g}; confidence is compared with scores from 0 to 1.",
                remedy="Divide the scores by the highest possible one, or leave confidence out "
                "and give an uncertainty.",
                file=path,
                row=number,
            )
        items.append(
            Assessed(name, _text(row, "category"), score, *_doubts(row, columns, path, number))
        )
    return AssessedFile(tuple(items))


def read_answers(
    path: str | Path, dataset: Dataset, *, metric: Metric, seed: int = 0
) -> AssessedFile:
    """Rows with prompt, response and ``uncertainty``, ``confidence`` or both, scored here.

    Each prompt of ``dataset`` is answered once; its answers are the references. Raises InputError.
    """
    path = Path(path).expanduser()
    answers = read_responses(path)
    rows = dict(answer_rows(path))
    columns = _columns(rows[answers.items[0].row], path)
    answers = align(answers, dataset.prompts, expected=dataset.source)
    texts = [item.response for item in answers.items]
    scores = utility(texts, dataset.responses, metric=metric, seed=seed).items
    items = tuple(
        Assessed(
            name,
            example.category,
            None if item.response is None else score,
            *_doubts(rows[item.row], columns, path, item.row),
        )
        for name, example, item, score in zip(
            item_names(dataset), dataset.examples, answers.items, scores, strict=True
        )
    )
    return AssessedFile(items, answers.notes)


def _first(rows: list[tuple[int, dict[str, Any]]], path: Path) -> dict[str, Any]:
    if not rows:
        raise InputError("the file holds no rows.", remedy="Add rows.", file=path)
    return rows[0][1]


def _columns(first: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    found = tuple(name for name in ("uncertainty", "confidence") if name in first)
    if not found:
        raise InputError(
            "there is neither a column 'uncertainty' nor one 'confidence'; the columns are "
            f"{', '.join(map(repr, first))}.",
            remedy="Add one of them: it says which answers to refer first.",
            file=path,
        )
    return found


def _doubts(
    row: Mapping[str, Any], columns: tuple[str, ...], path: Path, number: int
) -> tuple[float | None, float | None]:
    """Uncertainty and confidence of a row."""
    confidence = _number(row, "confidence", path, number) if "confidence" in columns else None
    if confidence is not None and not 0.0 <= confidence <= 1.0:
        raise InputError(
            f"the confidence is {confidence:g}.",
            remedy="Give a probability from 0 to 1, or null where there is none.",
            file=path,
            row=number,
        )
    if "uncertainty" in columns:
        return _number(row, "uncertainty", path, number), confidence
    return None if confidence is None else 1.0 - confidence, confidence


def _number(row: Mapping[str, Any], name: str, path: Path, number: int) -> float | None:
    if name not in row:
        raise InputError(
            f"this row has no {name!r}.",
            remedy="Give every row the same columns; null where there is no value.",
            file=path,
            row=number,
        )
    value = row[name]
    if isinstance(value, str):  # as every cell of a CSV file is
        value = value.strip() or None
    if value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(
            f"{name!r} is {str(value)[:60]!r}.",
            remedy="Give a finite number, or null where there is none.",
            file=path,
            row=number,
        )
    return found


def _names(rows: list[tuple[int, dict[str, Any]]], path: Path) -> list[str]:
    """The id of every row: its own, one of its prompt, or its number."""
    seen: dict[str, int] = {}
    items = []
    for number, row in rows:
        name, prompt = _text(row, "id"), _text(row, "prompt")
        if name is None and prompt is None:
            name = f"row-{number}"
        if name is not None:
            if name in seen:
                raise InputError(
                    f"the id {name!r} occurs a second time; it is also in row {seen[name]}.",
                    remedy="Remove one of the two rows, or give it its own id.",
                    file=path,
                    row=number,
                )
            seen[name] = number
        items.append(Recorded(prompt or "", None, number, name))
    return item_ids(ResponseFile(str(path), tuple(items)))


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    return None if value in (None, "") else str(value)
