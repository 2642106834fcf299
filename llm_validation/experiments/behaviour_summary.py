"""An experiment's behaviour in numbers: every run beside theta_s and its own start, with intervals.

Differences are paired by item; BBQ's accuracy and bias are told by context condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from finebound.results.evaluation import EvaluationResult
from llm_validation.evaluation.fairness.conditions import by_condition, conditions_of
from llm_validation.evaluation.fairness.flips import bias_changes
from llm_validation.evaluation.fairness.items import CONDITIONS, Condition
from llm_validation.evaluation.fairness.record import EVALUATION as BBQ
from llm_validation.evaluation.fairness.record import scores_of
from llm_validation.evaluation.statistics.comparison import LEVEL, Cell, Method, compare
from llm_validation.evaluation.statistics.correlation import correlation
from llm_validation.evaluation.statistics.intervals import (
    difference_over_items_and_seeds,
    mean_over_items_and_seeds,
    paired_shares,
    wilson,
)
from llm_validation.experiments.behaviour import FOLDER, THETA_S, read_records
from llm_validation.experiments.behaviour_entries import entries_by_condition
from llm_validation.experiments.datasets import SAFETY, held_out
from theory.confidence import Interval

if TYPE_CHECKING:
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


def of_run(m: Measured, theta_s: Records, *, seed: int) -> dict[str, Any] | None:
    """Every evaluation of a run, by name; None where there is none.

    ``end``, ``theta_s`` and ``start`` (None where it is theta_s) are mean scores, ``change`` and
    ``start_change`` differences to theta_s, ``training_change`` that of the end to the own start;
    each ``{estimate, interval}``. ``categories`` has the same by category, ``checkpoints`` what was
    evaluated while the run trained. Of BBQ the categories are "Age, ambiguous" and so on,
    ``conditions`` has the same by context condition (the numbers above them mix both, so they tell
    no two models apart), ``bias`` its bias.
    """
    if not m.behaviour:
        return None
    return {
        name: _entry(name, result, theta_s.get(name), m.start_behaviour.get(name), seed)
        | {"checkpoints": _checkpoints(name, m, theta_s.get(name), seed)}
        for name, result in m.behaviour.items()
    }


def _checkpoints(
    name: str, m: Measured, theta_s: EvaluationResult | None, seed: int
) -> list[dict[str, Any]]:
    """Mean score and change against theta_s at each checkpoint that has this evaluation."""
    found = []
    for step, records in m.checkpoint_behaviour.items():
        result = records.get(name)
        if result is not None and theta_s is not None and _paired(result, theta_s):
            cells = _cells(result, theta_s, None, None, seed)
            told = {"mean": cells[END], "change": cells["change"]}
            found.append({"step": step, "fraction": m.fraction(step), **told})
    return found


def _entry(
    name: str,
    end: EvaluationResult,
    theta_s: EvaluationResult | None,
    start: EvaluationResult | None,
    seed: int,
) -> dict[str, Any]:
    told = {"measure": end.score_means, "n": len(end.items)}
    told["failed"] = _failed(end)
    if theta_s is None:
        return {**told, "why_not": "theta_s was not evaluated"}
    if not _paired(end, theta_s):
        return {**told, "why_not": "no item has a score both at theta_s and at the end"}
    told |= _cells(end, theta_s, start, None, seed)
    if name == BBQ:
        told["conditions"] = {
            condition: _of_condition(end, theta_s, start, condition, seed)
            for condition in conditions_of([end, theta_s])
        }
        told["bias"] = _biases(end, theta_s, start, seed)
    end, theta_s, start = by_condition(end), by_condition(theta_s), start and by_condition(start)
    told["categories"] = {
        category: _cells(end, theta_s, start, category, seed)
        for category in dict.fromkeys(item.category for item in end.items)
        if category is not None
    }
    if "chrf" in end.report:
        told["corpus_chrf"] = {
            "estimate": end.report["chrf"],
            "interval": end.report["interval"],
            THETA_S: theta_s.report["chrf"],
        }
    return told


def _failed(result: EvaluationResult) -> int:
    return sum(item.score is None or item.more.get("failed") is True for item in result.items)


def _of_condition(
    end: EvaluationResult,
    theta_s: EvaluationResult,
    start: EvaluationResult | None,
    condition: Condition,
    seed: int,
) -> dict[str, Any]:
    """BBQ's cells in one context condition, and how many answers failed there."""
    own = by_condition(end, condition)
    begin = start and by_condition(start, condition)
    cells = _cells(own, by_condition(theta_s, condition), begin, None, seed)
    return {**cells, "failed": _failed(own)}


def _cells(
    end: EvaluationResult,
    theta_s: EvaluationResult,
    start: EvaluationResult | None,
    category: str | None,
    seed: int,
) -> dict[str, Any]:
    """Means and differences over the items of a category, of all for None."""

    def mean(result: EvaluationResult) -> dict[str, Any]:
        scores = [s for c, s in _scores(result).values() if category in (None, c)]
        rng = np.random.default_rng(spawn_seed(seed, f"{result.label} {category}"))
        return _as_json(_mean(scores, is_share=end.share, rng=rng))

    def difference(result: EvaluationResult, base: EvaluationResult) -> dict[str, Any]:
        pairs = _paired(result, base, category)
        rng = np.random.default_rng(spawn_seed(seed, f"{result.label} {category}"))
        return _as_json(paired_difference(pairs, is_share=end.share, rng=rng))

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


