"""``task-arithmetic``: the number of an answer follows from the numbers of its problem."""

from __future__ import annotations

import operator
import re
from collections import Counter

import pytest

from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.builtin.arithmetic_task import ROWS_PER_STORY, stories

EXAMPLES = builtin_dataset("task-arithmetic").examples
# The answer from the numbers of the problem in the order in which they are given.
SOLUTIONS = {
    "crates": lambda boxes, each, gone: boxes * each - gone,
    "savings": lambda start, week, weeks: start + week * weeks,
    "sharing": lambda total, people, gone: total / people - gone,
    "change": lambda count, price, paid: paid - count * price,
    "trip": lambda total, first, second: total - first - second,
    "pages": lambda total, day, days: total - day * days,
    "bus": lambda people, off, on: people - off + on,
    "chairs": lambda rows, seats, more: rows * seats + more,
    "baking": lambda count, each, there: count * each - there,
    "wages": lambda hours, days, wage: hours * days * wage,
    "teams": lambda some, others, size: (some + others) / size,
    "times as many": lambda one, factor: one * (1 + factor),
    "points": lambda one, more: 2 * one + more,
    "ribbon": lambda total, cut, each: (total - cut) / each,
    "discount": lambda price, off, count: (price - off) * count,
    "garden": lambda rows, plants, fruit: rows * plants * fruit,
}
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def numbers(text):
    return [int(number) for number in re.findall(r"\d+", text)]


def test_every_story_is_there_equally_often():
    counts = Counter(example.category for example in EXAMPLES)
    assert counts == dict.fromkeys(SOLUTIONS, ROWS_PER_STORY)
    assert len(EXAMPLES) >= 400


def test_the_answer_ends_in_the_number_that_solves_the_problem():
    for example in EXAMPLES:
        solution = SOLUTIONS[example.category](*numbers(example.prompt))
        assert solution == numbers(example.response)[-1], example
        assert re.search(r"\d\.$", example.response)


def test_every_step_of_an_answer_is_right_and_uses_numbers_that_are_known():
    for example in EXAMPLES:
        known = set(numbers(example.prompt))
        steps = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", example.response)
        assert len(steps) == 2
        for left, sign, right, value in steps:
            assert {int(left), int(right)} <= known, example
            assert OPERATIONS[sign](int(left), int(right)) == int(value), example
            known.add(int(value))
        assert steps[-1][-1] == str(numbers(example.response)[-1])


def test_no_count_is_below_two():
    assert min(min(numbers(e.prompt + e.response)) for e in EXAMPLES) >= 2


def test_text_is_decent_english():
    for example in EXAMPLES:
        for text in (example.prompt, example.response):
            assert text[0].isupper() or text[0].isdigit()
            assert not re.search(r"[{}]|\s{2}|\s[.,;:?!]|[.?!] [a-z]|[.?!,;:]{2}", text), text
            assert not re.search(r"\b(\w+) \1\b", text), text
            assert not re.search(r"\b[Aa] (?!one)[aeio]", text), text
        assert example.prompt.endswith("?")


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_a_story_has_several_wordings_of_everything(story):
    assert (len(story.setups), len(story.questions), len(story.answers)) == (3, 2, 2)
    fields = set(re.findall(r"{(\w+)}", str((story.setups, story.questions, story.answers))))
    assert {name for names in story.slots for name in names.split()} <= fields
    assert set(story.numbers) <= fields
    assert set(story.steps) <= fields
