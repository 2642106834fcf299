"""How a statement declares itself, and how every file of ``theory`` that holds one is found."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import theory
from theory.bound import Bound, Quantity, not_applicable
from theory.problem import Constants, Problem, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint, Strategy

Statement = Callable[[Problem, Strategy], list[Bound]]

# By name; in the order of their numbers once ``discover`` has run, as ``theory.evaluation`` has.
STATEMENTS: dict[str, Statement] = {}

_PROBLEMS: dict[type, str] = {
    TabularProblem: "a tabular problem",
    QuadraticProblem: "a quadratic problem",
    Constants: "constants",
}
_STRATEGIES: dict[type, str] = {
    LossConstraint: "a loss constraint",
    ParameterConstraint: "a parameter constraint",
    Hybrid: "a hybrid",
}
_DECLARED = re.compile(r"^@statement\(", re.MULTILINE)


def statement(
    name: str,
    quantity: Quantity,
    *,
    of: tuple[type, ...] = tuple(_PROBLEMS),
    under: tuple[type, ...] = tuple(_STRATEGIES),
    failed: str = "",
) -> Callable[[Callable[[Any, Any], list[Bound]]], Statement]:
    """Declare that a function ``(problem, strategy) -> list[Bound]`` is the statement ``name``.

    ``name`` is T and a number. The function is asked about problems of the kinds ``of`` under
    strategies of the kinds ``under``. Elsewhere the answer is one bound on ``quantity`` that does
    not apply, because of ``failed`` or what the kinds are called. Raises ValueError for a name of
    another form, and for one that another module has.
    """

    def declare(function: Callable[[Any, Any], list[Bound]]) -> Statement:
        @wraps(function)
        def answer(problem: Problem, strategy: Strategy) -> list[Bound]:
            for given, kinds, words in (
                (strategy, under, _STRATEGIES),
                (problem, of, _PROBLEMS),
            ):
                if not isinstance(given, kinds):
                    needs = " or ".join(words[kind] for kind in kinds)
                    return [not_applicable(name, quantity, failed or f"needs {needs}")]
            return function(problem, strategy)

        if not re.fullmatch(r"T[1-9]\d*", name):
            raise ValueError(f"a statement is named T and a number, such as T21, not {name!r}.")
        known = STATEMENTS.get(name)
        if known is not None and known.__module__ != function.__module__:
            raise ValueError(f"{name} stands in {known.__module__} and in {function.__module__}.")
        STATEMENTS[name] = answer
        return answer

    return declare


def discover() -> None:
    """Import every file of ``theory`` that declares a statement."""
    for folder in map(Path, theory.__path__):
        for file in sorted(folder.rglob("*.py")):
            if _DECLARED.search(file.read_text(encoding="utf-8")):
                inside = file.relative_to(folder).with_suffix("")
                import_module(".".join(("theory", *inside.parts)))
    for name in sorted(STATEMENTS, key=lambda name: int(name[1:])):
        STATEMENTS[name] = STATEMENTS.pop(name)
