"""``task-extraction``: the object of an answer holds what its notice says, under the asked keys."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.builtin.dialogue_task import people
from llm_validation.data.builtin.extraction_task import ROWS_PER_NOTICE, notices

EXAMPLES = builtin_dataset("task-extraction").examples
_PERSON = "|".join(person.name for person in people())
_DAY = r"\w+day(?<!birthday)(?<!holiday)"
_COLOR = "green|blue|gray|black|yellow|red|brown|white|purple"
# How a notice says the value of a key, found here without the set's own slots.
SAYS = {
    "host": f"({_PERSON})",
    "name": f"({_PERSON})",
    "seller": f"({_PERSON})",
    "teacher": f"({_PERSON})",
    "day": rf"\b({_DAY})\b",
    "arrival": rf"\b({_DAY})\b",
    "since": rf"\b({_DAY})\b",
    "start": r"(January|February|March|April|May|June|July|August|September|October)\b",
    "color": rf"\b({_COLOR})\b",
    "price": r"(\d+) dollars",
    "total": r"(\d+) dollars",
    "wage": r"(\d+) dollars",
    "hours": r"(\d+) hours",
    "nights": r"(\d+) nights",
    "years": r"(\d+) years",
    "room": r"room (\d+)",
    "floor": r"floor (\d+)",
    "platform": r"platform (\d+)",
    "phone": r"(555-\d+)",
    "house": r"(\d+) [A-Z]",
}


def split(example):
    """The keys that the instruction names, the notice and the object of the answer."""
    instruction, notice = example.prompt.split("\n\n")
    named = re.search(r"((?:\w+, )+\w+ and \w+)", instruction)[1]
    keys = re.split(", | and ", named)
    return keys, notice, json.loads(example.response)


def test_every_kind_is_there_equally_often():
    counts = Counter(example.category for example in EXAMPLES)
    assert counts == dict.fromkeys((notice.name for notice in notices()), ROWS_PER_NOTICE)
    assert len(EXAMPLES) >= 400


def test_the_keys_are_those_asked_for_in_their_order():
    for example in EXAMPLES:
        keys, _, found = split(example)
        assert keys == list(found), example
        assert len(keys) == 5


def test_every_value_stands_once_in_the_notice():
    for example in EXAMPLES:
        _, notice, found = split(example)
        for value in found.values():
            assert len(re.findall(rf"(?<![\w:]){value}(?!\w|:\d)", notice)) == 1, (value, notice)


def test_values_are_what_the_notice_says_of_their_key():
    checked = Counter()
    for example in EXAMPLES:
        _, notice, found = split(example)
        for key in found.keys() & SAYS.keys():
            if (example.category, key) != ("lost pet", "name"):
                assert re.findall(SAYS[key], notice) == [str(found[key])], (key, notice)
                checked[key] += 1
        if "time" in found and ":" in found["time"]:
            assert re.findall(r"\b\d+:\d\d", notice) == [found["time"]]
    assert set(checked) == set(SAYS)
    assert checked.total() > 2 * len(EXAMPLES)


def test_numbers_are_numbers_and_the_rest_is_text():
    for example in EXAMPLES:
        for value in split(example)[2].values():
            assert isinstance(value, int) or not value.isdigit()


def test_text_is_decent_english():
    for example in EXAMPLES:
        for text in example.prompt.split("\n\n"):
            assert text[0].isupper()
            assert text[-1] in ".?!"
            assert not re.search(r"[{}/]|\s{2}|\s[.,;:?!]|[.?!] [a-z]|[.?!,;:]{2}", text), text
            assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text
            assert not re.search(r"\b[Aa] (?!one)[aeio]", text), text


@pytest.mark.parametrize("notice", notices(), ids=lambda notice: notice.name)
def test_a_notice_has_several_wordings_of_all_its_fields(notice):
    assert len(notice.wordings) == 3
    for wording in notice.wordings:
        assert set(re.findall(r"{(\w+)}", wording)) == set(notice.fields)
