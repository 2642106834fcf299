"""Marks of a whole row: KTO's label and its like, by which an answer is not to be learnt."""

from __future__ import annotations

from typing import Any

from llm_validation.data.cells import BadRowError, is_missing, kind

_KTO = ("kto_tag", "desirable", "is_desirable")
_SWITCHES = ("train", "training", "trainable", "learn")
_WEIGHTS = ("weight", "loss_weight", "sample_weight")
MARK_COLUMNS = frozenset(("label", *_KTO, *_SWITCHES, *_WEIGHTS))

_YES = frozenset(("true", "desirable", "chosen", "good", "1", "1.0", "yes", "positive"))
_NO = frozenset(("false", "undesirable", "rejected", "bad", "0", "0.0", "no", "negative"))
# Of a column "label", words that are hardly ever a class.
_WORDS = frozenset(
    ("true", "false", "desirable", "undesirable", "chosen", "rejected", "good", "bad")
)


def bad_by(column: str, value: Any) -> bool | None:
    """Whether a cell marks its row's answer as bad; None where the cell is no such mark.

    ``label`` counts where it is true or false, or says so in words: of other labels a class or a
    score is as likely. Raises BadRowError for a mark that is not understood.
    """
    if is_missing(value):
        return None
    if column in _WEIGHTS:
        return _is_zero(column, value)
    if isinstance(value, bool):
        return not value
    word = value.strip().lower() if isinstance(value, str) else str(value)
    if column in _KTO:
        if word in _YES | _NO:
            return word in _NO
        raise BadRowError(
            f"{column!r} is {kind(value)} that is neither true nor false.",
            "Write true (learn the answer) or false (do not).",
        )
    if column in _SWITCHES and is_binary(value):
        return float(value) != 1
    return word in _NO if word in _WORDS else None


def is_binary(value: Any) -> bool:
    """Whether a label is 0, 1 or -1, by which files write marks as well as classes."""
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return value.strip() in ("0", "1", "-1", "0.0", "1.0", "-1.0")
    return isinstance(value, int | float) and value in (-1, 0, 1)


def is_on(value: Any) -> bool | None:
    """Whether a mark of 1 and 0 or true and false, also as a text, is on; None for others."""
    word = value.strip().lower() if isinstance(value, str) else str(value).lower()
    if word in ("true", "false"):
        return word == "true"
    try:
        return {1.0: True, 0.0: False}.get(float(word))
    except ValueError:
        return None


def _is_zero(column: str, value: Any) -> bool:
    on = is_on(value)
    if on is None:
        raise BadRowError(
            f"{column!r} is {kind(value)}, neither 1 (learn the row) nor 0 (do not).",
            f"Write 1 or 0, or leave the column out with `ignore_columns` {column}.",
        )
    return not on
