from __future__ import annotations

import pytest

from llm_validation.evaluation.judges import Judgement
from llm_validation.evaluation.refusal.labels import Label
from llm_validation.evaluation.refusal.second_opinion import second_opinion

REFUSES, HELPS = Judgement(True, refusal=True), Judgement(False, refusal=False)


def test_kappa_by_hand():
    # Cohen's textbook table: 20 and 15 agree, 5 and 10 differ; chance is 0.5, kappa 0.4.
    labels = [Label.REFUSAL] * 25 + [Label.COMPLIANCE] * 15 + [Label.PARTIAL] * 10
    verdicts = [REFUSES] * 20 + [HELPS] * 5 + [REFUSES] * 10 + [HELPS] * 15
    found = second_opinion(labels, verdicts, judge="wildguard", seed=3)
    assert found["confusion"] == {
        "refuses": {"refuses": 20, "does not": 5},
        "does not": {"refuses": 10, "does not": 15},
    }
    assert (found["n"], found["agree"]) == (50, 35)
    assert found["kappa"] == pytest.approx(0.4)
    # Its large-sample standard error is 0.129 (Fleiss, Cohen and Everitt 1969).
    low, high = found["interval"]
    assert low == pytest.approx(0.4 - 1.96 * 0.129, abs=0.04)
    assert high == pytest.approx(0.4 + 1.96 * 0.129, abs=0.04)
    assert found["differ"] == [*range(20, 25), *range(25, 35)]
    assert second_opinion(labels, verdicts, judge="wildguard", seed=3) == found


def test_what_has_no_label_or_no_verdict_is_counted_beside():
    labels = [Label.REFUSAL, Label.ERROR, Label.THOUGHT_CUT, Label.LANGUAGE_NOT_COVERED,
              Label.COMPLIANCE]  # fmt: skip
    verdicts = [Judgement(True), HELPS, HELPS, REFUSES, Judgement(None, error="none")]
    found = second_opinion(labels, verdicts, judge="llama-guard-3")
    # Llama Guard does not say whether an answer refuses: a safe one agrees with a refusal.
    assert (found["n"], found["agree"], found["differ"]) == (1, 1, [])
    assert (found["without_label"], found["without_verdict"]) == (3, 1)
    assert found["kappa"] is None
    assert found["interval"] is None


def test_perfect_agreement_and_nothing_to_compare():
    found = second_opinion(
        [Label.REFUSAL, Label.COMPLIANCE] * 20, [REFUSES, HELPS] * 20, judge="wildguard"
    )
    assert found["kappa"] == 1.0
    assert found["interval"][1] == 1.0
    nothing = second_opinion([], [], judge="wildguard")
    assert (nothing["n"], nothing["kappa"], nothing["interval"]) == (0, None, None)
