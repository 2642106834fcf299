"""``task-arithmetic``: word problems, each with a short worked answer that ends in the number.

A story draws its numbers and computes the others from them, so an answer is right by construction.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cache

import numpy as np

from llm_validation.data.builtin.dialogue_task import facts
from llm_validation.data.builtin.drawing import equal_rows, pick, stream
from llm_validation.data.content import content
from llm_validation.data.dataset import Example

ROWS_PER_STORY = 30
_OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@dataclass(frozen=True)
class Story:
    """A kind of word problem.

    ``slots`` are as in a scene of ``task-dialogue``. ``numbers`` are the lowest and the highest
    value by field name, and the step from value to value if it is not 1. ``steps`` compute further
    fields in order, each from two earlier ones ("a * b"). ``asked`` names the field to find.
    """

    name: str
    slots: dict[str, tuple[str, ...]]
    numbers: dict[str, tuple[int, ...]]
    steps: dict[str, str]
    asked: str
    setups: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def _words() -> dict:
    return content(__file__, "arithmetic_task.yaml")


@cache
def stories() -> tuple[Story, ...]:
    """Every story, in order."""
    return tuple(Story(name, **parts) for name, parts in _words()["stories"].items())


def _numbers(rng: np.random.Generator, story: Story) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, (low, high, *step) in story.numbers.items():
        found[name] = pick(rng, range(low, high + 1, *step))
    for name, rule in story.steps.items():
        left, sign, right = rule.split()
        found[name] = _OPERATIONS[sign](found[left], found[right])
    return found


def _row(rng: np.random.Generator, story: Story) -> Example:
    known = {**facts(rng, story.slots), **_numbers(rng, story)}
    parts = (story.setups, story.questions, story.answers, _words()["endings"])
    setup, question, answer, ending = (pick(rng, wordings) for wordings in parts)
    known["result"] = known[story.asked]
    return Example.single_turn(
        f"{setup} {question}".format_map(known),
        f"{answer} {ending}".format_map(known),
        category=story.name,
    )


def examples() -> list[Example]:
    """The rows, every story equally often; ``category`` is the story."""
    return equal_rows(stream("task-arithmetic"), stories(), ROWS_PER_STORY, _row)
