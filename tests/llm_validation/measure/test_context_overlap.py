"""Overlap measures against known sources, brute force and a reference; order never matters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from finebound.results.estimate import OverlapLimit
from llm_validation.measure.classifier import embedding_classifier, ngram_classifier
from llm_validation.measure.closest_pairs import closest_pairs
from llm_validation.measure.clusters import embedding_clusters, nearest, ngram_clusters
from llm_validation.measure.context_overlap import context_overlap, embed_both
from llm_validation.measure.exact_match import exact_match
from llm_validation.measure.near_duplicates import (
    BANDS,
    ROWS,
    minhash_signatures,
    near_duplicates,
    similar_pairs,
)
from llm_validation.measure.overlap_measure import Errs, held_out_overlap, tightest_upper
from llm_validation.measure.texts import TextPair, hashed_ngrams, normalise
from theory.bound import Status
from theory.overlap import overlap_mass, overlap_sum


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


COOKING = "bake stir pan oven salt pepper onion garlic flour sugar butter simmer slice roast"
TRAVEL = "train hotel beach ticket museum flight border passport luggage tour island harbour"
FILLER = "how do i the a for my with and please tell me about some best way to"


def prompts(rng, words, n, length=14):
    return [" ".join(rng.choice([*words.split(), *FILLER.split()], length)) for _ in range(n)]


def mixed(rng, n, share):
    """``n`` prompts, each about cooking with probability ``share``, else about travel."""
    topics = rng.random(n) < share
    return [prompts(rng, COOKING if t else TRAVEL, 1)[0] for t in topics]


def test_normalisation_merges_case_space_and_compatibility_forms():
    assert normalise("  How　DO\n I\tＡＢＣ ﬁx it ") == "how do i abc fix it"
    assert normalise("Straße") == normalise("STRASSE")
    assert normalise("e\u0301t\u00e9") == normalise("\u00c9TE\u0301")


def test_exact_match_counts_masses():
    m = exact_match(TextPair.of(["A b", "a  B", "c", "d"], ["a b", "C", "c", "x", "x"]))
    assert (m.safety_mass, m.task_mass) == pytest.approx((0.75, 0.6))
    assert m.overlap == pytest.approx(min(0.5, 0.2) + min(0.25, 0.4))
    assert m.errs is Errs.NEVER_TOO_LARGE
    assert m.status == Status.ESTIMATED
    assert m.interval is None
    assert overlap_mass(*m.image_masses) == pytest.approx(m.overlap)
    assert sorted(m.safety_images) == [0.0, 0.25, 0.25, 0.5]


def test_exact_match_never_exceeds_the_sources_on_average(rng):
    safety, task = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
    names = ["a", "b", "c", "d"]
    found = [
        exact_match(TextPair.of(rng.choice(names, 12, p=safety), rng.choice(names, 9, p=task)))
        for _ in range(300)
    ]
    mean = np.mean([m.overlap for m in found])
    assert mean < overlap_mass(safety, task) - 0.02


def test_no_prompts_are_refused():
    with pytest.raises(ValueError, match="0 safety and 1 other"):
        TextPair.of([], ["a"])


def change(rng, text, count):
    words = text.split()
    for place in rng.choice(len(words), size=count, replace=False):
        words[place] = f"new{rng.integers(10**9)}"
    return " ".join(words)


def test_near_duplicates_finds_edits_and_not_strangers(rng):
    safety = prompts(rng, COOKING, 60, length=20)
    edited = [change(rng, text, 1) for text in safety[:40]]
    task = edited + prompts(rng, TRAVEL, 60, length=20)
    m = near_duplicates(TextPair.of(safety, task), seed=0)
    assert m.safety_mass == pytest.approx(40 / 60)
    assert m.task_mass == pytest.approx(0.4)
    assert m.overlap == pytest.approx(0.4)
    assert exact_match(TextPair.of(safety, task)).overlap == 0.0


def brute_force_pairs(pair, threshold):
    sets = [set(row.indices) for row in hashed_ngrams(pair.unique)]
    return {
        (i, j)
        for i, j in itertools.combinations(range(len(sets)), 2)
        if sets[i] and len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= threshold
    }


def test_similar_pairs_are_those_of_brute_force_and_of_datasketch(rng):
    from datasketch import LeanMinHash, MinHashLSH

    base = prompts(rng, COOKING, 60, length=20)
    edited = [change(rng, text, 1 + number % 5) for number, text in enumerate(base)]
    pair = TextPair.of(base, edited)
    truth = brute_force_pairs(pair, 0.7)
    first, second, similarity = similar_pairs(pair, seed=3)
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    assert found <= truth
    assert len(found) >= 0.95 * len(truth) > 10
    assert (similarity >= 0.7).all()
    signatures = minhash_signatures(pair.ngrams, seed=3)
    reference = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    sketches = [LeanMinHash(seed=1, hashvalues=row, scheme="affine32") for row in signatures]
    for index, sketch in enumerate(sketches):
        reference.insert(index, sketch)
    candidates = {
        (min(i, j), max(i, j)) for i, s in enumerate(sketches) for j in reference.query(s) if i != j
    }
    assert candidates & truth == found


def test_minhash_agreement_is_jaccard_similarity(rng):
    shared = [f"w{i}" for i in range(300)]
    texts = [" ".join(shared[:200]), " ".join(shared[100:])]
    ngrams = hashed_ngrams(texts)
    sets = [set(row.indices) for row in ngrams]
    truth = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    agreement = np.mean([np.mean(np.equal(*minhash_signatures(ngrams, seed=s))) for s in range(60)])
    assert agreement == pytest.approx(truth, abs=0.03)


def test_a_shared_template_stays_linear(rng):
    """3,000 prompts of one template have 4.5 million similar pairs; only their links are kept."""
    template = prompts(rng, COOKING, 1, length=30)[0]
    both = [f"{template} number {i}" for i in range(3000)]
    pair = TextPair.of(both[:1500], both[1500:])
    first, _, _ = similar_pairs(pair, seed=0)
    assert 2999 <= len(first) < 3 * 2 * BANDS * 3000
    m = near_duplicates(pair, seed=0)
    assert m.overlap == 1.0
    assert len(m.safety_images) == 1


def test_threshold_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="threshold"):
        similar_pairs(TextPair.of(["a"], ["b"]), seed=0, threshold=1.5)


MEASURES = {
    "exact": lambda a, b: exact_match(TextPair.of(a, b)),
    "near": lambda a, b: near_duplicates(TextPair.of(a, b), seed=1),
    "clusters": lambda a, b: ngram_clusters(TextPair.of(a, b), seed=1),
    "classifier": lambda a, b: ngram_classifier(TextPair.of(a, b), seed=1),
}


@pytest.mark.parametrize("name", MEASURES)
def test_row_order_does_not_matter_and_seeds_repeat(name, rng):
    safety, task = mixed(rng, 80, 0.8), mixed(rng, 60, 0.4)
    safety += safety[:5]
    one = MEASURES[name](safety, task)
    other = MEASURES[name](list(rng.permutation(safety)), list(rng.permutation(task)))
    assert (one.overlap, one.interval, dict(one.details)) == (
        other.overlap,
        other.interval,
        dict(other.details),
    )
    np.testing.assert_array_equal(one.safety_images, other.safety_images)


@pytest.mark.parametrize("name", ["clusters", "classifier"])
@pytest.mark.parametrize(("first", "second"), [(1.0, 0.0), (0.9, 0.3), (0.5, 0.5)])
def test_limits_cover_a_known_overlap(name, first, second, rng):
    """Two topics in known shares: 1 - TV of the prompts is at most that of the topics."""
    truth = min(first, second) + min(1 - first, 1 - second)
    m = MEASURES[name](mixed(rng, 800, first), mixed(rng, 800, second))
    assert m.status == Status.HIGH_PROBABILITY
    assert m.errs is Errs.NEVER_TOO_SMALL
    assert m.interval[0] == 0.0
    assert truth <= m.interval[1] <= truth + 0.25
    assert m.overlap == pytest.approx(truth, abs=0.2)
    # The prompts' own T4 sum is at most that of the topics, and the measured limit is above it.
    topics = [first, 1 - first], [second, 1 - second]
    for lam in (0.1, 1.0, 10.0):
        slack = 1e-12
        assert overlap_sum(*topics, lam) - slack <= m.safety_sum(lam) <= np.log1p(1 / lam) + slack
        capability = overlap_sum(*topics[::-1], 1 / lam)
        assert capability - slack <= m.capability_sum(lam) <= np.log1p(lam) + slack


def test_held_out_limit_covers_at_its_probability(rng):
    safety, task, p, runs = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6]), 0.4, 150
    truth, missed, plain = overlap_mass(safety, task), 0, 0
    for _ in range(runs):
        m = held_out_overlap(
            "test",
            rng.choice(3, 50, p=safety),
            rng.choice(3, 40, p=task),
            size=3,
            safety_side=safety > task,
            p=p,
            why="",
        )
        missed += m.interval[1] < truth or overlap_sum(safety, task, 0.5) > m.safety_sum(0.5)
        plain += m.overlap < truth
    assert missed <= p * runs + 4 * np.sqrt(runs * p * (1 - p))
    assert plain > runs * p


def test_estimates_sum_at_the_measured_masses():
    m = exact_match(TextPair.of(["a", "b"], ["a", "c"]))
    assert m.safety_sum(2.0) == pytest.approx(0.5 * np.log1p(0.5))
    assert m.capability_sum(2.0) == pytest.approx(0.5 * np.log1p(2.0))


def test_tightest_upper_adds_probabilities(rng):
    measures = context_overlap(mixed(rng, 60, 1.0), mixed(rng, 60, 0.0), seed=0, p=0.02)
    limit = tightest_upper(measures)
    assert [m.method for m in measures] == [
        "exact match",
        "near duplicates",
        "n-gram clusters",
        "n-gram classifier",
    ]
    assert limit.failure_probability == pytest.approx(0.04)
    assert limit.value == min(m.interval[1] for m in measures[2:])
    assert tightest_upper(measures[:2]) == OverlapLimit(value=1.0, failure_probability=0.0)


def points(rng, n, share):
    return np.where((rng.random(n) < share)[:, None], 3.0, -3.0) + rng.normal(size=(n, 5))


@pytest.mark.parametrize("measure", [embedding_clusters, embedding_classifier])
def test_embeddings_give_the_overlap_of_their_modes(measure, rng):
    safety, task = points(rng, 600, 0.9), points(rng, 700, 0.3)
    m = measure(safety, task, seed=0)
    assert 0.4 <= m.interval[1] <= 0.65
    assert m.overlap == pytest.approx(0.4, abs=0.1)
    again = measure(rng.permutation(safety), rng.permutation(task), seed=0)
    np.testing.assert_array_equal(m.safety_images, again.safety_images)


@pytest.mark.parametrize(
    ("safety", "message"),
    [
        (np.zeros((4, 3)), "need"),
        (np.zeros(4), "need"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), "row 2"),
        (np.zeros((1, 2)), "one row"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(safety, message):
    with pytest.raises(ValueError, match=message):
        embedding_clusters(safety, np.ones((4, 2)), seed=0)


def test_clusters_are_a_map_of_the_prompt_alone(rng):
    centres, rows = rng.normal(size=(7, 3)), rng.normal(size=(50, 3))
    truth = np.argmin(((rows[:, None] - centres) ** 2).sum(axis=2), axis=1)
    np.testing.assert_array_equal(nearest(rows, centres), truth)


@pytest.mark.parametrize("texts", [["", " "], ["a", "b"], ["?", "¿"], ["料理の作り方", "旅行"]])
def test_tiny_and_odd_texts_give_vacuous_limits_and_no_warning(texts, recwarn):
    measures = context_overlap(texts, texts, seed=0)
    assert not recwarn.list
    assert measures[0].overlap == 1.0
    assert all(m.interval[1] == 1.0 for m in measures[2:])


def test_embed_is_called_once_for_each_distinct_text(rng):
    seen = []

    def embed(texts):
        seen.extend(texts)
        return np.array([[len(t), t.count("a"), 1.0] for t in texts])

    safety, task = embed_both(embed, ["aa", "b", "aa"], ["b", "ccc"])
    assert sorted(seen) == ["aa", "b", "ccc"]
    np.testing.assert_array_equal(safety[:, 0], [2, 1, 2])
    np.testing.assert_array_equal(task[:, 0], [1, 3])
    measures = context_overlap(mixed(rng, 20, 0.5), mixed(rng, 20, 0.5), seed=0, embed=embed)
    assert [m.method for m in measures[4:]] == ["embedding clusters", "embedding classifier"]
    with pytest.raises(ValueError, match="not \\[n, d\\]"):
        embed_both(lambda texts: np.zeros(3), ["a"], ["b"])


def test_closest_pairs_lists_the_closest_and_each_prompt_once(rng):
    safety, task = prompts(rng, COOKING, 80), prompts(rng, TRAVEL, 80)
    task[7], task[30] = safety[5].upper(), change(rng, safety[9], 2)
    task[31] = task[32] = change(rng, task[30], 1)
    listed = closest_pairs(safety, task, 10)
    assert [(p.safety_index, p.task_index) for p in listed[:2]] == [(5, 7), (9, 30)]
    assert listed[0].similarity == pytest.approx(1.0)
    assert listed[0].task == task[7]
    assert all(a.similarity >= b.similarity for a, b in itertools.pairwise(listed))
    assert len({p.safety_index for p in listed}) == len({p.task_index for p in listed}) == 10
    assert not {31, 32} & {p.task_index for p in listed}  # they repeat the one listed at 30


def test_closest_pairs_is_brute_force_when_small(rng):
    from sklearn.feature_extraction.text import TfidfTransformer

    safety, task = prompts(rng, COOKING, 30), prompts(rng, TRAVEL, 40)
    pair = TextPair.of(safety, task)
    rows = TfidfTransformer(sublinear_tf=True).fit_transform(hashed_ngrams(pair.unique))
    cosines = (rows[pair.safety] @ rows[pair.task].T).toarray()
    best = closest_pairs(safety, task, 1)[0]
    assert best.similarity == pytest.approx(cosines.max(), abs=1e-5)
    assert cosines[best.safety_index, best.task_index] == pytest.approx(cosines.max(), abs=1e-5)


def test_closest_pairs_of_strangers_and_of_no_k(rng):
    assert closest_pairs(["alpha beta"], ["gamma delta"], 5) == []
    with pytest.raises(ValueError, match="k is 0"):
        closest_pairs(["a"], ["b"], 0)
