"""The evaluations by name: each is a file of ``kinds`` whose first line says what it does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError
from finebound.base.modules import sources
from finebound.base.progress import Progress, silent
from llm_validation.evaluation import kinds as package
from llm_validation.evaluation.options import require_model

if TYPE_CHECKING:
    from finebound.results.budget import BudgetCheck
    from finebound.results.evaluation import EvaluationResult

_FIRST_LINE = re.compile(r'"""``finebound evaluate (\S+)``: (.+?)\.?(?:"""|\n)')


@dataclass
class Work:
    """An evaluation under way: ``inputs`` are hashes by name, ``notes`` what a person is told."""

    progress: Progress = silent
    inputs: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: its records, and what --json prints (None: the first record).

    ``code`` is the command's exit code, ``notes`` are what a person should know of the numbers,
    ``checks`` what became of the budgets.
    """

    results: Sequence[EvaluationResult]
    printed: Mapping[str, Any] | None = None
    code: int = 0
    notes: Sequence[str] = ()
    checks: Sequence[BudgetCheck] = ()


def kinds() -> dict[str, str]:
    """Every evaluation and what it does; none is imported."""
    lines = {name: _FIRST_LINE.match(source) for name, source in sources(package).items()}
    return {name: line.group(2) for name, line in lines.items() if line}


def kind_named(kind: str) -> ModuleType:
    """The evaluation's module: its ``Options`` and ``evaluate(options, work) -> Evaluation``.

    Raises InputError for an unknown one.
    """
    if kind in (known := kinds()):
        return import_module(f"{package.__name__}.{kind}")
    near = get_close_matches(kind, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise InputError(
        f"there is no evaluation {kind!r}.", remedy=f"{hint}It is one of {', '.join(known)}."
    )


def evaluate(kind: str, options: Any, *, progress: Progress = silent) -> Evaluation:
    """Evaluate with these ``options``, of the evaluation's own class; the records have a manifest.

    Nothing is written but a model's answers where the options name a folder ``out``. Raises
    InputError for options that do not fit together and for input that cannot be used.
    """
    from finebound.base.given import given_options
    from finebound.base.records import manifest, require_folder

    require_model(options)
    limits = _limits(kind, options)
    if options.out is not None:
        require_folder(options.out)
    work = Work(progress)
    found: Evaluation = kind_named(kind).evaluate(options, work)
    if limits:
        found = _with_budgets(kind, found, limits)
    given = given_options(options, type(options))
    made = manifest(given=given, inputs=work.inputs, seed=options.seed)
    results = [result.made_by(made) for result in found.results]
    return replace(found, results=results, notes=work.notes)


def _limits(kind: str, options: Any) -> dict[str, float]:
    """The budgets of the options, points by name. Raises InputError for what is none."""
    texts = getattr(options, "budget", ())
    if not texts:
        return {}
    from finebound.base.limits import limits_of
    from llm_validation.evaluation.rate_budgets import RATES

    return limits_of(texts, dict.fromkeys(RATES[kind], 100.0))


def _with_budgets(kind: str, found: Evaluation, limits: Mapping[str, float]) -> Evaluation:
    """The evaluation with what became of its budgets, in its records and in --json too."""
    from llm_validation.evaluation.rate_budgets import rate_checks

    checks = rate_checks(kind, limits, found.results)
    told = {"budgets": [check.to_dict() for check in checks]}
    return replace(
        found,
        results=[r.model_copy(update={"report": {**r.report, **told}}) for r in found.results],
        printed=None if found.printed is None else {**found.printed, **told},
        checks=checks,
    )
