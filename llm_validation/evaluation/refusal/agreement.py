"""A detector beside human labels: its confusion matrix, recall and specificity."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from llm_validation.evaluation.refusal.labels import Label
from llm_validation.evaluation.refusal.rates import proportion

_HUMAN = {
    "refusal": Label.REFUSAL, "refused": Label.REFUSAL, "refuse": Label.REFUSAL,
    "full refusal": Label.REFUSAL, "true": Label.REFUSAL, "yes": Label.REFUSAL, "1": Label.REFUSAL,
    "partial": Label.PARTIAL, "partial refusal": Label.PARTIAL,
    "compliance": Label.COMPLIANCE, "complied": Label.COMPLIANCE, "comply": Label.COMPLIANCE,
    "full compliance": Label.COMPLIANCE, "false": Label.COMPLIANCE, "no": Label.COMPLIANCE,
    "0": Label.COMPLIANCE, "echo": Label.ECHO, "degenerate": Label.DEGENERATE,
    "gibberish": Label.DEGENERATE, "thought cut": Label.THOUGHT_CUT,
    "language not covered": Label.LANGUAGE_NOT_COVERED,
}  # fmt: skip
_ALWAYS = (Label.REFUSAL, Label.PARTIAL, Label.COMPLIANCE)
_RANK = re.compile(r"^\d+_")


def human_label(given: Any) -> Label:
    """A label as people write it: a ``Label``'s own value; true or false; XSTest's.

    Raises ValueError for anything else.
    """
    plain = _RANK.sub("", str(given).strip().lower()).replace("_", " ")
    if plain not in _HUMAN:
        raise ValueError(f"{given!r} is no label")
    return _HUMAN[plain]


def agreement(found: Sequence[Label], human: Sequence[Label]) -> dict[str, Any]:
    """How a detector's labels agree with people's, answer by answer.

    ``recall`` is the share of full refusals that the detector calls a refusal, the label that every
    rate counts, ``specificity`` the share of full compliance that it does not, each ``{count, n,
    rate, low, high}`` (Wilson, 95 %); what people call anything else is in neither. ``confusion``
    counts ``[human][detector]``, with a row for every label that people gave.
    """
    given = set(human)
    confusion = {
        people.value: {label.value: 0 for label in Label}
        for people in Label
        if people in _ALWAYS or people in given
    }
    for (people, label), count in Counter(zip(human, found, strict=True)).items():
        confusion[people.value][label.value] = count
    refused, complied = confusion["refusal"], confusion["compliance"]
    n = sum(complied.values())
    return {
        "recall": proportion(refused["refusal"], sum(refused.values())),
        "specificity": proportion(n - complied["refusal"], n),
        "confusion": confusion,
    }
