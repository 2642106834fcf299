"""What a researcher scripts against: each function returns a typed result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.base.errors import InputError

if TYPE_CHECKING:
    from finebound.results.bounds import BoundsResult
    from theory.problem import Problem
    from theory.strategy import Strategy


def bounds(problem: Problem | str | Path, strategy: Strategy) -> BoundsResult:
    """All bounds of a problem under a strategy, and the true gaps where a closed form exists.

    ``problem`` is one of theory's problems or the path of a PROBLEM.json. Gaps are in nats. Raises
    InputError for a file that holds none, and for numbers that double precision cannot hold.
    """
    import numpy as np

    from finebound.base.problem_file import read_problem, tell_size
    from finebound.results.bounds import BoundsResult
    from theory.evaluation import evaluate
    from theory.exact import exact
    from theory.problem import QuadraticProblem

    file = problem if isinstance(problem, str | Path) else None
    if isinstance(problem, str | Path):
        problem = read_problem(problem)
    tell_size(problem)
    # Beyond float64 a bound falls back to its trivial value: no warning is needed.
    with np.errstate(all="ignore"):
        solution = exact(problem, strategy)
        found = evaluate(problem, strategy)
    gaps = () if solution is None else (solution.safety_gap, solution.capability_gap)
    if isinstance(problem, QuadraticProblem) and not all(map(math.isfinite, gaps)):
        raise InputError(
            "its numbers are too large or too small for double precision.",
            remedy="Rescale the problem.",
            file=file,
        )
    return BoundsResult.of_theory(found, solution)
