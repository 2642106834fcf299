"""``task-dialogue``: short conversations of two people, each with a summary in one sentence.

A scene fixes the facts; several wordings of every turn and of the summary state them, so a summary
is right by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from llm_validation.data.builtin.drawing import equal_rows, pick, shuffled, stream
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


def facts(rng: np.random.Generator, slots: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """What the fields of a scene stand for: people A, B and C, and ``slots`` as in ``Scene``."""
    found: dict[str, str] = {}
    for letter, person in zip("ABC", shuffled(rng, people()), strict=False):
        found[letter] = person.name
        found |= {f"{letter}_{word}": getattr(person, word) for word in ("he", "his", "him")}
    for slot, options in slots.items():
        names = slot.split()
        chosen = pick(rng, options).split("/")
        if len(chosen) < len(names):
            chosen = shuffled(rng, options)[: len(names)]
        found |= {name: text.format_map(found) for name, text in zip(names, chosen, strict=True)}
    return found


def _row(rng: np.random.Generator, scene: Scene) -> Example:
    known = facts(rng, scene.slots)
    turns = [
        f"{known['AB'[number % 2]]}: {pick(rng, wordings).format_map(known)}"
        for number, wordings in enumerate(scene.turns)
    ]
    prompt = "\n".join([pick(rng, _words()["instructions"]), "", *turns])
    summary = pick(rng, scene.summaries).format_map(known)
    return Example.single_turn(prompt, summary, category=scene.name)


def examples() -> list[Example]:
    """The rows, every scene equally often; ``category`` is the scene."""
    return equal_rows(stream("task-dialogue"), scenes(), ROWS_PER_SCENE, _row)
