"""Gates: what became of every budget of a command, or of several commands."""

from __future__ import annotations

from typing import ClassVar

from finebound.results.budget import (
    KEPT,
    UNDECIDED,
    BudgetCheck,
    decided,
    exit_code,
)
from finebound.results.certificate import LOST_WORDS, CandidateTest, CertificateResult
from finebound.results.estimate import EstimateResult
from finebound.results.result import Manifest, Part, Result

_FORECAST = {
    "refusal": ("forecast refusals lost", "points"),
    "over-refusal": ("forecast of more harmless requests refused", "points"),
    "loss": ("forecast rise of the safety loss", "nats/token"),
}


class Gate(Part):
    """One command with its budgets: a test suite, each check a test case."""

    name: str
    verb: str
    checks: tuple[BudgetCheck, ...]


class GateResult(Result):
    """What ``finebound gate`` finds: every gate of its file, in its order."""

    kind: ClassVar[str] = "gate"
    file: ClassVar[str] = "gate.json"

    gates: tuple[Gate, ...]
    manifest: Manifest

    @property
    def exit_code(self) -> int:
        """0 where every budget is kept, 1 where one is broken, else 3."""
        return exit_code(check.decision for gate in self.gates for check in gate.checks)

    def summary(self) -> str:
        """A line for each budget."""
        return "\n".join(lines_of(self.gates))


def lines_of(gates: tuple[Gate, ...]) -> list[str]:
    """A line for each budget: its decision, the gate's name, what was found."""
    return [f"{check.said} ({gate.name})" for gate in gates for check in gate.checks]


def checks_of_estimate(result: EstimateResult) -> tuple[BudgetCheck, ...]:
    """The budgets that were given, beside the forecast."""
    if result.forecast is None:
        return ()
    level = result.forecast.refusal.level
    return tuple(
        BudgetCheck(
            quantity=one.quantity,
            what=_FORECAST[one.quantity][0],
            of="",
            limit=one.limit,
            value=one.change,
            interval=one.interval,
            unit=_FORECAST[one.quantity][1],
            level=level,
            n=None,
            decision=one.decision,
        )
        for one in result.budgets
        if one.given
    )


def checks_of_certificate(result: CertificateResult) -> tuple[BudgetCheck, ...]:
    """The budgets of the candidate that decides: the chosen one, or the first not shown to fail.

    Where every candidate is shown to break a budget it is the first. A candidate that keeps every
    budget when looked at alone, and is not accepted because one before it failed, is not decided.
    Together they have the certificate's exit code.
    """
    deciding = result.chosen
    if deciding is None:
        failed = {test.candidate for test in result.tests if test.broken}
        open_ones = [one for one in result.candidates if one not in failed]
        deciding = (open_ones or result.candidates)[0]
    tests = [test for test in result.tests if test.candidate == deciding]
    alone = all(test.within for test in tests)
    return tuple(_of_test(test, result.confidence, alone=alone) for test in tests)


def _of_test(test: CandidateTest, confidence: float, *, alone: bool) -> BudgetCheck:
    limit, loss, low, high = (
        100.0 * share for share in (test.budget, test.loss, test.loss_lower, test.loss_upper)
    )
    decision = decided(test.budget, (test.loss_lower, test.loss_upper))
    return BudgetCheck(
        quantity=test.of,
        what=f"{LOST_WORDS[test.of]} lost",
        of=test.candidate,
        limit=limit,
        value=loss,
        interval=(low, high),
        unit="points",
        level=confidence,
        n=test.n,
        decision=UNDECIDED if decision == KEPT and alone and not test.accepted else decision,
    )
