"""Answers to BBQ that lm-evaluation-harness or inspect_ai logged, as rows with predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.cells import BadRowError
from llm_validation.evaluation.answer_layouts import answers_of, choose_columns
from llm_validation.evaluation.fairness.answering import chosen_letter
from llm_validation.evaluation.harness_logs import document_of

BY_LETTER = "letter"
"""``answered_by`` of an item whose answer is the first letter A, B or C that stands alone."""


def as_prediction(row: dict[str, Any], path: Path, number: int) -> dict[str, Any]:
    """A logged answer to an item of BBQ as BBQ's fields with ``prediction``; another row as it is.

    Of answers whose likelihoods are logged it is the likeliest one's text. Where the item says
    ``answered_by: letter`` it is the letter's number, None without one. Raises InputError for an
    answer that is no text, and for several answers to one item.
    """
    document = document_of(row)
    if "example_id" not in document or "category" not in document:
        return row
    found = _likeliest(row)
    if found is None:
        found = _written(row, path, number)
        if document.get("answered_by") == BY_LETTER:
            found = chosen_letter(found)
    return {**document, "prediction": found}


def _written(row: Mapping[str, Any], path: Path, number: int) -> str | None:
    try:
        answers = answers_of(row, choose_columns(row, path))
        if len(answers) != 1:
            raise BadRowError(
                f"the sample has {len(answers)} answers to one item.", "Ask each item once."
            )
    except BadRowError as problem:
        raise InputError(problem.what, remedy=problem.remedy, file=path, row=number) from problem
    return answers[0].text


def _likeliest(row: Mapping[str, Any]) -> str | None:
    """Of answers that lm-evaluation-harness measured the likeliest; None for a written one."""
    found, asked = row.get("filtered_resps"), row.get("arguments")
    if not isinstance(found, list) or not isinstance(asked, Mapping) or len(found) < 2:
        return None
    try:
        chances = [float(logprob) for logprob, _ in found]
        texts = [each["arg_1"] for each in asked.values()]
        return str(texts[max(range(len(texts)), key=chances.__getitem__)]).strip()
    except (TypeError, ValueError, KeyError, IndexError):
        return None
