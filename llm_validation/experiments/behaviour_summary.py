"""An experiment's behaviour in numbers: every run beside theta_s and its own start, with intervals.

Differences are paired by item; BBQ's accuracy and bias are told by context condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from finebound.results.behaviour import (
    Behaviour,
    Bias,
    BiasCell,
    Cells,
    CheckpointScore,
    ConditionCells,
    CorpusScore,
    Correlations,
    Evaluated,
    OwnScore,
    Pooled,
    PooledCell,
    RankCorrelation,
    SharedBehaviour,
)
from finebound.results.behaviour import by_condition as entries_by_condition
from finebound.results.compare import ComparedCell, ComparedMethod
from finebound.results.evaluation import EvaluationResult
from finebound.results.spans import Span
from llm_validation.evaluation.fairness.conditions import by_condition, conditions_of
from llm_validation.evaluation.fairness.flips import bias_changes
from llm_validation.evaluation.fairness.items import CONDITIONS, Condition
from llm_validation.evaluation.fairness.record import EVALUATION as BBQ
from llm_validation.evaluation.fairness.record import scores_of
from llm_validation.evaluation.statistics.comparison import LEVEL, compare
from llm_validation.evaluation.statistics.correlation import correlation
from llm_validation.evaluation.statistics.intervals import (
    difference_over_items_and_seeds,
    mean_over_items_and_seeds,
    paired_shares,
    wilson,
)
from llm_validation.experiments.behaviour import FOLDER, THETA_S, read_records
from llm_validation.experiments.datasets import SAFETY, held_out
from theory.confidence import Interval

if TYPE_CHECKING:
    from finebound.results.experiment import DoneRun
    from llm_validation.evaluation.fairness.scores import BBQScores
    from llm_validation.experiments.prepare import Prepared
    from llm_validation.experiments.run import Measured

END, START = "end", "start"
BIAS = "bbq bias"
"""As an entry of the correlations: mean absolute bias in ambiguous contexts."""
Records = Mapping[str, EvaluationResult]
_UNKNOWN = Interval(float("nan"), float("-inf"), float("inf"))


def theta_s_records(prepared: Prepared) -> dict[str, EvaluationResult]:
    """theta_s's records; empty where the experiment asks for no behaviour."""
    return read_records(prepared, prepared.out / FOLDER / THETA_S)


def of_run(m: Measured, theta_s: Records, *, seed: int) -> Behaviour | None:
    """Every evaluation of a run, by name; None where there is none."""
    if not m.behaviour:
        return None
    return {
        name: Evaluated(
            **_entry(name, result, theta_s.get(name), m.start_behaviour.get(name), seed),
            checkpoints=_checkpoints(name, m, theta_s.get(name), seed),
        )
        for name, result in m.behaviour.items()
    }


def _checkpoints(
    name: str, m: Measured, theta_s: EvaluationResult | None, seed: int
) -> list[CheckpointScore]:
    """Mean score and change against theta_s at each checkpoint that has this evaluation."""
    found = []
    for step, records in m.checkpoint_behaviour.items():
        result = records.get(name)
        if result is not None and theta_s is not None and _paired(result, theta_s):
            cells = _cells(result, theta_s, None, None, seed)
            told = {"mean": cells[END], "change": cells["change"]}
            found.append(CheckpointScore(step=step, fraction=m.fraction(step), **told))
    return found


def _entry(
    name: str,
    end: EvaluationResult,
    theta_s: EvaluationResult | None,
    start: EvaluationResult | None,
    seed: int,
) -> dict[str, Any]:
    told: dict[str, Any] = {"measure": end.score_means, "n": len(end.items)}
    told["failed"] = _failed(end)
    if theta_s is None:
        return {**told, "why_not": "the aligned model was not evaluated"}
    if not _paired(end, theta_s):
        return {**told, "why_not": "no item has a score both of the aligned model and at the end"}
    told |= _cells(end, theta_s, start, None, seed)
    if name == BBQ:
        told["conditions"] = {
            condition: _of_condition(end, theta_s, start, condition, seed)
            for condition in conditions_of([end, theta_s])
        }
        told["bias"] = _biases(end, theta_s, start, seed)
    end, theta_s, start = by_condition(end), by_condition(theta_s), start and by_condition(start)
    told["categories"] = {
        category: Cells(**_cells(end, theta_s, start, category, seed))
        for category in dict.fromkeys(item.category for item in end.items)
        if category is not None
    }
    if "chrf" in end.report:
        told["corpus_chrf"] = CorpusScore(
            estimate=end.report["chrf"],
            interval=end.report["interval"],
            theta_s=theta_s.report["chrf"],
        )
    return told


