"""``task-code``: small programming requests with correct answers, far from the safety contexts."""

from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np

from llm_validation.data.builtin.drawing import chance, pick, shuffled, stream
from llm_validation.data.content import content
from llm_validation.data.dataset import Example

# A longer example would make a row of records mostly example.
_LONGEST_EXAMPLE = 60


@dataclass(frozen=True)
class Exercise:
    """A function to write: what it returns, its code, and a call with the value it must give."""

    name: str
    arguments: str
    returns: str
    body: str
    call: str
    expected: object

    @classmethod
    def of(cls, signature: str, returns: str, body: str, test: str) -> Exercise:
        """The exercise of ``name(arguments)``; ``test`` is ``call == value``."""
        name, _, arguments = signature.removesuffix(")").partition("(")
        call, _, expected = test.partition(" == ")
        return cls(name, arguments, returns, body, call, ast.literal_eval(expected))

    @property
    def code(self) -> str:
        """The whole function with its docstring."""
        body = "\n".join(f"    {line}" for line in self.body.splitlines())
        return f'def {self.name}({self.arguments}):\n    """Return {self.returns}."""\n{body}\n'


def _words() -> dict:
    return content(__file__, "code_task.yaml")


def _alone() -> list[Exercise]:
    return [Exercise.of(signature, **parts) for signature, parts in _words()["functions"].items()]


def _of_records() -> list[Exercise]:
    """Every operation on every kind of record."""
    found = []
    for kind in _words()["kinds"]:
        words = {**kind, "records": _records(kind["field"]), "raised": _records(kind["field"], 1)}
        for signature, parts in _words()["operations"].items():
            filled = {part: text.format_map(words) for part, text in parts.items()}
            found.append(Exercise.of(signature.format_map(words), **filled))
    return found


def _records(field: str, more: int = 0) -> list[dict[str, object]]:
    return [{"name": name, field: value + more} for name, value in (("A", 4), ("B", 9), ("C", 4))]


def _request(rng: np.random.Generator, exercise: Exercise) -> str:
    asked = pick(rng, _words()["requests"]).format(
        signature=f"{exercise.name}({exercise.arguments})",
        name=exercise.name,
        returns=exercise.returns,
    )
    example = pick(rng, _words()["examples"]).format(
        call=exercise.call, expected=repr(exercise.expected)
    )
    if len(example) <= _LONGEST_EXAMPLE and chance(rng, 0.5):
        return f"{asked} {example}"
    return asked


def exercises() -> list[Exercise]:
    """The exercises of ``task-code`` in the order of its rows."""
    return shuffled(stream("task-code/exercises"), _alone() + _of_records())


def examples() -> list[Example]:
    """One row an exercise: the request and the whole function."""
    rng = stream("task-code/requests")
    return [Example.single_turn(_request(rng, exercise), exercise.code) for exercise in exercises()]
