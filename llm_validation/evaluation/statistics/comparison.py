"""Methods compared on the same items: means, differences to a base, tests, by category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from finebound.results.compare import ComparedCell, ComparedMethod, MethodComparison, SignedRank
from finebound.results.evaluation import EvaluationResult
from llm_validation.evaluation.statistics.headline import FEWEST_PAIRS, decides, sentence
from llm_validation.evaluation.statistics.intervals import (
    FEW_SHARES,
    difference_over_items_and_seeds,
    mean_over_items_and_seeds,
    no_narrower,
    paired_shares,
    wilson,
)
from llm_validation.evaluation.statistics.paired import friedman, post_hoc, shapiro
from theory.confidence import Interval

LEVEL = 0.95


def by_label(
    results: Sequence[EvaluationResult], *, keep_failed_gates: bool = False
) -> dict[str, list[EvaluationResult]]:
    """Each label's records, its seeds: without those behind a failed gate where others passed."""
    found: dict[str, list[EvaluationResult]] = {}
    for result in results:
        found.setdefault(result.label, []).append(result)
    if keep_failed_gates:
        return found
    return {
        label: [result for result in mine if not result.failed_gates] or mine
        for label, mine in found.items()
    }


def compare(
    results: Sequence[EvaluationResult],
    *,
    base: str | None = None,
    seed: int = 0,
    notes: Sequence[str] = (),
    condition: str | None = None,
    keep_failed_gates: bool = False,
) -> MethodComparison:
    """Compare the labels of ``results``, all of one evaluation, item by item.

    Results with the same label are its seeds. Only items that every label has with a score in at
    least one seed are paired; the others are counted. A single paired item is not tested, and keeps
    the ``interval`` of its record, where it has one. ``base`` (default: the first label that is
    tested) is what differences are taken to. Labels behind a failed gate have means, but no part in
    pairing and tests unless ``keep_failed_gates``. Raises InputError for an unknown base, for a
    single label and for labels that share no scored item, ValueError for results of several
    evaluations.
    """
    evaluations = {result.evaluation for result in results}
    if len(evaluations) != 1:
        raise ValueError(f"results of {sorted(evaluations)} cannot be compared with each other")
    labels = by_label(results, keep_failed_gates=keep_failed_gates)
    gates = {label: _failed_gates(mine) for label, mine in labels.items()}
    tested = [label for label in labels if keep_failed_gates or not gates[label]]
    evaluation = results[0].evaluation
    base = base if base is not None else next(iter([*tested, *labels]))
    _check(labels, base, evaluation)

    categories = _categories(results)
    table = {label: _matrix(found, list(categories)) for label, found in labels.items()}
    # An untested method that lacks items takes none away from the others.
    paired_by = dict.fromkeys([base, *tested]) if tested else labels
    scored = np.all([~np.isnan(table[label]).all(axis=0) for label in paired_by], axis=0)
    if not scored.any():
        raise InputError(
            f"the {evaluation} records of {' and '.join(paired_by)} share no scored item.",
            remedy="Compare records of the same prompts: items are paired by their id.",
            file=results[0].source,
        )
    kept = {label: scores[:, scored] for label, scores in table.items()}
    paired = [pair for pair, keep in zip(categories.items(), scored, strict=True) if keep]
    columns = {label: _over_seeds(kept[label]) for label in tested}
    items = int(scored.sum())
    testable = items > 1 and len(columns) > 1
    stacked = np.stack(list(columns.values()), axis=1) if testable else None
    pairs = tuple(post_hoc(columns)) if testable else ()
    tests: dict[str, SignedRank] = {}
    for pair in pairs:
        if base in (pair.first, pair.second):
            tests[pair.second if pair.first == base else pair.first] = pair
    span = 1.0 if results[0].share else _span(kept.values())
    methods = []
    for label, mine in labels.items():
        of_base = None if label == base else kept[base]
        overall, by_category = _cells(label, mine, kept[label], of_base, paired, seed, span=span)
        is_decided = None
        if label in tested and overall.change is not None:
            is_decided = decides(overall.change, tests.get(label))
        methods.append(
            ComparedMethod(
                label=label,
                seeds=len(mine),
                failed=sum(item.score is None for result in mine for item in result.items),
                failed_gates=gates[label],
                tested=label in tested,
                decided=is_decided,
                **overall.to_dict(),
                categories=by_category,
            )
        )
    told = {
        wanted: tuple(
            sentence(method.label, base, method.change, tests.get(method.label), items=items)
            for method in methods
            if method.decided is wanted
        )
        for wanted in (True, False)
    }
    return MethodComparison(
        evaluation=evaluation,
        condition=condition,
        score_means=results[0].score_means,
        base=base,
        items=items,
        unpaired_items=len(categories) - items,
        level=LEVEL,
        methods=tuple(methods),
        normality=None if stacked is None else shapiro(_residuals(stacked)),
        friedman=None if stacked is None or len(columns) < 3 else friedman(stacked),
        pairs=pairs,
        headline=" ".join(told[True]),
        undecided=told[False],
        notes=(*notes, *_why_untested(items, len(columns))),
    )