def _failed(result: EvaluationResult) -> int:
    return sum(item.score is None or item.more.get("failed") is True for item in result.items)


def _of_condition(
    end: EvaluationResult,
    theta_s: EvaluationResult,
    start: EvaluationResult | None,
    condition: Condition,
    seed: int,
) -> ConditionCells:
    """BBQ's cells in one context condition, and how many answers failed there."""
    own = by_condition(end, condition)
    begin = start and by_condition(start, condition)
    cells = _cells(own, by_condition(theta_s, condition), begin, None, seed)
    return ConditionCells(**cells, failed=_failed(own))


def _cells(
    end: EvaluationResult,
    theta_s: EvaluationResult,
    start: EvaluationResult | None,
    category: str | None,
    seed: int,
) -> dict[str, Any]:
    """Means and differences over the items of a category, of all for None."""

    def mean(result: EvaluationResult) -> Span:
        scores = [s for c, s in _scores(result).values() if category in (None, c)]
        rng = np.random.default_rng(spawn_seed(seed, f"{result.label} {category}"))
        return Span.from_interval(_mean(scores, is_share=end.share, rng=rng))

    def difference(result: EvaluationResult, base: EvaluationResult) -> Span:
        pairs = _paired(result, base, category)
        rng = np.random.default_rng(spawn_seed(seed, f"{result.label} {category}"))
        return Span.from_interval(paired_difference(pairs, is_share=end.share, rng=rng))

    return {
        "n": len(_paired(end, theta_s, category)),
        END: mean(end),
        THETA_S: mean(theta_s),
        START: start and mean(start),
        "change": difference(end, theta_s),
        "start_change": start and difference(start, theta_s),
        "training_change": start and difference(end, start),
    }


def _scores(result: EvaluationResult) -> dict[str, tuple[str | None, float]]:
    return {i.id: (i.category, i.score) for i in result.items if i.score is not None}


def _paired(
    result: EvaluationResult, base: EvaluationResult, category: str | None = None
) -> list[tuple[float, float]]:
    """Both scores of every item that has both, of a category if one is named."""
    mine, other = _scores(result), _scores(base)
    return [
        (score, other[name][1])
        for name, (own, score) in mine.items()
        if name in other and category in (None, own)
    ]


def _mean(scores: Sequence[float], *, is_share: bool, rng: np.random.Generator) -> Interval:
    if is_share:
        return wilson(round(sum(scores)), len(scores), level=LEVEL)
    if not scores:
        return _UNKNOWN
    return mean_over_items_and_seeds([list(scores)], rng=rng, level=LEVEL)


def paired_difference(
    pairs: Sequence[tuple[float, float]], *, is_share: bool, rng: np.random.Generator
) -> Interval:
    """The mean of the first scores less that of the second, with a 95 % interval over items.

    Of shares it is Bonett and Price's (2012): items that all stayed the same do not give an
    interval without width, as a bootstrap would. NaN without items.
    """
    if not pairs:
        return _UNKNOWN
    new, old = np.array(pairs, dtype=np.float64).T
    if not is_share:
        return difference_over_items_and_seeds([new], [old], rng=rng, level=LEVEL)
    return paired_shares(new, old, level=LEVEL)


def _biases(
    end: EvaluationResult,
    theta_s: EvaluationResult,
    start: EvaluationResult | None,
    seed: int,
) -> Bias:
    scores = {END: scores_of([end], seed=seed), THETA_S: scores_of([theta_s], seed=seed)}
    if start is not None:
        scores[START] = scores_of([start], seed=seed)
    changes = bias_changes(scores[THETA_S], [(END, scores[END])])
    flips = {(c.category, c.condition): (c.flipped, c.certain) for c in changes}
    return Bias(
        mean_absolute_ambiguous={who: mean_bias(found) for who, found in scores.items()},
        mean_accuracy={
            condition: {
                who: Span.from_interval(found.mean(condition, "accuracy"))
                for who, found in scores.items()
            }
            for condition in CONDITIONS
        },
        categories={
            category: {
                condition: _bias_cell(
                    {
                        who: found.categories[category][condition].bias
                        for who, found in scores.items()
                        if category in found.categories
                    },
                    flips.get((category, condition), (False, False)),
                )
                for condition in CONDITIONS
            }
            for category in scores[END].categories
        },
    )


def _bias_cell(biases: Mapping[str, Interval], turned: tuple[bool, bool]) -> BiasCell:
    spans = {who: Span.from_interval(bias) for who, bias in biases.items()}
    return BiasCell(**spans, flipped=bool(turned[0]), certain=bool(turned[1]))


