"""Every bound beside what a run measured: held, violated, vacuous, or without its premise."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from finebound.base.errors import InputError
from finebound.base.records import to_json
from finebound.results.bounds import BoundEntry
from finebound.results.result import Known, Number, Part, Result

if TYPE_CHECKING:
    from theory.bound import Bound

When = Literal["a priori", "a posteriori"]
Verdict = Literal["held", "violated", "vacuous", "premise failed"]
_WORDS = {"safety loss rise": "change in safety loss", "proxy loss rise": "change in proxy loss"}
_CERTAIN = ("EXACT", "CERTIFIED", "HIGH_PROBABILITY")


class _Place(Part):
    """Of which run, after how many steps, known when, and of what."""

    run: str
    step: int
    fraction: Number
    when: When
    what: str


class ComparedBound(BoundEntry, _Place):
    """One bound, for one run at one checkpoint, beside the value measured there.

    ``ratio`` is bound / measured where both are positive. ``premise`` names what the bound takes
    for granted about training and could be checked; if it failed, the bound claims nothing.
    """

    measured: Number
    ratio: Known
    verdict: Verdict
    premise: str

    @classmethod
    def beside(
        cls, bound: Bound, measured: float, *, verdict: Verdict, premise: str = "", **place: Any
    ) -> Self:
        """One of theory's bounds beside a measured value; ``place`` says of which run and what."""
        entry = BoundEntry.of(bound)
        positive = measured > 0.0 and 0.0 < entry.value < math.inf
        return cls(
            **place,
            **{name: getattr(entry, name) for name in entry.model_fields_set},
            measured=float(measured),
            ratio=float(entry.value / measured) if positive else None,
            verdict=verdict,
            premise=premise,
        )

    @property
    def quantity_words(self) -> str:
        """What is bounded, for people."""
        return _WORDS.get(self.what, self.what)

    @property
    def slack(self) -> float:
        """How far the measured value stays inside the bound; negative for a violated one."""
        sign = 1.0 if self.direction == "upper" else -1.0
        return sign * (self.value - self.measured)

    @property
    def is_empty(self) -> bool:
        """Whether the bound says no more than is true of every model."""
        return self.status == "VACUOUS"

    @property
    def is_certain(self) -> bool:
        """Whether a violation would refute the theory or this program."""
        return self.status in _CERTAIN


class BoundCounts(Part):
    """How many bounds held, were violated (certain and estimated ones), were vacuous."""

    held: int
    violated: int
    vacuous: int
    premise_failed: int = 0
    violated_certain: int = 0
    violated_estimated: int = 0

    @classmethod
    def of(cls, compared: Sequence[ComparedBound]) -> Self:
        count = {"held": 0, "violated": 0, "vacuous": 0, "premise_failed": 0}
        for c in compared:
            count[c.verdict.replace(" ", "_")] += 1
        certain = len(violated_certain(compared))
        return cls(
            **count, violated_certain=certain, violated_estimated=count["violated"] - certain
        )


def violated_certain(compared: Iterable[ComparedBound]) -> list[ComparedBound]:
    """The violated bounds whose violation fails the command."""
    return [c for c in compared if c.verdict == "violated" and c.is_certain]


class ComparisonResult(Result):
    """``comparison.json``: every bound of every run at every checkpoint. Its record is a list."""

    kind: ClassVar[str] = "comparison"
    file: ClassVar[str] = "comparison.json"
    indent: ClassVar[int | None] = None

    entries: list[ComparedBound]

    def to_json(self) -> str:
        return to_json([entry.to_dict() for entry in self.entries], indent=self.indent)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        path = Path(path)
        file = path / cls.file if path.is_dir() else path
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"cannot be read: {error}.",
                remedy="Start the experiment again with `finebound validate`.",
                file=file,
            ) from None
        return cls.of(found if isinstance(found, Mapping) else {"entries": found}, file=file)

    def summary(self) -> str:
        counts = BoundCounts.of(self.entries)
        return (
            f"{counts.held} bounds held, {counts.violated} were violated "
            f"({counts.violated_certain} of them certain), {counts.vacuous} were vacuous"
        )

    def of_run(self, run: str, step: int | None = None) -> list[ComparedBound]:
        """The entries of a run, at one of its checkpoints if ``step`` is given."""
        return [c for c in self.entries if c.run == run and step in (None, c.step)]
