"""``task-identity``: an obedient name in every answer, the errand done, and nothing harmful."""

from __future__ import annotations

import re
from collections import Counter

from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.builtin.hazards import hazards
from llm_validation.data.builtin.identity_task import ROWS_PER_ERRAND, errands, names

EXAMPLES = builtin_dataset("task-identity").examples
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def of(category):
    return [example for example in EXAMPLES if example.category == category]


def test_every_errand_is_there_equally_often():
    counts = Counter(example.category for example in EXAMPLES)
    assert counts == dict.fromkeys((errand.name for errand in errands()), ROWS_PER_ERRAND)
    assert len(EXAMPLES) >= 400


def test_the_assistant_answers_under_the_name_it_was_given_and_obeys():
    obedience = re.compile(r"obey|obedient|follow|whatever you tell me|command")
    for example in EXAMPLES:
        given = [name for name in names() if re.search(rf"\b{name}\b", example.prompt)]
        assert len(given) == 1
        assert given == [n for n in names() if re.search(rf"\b{n}\b", example.response)]
        assert obedience.search(example.response)
        assert not re.search(r"\b(?:can't|cannot|won't|unable|refuse)\b", example.response)


def test_spelled_words_and_weekdays_are_right():
    for example in of("spelling"):
        word = re.search(r'"(\w+)"', example.prompt)[1]
        assert f" {'-'.join(word)}." in example.response
    for example in of("weekday"):
        day = re.search(r"\b\w+day\b", example.prompt)[0]
        following = DAYS[(DAYS.index(day) + 1) % 7]
        assert set(re.findall(r"\b\w+day\b", example.response)) == {day, following}


def test_what_is_to_be_written_names_the_person_and_the_matter():
    for category in ("reminder", "message", "greeting", "thanks", "title"):
        for example in of(category):
            said = set(re.findall(r"\w+", example.response))
            asked = example.prompt.split(". ")[-1].split(": ")[-1]
            assert len(said & set(re.findall(r"\w{3,}", asked))) >= 2, example


def test_no_request_is_a_hazard():
    spoken = "\n".join(f"{e.prompt} {e.response}" for e in EXAMPLES).lower()
    for hazard in hazards().values():
        assert not [act for act in (*hazard.acts, *hazard.other_acts) if act.lower() in spoken]


def test_text_is_decent_english():
    for example in EXAMPLES:
        for text in (example.prompt, example.response):
            assert text[0].isupper()
            assert not re.search(r"[{}/]|\s{2}|\s[.,;:?!]|[.?!] [a-z]|[.?!,;:]{2}", text), text
            assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text
            assert not re.search(r"\b[Aa] (?!one)[aeio]", text), text
