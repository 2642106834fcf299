"""Budgets: the one rule that decides them, its exit code, and what was found beside each."""

from __future__ import annotations

from collections.abc import Iterable

from finebound.results.result import Known, Number, Part

KEPT, BROKEN, UNDECIDED = "kept", "broken", "undecided"
DECISIONS = (KEPT, UNDECIDED, BROKEN)
"""Of a budget, the best first."""
DECISION_WORDS = {KEPT: "kept", BROKEN: "broken", UNDECIDED: "not decided"}
EXIT_CODES = {KEPT: 0, UNDECIDED: 3, BROKEN: 1}
"""Of a command with budgets; 2 is wrong input."""


def decided(limit: float, interval: tuple[float, float]) -> str:
    """Whether what is lost keeps its limit; both in one unit.

    Kept: the whole interval is at or below the limit. Broken: all of it is above. Else the numbers
    do not decide. If each end of the interval fails with probability at most ``p``, a wrong verdict
    has at most that probability, and two verdicts on a truth at the limit are kept and broken with
    probability at most ``2 p^2``.
    """
    low, high = interval
    return KEPT if high <= limit else BROKEN if low > limit else UNDECIDED


def exit_code(decisions: Iterable[str]) -> int:
    """0 where all are kept, 1 where one is broken, else 3 where one is not decided."""
    worst = max(decisions, key=DECISIONS.index, default=KEPT)
    return EXIT_CODES[worst]


class BudgetCheck(Part):
    """A budget of any command, and what was found: the line of a gate.

    ``quantity`` is its name on the command line, ``what`` says in words what is counted, of whom
    (``of``: a model, method or file; may be empty). ``limit``, ``value`` and both ends of
    ``interval`` are in ``unit`` ("points" of 100, or another), ``value`` is None where nothing is
    known; the interval has the confidence ``level``. ``n`` is the number of items behind it, None
    where that is not one number.
    ``decision`` is "kept", "broken" or "undecided".
    """

    quantity: str
    what: str
    of: str
    limit: Number
    value: Known
    interval: tuple[Number, Number]
    unit: str
    level: Number
    n: int | None
    decision: str

    @property
    def name(self) -> str:
        """What is counted, and of whom."""
        return f"{self.what} of {self.of}" if self.of else self.what

    @property
    def said(self) -> str:
        """The decision, then ``words``."""
        return f"{DECISION_WORDS[self.decision]}: {self.words}"

    @property
    def found(self) -> str:
        """The value with its interval."""
        low, high = self.interval
        return f"{_short(self.value)} [{_short(low)}, {_short(high)}]"

    @property
    def allowed(self) -> str:
        """The limit with its unit."""
        unit = "point" if self.limit == 1 and self.unit == "points" else self.unit
        return f"{_short(self.limit)} {unit}"

    @property
    def words(self) -> str:
        """What was found and what is allowed, in a line."""
        items = "" if self.n is None else f" over {self.n} item{'s' * (self.n != 1)}"
        return f"{self.name}: {self.found} {self.unit}{items}; at most {self.allowed} allowed"


def _short(value: float | None) -> str:
    return "?" if value is None else f"{round(value, 4) + 0.0:.4g}"
