"""What a comparison decides, a sentence for each method; no headline where it decides nothing."""

from __future__ import annotations

from finebound.base.text import printable
from finebound.results.compare import SignedRank
from finebound.results.interval import shown
from llm_validation.evaluation.statistics.intervals import FEW_SHARES
from theory.confidence import Interval

FEWEST_PAIRS = 6
"""Of fewer pairs no two-sided signed-rank test can reach p < 0.05: 2 / 2^5 is 0.0625."""


def decides(difference: Interval, test: SignedRank | None) -> bool:
    """Whether a difference is beyond chance: its interval without 0, and its corrected test."""
    beyond = difference.lower > 0.0 or difference.upper < 0.0
    return beyond and test is not None and test.decided


def sentence(
    label: str,
    base: str,
    difference: Interval,
    test: SignedRank | None,
    *,
    items: int,
) -> str:
    """What the items say of one method beside the base, and what they leave open."""
    label, base = printable(label), printable(base)
    pairs = f"{items} item" + ("s" if items != 1 else "")
    if decides(difference, test):
        direction = "above" if difference.estimate > 0.0 else "below"
        return f"{label} is {direction} {base}: {shown(difference)} over {pairs}."
    if items < FEWEST_PAIRS:
        why = f"n = {items} is too small for any test"
    elif test is not None and not test.n_nonzero:
        why = "no item differs"
    elif test is not None and test.n_nonzero < FEWEST_PAIRS:
        why = f"only {test.n_nonzero} differ"
    else:
        why = "the difference may be chance"
    if FEWEST_PAIRS <= items < FEW_SHARES:
        why += f"; n = {items} is small"
    return f"{label} and {base} are undecided over {pairs} ({why}): {shown(difference)}."