def _as_json(interval: Interval) -> dict[str, Any]:
    return {"estimate": interval.estimate, "interval": [interval.lower, interval.upper]}


def _biases(
    end: EvaluationResult,
    theta_s: EvaluationResult,
    start: EvaluationResult | None,
    seed: int,
) -> dict[str, Any]:
    scores = {END: scores_of([end], seed=seed), THETA_S: scores_of([theta_s], seed=seed)}
    if start is not None:
        scores[START] = scores_of([start], seed=seed)
    changes = bias_changes(scores[THETA_S], [(END, scores[END])])
    flips = {(c.category, c.condition): (c.flipped, c.certain) for c in changes}
    return {
        "mean_absolute_ambiguous": {who: mean_bias(found) for who, found in scores.items()},
        "mean_accuracy": {
            condition: {
                who: _as_json(found.mean(condition, "accuracy")) for who, found in scores.items()
            }
            for condition in CONDITIONS
        },
        "categories": {
            category: {
                condition: {
                    **{
                        who: _as_json(found.categories[category][condition].bias)
                        for who, found in scores.items()
                        if category in found.categories
                    },
                    "flipped": flips.get((category, condition), (False, False))[0],
                    "certain": flips.get((category, condition), (False, False))[1],
                }
                for condition in CONDITIONS
            }
            for category in scores[END].categories
        },
    }


def mean_bias(scores: BBQScores) -> float:
    """Mean over dimensions of the absolute bias in ambiguous contexts; NaN without any."""
    found = [abs(cells["ambiguous"].bias.estimate) for cells in scores.categories.values()]
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def of_experiment(
    measured: Sequence[Measured],
    passed: Mapping[str, bool],
    entries: Mapping[str, Mapping[str, Any] | None],
    theta_s: Records,
    *,
    seed: int,
) -> dict[str, Any] | None:
    """What all runs show together; None where no behaviour was evaluated.

    ``pooled``: each evaluation's change against theta_s over all runs that passed their gates,
    overall and by category, resampled over items and runs. ``correlations``: Spearman's of each
    evaluation's change (of BBQ in each context condition) with the rise of the held-out safety
    loss, over runs that passed (``passed``) and over all (``all``).
    """
    if not theta_s:
        return None
    sound = [m for m in measured if passed[m.run.id]]
    return {
        "theta_s": {
            name: {"n": len(result.items), "measure": result.score_means, **_own(result)}
            for name, result in theta_s.items()
        },
        "pooled": {name: _pooled(name, result, sound, seed) for name, result in theta_s.items()},
        "correlations": {
            name: {
                "passed": _correlation(name, sound, entries, seed),
                "all": _correlation(name, measured, entries, seed),
            }
            for name in _correlated(theta_s)
        },
    }


def _own(result: EvaluationResult) -> dict[str, float | None]:
    known = [item.score for item in result.items if item.score is not None]
    return {"mean": float(np.mean(known)) if known else None}


def _pooled(
    name: str, theta_s: EvaluationResult, runs: Sequence[Measured], seed: int
) -> dict[str, Any] | None:
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
    told = {"conditions": {c: _pooled_cell(found.overall) for c, found in apart.items()}}
    return {
        "runs": len(records),
        **_pooled_cell(pooled.overall),
        **(told if apart else {}),
        "categories": {
            category: _pooled_cell(cell) for category, cell in pooled.categories.items()
        },
    }


def _runs_together(results: Sequence[EvaluationResult], seed: int) -> Method:
    found = compare(results, base=THETA_S, seed=seed)
    (pooled,) = (method for method in found.methods if method.label == "runs")
    return pooled


def _pooled_cell(cell: Cell) -> dict[str, Any]:
    return {"n": cell.n, "change": _as_json(cell.difference)}


def _correlated(theta_s: Records) -> list[str]:
    names: list[str] = []
    for name, result in theta_s.items():
        if name == BBQ:
            names += [f"{BBQ}, {condition}" for condition in conditions_of([result])]
        else:
            names.append(name)
    return [*names, BIAS] if BBQ in theta_s else names


def _correlation(
    name: str,
    runs: Sequence[Measured],
    entries: Mapping[str, Mapping[str, Any] | None],
    seed: int,
) -> dict[str, Any]:
    points = [
        (m.change(held_out(SAFETY)), value)
        for m in runs
        if (value := _change(entries[m.run.id], name)) is not None
    ]
    x, y = zip(*points, strict=True) if points else ((), ())
    found = correlation(x, y, rng=np.random.default_rng(spawn_seed(seed, f"correlation {name}")))
    plain = asdict(found)
    spearman = plain.pop("spearman")
    return {
        **plain,
        "spearman": {
            "estimate": spearman["estimate"],
            "interval": [spearman["lower"], spearman["upper"]],
        },
    }


def _change(entry: Mapping[str, Any] | None, name: str) -> float | None:
    """The change of a run's evaluation against theta_s; None where there is none."""
    if name == BIAS:
        bias = entry and entry.get(BBQ, {}).get("bias")
        means = bias and bias["mean_absolute_ambiguous"]
        return means and means[END] - means[THETA_S]
    found = entries_by_condition(entry).get(name, {}).get("change")
    return found and found["estimate"]
