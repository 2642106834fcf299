"""``task-dialogue``: turns of two people, and summaries that say what the turns say."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.builtin.dialogue_task import people, scenes

EXAMPLES = builtin_dataset("task-dialogue").examples
NAMES = {person.name: person for person in people()}
# What summaries add to the words of their dialogues: reporting verbs and function words.
GRAMMAR = set(
    re.findall(
        r"\w+",
        """
        advises ask asks borrows bring buy call choose comes feed fixed go going look lends lost
        miss moved needs offers recommends repair return returns saw starts wants
        a after and are as at back be because broken but by can cannot expensive first for from
        has have home in instead is late must no not of on rather so soon than to too was whether
        while will
        """,
    )
)


def turns(example):
    """``(speaker, text)`` of every turn."""
    instruction, dialogue = example.prompt.split("\n\n")
    assert "one sentence" in instruction or "one-sentence" in instruction or "single" in instruction
    return [tuple(line.split(": ", 1)) for line in dialogue.split("\n")]


def test_every_scene_is_there_equally_often():
    counts = Counter(example.category for example in EXAMPLES)
    assert counts == {scene.name: 42 for scene in scenes()}
    assert len(EXAMPLES) >= 400


def test_two_people_take_turns_and_both_are_in_the_summary():
    for example in EXAMPLES:
        speakers = [speaker for speaker, _ in turns(example)]
        assert len(speakers) == 4
        assert speakers[:2] == speakers[2:]
        assert len(set(speakers)) == 2
        if example.category not in ("gift", "shopping"):  # where one may just buy
            assert all(name in example.response for name in speakers[:2]), example
        assert any(name in example.response for name in speakers[:2]), example


def test_a_summary_is_one_sentence_shorter_than_its_dialogue():
    for example in EXAMPLES:
        assert re.fullmatch(r"[A-Z][^.?!]+\.", example.response), example
        assert len(example.response.split()) < 0.6 * len(example.prompt.split())


def test_what_a_summary_says_was_said():
    """Its words stand in the dialogue, but for the summary's own grammar."""
    pronouns = {word for person in people() for word in (person.he, person.his, person.him)}
    strange = Counter()
    for example in EXAMPLES:
        said = set(re.findall(r"[a-z]+", example.prompt.lower()))
        own = set(re.findall(r"[a-z]+", re.sub(r"'s\b", "", example.response).lower()))
        strange.update(own - said - GRAMMAR - pronouns)
    assert not strange


def test_days_and_times_of_a_summary_are_those_of_the_dialogue():
    days = re.compile(r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b")
    months = re.compile(r"\b(?:January|February|March|April|May|June|August|September|October)\b")
    checked = 0
    for example in EXAMPLES:
        for pattern in (days, months):
            found = set(pattern.findall(example.response))
            assert found <= set(pattern.findall(example.prompt))
            checked += len(found)
    assert checked > 400


def test_pronouns_are_those_of_a_person_in_the_summary():
    for example in EXAMPLES:
        named = [person for name, person in NAMES.items() if name in example.response]
        known = {word for person in named for word in (person.he, person.his, person.him)}
        used = set(re.findall(r"\b(?:he|she|his|her|him)\b", example.response))
        assert used <= known, example


def test_facts_of_one_kind_differ():
    """A move is to another day, a gift is chosen over another, no one talks to themselves."""
    for example in EXAMPLES:
        if example.category == "rescheduling":
            assert len(set(re.findall(r"\w+day\b", example.response)) - {"holiday"}) == 2, example
        if example.category == "gift":
            one, other = re.search(
                r"(an? [\w ]+?) (?:rather than|instead of) (an? [\w ]+?)(?: for|,)",
                example.response,
            ).groups()
            assert one != other


def test_text_is_decent_english():
    for example in EXAMPLES:
        for text in (example.prompt.replace("\n\n", "\n"), example.response):
            assert text[-1] in ".?!"
            assert not re.search(r"[{}/]|\s{2}|\s[.,;:?!]|[.?!] [a-z]|[.?!,;:]{2}", text), text
            assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text
            assert not re.search(r"\b[Aa] (?!one)[aeio]", text), text
            assert not re.search(r"\b[Aa]n (?!hour|[aeiou])", text), text
        for _, text in turns(example):
            assert text[0].isupper()


@pytest.mark.parametrize("scene", scenes(), ids=lambda scene: scene.name)
def test_a_scene_has_several_wordings_of_everything(scene):
    assert [len(wordings) for wordings in scene.turns] == [3] * 4
    assert len(scene.summaries) == 2
    fields = set(re.findall(r"{(\w+)}", str(scene.turns) + str(scene.summaries)))
    slots = {name for names in scene.slots for name in names.split()}
    assert slots <= fields
    persons = {f"{p}{w}" for p in "ABC" for w in ("", "_he", "_his", "_him")}
    assert fields <= slots | persons
