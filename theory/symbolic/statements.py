"""The registry of all statements, T1 to T20, in order."""

from __future__ import annotations

from theory.symbolic.latex import Statement
from theory.symbolic.text import case_one, case_two, finetunes, limits, practice

# The parts of docs/theorems.md: heading -> statements.
PARTS: dict[str, tuple[Statement, ...]] = {
    "Case I: a constraint on the alignment loss": case_one.STATEMENTS,
    "Case II and the hybrid: a constraint on the parameters": case_two.STATEMENTS,
    "Fundamental limits": limits.STATEMENTS,
    "Bounds that stay useful on real language models": (practice.STATEMENTS + finetunes.STATEMENTS),
}

STATEMENTS: dict[str, Statement] = {
    statement.id: statement for part in PARTS.values() for statement in part
}
