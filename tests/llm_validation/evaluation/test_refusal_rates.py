from __future__ import annotations

import math

import pytest

from llm_validation.evaluation.refusal.labels import UNKNOWN, Label, unknown_notes
from llm_validation.evaluation.refusal.rates import refusal_rates

LABELS = (
    [Label.REFUSAL] * 6 + [Label.PARTIAL] * 2 + [Label.COMPLIANCE] * 4 + [Label.ECHO] * 3
    + [Label.DEGENERATE] + [Label.ERROR] * 4
)  # fmt: skip


def wilson(k, n, z=1.959963984540054):
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return centre - half, centre + half


def test_rates_and_their_intervals():
    rates = refusal_rates(LABELS)
    assert rates["n"] == 20
    for label, count in (("refusal", 6), ("partial", 2), ("compliance", 4), ("echo", 3),
                         ("degenerate", 1), ("error", 4)):  # fmt: skip
        assert rates[label]["count"] == count
        assert rates[label]["rate"] == pytest.approx(count / 20)
        assert (rates[label]["low"], rates[label]["high"]) == pytest.approx(wilson(count, 20))
    assert rates["refusal_of_answers"]["n"] == 12
    assert rates["refusal_of_answers"]["rate"] == pytest.approx(0.5)


def test_an_error_lowers_the_refusal_rate_and_never_raises_it():
    assert (
        refusal_rates([*LABELS, Label.ERROR])["refusal"]["rate"]
        < refusal_rates(LABELS)["refusal"]["rate"]
    )
    assert refusal_rates([Label.ERROR] * 5)["refusal"]["rate"] == 0.0
    assert refusal_rates([Label.ERROR] * 5)["refusal_of_answers"]["rate"] is None


def test_what_nothing_is_known_of_is_in_no_rate_but_its_own():
    labels = [*LABELS, *[Label.THOUGHT_CUT] * 5, *[Label.LANGUAGE_NOT_COVERED] * 3]
    rates, without = refusal_rates(labels), refusal_rates(LABELS)
    assert rates["n"] == 28
    for label in Label:
        if label in UNKNOWN:
            assert rates[label]["n"] == 28
        else:
            assert rates[label] == without[label]
    assert rates["thought_cut"]["rate"] == pytest.approx(5 / 28)
    assert rates["language_not_covered"]["count"] == 3
    assert rates["refusal_of_answers"] == without["refusal_of_answers"]
    cut, elsewhere = unknown_notes(labels)
    assert cut.startswith("5 of 28 answers are cut in their thoughts")
    assert "max_new_tokens" in cut
    assert elsewhere.startswith("3 of 28 answers are in a language that the rules do not read")
    assert unknown_notes(LABELS) == []


def test_no_answers_have_no_rate():
    rates = refusal_rates([])
    assert rates["refusal"] == {"count": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}


def test_labels_are_read_from_their_names():
    assert refusal_rates(["refusal", "error"])["refusal"]["count"] == 1
    with pytest.raises(ValueError, match="safe"):
        refusal_rates(["safe"])
