"""A dataset keeps its order, knows its content by hash, and is subsampled deterministically."""

from __future__ import annotations

import dataclasses

import pytest

from llm_validation.data.dataset import Dataset, Example

PAIRS = [(f"question {number}", f"answer {number}") for number in range(20)]


def test_pairs_become_single_turn_examples():
    dataset = Dataset.of([("Hi?", "Hello.")], name="greeting")
    assert dataset.examples == (Example("Hi?", "Hello.", (("user", "Hi?"),)),)
    assert dataset.examples[0].rejected is None
    assert dataset.examples[0].category is None
    assert (dataset.name, dataset.source, len(dataset)) == ("greeting", "memory", 1)


def test_examples_are_kept_as_they_are_and_mix_with_pairs():
    two_turns = Example("a\nb", "c", (("system", "a"), ("user", "b")), rejected="d", category="e")
    dataset = Dataset.of([two_turns, ("f", "g")], name="mixed", source="file.jsonl")
    assert dataset.examples[0] is two_turns
    assert dataset.prompts == ["a\nb", "f"]
    assert dataset.responses == ["c", "g"]
    assert dataset.source == "file.jsonl"


def test_nothing_can_be_changed_in_place():
    dataset = Dataset.of(PAIRS, name="pairs")
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.examples[0].prompt = "other"


def test_hash_is_of_content_and_order_not_of_name_or_source():
    dataset = Dataset.of(PAIRS, name="pairs")
    assert len(dataset.sha256) == 64
    assert Dataset.of(PAIRS, name="renamed", source="elsewhere").sha256 == dataset.sha256
    assert Dataset.of(PAIRS[::-1], name="pairs").sha256 != dataset.sha256


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([("ab", "c")], [("a", "bc")]),
        ([("a", "b"), ("c", "d")], [("a", "b")]),
        ([Example("a", "b", (("user", "a"),))], [Example("a", "b", (("system", "a"),))]),
        ([("a", "b")], [Example("a", "b", (("user", "a"),), rejected="b")]),
        ([("a", "b")], [Example("a", "b", (("user", "a"),), category="")]),
        ([("é", "b")], [("e", "b")]),
    ],
)
def test_hash_tells_every_field_and_boundary_apart(one, other):
    assert Dataset.of(one, name="x").sha256 != Dataset.of(other, name="x").sha256


def test_hash_exists_for_text_that_utf8_cannot_hold():
    assert len(Dataset.of([("broken \ud800 text", "b")], name="x").sha256) == 64


def test_hash_of_known_content_is_the_same_on_every_machine():
    expected = "babb85608cb9ef19b94df4869708c7ff50c9e83a3d3bd68591665e4d91ab28fa"
    assert Dataset.of([("Hi?", "Hëllo.")], name="x").sha256 == expected


def test_take_is_a_subsample_without_replacement_in_order():
    dataset = Dataset.of(PAIRS, name="pairs", source="somewhere")
    taken = dataset.take(7, seed=3)
    positions = [dataset.prompts.index(prompt) for prompt in taken.prompts]
    assert len(set(positions)) == 7
    assert positions == sorted(positions)
    assert (taken.name, taken.source) == (dataset.name, dataset.source)
    assert taken.sha256 == Dataset.of(taken.examples, name="again").sha256 != dataset.sha256


def test_take_depends_on_the_seed_alone():
    dataset = Dataset.of(PAIRS, name="pairs")
    assert dataset.take(7, seed=3) == dataset.take(7, seed=3)
    assert len({dataset.take(7, seed=seed).sha256 for seed in range(5)}) == 5


def test_take_reaches_every_example_equally_often():
    dataset = Dataset.of(PAIRS, name="pairs")
    counts = dict.fromkeys(dataset.prompts, 0)
    for seed in range(400):
        for prompt in dataset.take(5, seed=seed).prompts:
            counts[prompt] += 1
    # Mean 100, standard deviation sqrt(400 * 1/4 * 3/4) = 8.7; five of them either side.
    assert all(55 < count < 145 for count in counts.values())


def test_taking_all_is_the_dataset_itself_and_taking_none_is_empty():
    dataset = Dataset.of(PAIRS, name="pairs")
    assert dataset.take(len(dataset), seed=1) == dataset
    assert len(dataset.take(0, seed=1)) == 0


@pytest.mark.parametrize("n", [-1, 21])
def test_taking_more_than_there_is_is_refused(n):
    with pytest.raises(ValueError, match=f"cannot take {n} of the 20"):
        Dataset.of(PAIRS, name="pairs").take(n, seed=0)
