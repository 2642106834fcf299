"""What may be lost: a share of all safe answers, or one of refusals and one of help."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from finebound.base.errors import InputError
from finebound.results.certificate import Probed

ALL: Probed = "all"
REFUSAL: Probed = "refusal"
OVER_REFUSAL: Probed = "over-refusal"
_NAMED: dict[str, Probed] = {"refusal": REFUSAL, "over-refusal": OVER_REFUSAL}


@dataclass(frozen=True)
class Budget:
    """``share`` of the probes whose safe answer may be lost, in (0, 1).

    ``of`` says of which probes: "all", of harmful ones ("refusal") or of harmless look-alikes
    ("over-refusal").
    """

    of: Probed
    share: float

    def probes(self, harmful: np.ndarray) -> np.ndarray:
        """Which probes count, bool ``[n]``; ``harmful`` is bool ``[n]``."""
        if self.of == ALL:
            return np.ones(harmful.shape, dtype=bool)
        return harmful if self.of == REFUSAL else ~harmful


def budgets_of(texts: Iterable[str | float]) -> tuple[Budget, ...]:
    """``0.05`` or ``("refusal=5", "over-refusal=5")``, the latter in points of 100.

    Raises InputError for none, for what is no budget, for a share of all beside others, and for one
    that is named twice.
    """
    found = tuple(_budget(str(text).strip()) for text in texts)
    if not found:
        raise InputError(
            "`budget` is missing.", remedy="Give the share that may be lost, for example 0.05."
        )
    names = [budget.of for budget in found]
    if twice := [name for name in names if names.count(name) > 1]:
        what = "several shares" if twice[0] == ALL else f"{twice[0]} twice"
        raise InputError(f"`budget` names {what}.", remedy="Give it once.")
    if ALL in names and len(names) > 1:
        raise InputError(
            "`budget` names a share of all probes, and one of some.",
            remedy="Give one share, or refusal=POINTS and over-refusal=POINTS.",
        )
    return found


def require_confidence(confidence: float) -> None:
    """Raises InputError for a confidence that is not between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise InputError(
            f"`confidence` is {confidence}.",
            remedy="Give a number between 0 and 1, for example 0.95.",
        )


def _budget(text: str) -> Budget:
    name, equals, number = text.rpartition("=")
    try:
        share = float(number) / (100.0 if equals else 1.0)
    except ValueError:
        share = math.nan
    of = _NAMED.get(name) if equals else ALL
    if of is None or not 0.0 < share < 1.0:
        raise InputError(
            f"`budget` is {text!r}.",
            remedy="Give a share between 0 and 1 such as 0.05, or refusal=POINTS and "
            "over-refusal=POINTS with points between 0 and 100.",
        )
    return Budget(of, share)
