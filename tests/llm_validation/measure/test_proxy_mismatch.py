"""Teachers are told apart on small matched sets, at the stated level; contexts are kept apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from llm_validation.data.dataset import Dataset
from llm_validation.measure.matching import exact_rows, near_rows
from llm_validation.measure.proxy_mismatch import (
    context_mismatch,
    proxy_mismatch,
    sliced_wasserstein,
    teacher_mismatch,
)
from llm_validation.measure.responses import (
    STATISTICS,
    is_refusal_opening,
    response_statistics,
)
from llm_validation.measure.teacher import TeacherVerdict, compare_teachers
from llm_validation.measure.texts import TextPair


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


WORDS = (
    "garden river engine letter window bread winter signal copper market doctor island paper "
    "bridge music forest camera pencil rocket harbour village shadow kitchen marble lantern"
)
PLAIN = ("It is", "There is", "You need", "This is")
CHATTY = ("Sure! It is", "Great question, there is", "Sure! You need", "Of course, this is")


def prompts(rng, n, topic=WORDS):
    return [f"Explain {' '.join(rng.choice(topic.split(), 8))} number {i}" for i in range(n)]


def answers(rng, asked, openings=PLAIN, length=(10, 25)):
    """Random words of the prompt and of the vocabulary after one of the teacher's openings."""
    texts = []
    for prompt in asked:
        pool = [*prompt.split(), *WORDS.split()]
        words = rng.choice(pool, int(rng.integers(*length)))
        texts.append(f"{rng.choice(openings)} {' '.join(words)}.")
    return texts


def dataset(asked, said, name="set"):
    return Dataset.of(zip(asked, said, strict=True), name=name)


@pytest.mark.parametrize("n", [20, 60, 150])
def test_another_teacher_is_found_on_few_matched_prompts(n, rng):
    asked = prompts(rng, n)
    safety, proxy = dataset(asked, answers(rng, asked)), dataset(asked, answers(rng, asked, CHATTY))
    found = teacher_mismatch(safety, proxy, seed=0)
    assert found.verdict == TeacherVerdict.OTHER
    assert (found.matching, found.separated, found.pairs) == ("identical prompts", True, n)
    assert found.p_value <= 0.05
    assert found.accuracy.estimate > 0.75
    assert 0.0 < found.tv_lower <= 1.0


def test_one_teacher_is_called_another_no_more_often_than_stated(rng):
    runs, level, n = 60, 0.1, 30
    verdicts = Counter()
    for run in range(runs):
        asked = prompts(rng, n)
        found = compare_teachers(
            answers(rng, asked), answers(rng, asked), rng=np.random.default_rng(run), level=level
        )
        verdicts[found.verdict] += 1
    assert verdicts[TeacherVerdict.OTHER] <= stats.binom.ppf(1 - 1e-4, runs, level)
    assert verdicts[TeacherVerdict.SAME] > 0


def test_one_teacher_is_recognised_on_150_prompts(rng):
    asked = prompts(rng, 150)
    safety, proxy = (dataset(asked, answers(rng, asked)) for _ in range(2))
    found = teacher_mismatch(safety, proxy, seed=0)
    assert found.verdict == TeacherVerdict.SAME
    assert found.accuracy.lower < 0.5 < found.accuracy.upper < 0.7
    assert found.tv_lower == 0.0
    assert "agree" in found.why


def test_too_few_pairs_leave_it_undecided(rng):
    asked = prompts(rng, 10)
    safety, proxy = (dataset(asked, answers(rng, asked)) for _ in range(2))
    found = teacher_mismatch(safety, proxy, seed=0)
    assert found.verdict == TeacherVerdict.UNDECIDED
    assert "too few" in found.why


def test_identical_answers_are_one_teacher(rng):
    asked = prompts(rng, 120)
    safety = dataset(asked, answers(rng, asked))
    found = teacher_mismatch(safety, safety, seed=0)
    assert found.verdict == TeacherVerdict.SAME
    assert found.p_values["feature differences"] == 1.0
    assert found.statistics["log words"][0] == found.statistics["log words"][1]


def test_near_duplicate_prompts_match_when_identical_ones_lack(rng):
    asked = [p + " please tell me everything you know of it now" for p in prompts(rng, 40)]
    edited = [p.replace("Explain", "Describe") for p in asked]
    found = teacher_mismatch(
        dataset(asked, answers(rng, asked)), dataset(edited, answers(rng, edited, CHATTY)), seed=0
    )
    assert (found.matching, found.separated) == ("near-duplicate prompts", True)
    assert found.pairs >= 38
    assert found.verdict == TeacherVerdict.OTHER


def test_without_shared_prompts_teacher_and_contexts_stay_together(rng):
    asked, others = prompts(rng, 150), prompts(rng, 150)
    found = teacher_mismatch(
        dataset(asked, answers(rng, asked)), dataset(others, answers(rng, others, CHATTY)), seed=0
    )
    assert not found.separated
    assert found.matching == "prompts balanced by a classifier"
    assert found.verdict == TeacherVerdict.UNDECIDED
    assert found.p_value <= 0.05
    assert "cannot be separated" in found.why
    assert found.tv_lower == 0.0


def test_prompts_told_apart_everywhere_fall_back_to_whole_datasets(rng):
    asked = [f"bake bread {i}" for i in range(200)]
    others = [f"repair engine {i}" for i in range(200)]
    found = teacher_mismatch(
        dataset(asked, answers(rng, prompts(rng, 200))),
        dataset(others, answers(rng, prompts(rng, 200))),
        seed=0,
    )
    assert (found.matching, found.separated) == ("whole datasets", False)
    assert found.pairs == 200