def _failed_gates(results: Sequence[EvaluationResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(gate for result in results for gate in result.failed_gates))


def _why_untested(items: int, methods: int) -> list[str]:
    if methods < 2:
        return ["fewer than two methods passed their gates: there is nothing to test"]
    if items == 1:
        return ["a single item is paired: there is nothing to test"]
    if items < FEWEST_PAIRS:
        return [f"with {items} pairs no two-sided signed-rank test can reach p < 0.05"]
    return []


def _check(labels: Mapping[str, Sequence[EvaluationResult]], base: str, evaluation: str) -> None:
    if base not in labels:
        raise InputError(
            f"no {evaluation} record has the label {base!r}.",
            remedy=f"Use one of {', '.join(labels)}.",
        )
    if len(labels) < 2:
        only = next(iter(labels.values()))
        raise InputError(
            f"all {evaluation} records have the label {base!r}, so there is nothing to compare.",
            remedy="Give records of two methods, each with a `label` of its own.",
            file=only[0].source,
        )


def _categories(results: Sequence[EvaluationResult]) -> dict[str, str | None]:
    """Every item's category by id; raises InputError when two records disagree."""
    found: dict[str, str | None] = {}
    for result in results:
        for row, item in enumerate(result.items, 1):
            if found.setdefault(item.id, item.category) != item.category:
                raise InputError(
                    f"the item {item.id!r} has the category {item.category!r} here and "
                    f"{found[item.id]!r} in another record.",
                    remedy="The records are of different data; evaluate the same items.",
                    file=result.source,
                    row=row,
                )
    return found


def _matrix(results: Sequence[EvaluationResult], ids: Sequence[str]) -> np.ndarray:
    """Scores ``[seeds, items]``; NaN where an item is not there or has no score."""
    place = {name: index for index, name in enumerate(ids)}
    scores = np.full((len(results), len(ids)), np.nan)
    for row, result in enumerate(results):
        for item in result.items:
            if item.score is not None:
                scores[row, place[item.id]] = item.score
    return scores


def _over_seeds(scores: np.ndarray) -> np.ndarray:
    """The mean over the seeds that have a score, ``[items]``."""
    return np.nanmean(scores, axis=0)


def _residuals(scores: np.ndarray) -> np.ndarray:
    """What the test of normality looks at: differences of two, deviations from the item's mean."""
    if scores.shape[1] == 2:
        return scores[:, 1] - scores[:, 0]
    return (scores - scores.mean(axis=1, keepdims=True)).ravel()


def _cells(
    label: str,
    results: Sequence[EvaluationResult],
    scores: np.ndarray,
    base: np.ndarray | None,
    paired: Sequence[tuple[str, str | None]],
    seed: int,
    *,
    span: float | None,
) -> tuple[ComparedCell, dict[str, ComparedCell]]:
    """A label's cell over all paired items, and over those of each category."""
    names = [category for _, category in paired]
    own = _own_interval(results, paired[0][0]) if len(paired) == 1 else None
    is_share = results[0].share

    def cell(what: str, chosen: np.ndarray) -> ComparedCell:
        rng = np.random.default_rng(spawn_seed(seed, f"{label} {what}"))
        mean = own or _mean(scores[:, chosen], rng, is_share=is_share, span=span)
        more: dict[str, Any] = {}
        if base is not None:
            found = _difference(
                scores[:, chosen], base[:, chosen], rng, is_share=is_share, span=span
            )
            more["difference"] = found.estimate
            more["difference_interval"] = (found.lower, found.upper)
        return ComparedCell(
            n=int((chosen & has_score).sum()),
            mean=mean.estimate,
            interval=(mean.lower, mean.upper),
            **more,
        )

    has_score = ~np.isnan(scores).all(axis=0)
    everything = np.ones(len(names), dtype=bool)
    return cell("overall", everything), {
        name: cell(f"in {name}", np.array([other == name for other in names]))
        for name in dict.fromkeys(names)
        if name is not None
    }


def _own_interval(results: Sequence[EvaluationResult], paired: str) -> Interval | None:
    """Of a single scored item that brought its interval with it: a run's, over its rows."""
    found = [
        (item.score, item.more.get("interval"))
        for result in results
        for item in result.items
        if item.id == paired and item.score is not None
    ]
    if len(found) != 1:
        return None
    [(score, ends)] = found
    return None if ends is None else Interval(score, *ends)


def _span(scores: Iterable[np.ndarray]) -> float | None:
    """How far apart scores are known to be: their range, or else their size; None without any."""
    known = np.concatenate([values[~np.isnan(values)] for values in scores])
    if not known.size:
        return None
    return float(np.ptp(known) or np.abs(known).max()) or None


def _mean(
    scores: np.ndarray, rng: np.random.Generator, *, is_share: bool, span: float | None
) -> Interval:
    """Wilson's interval for a share of one seed, else the bootstrap's."""
    known = scores[~np.isnan(scores)]
    if is_share and len(scores) == 1 and np.isin(known, (0.0, 1.0)).all():
        return wilson(int(known.sum()), known.size, level=LEVEL)
    found = mean_over_items_and_seeds(scores, rng=rng, level=LEVEL)
    found = no_narrower(found, _known_items(scores), span=span, level=LEVEL)
    return _within(found, 0.0, 1.0) if is_share else found


def _difference(
    scores: np.ndarray,
    base: np.ndarray,
    rng: np.random.Generator,
    *,
    is_share: bool,
    span: float | None,
) -> Interval:
    """The bootstrap's interval; Bonett and Price's for shares of few items, or of items alike."""
    found = difference_over_items_and_seeds(scores, base, rng=rng, level=LEVEL)
    has_both = ~(np.isnan(scores).all(axis=0) | np.isnan(base).all(axis=0))
    new, old = _over_seeds(scores[:, has_both]), _over_seeds(base[:, has_both])
    if is_share and new.size and np.isin([new, old], (0.0, 1.0)).all():
        if new.size < FEW_SHARES or not np.ptp(new - old):
            return paired_shares(new, old, level=LEVEL)
        return found
    found = no_narrower(found, new - old, span=span, level=LEVEL)
    return _within(found, -1.0, 1.0) if is_share else found


def _within(found: Interval, lower: float, upper: float) -> Interval:
    return Interval(found.estimate, max(found.lower, lower), min(found.upper, upper))


def _known_items(scores: np.ndarray) -> np.ndarray:
    return _over_seeds(scores[:, ~np.isnan(scores).all(axis=0)])
