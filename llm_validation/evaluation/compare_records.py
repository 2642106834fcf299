"""Records of evaluations and of grids, read and compared: what ``finebound compare`` finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from finebound.base.errors import InputError
from finebound.base.integrity import read_json, read_record
from finebound.results.budget import BudgetCheck
from finebound.results.compare import BiasChange, MethodComparison
from finebound.results.evaluation import EvaluationResult
from llm_validation.evaluation.fairness.conditions import by_condition, conditions_of
from llm_validation.evaluation.fairness.flips import bias_changes
from llm_validation.evaluation.fairness.record import EVALUATION as BBQ
from llm_validation.evaluation.fairness.record import scores_of
from llm_validation.evaluation.statistics.comparison import by_label, compare
from llm_validation.evaluation.statistics.difference_budgets import difference_checks
from llm_validation.evaluation.statistics.runs import (
    QUANTITIES,
    By,
    Run,
    results_of_runs,
    runs_of,
    with_gates,
)

_REMEDY = "Give a record that `finebound evaluate ... --out` or `finebound validate` wrote."


@dataclass(frozen=True)
class Compared:
    """One comparison for each evaluation, the files that were read, and the budgets."""

    comparisons: list[MethodComparison]
    files: list[Path]
    checks: list[BudgetCheck]


def compare_records(
    paths: Sequence[Path],
    *,
    base: str | None = None,
    by: By | None = None,
    keep_failed_gates: bool = False,
    seed: int = 0,
    limits: Mapping[str, float] | None = None,
) -> Compared:
    """One comparison for each evaluation, of BBQ one a condition.

    ``paths`` are records, ``validate.json`` or folders with such. ``limits`` are budgets by the
    evaluation's name. Raises InputError for what is none of these, for a budget of an evaluation
    that no record is of, and as ``compare``.
    """
    if not paths:
        raise InputError(
            "there is nothing to compare.",
            remedy="Name records: finebound compare base/bbq.json lora/bbq.json.",
        )
    files = [file for path in paths for file in _records(path)]
    results: list[EvaluationResult] = []
    grids: list[tuple[Path, list[Run]]] = []
    for file in files:
        content = read_record(file, remedy=_REMEDY)
        if "runs" in content:
            grids.append((file, runs_of(content, file=file)))
        else:
            results.append(EvaluationResult.of(content, file=file))
    results, notes, judged = with_gates(results)
    of_grids: list[str] = []
    if grids:
        of_runs, of_grids = results_of_runs(grids, by=by, keep_failed_gates=keep_failed_gates)
        results = [*results, *of_runs]
    groups: dict[str, list[EvaluationResult]] = {}
    for result in results:
        groups.setdefault(result.evaluation, []).append(result)
    limits = limits or {}
    if foreign := [name for name in limits if name not in groups]:
        raise InputError(
            f"`budget` names {foreign[0]}, and no record is of it.",
            remedy=f"The records are of {', '.join(groups)}.",
        )
    found: list[MethodComparison] = []
    checks: list[BudgetCheck] = []
    for evaluation, group in groups.items():
        for condition in (evaluation == BBQ and conditions_of(group)) or [None]:
            mine = [by_condition(result, condition) for result in group]
            comparison = compare(
                mine,
                base=base,
                seed=seed,
                notes=of_grids if evaluation in QUANTITIES else notes,
                condition=condition,
                keep_failed_gates=keep_failed_gates,
            )
            labels = by_label(group, keep_failed_gates=keep_failed_gates)
            changes = _bias_changes(labels, comparison, seed=seed)
            found.append(comparison.model_copy(update={"bias_changes": changes}))
            if evaluation in limits:
                compared = by_label(mine, keep_failed_gates=keep_failed_gates)
                checks += difference_checks(comparison, compared, limits[evaluation])
    return Compared(found, list(dict.fromkeys([*files, *judged])), checks)


def _records(path: Path) -> list[Path]:
    """The file, or a folder's records: those that evaluations wrote, and validate.json."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError("there is no such file or folder.", remedy=_REMEDY, file=path)
    found = [file for file in sorted(path.glob("*.json")) if _is_record(file)]
    if not found:
        raise InputError(
            "the folder holds no record of an evaluation and no validate.json.",
            remedy="Give the folder that `finebound evaluate --out` named.",
            file=path,
        )
    return found


def _is_record(file: Path) -> bool:
    if file.name == "validate.json":
        return True
    content = read_json(file, remedy=_REMEDY)
    return isinstance(content, dict) and {"evaluation", "label", "items"} <= content.keys()


def _bias_changes(
    labels: dict[str, list[EvaluationResult]], comparison: MethodComparison, *, seed: int
) -> tuple[BiasChange, ...]:
    """Of BBQ: every bias beside the base's, the seeds of a label taken together."""
    if comparison.evaluation != BBQ:
        return ()
    scores = {label: scores_of(found, seed=seed) for label, found in labels.items()}
    changes = bias_changes(scores.pop(comparison.base), list(scores.items()))
    return tuple(change for change in changes if change.condition == comparison.condition)