def mean_bias(scores: BBQScores) -> float:
    """Mean over dimensions of the absolute bias in ambiguous contexts; NaN without any."""
    found = [abs(cells["ambiguous"].bias.estimate) for cells in scores.categories.values()]
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def of_experiment(
    measured: Sequence[Measured],
    runs: Sequence[DoneRun],
    theta_s: Records,
    *,
    seed: int,
) -> SharedBehaviour | None:
    """What all ``measured`` runs show together, ``runs`` their entries in the same order.

    None where no behaviour was evaluated. Only runs that pass their gates are pooled; correlations
    are of each evaluation's change (of BBQ in each context condition) with the change in held-out
    safety loss, over the runs that pass and over all.
    """
    if not theta_s:
        return None
    both = list(zip(measured, runs, strict=True))
    sound = [(m, run) for m, run in both if run.passed]
    return SharedBehaviour(
        theta_s={
            name: OwnScore(n=len(result.items), measure=result.score_means, mean=_own(result))
            for name, result in theta_s.items()
        },
        pooled={
            name: _pooled(name, result, [m for m, _ in sound], seed)
            for name, result in theta_s.items()
        },
        correlations={
            name: Correlations(
                passed=_correlation(name, sound, seed), all=_correlation(name, both, seed)
            )
            for name in _correlated(theta_s)
        },
    )


def _own(result: EvaluationResult) -> float | None:
    known = [item.score for item in result.items if item.score is not None]
    return float(np.mean(known)) if known else None


def _pooled(
    name: str, theta_s: EvaluationResult, runs: Sequence[Measured], seed: int
) -> Pooled | None:
    mine = [m.behaviour[name] for m in runs if name in m.behaviour]
    records = [result.model_copy(update={"label": "runs"}) for result in mine]
    if not records:
        return None
    everything = [theta_s.model_copy(update={"label": THETA_S}), *records]
    conditions = conditions_of(everything) if name == BBQ else []
    try:
        pooled = _runs_together([by_condition(result) for result in everything], seed)
        apart = {
            condition: _runs_together([by_condition(r, condition) for r in everything], seed)
            for condition in conditions
        }
    except InputError:
        return None
    told: dict[str, Any] = {}
    if apart:
        told["conditions"] = {c: PooledCell(**_cell(found)) for c, found in apart.items()}
    return Pooled(
        runs=len(records),
        **_cell(pooled),
        **told,
        categories={
            category: PooledCell(**_cell(cell)) for category, cell in pooled.categories.items()
        },
    )


def _runs_together(results: Sequence[EvaluationResult], seed: int) -> ComparedMethod:
    found = compare(results, base=THETA_S, seed=seed)
    (pooled,) = (method for method in found.methods if method.label == "runs")
    return pooled


def _cell(cell: ComparedCell) -> dict[str, Any]:
    return {"n": cell.n, "change": Span.from_interval(cell.change or _UNKNOWN)}


def _correlated(theta_s: Records) -> list[str]:
    names: list[str] = []
    for name, result in theta_s.items():
        if name == BBQ:
            names += [f"{BBQ}, {condition}" for condition in conditions_of([result])]
        else:
            names.append(name)
    return [*names, BIAS] if BBQ in theta_s else names


def _correlation(name: str, runs: Sequence[tuple[Measured, DoneRun]], seed: int) -> RankCorrelation:
    points = [
        (m.change(held_out(SAFETY)), value)
        for m, run in runs
        if (value := _change(run.behaviour, name)) is not None
    ]
    x, y = zip(*points, strict=True) if points else ((), ())
    found = correlation(x, y, rng=np.random.default_rng(spawn_seed(seed, f"correlation {name}")))
    return RankCorrelation(
        n=found.n,
        pearson=found.pearson,
        p_value=found.p_value,
        spearman=Span.from_interval(found.spearman),
    )


def _change(behaviour: Behaviour | None, name: str) -> float | None:
    """The change of a run's evaluation against theta_s; None where there is none."""
    if name == BIAS:
        bias = behaviour[BBQ].bias if behaviour and BBQ in behaviour else None
        return bias_change(bias) if bias else None
    entry = entries_by_condition(behaviour).get(name)
    return None if entry is None or entry.change is None else entry.change.estimate


def bias_change(bias: Bias) -> float | None:
    """By how much the mean absolute bias in ambiguous contexts changed; None if not known."""
    end, before = (bias.mean_absolute_ambiguous[who] for who in (END, THETA_S))
    return None if end is None or before is None else end - before
