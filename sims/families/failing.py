"""A case whose truth is how often a promise fails: it must be at most its level (T22 to T25)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sims.family import Case, Kind, Run
from sims.mutants import Wrong
from theory.bound import Bound, Direction, Quantity, Status
from theory.divergence import Array

_ERROR = 1e-12


def failing_case(
    statement: str,
    level: Array,
    failures: Mapping[str, Array],
    words: str,
    wrongs: Mapping[str, Mapping[str, Callable[[], Array]]],
    *,
    mutants: bool = True,
) -> Case:
    """By form: how often the promise fails ``[n]``, and how often each mutant of it would."""
    n = len(level)

    def claimed(form: str, mutant: tuple[str, Callable[[], Array]]) -> Wrong:
        # That the mutant fails at most at the level is refuted where this value is.
        name, failing = mutant
        return Wrong(name, lambda: level - (failing() - failures[form]), Direction.UPPER)

    return Case(
        bounds=[
            Bound(
                statement=statement,
                quantity=Quantity.FAILURE,
                direction=Direction.UPPER,
                value=level,
                status=np.full(n, str(Status.HIGH_PROBABILITY), dtype="<U16"),
                form=form,
                terms={"level": level},
                unit="share",
            )
            for form in failures
        ],
        runs=[
            Run(
                kind=Kind.ANY,
                truth={Quantity.FAILURE: truth},
                error={Quantity.FAILURE: np.full(n, _ERROR)},
                forms=(form,),
            )
            for form, truth in failures.items()
        ],
        n=n,
        words=words,
        finetunes=n,
        mutants=mutants,
        wrongs={
            form: tuple(claimed(form, mutant) for mutant in of_form.items())
            for form, of_form in wrongs.items()
        },
    )
