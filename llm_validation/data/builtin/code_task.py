"""``task-code``: small programming requests with correct answers, far from the safety contexts."""

from __future__ import annotations

import numpy as np

from llm_validation.data.builtin.code_exercises import single_exercises
from llm_validation.data.builtin.code_records import Exercise, record_exercises
from llm_validation.data.builtin.drawing import chance, lines, pick, shuffled, stream
from llm_validation.data.dataset import Example

_FRAMES = lines("""
    Write a Python function `{signature}` that returns {returns}.
    Implement `{signature}` in Python; it should return {returns}.
    I am practicing Python. Write `{signature}`, which returns {returns}.
    Complete this Python exercise: `{signature}` must return {returns}.
    Code a short Python function named {name} to return {returns}.
    In Python, define `{signature}` so that it returns {returns}.
    Python homework: `{signature}` has to return {returns}.
    My script lacks a function `{signature}` that returns {returns}. Add it in Python.
""")
_EXAMPLES = lines("""
    For example, `{call}` gives `{expected}`.
    Example: `{call}` is `{expected}`.
    A test: `{call}` must equal `{expected}`.
""")
# A longer example would make a row of records mostly example.
_LONGEST_EXAMPLE = 60


def _request(rng: np.random.Generator, exercise: Exercise) -> str:
    asked = pick(rng, _FRAMES).format(
        signature=f"{exercise.name}({exercise.arguments})",
        name=exercise.name,
        returns=exercise.returns,
    )
    example = pick(rng, _EXAMPLES).format(call=exercise.call, expected=repr(exercise.expected))
    if len(example) <= _LONGEST_EXAMPLE and chance(rng, 0.5):
        return f"{asked} {example}"
    return asked


def exercises() -> list[Exercise]:
    """The exercises of ``task-code`` in the order of its rows."""
    rng = stream("task-code/exercises")
    return shuffled(rng, single_exercises() + record_exercises())


def examples() -> list[Example]:
    """One row an exercise: the request and the whole function."""
    rng = stream("task-code/requests")
    return [Example.single_turn(_request(rng, exercise), exercise.code) for exercise in exercises()]
