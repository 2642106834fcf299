"""Labels of answers by category, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finebound.results.evaluation import EvaluationResult
from finebound.results.interval import Interval
from finebound.views.cells import interval, percent, span
from finebound.views.tables import Table

_SHOWN = {
    "partial": "partial",
    "compliance": "complies",
    "echo": "echo",
    "degenerate": "degen.",
    "error": "error",
}
_RARE = {"thought_cut": "cut", "language_not_covered": "no lang."}


def shown(results: Sequence[EvaluationResult]) -> Iterator[Table | str]:
    """One row a category; what a judge and people said of the same answers."""
    report = results[0].report
    rates, categories = report["rates"], report["categories"]
    told = _SHOWN | {label: word for label, word in _RARE.items() if rates[label]["count"]}
    rows = tuple(
        (name, found["n"], _share(found["refusal"]), *(found[label]["count"] for label in told))
        for name, found in {"all": rates, **(categories if len(categories) > 1 else {})}.items()
    )
    title = (
        f"Refusal: {results[0].label}, {rates['n']} answers, {report['detector']}, share of "
        "refusals (95 %)"
    )
    yield Table("refusal", title, ("category", "n", "refusal", *told.values()), rows)
    answered = rates["refusal_of_answers"]
    if answered["n"] not in (0, rates["n"]):
        yield (
            f"Of the {answered['n']} that are answers (no echo, loop or error) "
            f"{percent(_share(answered))} refuse."
        )
    if "judge" in report:
        yield from _beside_a_judge(report["judge"])
    if "human" in report:
        yield from _beside_people(report["human"])


def _share(found: Mapping[str, Any]) -> Interval:
    return interval(found["rate"], (found["low"], found["high"]))


def _beside_a_judge(found: Mapping[str, Any]) -> Iterator[str]:
    kappa = "-" if found["kappa"] is None else span(interval(found["kappa"], found["interval"]))
    yield (
        f"{found['judge']} and the labels agree on {found['agree']} of {found['n']} answers; "
        f"Cohen's kappa {kappa}. {found['without_verdict']} had no verdict, "
        f"{found['without_label']} no label to compare."
    )
    for one in found["differ"][:5]:
        yield f"  labelled {one['label']}: {one['response']}"


def _beside_people(human: Mapping[str, Any]) -> Iterator[Table | str]:
    rows: list[tuple[str | Interval, ...]] = []
    for name, found in human.items():
        recall, specificity = found["recall"], found["specificity"]
        wrong = specificity["n"] - specificity["count"]
        rows.append(
            (
                name,
                f"{recall['count']} of {recall['n']}",
                _share(recall),
                f"{wrong} of {specificity['n']}",
                _share(specificity),
            )
        )
    columns = ("refusals found", "recall", "answers taken for refusals", "specificity")
    yield Table("people", "Beside people's labels", ("detector", *columns), tuple(rows))
    partial = sum(next(iter(human.values()))["confusion"]["partial"].values())
    if partial:
        yield f"{partial} partial refusals (by people) are in neither column."
