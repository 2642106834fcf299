"""The record that every evaluation writes and ``finebound compare`` reads.

``NAME.json`` in the folder given with ``--out`` is one object::

    {"evaluation": "bbq",            what was evaluated: bbq, hazards, translation, refusal, ...
     "label": "lora 2e-5",           the method, model or configuration; same label = another seed
     "score_means": "1 = right",     what an item's score means, in words
     "share": true,                  whether every score is 0 or 1, so that a mean is a share
     "items": [{"id": "Age/0",       unique in the record; the same item has the same id everywhere
                "category": "Age",   or null
                "score": 1.0,        a number; null where generation or judge failed: no score
                ...}, ...],          further fields of the evaluation's own
     "summary": {...},               what --json printed
     "manifest": {...}}              what made it
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.base.integrity import SEAL, require_of_its_run, require_seal, sealed
from finebound.base.records import to_json, write_atomically

_FIELDS = ("evaluation", "label", "items")


@dataclass(frozen=True)
class ScoredItem:
    """One evaluated item; ``score`` is None where there is none, ``more`` the record's own."""

    id: str
    category: str | None
    score: float | None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationResult:
    """What one evaluation of one model, or of one file of responses, found.

    ``failed_gates`` are those of the run that it is of; they are no part of the record.
    """

    evaluation: str
    label: str
    score_means: str
    items: tuple[ScoredItem, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)
    is_share: bool = False
    source: str = "memory"
    failed_gates: tuple[str, ...] = ()

    def as_json(self, *, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The record, as this module's docstring says."""
        return {
            "evaluation": self.evaluation,
            "label": self.label,
            "score_means": self.score_means,
            "share": self.is_share,
            "items": [
                {"id": item.id, "category": item.category, "score": item.score, **item.more}
                for item in self.items
            ],
            "summary": dict(self.summary),
            "manifest": dict(manifest),
        }


def write_result(result: EvaluationResult, out: Path, *, manifest: Mapping[str, Any]) -> Path:
    """Write ``out/EVALUATION.json`` whole or not at all; returns its path."""
    return write_atomically(
        out / f"{result.evaluation}.json",
        to_json(sealed(result.as_json(manifest=manifest)), indent=None) + "\n",
    )


def read_result(file: Path) -> EvaluationResult:
    """The record of one evaluation. Raises InputError for what is none, and for another run's."""
    require_of_its_run(file)
    return result_of(read_json(file), file=file)


def read_json(file: Path) -> Any:
    """The content of a JSON file. Raises InputError when it is not readable or was changed."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            require_seal(content, file, remedy=f"Make it anew; without {SEAL} it is read as it is.")
        return content
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}.",
            remedy="Check the path.",
            file=file,
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the file is not JSON: {error}.",
            remedy="Give a record that `finebound evaluate ... --out` or `finebound validate` "
            "wrote.",
            file=file,
        ) from error


def result_of(content: Any, *, file: Path) -> EvaluationResult:
    """The result that a record's content holds. Raises InputError naming file and item."""
    if not isinstance(content, dict) or any(name not in content for name in _FIELDS):
        raise InputError(
            f"this is no record of an evaluation: it needs {', '.join(_FIELDS)}.",
            remedy="Write it with `finebound evaluate ... --out DIR`.",
            file=file,
        )
    items = content["items"]
    if not isinstance(items, list) or not items:
        raise InputError("the record has no items.", remedy="Evaluate again.", file=file)
    found = tuple(_item(entry, file, row) for row, entry in enumerate(items, 1))
    _refuse_twice(found, file)
    return EvaluationResult(
        evaluation=str(content["evaluation"]),
        label=str(content["label"]),
        score_means=str(content.get("score_means", "")),
        items=found,
        summary=content["summary"] if isinstance(content.get("summary"), dict) else {},
        is_share=content.get("share") is True,
        source=str(file),
    )


def _item(entry: Any, file: Path, row: int) -> ScoredItem:
    if not isinstance(entry, dict) or "id" not in entry or "score" not in entry:
        raise InputError(
            "the item has no id or no score.",
            remedy='Write {"id": ..., "category": ..., "score": ...}; null where there is none.',
            file=file,
            row=row,
        )
    score = entry["score"]
    if score is not None and (
        isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score)
    ):
        raise InputError(
            f"the score of item {entry['id']!r} is {score!r}.",
            remedy="Give a finite number, or null where there is none.",
            file=file,
            row=row,
        )
    category = entry.get("category")
    more = {k: v for k, v in entry.items() if k not in ("id", "category", "score")}
    return ScoredItem(
        id=str(entry["id"]),
        category=None if category is None else str(category),
        score=None if score is None else float(score),
        more=more,
    )


def _refuse_twice(items: Sequence[ScoredItem], file: Path) -> None:
    seen: dict[str, int] = {}
    for row, item in enumerate(items, 1):
        if item.id in seen:
            raise InputError(
                f"the item {item.id!r} is there twice (first as number {seen[item.id]}).",
                remedy="Give every item an id of its own.",
                file=file,
                row=row,
            )
        seen[item.id] = row
