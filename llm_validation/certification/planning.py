"""How many probes to ask, before any is asked."""

from __future__ import annotations

from collections.abc import Sequence

from finebound.base.errors import InputError
from finebound.results.certificate import ProbePlanResult, ProbePlanRow, points
from llm_validation.certification.budgets import Budget, require_confidence
from llm_validation.certification.paired_test import POWER, probes_for

_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75)  # of the budget


def plan_probes(
    budgets: Sequence[Budget], confidence: float, *, expected: float = 0.0
) -> ProbePlanResult:
    """How many probes certify one budget if the candidate loses the share ``expected``.

    Raises InputError for several budgets, and for an expected loss that is negative or no less than
    the budget.
    """
    require_confidence(confidence)
    if len(budgets) != 1:
        raise InputError(
            "several budgets are planned one by one.",
            remedy="Give one: the probes of each kind are counted apart.",
        )
    budget = budgets[0].share
    if not 0.0 <= expected < budget:
        raise InputError(
            f"`expected` is {expected}, and the budget {budget:g}.",
            remedy="Give the share that you think is lost, from 0 to less than the budget; what "
            "loses as much as the budget cannot be certified with any number.",
        )
    losses = sorted({expected, *(share * budget for share in _SHARES)})
    try:
        rows = tuple(
            ProbePlanRow(expected=loss, probes=probes_for(budget, confidence, expected=loss))
            for loss in losses
        )
    except ValueError as error:
        raise InputError(f"{error}", remedy="Give a larger budget, or expect less.") from None
    needed = next(row.probes for row in rows if row.expected == expected)
    sure = f"{100 * confidence:g} % confidence"
    chance = "" if expected == 0.0 else f" with probability {POWER:g}"
    sentence = (
        f"{needed} probes certify a loss of less than {points(budget)} points with {sure}{chance} "
        f"if the candidate loses {points(expected) if expected else 'nothing'}"
        f"{' points' if expected else ''}."
    )
    return ProbePlanResult(
        probes_needed=needed,
        budget=budget,
        confidence=confidence,
        expected=expected,
        power=POWER,
        rows=rows,
        sentence=sentence,
    )
