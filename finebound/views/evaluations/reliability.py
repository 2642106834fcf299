"""Scores when the most uncertain answers are referred, and calibration, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finebound.results.evaluation import EvaluationResult
from finebound.views.cells import interval, span
from finebound.views.tables import Table


def shown(results: Sequence[EvaluationResult]) -> Iterator[Table | str]:
    """One row a share referred, the area under them; errors of calibration in words."""
    report = results[0].report
    rows = [
        (f"{100 * kept['referred']:g} %", kept["n"], interval(kept["score"], kept["interval"]))
        for kept in report["referral"]
    ]
    for name, key in (("AUARC", "auarc"), ("less no ordering", "gain")):
        rows.append((name, None, interval(report[key], report[f"{key}_interval"])))
    title = f"Reliability: {results[0].label}, {report['n']} answers ({report['score_means']})"
    yield Table("reliability", title, ("referred", "kept", "score"), tuple(rows))
    oracle, none = report["auarc_oracle"], report["auarc_random"]
    yield f"AUARC of a perfect ordering: {oracle:.4g}; of none: {none:.4g}."
    mean, unit = (report["uncertainty"][entry] for entry in ("mean", "unit"))
    if mean is not None:
        yield f"Mean uncertainty: {mean:.4g} {unit or ''}".rstrip() + "."
    for what, errors in report["calibration"].items():
        if errors is not None:
            told = [
                f"{span(interval(found['error'], found['interval']), 3)} in bins of equal {binning}"
                for binning, found in errors.items()
            ]
            yield f"Calibration error of {what}: {'; '.join(told)}."
    for count, what in (
        (report["failed"], "failed: scored 0 and referred first"),
        (report["unmeasured"], "have no uncertainty: referred first"),
    ):
        if count:
            yield f"{count} of {report['n']} answers {what}."
