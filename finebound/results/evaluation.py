"""One evaluation of one model, or of one file of answers: every item with its score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import ConfigDict, Field

from finebound.base.errors import InputError
from finebound.base.integrity import require_of_its_run
from finebound.base.output import number
from finebound.results.result import Known, Manifest, Part, Result

_NEEDED = ("evaluation", "label", "items")


class ScoredItem(Part):
    """One evaluated item; ``more`` are further fields of the evaluation's own.

    ``id`` is unique in the record, and the same item has the same id everywhere. ``score`` is None
    where generation or judge failed.
    """

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    id: str
    category: str | None = None
    score: Known

    @property
    def more(self) -> dict[str, Any]:
        return self.model_extra or {}


class Mean(NamedTuple):
    """The mean score of a category, of all for None: of ``n`` items, ``scored`` of them."""

    category: str | None
    n: int
    scored: int
    mean: float | None


class EvaluationResult(Result):
    """What ``finebound evaluate`` finds; ``finebound compare`` reads it.

    ``label`` names the method, model or configuration: the same label is another seed. ``share``:
    every score is 0 or 1, so that a mean is a share. ``report``, the record's "summary", is what
    --json prints. The record is named after the ``evaluation``. No part of it are ``source``, where
    it was read, and ``failed_gates``, those of the run that it is of.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    kind: ClassVar[str] = "evaluation"
    file: ClassVar[str] = "EVALUATION.json"
    indent: ClassVar[int | None] = None
    sealed: ClassVar[bool] = True

    evaluation: str
    label: str
    score_means: str = ""
    share: bool = False
    items: tuple[ScoredItem, ...]
    report: Mapping[str, Any] = Field(default={}, alias="summary")
    manifest: Manifest | None = None
    source: str = Field(default="memory", exclude=True)
    failed_gates: tuple[str, ...] = Field(default=(), exclude=True)

    def to_dict(self) -> dict[str, Any]:
        """The record's content, with every entry."""
        return self.model_dump(by_alias=True)

    def save(self, path: str | Path) -> Path:
        """Write ``path/EVALUATION.json``, or the file that ``path`` names, whole or not at all."""
        path = Path(path)
        return super().save(path if path.suffix == ".json" else path / f"{self.evaluation}.json")

    @classmethod
    def of(cls, content: Mapping[str, Any], *, file: str | Path | None = None) -> Self:
        """The result of a record's content. Raises InputError naming file, item and remedy."""
        if any(name not in content for name in _NEEDED):
            raise InputError(
                f"this is no record of an evaluation: it needs {', '.join(_NEEDED)}.",
                remedy="Write it with `finebound evaluate ... --out DIR`.",
                file=file,
            )
        items = content["items"]
        if not isinstance(items, list) or not items:
            raise InputError("the record has no items.", remedy="Evaluate again.", file=file)
        _check(items, file)
        found = super().of(content, file=file)
        return found if file is None else found.model_copy(update={"source": str(file)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The result of a record's file. Raises InputError for what is none, or of another run."""
        require_of_its_run(Path(path))
        return super().load(path)

    def made_by(self, manifest: Mapping[str, Any]) -> Self:
        """The result with what made it, as ``finebound.base.records.manifest`` says."""
        return self.model_copy(update={"manifest": Manifest(**manifest)})

    @property
    def means(self) -> list[Mean]:
        """The mean score of every category, then of all."""
        categories = dict.fromkeys(item.category for item in self.items)
        return [self._mean(name) for name in (*filter(None, categories), None)]

    def _mean(self, category: str | None) -> Mean:
        mine = [item.score for item in self.items if category in (None, item.category)]
        known = [score for score in mine if score is not None]
        return Mean(category, len(mine), len(known), fmean(known) if known else None)

    def summary(self) -> str:
        """The mean score over all items, and how many have none."""
        found = self.means[-1]
        mean = "no score" if found.mean is None else number(found.mean)
        means = f" ({self.score_means})" if self.score_means else ""
        lines = [f"{self.label}, {self.evaluation}: {mean} over {found.scored} items{means}"]
        if lost := found.n - found.scored:
            lines.append(f"{lost} of {found.n} items have no score")
        return "\n".join(lines)


def _check(items: list[Any], file: str | Path | None) -> None:
    """Raises InputError for an item without id or score, a score that is none, an id twice."""
    seen: dict[str, int] = {}
    for row, entry in enumerate(items, 1):
        if not isinstance(entry, dict) or "id" not in entry or "score" not in entry:
            raise InputError(
                "the item has no id or no score.",
                remedy='Write {"id": ..., "category": ..., "score": ...}; null for no score.',
                file=file,
                row=row,
            )
        score, name = entry["score"], str(entry["id"])
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        if score is not None and not (is_number and math.isfinite(score)):
            raise InputError(
                f"the score of item {entry['id']!r} is {score!r}.",
                remedy="Give a finite number, or null where there is none.",
                file=file,
                row=row,
            )
        if name in seen:
            raise InputError(
                f"the item {name!r} is there twice (first as number {seen[name]}).",
                remedy="Give every item an id of its own.",
                file=file,
                row=row,
            )
        seen[name] = row