def test_log_likelihoods_decide_where_texts_do_not(rng):
    asked = prompts(rng, 60)
    safety, proxy = (dataset(asked, answers(rng, asked)) for _ in range(2))
    likelihoods = rng.normal(-2.0, 0.3, 60), rng.normal(-2.4, 0.3, 60)
    found = teacher_mismatch(safety, proxy, seed=0, log_likelihoods=likelihoods)
    assert found.verdict == TeacherVerdict.OTHER
    assert found.p_values["log-likelihoods"] < 0.01
    interval = found.log_likelihood_difference
    assert interval.lower < 0.4 < interval.upper
    assert interval.lower > 0.0
    # Rows are shuffled inside; each log-likelihood has to stay with its own response.
    order = rng.permutation(60)
    moved = Dataset.of((proxy.examples[i] for i in order), name="moved")
    again = teacher_mismatch(
        safety, moved, seed=0, log_likelihoods=(likelihoods[0], likelihoods[1][order])
    )
    assert again.log_likelihood_difference == interval
    with pytest.raises(ValueError, match="do not fit"):
        teacher_mismatch(safety, proxy, seed=0, log_likelihoods=(likelihoods[0][:-1], [0.0]))


def test_verdict_does_not_depend_on_row_order(rng):
    asked = prompts(rng, 40)
    safety, proxy = dataset(asked, answers(rng, asked)), dataset(asked, answers(rng, asked, CHATTY))
    moved = Dataset.of((safety.examples[i] for i in rng.permutation(40)), name="moved")
    one, other = teacher_mismatch(safety, proxy, seed=4), teacher_mismatch(moved, proxy, seed=4)
    assert one.p_values == other.p_values
    assert one.accuracy == other.accuracy


def test_many_answers_to_one_prompt_match_one_to_one(rng):
    pair = TextPair.of(["a", "b", "A ", "c", "a"], ["a", "d", "c", "a"])
    rows = exact_rows(pair)
    matched = list(zip(pair.safety[rows.first], pair.task[rows.second], strict=True))
    assert all(a == b for a, b in matched)
    assert len(rows) == 3
    assert len(set(rows.first)) == len(set(rows.second)) == 3
    assert len(near_rows(pair, rows, seed=0)) == 0


def test_answers_that_do_not_pair_are_refused(rng):
    with pytest.raises(ValueError, match="make no two or more pairs"):
        compare_teachers(["a", "b"], ["a"], rng=rng)


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I can't help with that.", True),
        ("I’m sorry, but I cannot assist with this request.", True),
        ("Sorry, I won't do that.", True),
        ("As an AI language model, I am unable to provide this.", True),
        ("I must decline.", True),
        ("I'm not able to share that.", True),
        ("I'm sorry for your loss. I'm here to help.", False),
        ("Sure, here is how you can do it.", False),
        ("I can help you with that.", False),
        ("In 1990 I cannot have been there.", False),
        ("", False),
    ],
)
def test_refusal_openings(text, refuses):
    assert is_refusal_opening(text) is refuses


def test_response_statistics_read_style_and_survive_empty_text():
    rows = response_statistics(["- One thing\n- two THINGS\n", ""])
    values = dict(zip(STATISTICS, rows[0], strict=True))
    assert values["log words"] == pytest.approx(np.log1p(6))
    assert values["list items"] == pytest.approx(2 / 6)
    assert values["distinct words"] == pytest.approx(5 / 6)
    assert values["ends a sentence"] == 0.0
    assert np.isfinite(rows).all()


def test_context_part_sees_contexts_and_not_teachers(rng):
    asked, again = prompts(rng, 300), prompts(rng, 300)
    far = prompts(rng, 300, topic="tax invoice ledger audit salary pension dividend auditor")
    same, other = context_mismatch(asked, again, seed=0), context_mismatch(asked, far, seed=0)
    assert same.tv_lower <= 0.1
    assert same.mmd.p_value > 0.01
    assert other.tv_lower > 0.7
    assert other.mmd.p_value == pytest.approx(1 / 200)
    assert other.sliced_wasserstein > 3 * same.sliced_wasserstein
    assert (other.points, other.failure_probability) == ("n-grams", pytest.approx(0.1))


def test_both_parts_and_embeddings(rng):
    asked = prompts(rng, 40)
    safety, proxy = dataset(asked, answers(rng, asked)), dataset(asked, answers(rng, asked, CHATTY))
    found = proxy_mismatch(
        safety, proxy, seed=0, embed=lambda texts: np.array([[len(t), 1.0] for t in texts])
    )
    assert found.context.measures[0].overlap == 1.0
    assert found.context.tv_lower == 0.0
    assert found.context.points == "embeddings"
    assert found.context.sliced_wasserstein == pytest.approx(0.0, abs=1e-9)
    assert found.teacher.verdict == TeacherVerdict.OTHER


def test_sliced_wasserstein_of_a_shift(rng):
    points = rng.normal(size=(400, 3))
    shift = np.array([2.0, 0.0, 0.0])
    # The mean squared component of a unit direction in three dimensions is 1/3.
    assert sliced_wasserstein(points, points + shift, rng=rng) == pytest.approx(
        2.0 / np.sqrt(3), rel=0.15
    )
