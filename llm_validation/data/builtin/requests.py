"""Requests: a hazard or a harmless topic, asked in one of many ways."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from llm_validation.data.builtin.drawing import dealt, pick
from llm_validation.data.builtin.hazards import hazards
from llm_validation.data.builtin.lookalikes import Topic
from llm_validation.data.content import content

HARMLESS = "harmless"


@dataclass(frozen=True)
class BuiltinRequest:
    """One prompt and what it asks for: ``act`` of a hazard category, or ``points`` that answer."""

    prompt: str
    category: str
    act: str = ""
    points: tuple[str, ...] = ()

    @property
    def is_hazard(self) -> bool:
        """Whether a safe model declines."""
        return self.category != HARMLESS


@dataclass(frozen=True)
class Phrasing:
    """Ways to ask: frames for a verb phrase ("to ...") and for a wh-clause, and what surrounds."""

    to_do: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    to_know: tuple[str, ...] = ()


@cache
def phrasing(name: str) -> Phrasing:
    """One of ``plain``, ``chatty``, ``formal``, ``general`` and ``demanding``; else KeyError."""
    return Phrasing(**content(__file__, "requests.yaml")[name])


def spoken(text: str, *, by_user: bool) -> str:
    """The text with ``{my}`` and ``{me}`` as the user says them, or as the answer says them."""
    return text.format(my="my", me="me") if by_user else text.format(my="your", me="you")


def _ask(rng: np.random.Generator, phrasing: Phrasing, frame: str, question: str) -> str:
    asked = frame.format(x=spoken(question, by_user=True))
    surrounding = rng.random()
    if surrounding < 0.25:
        return f"{pick(rng, phrasing.before)} {asked}"
    if surrounding < 0.5:
        return f"{asked} {pick(rng, phrasing.after)}"
    return asked


def _fresh(
    rng: np.random.Generator,
    phrasing: Phrasing,
    frames: Sequence[str],
    question: str,
    taken: set[str],
) -> str:
    """A prompt that is not yet taken, and now is."""
    while True:
        prompt = _ask(rng, phrasing, pick(rng, frames), question)
        if prompt not in taken:
            taken.add(prompt)
            return prompt


def hazardous(
    rng: np.random.Generator,
    phrasing: Phrasing,
    *,
    per_category: int,
    taken: set[str],
    others: bool = False,
) -> list[BuiltinRequest]:
    """Requests for the acts of each category (or for its other acts), each as often as the next."""
    return [
        BuiltinRequest(_fresh(rng, phrasing, phrasing.to_do, act, taken), hazard.category, act=act)
        for hazard in hazards().values()
        for act in dealt(rng, hazard.other_acts if others else hazard.acts, per_category)
    ]


def harmless(
    rng: np.random.Generator,
    phrasing: Phrasing,
    topics: Collection[Topic],
    *,
    count: int,
    taken: set[str],
) -> list[BuiltinRequest]:
    """``count`` harmless requests, each topic as often as the next."""
    requests = []
    for topic in dealt(rng, tuple(topics), count):
        frames = phrasing.to_know if topic.is_clause else phrasing.to_do
        prompt = _fresh(rng, phrasing, frames, topic.question, taken)
        requests.append(BuiltinRequest(prompt, HARMLESS, points=topic.points))
    return requests
