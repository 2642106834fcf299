"""Whether the calibration that the package ships holds on fine-tunes of a person's own."""

from __future__ import annotations

from typing import ClassVar

from finebound.results.result import Manifest, Number, Part, Result
from finebound.results.spans import Limits


class CheckedRun(Part):
    """One fine-tune: shares of harmful probes that are refused, and whether the interval held.

    ``said`` and ``interval`` were forecast with the shipped calibration before it was run.
    ``outside`` says in what it is unlike the shipped evidence; the interval is then wider.
    """

    id: str
    before: Number
    said: Number
    interval: tuple[Number, Number]
    measured: Number
    held: bool
    outside: tuple[str, ...]


class CalibrationCheckResult(Result):
    """How many of the intervals of ``level`` held.

    ``held`` is their share with its exact 95 % interval, as if fine-tunes of one pair of datasets
    were independent. ``evidence`` is the number of fine-tunes that the calibration rests on.
    """

    kind: ClassVar[str] = "calibration_check"
    file: ClassVar[str] = "calibration_check.json"

    level: Number
    held: Limits
    pairs: int
    evidence: int
    model_sha256: str
    runs: tuple[CheckedRun, ...]
    manifest: Manifest

    @property
    def fails(self) -> bool:
        """Whether fewer held than the level says, by more than chance."""
        return self.held.upper < self.level

    def summary(self) -> str:
        """How many held, what that shows, and in what the fine-tunes are unlike the evidence."""
        count = sum(run.held for run in self.runs)
        shows = (
            "It does not hold here: these are fewer than chance explains."
            if self.fails
            else "That does not speak against it."
        )
        lines = [
            f"{count} of {len(self.runs)} intervals of {self.level:.0%} held, in {self.pairs} "
            f"pairs of datasets: {count / len(self.runs):.0%} ({self.held.lower:.0%} to "
            f"{self.held.upper:.0%}).",
            f"The calibration rests on {self.evidence} fine-tunes. {shows}",
        ]
        if reasons := list(dict.fromkeys(name for run in self.runs for name in run.outside)):
            lines.append(
                f"Unlike these: {'; '.join(reasons)}. Such intervals are wider, and estimates."
            )
        return "\n".join(lines)
