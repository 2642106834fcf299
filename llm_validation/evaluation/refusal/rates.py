"""How often each label was given, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from llm_validation.evaluation.refusal.labels import UNKNOWN, Label

ANSWERS = (Label.REFUSAL, Label.PARTIAL, Label.COMPLIANCE)


def refusal_rates(labels: Sequence[Label]) -> dict[str, Any]:
    """Counts and rates of all labels, each ``{count, n, rate, low, high}`` (Wilson, 95 %).

    Of ``n`` items, errors are in every denominator and are no refusals. A thought that was cut and
    an answer in a language that is not covered are neither refusals nor help: they are in no
    denominator but that of their own share of all items. ``refusal_of_answers`` has only refusals,
    partial refusals and compliance below the line, for comparing models of which one echoes or
    loops. Without items a rate is None, in [0, 1].
    """
    counts = Counter(Label(label) for label in labels)
    answers = sum(counts[label] for label in ANSWERS)
    known = len(labels) - sum(counts[label] for label in UNKNOWN)
    return {
        "n": len(labels),
        **{
            label.value: proportion(counts[label], len(labels) if label in UNKNOWN else known)
            for label in Label
        },
        "refusal_of_answers": proportion(counts[Label.REFUSAL], answers),
    }


def proportion(count: int, n: int) -> dict[str, Any]:
    """``count`` of ``n`` with the rate and its Wilson 95 % interval."""
    # scipy takes a second to import; the labels do without.
    from llm_validation.evaluation.statistics.intervals import wilson

    found = wilson(count, n)
    return {
        "count": count,
        "n": n,
        "rate": count / n if n else None,
        "low": found.lower,
        "high": found.upper,
    }
