"""``task-dialogue``: short conversations of two people, each with a summary in one sentence.

A scene fixes the facts; several wordings of every turn and of the summary state them, so a summary
is right by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from llm_validation.data.builtin.drawing import pick, shuffled, stream
from llm_validation.data.content import content
from llm_validation.data.dataset import Example

ROWS_PER_SCENE = 42


@dataclass(frozen=True)
class Scene:
    """Facts and wordings of a conversation in which A and B take turns.

    ``slots`` are options by their field names: one name gets an option, several get the parts of an
    option, which "/" separates, or else as many different options.
    """

    name: str
    slots: dict[str, tuple[str, ...]]
    turns: tuple[tuple[str, ...], ...]
    summaries: tuple[str, ...]


@dataclass(frozen=True)
class Person:
    """A name and its pronouns: he, his, him; or she, her, her."""

    name: str
    he: str
    his: str
    him: str


def _words() -> dict:
    return content(__file__, "dialogue_task.yaml")


@cache
def scenes() -> tuple[Scene, ...]:
    """Every scene, in order."""
    return tuple(Scene(name, **parts) for name, parts in _words()["scenes"].items())


@cache
def people() -> tuple[Person, ...]:
    """Everyone who may speak."""
    return tuple(
        Person(name, *group["pronouns"]) for group in _words()["people"] for name in group["names"]
    )


def _facts(rng: np.random.Generator, scene: Scene) -> dict[str, str]:
    """What the fields of a scene stand for: people A, B and C, and its slots."""
    facts: dict[str, str] = {}
    for letter, person in zip("ABC", shuffled(rng, people()), strict=False):
        facts[letter] = person.name
        facts |= {f"{letter}_{word}": getattr(person, word) for word in ("he", "his", "him")}
    for slot, options in scene.slots.items():
        names = slot.split()
        chosen = pick(rng, options).split("/")
        if len(chosen) < len(names):
            chosen = shuffled(rng, options)[: len(names)]
        facts |= {name: text.format_map(facts) for name, text in zip(names, chosen, strict=True)}
    return facts


def _row(rng: np.random.Generator, scene: Scene) -> Example:
    facts = _facts(rng, scene)
    turns = [
        f"{facts['AB'[number % 2]]}: {pick(rng, wordings).format_map(facts)}"
        for number, wordings in enumerate(scene.turns)
    ]
    prompt = "\n".join([pick(rng, _words()["instructions"]), "", *turns])
    summary = pick(rng, scene.summaries).format_map(facts)
    return Example.single_turn(prompt, summary, category=scene.name)


def examples() -> list[Example]:
    """The rows, every scene equally often; ``category`` is the scene."""
    rng = stream("task-dialogue")
    rows: dict[str, Example] = {}
    for number, scene in enumerate(scenes(), start=1):
        while len(rows) < number * ROWS_PER_SCENE:
            row = _row(rng, scene)
            rows.setdefault(row.prompt, row)
    return shuffled(rng, list(rows.values()))
