"""``task-reviews``: short reviews, each with its verdict and the reason in one short sentence.

A review praises or blames two sides of its subject, so the verdict is right by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from llm_validation.data.builtin.drawing import (
    equal_rows,
    pick,
    sentence_case,
    shuffled,
    stream,
)
from llm_validation.data.content import content
from llm_validation.data.dataset import Example

ROWS_PER_VERDICT = 160
VERDICTS = ("positive", "negative", "mixed")


@dataclass(frozen=True)
class Subject:
    """What is reviewed: ``things`` it may be called, and the sides it is praised or blamed for.

    A side has two praises and two faults.
    """

    things: tuple[str, ...]
    sides: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


def _words() -> dict:
    return content(__file__, "reviews_task.yaml")


@cache
def subjects() -> tuple[Subject, ...]:
    """Every subject, in order."""
    return tuple(Subject(**parts) for parts in _words()["subjects"])


def _row(rng: np.random.Generator, verdict: str) -> Example:
    words = _words()
    subject = pick(rng, subjects())
    one, other = shuffled(rng, subject.sides)[:2]
    kinds = {"positive": (0, 0), "negative": (1, 1), "mixed": shuffled(rng, (0, 1))}[verdict]
    said = [pick(rng, side[kind]) for side, kind in zip((one, other), kinds, strict=True)]
    known = {
        "thing": pick(rng, subject.things),
        "verdict": verdict,
        "Verdict": sentence_case(verdict),
        "one": said[0],
        "other": said[1],
        "One": sentence_case(said[0]),
        "Other": sentence_case(said[1]),
    }
    shape = "mixed" if verdict == "mixed" else "clear"
    instruction, opening, body, ending = (
        pick(rng, part)
        for part in (
            words["instructions"],
            words["openings"],
            words["bodies"][shape],
            words["endings"][verdict],
        )
    )
    answer = pick(rng, words["answers"][shape]).format_map(known)
    prompt = f"{instruction}\n\n{opening} {body} {ending}".format_map(known)
    return Example.single_turn(prompt, answer, category=verdict)


def examples() -> list[Example]:
    """The rows, every verdict equally often; ``category`` is the verdict."""
    return equal_rows(stream("task-reviews"), VERDICTS, ROWS_PER_VERDICT, _row)
