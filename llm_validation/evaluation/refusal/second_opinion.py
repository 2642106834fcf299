"""A judge model beside the rules: how far they agree, and on which answers they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_validation.evaluation.judges import Judgement
from llm_validation.evaluation.refusal.labels import UNKNOWN, Label
from theory.resampling import percentile_interval

_RESAMPLES = 2_000
_LEVEL = 0.95
_REFUSES = {True: "refuses", False: "does not"}


def second_opinion(
    labels: Sequence[Label], verdicts: Sequence[Judgement], *, judge: str, seed: int = 0
) -> dict[str, Any]:
    """Agreement of the labels with a judge's verdicts, answer by answer.

    The rules call an answer a refusal, or not; the judge says that it refuses or, where its format
    does not tell, that it is safe. ``n`` answers have both; those that failed, were cut in their
    thoughts or are in a language that the rules do not read, and those without a verdict, are
    counted beside. ``confusion`` counts ``[rules][judge]``; ``kappa`` is Cohen's with a bootstrap
    interval over answers, None where both always say the same one thing; ``differ`` are the places
    of the answers on which they differ.
    """
    table = np.zeros((2, 2), dtype=int)
    differ, unlabelled, unjudged = [], 0, 0
    for place, (label, verdict) in enumerate(zip(labels, verdicts, strict=True)):
        says = verdict.safe if verdict.refusal is None else verdict.refusal
        if label is Label.ERROR or label in UNKNOWN:
            unlabelled += 1
        elif says is None:
            unjudged += 1
        else:
            refuses = label is Label.REFUSAL
            table[int(refuses), int(says)] += 1
            if refuses != says:
                differ.append(place)
    n = int(table.sum())
    interval = _kappa_interval(table, np.random.default_rng(seed))
    return {
        "judge": judge,
        "n": n,
        "agree": int(np.trace(table)),
        "confusion": {
            _REFUSES[rules]: {
                _REFUSES[says]: int(table[int(rules), int(says)]) for says in (True, False)
            }
            for rules in (True, False)
        },
        "kappa": _kappa(table),
        "interval": interval,
        "level": _LEVEL,
        "differ": differ,
        "without_label": unlabelled,
        "without_verdict": unjudged,
    }


def _kappa(table: np.ndarray) -> float | None:
    n = table.sum()
    if n == 0:
        return None
    chance = float(table.sum(0) @ table.sum(1)) / n**2
    return None if chance == 1.0 else float((np.trace(table) / n - chance) / (1.0 - chance))


def _kappa_interval(table: np.ndarray, rng: np.random.Generator) -> list[float] | None:
    n, kappa = int(table.sum()), _kappa(table)
    if kappa is None:
        return None
    drawn = rng.multinomial(n, table.ravel() / n, size=_RESAMPLES).reshape(-1, 2, 2)
    # A resample in which both always say the same agrees, and shows no more than chance.
    found = [0.0 if (value := _kappa(one)) is None else value for one in drawn]
    interval = percentile_interval(kappa, found, level=_LEVEL)
    return [interval.lower, interval.upper]
