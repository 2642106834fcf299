"""How well forecasts rank and size what fine-tunes then did, predictor by predictor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from finebound.results.forecasts import JudgedForecast, Ranked
from finebound.results.spans import Limits
from llm_validation.evaluation.statistics.correlation import correlation
from theory.confidence import Interval, clopper_pearson

LARGE = 0.05
"""Nats per token above which the size of a change is compared."""


def rank(
    comparisons: Iterable[JudgedForecast],
    *,
    rng: np.random.Generator,
    what: Literal["safety", "task"] = "safety",
) -> list[Ranked]:
    """One row a predictor, best Spearman first (undefined ones last).

    Raises ValueError for a predictor that is asked twice about one run.
    """
    by_name: dict[str, list[JudgedForecast]] = {}
    for comparison in comparisons:
        by_name.setdefault(comparison.name, []).append(comparison)
    rows = []
    for name, found in by_name.items():
        if len({c.run for c in found}) < len(found):
            raise ValueError(f"{name} is compared twice with one run.")
        if what == "task":
            found = [c for c in found if c.task_change is not None]
        if found:
            rows.append(_row(name, what, found, rng))
    return sorted(
        rows,
        key=lambda r: -np.inf if r.spearman.estimate is None else r.spearman.estimate,
        reverse=True,
    )


def _row(
    name: str,
    what: Literal["safety", "task"],
    found: list[JudgedForecast],
    rng: np.random.Generator,
) -> Ranked:
    said = np.array([getattr(c, f"{what}_change") for c in found])
    measured = np.array([getattr(c, f"measured_{what}_change") for c in found])
    in_nats = [not c.is_score for c in found]
    large = (np.abs(measured) > LARGE) & np.array(in_nats)
    bounds = [c.interval_90 for c in found]
    given = [i for i, b in enumerate(bounds) if b is not None]
    inside = sum(
        getattr(bounds[i], what)[0] <= measured[i] <= getattr(bounds[i], what)[1] for i in given
    )
    return Ranked(
        name=name,
        what=what,
        runs=len(found),
        spearman=Limits.from_interval(spearman(said, measured, rng=rng)),
        factor=float(np.median(factors(said[large], measured[large]))) if large.any() else None,
        sized=int(large.sum()),
        coverage=Limits.from_interval(clopper_pearson(inside, len(given), p=0.05))
        if given
        else None,
        cost_tokens=float(np.mean([c.cost_tokens for c in found])),
    )


def factors(said: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """``max(said / measured, measured / said) [n]``, infinite for a wrong sign or 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = said / measured
        return np.where(ratio > 0, np.maximum(ratio, 1.0 / ratio), np.inf)


def spearman(said: np.ndarray, measured: np.ndarray, *, rng: np.random.Generator) -> Interval:
    """Spearman's correlation of ``[n]`` and ``[n]`` with its 95 % interval over runs.

    NaN where either side is constant; see ``correlation``, which has the interval.
    """
    # Permutations of their own: those of one predictor move no other's resamples.
    own = np.random.default_rng(0)
    return correlation(said, measured, rng=rng, permutations=own).spearman


def table(rankings: Sequence[Ranked]) -> str:
    """The rows as text for a terminal or a page's ``<pre>``."""
    head = (
        f"{'predictor':<34} {'Spearman':>8} {'95 %':>14} {'factor':>7} {'covered':>9} {'runs':>5}"
    )
    lines = [head]
    for row in rankings:
        covered = ""
        if row.coverage is not None:
            covered = f"{row.coverage.estimate or 0.0:.0%}"
        factor = "" if row.factor is None else f"{row.factor:.2f}"
        estimate = row.spearman.estimate
        found = f"{np.nan if estimate is None else estimate:>+8.2f}"
        between = f"{row.spearman.lower:+.2f} {row.spearman.upper:+.2f}"
        lines.append(f"{row.name:<34} {found} {between:>14} {factor:>7} {covered:>9} {row.runs:>5}")
    return "\n".join(lines)
