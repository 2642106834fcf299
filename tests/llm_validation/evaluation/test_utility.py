"""ROUGE-1 and chrF per item and on average: hand-counted overlaps, failures, intervals."""

import numpy as np
import pytest
from sacrebleu.metrics import CHRF

from llm_validation.evaluation.utility import HIGHEST, rouge1, utility

REFERENCES = ["Anna buys three red apples.", "The train is late.", "Tom lost his keys at work."]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Anna buys three red apples.", 1.0),
        ("APPLES red, three: buys Anna", 1.0),  # order, case and punctuation do not count
        ("Anna buys apples", 2 * 3 / (3 + 5)),
        ("Anna Anna Anna", 2 * 1 / (3 + 5)),  # a word counts as often as the reference has it
        ("Anna buys three red apple.", 2 * 4 / (5 + 5)),  # no stemming
        ("Something else.", 0.0),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_rouge1_is_the_f_measure_of_shared_words(answer, expected):
    assert rouge1([answer], [REFERENCES[0]]) == [pytest.approx(expected)]


@pytest.mark.parametrize("metric", list(HIGHEST))
def test_a_reference_scores_the_highest_and_a_failure_nothing(metric):
    found = utility([REFERENCES[0], None, "xyz"], REFERENCES, metric=metric)
    assert found.items == pytest.approx((HIGHEST[metric], 0.0, 0.0), abs=0.02 * HIGHEST[metric])
    assert (found.n, found.failed, found.items[1]) == (3, 1, 0.0)
    assert found.mean.estimate == pytest.approx(np.mean(found.items))
    assert 0.0 <= found.mean.lower < found.mean.estimate < found.mean.upper <= HIGHEST[metric]


def test_chrf_is_sacrebleus_of_each_sentence():
    answers = ["Anna buys apples.", "A train was late.", "Keys"]
    expected = [
        CHRF().sentence_score(answer, [reference]).score
        for answer, reference in zip(answers, REFERENCES, strict=True)
    ]
    assert utility(answers, REFERENCES, metric="chrf").items == pytest.approx(tuple(expected))


def test_interval_is_that_of_a_mean():
    """Scores 0 and 1 in equal parts: the standard error of the mean is 0.5 / sqrt(n)."""
    n = 400
    found = utility(["same"] * (n // 2) + ["other"] * (n // 2), ["same"] * n, seed=3)
    assert found.mean.estimate == 0.5
    half = 1.96 * 0.5 / np.sqrt(n)
    assert found.mean.upper - 0.5 == pytest.approx(half, rel=0.15)
    assert 0.5 - found.mean.lower == pytest.approx(half, rel=0.15)
    again = utility(["same"] * (n // 2) + ["other"] * (n // 2), ["same"] * n, seed=3)
    assert again == found


@pytest.mark.parametrize("metric", ["rouge1", "chrf"])
def test_a_thought_is_no_part_of_an_answer(metric):
    found = utility(["<think>tea? no</think>\n\nblue house"], ["blue house"], metric=metric)
    assert found.items == utility(["blue house"], ["blue house"], metric=metric).items


def test_one_answer_says_nothing_of_others():
    found = utility(["The train"], [REFERENCES[1]])
    assert (found.mean.lower, found.mean.upper) == (0.0, 1.0)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="2 answers to 1 references"):
        utility(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="0 answers"):
        utility([], [])
    with pytest.raises(ValueError, match="none of rouge1, chrf"):
        utility(["a"], ["a"], metric="meteor")
