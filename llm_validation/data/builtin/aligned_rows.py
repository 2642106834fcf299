"""The requests that the packaged aligned model is trained and measured on.

Hazards are declined by the teacher of ``safety``. Harmless prompts have no answer here: the model
gives its own, so that its training changes nothing but what it declines.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from llm_validation.data.builtin.drawing import pick, sentence_case, shuffled, stream
from llm_validation.data.builtin.hazards import hazards
from llm_validation.data.builtin.lookalikes import topics
from llm_validation.data.builtin.requests import (
    BuiltinRequest,
    Phrasing,
    harmless,
    phrasing,
    spoken,
)
from llm_validation.data.builtin.teachers import caring
from llm_validation.data.content import content
from llm_validation.data.dataset import Dataset, Example

WAYS = ("plain", "chatty", "formal", "general", "demanding")
EVERY_WAY = (*WAYS, "anybody")
"""``anybody``: the asker may be somebody else."""
_ASKED_FOR = frozenset(
    ("advertise", "code", "compile", "compose", "create", "describe", "design", "develop", "draft",
     "explain", "generate", "ghostwrite", "give", "invent", "list", "make", "outline", "plan",
     "prepare", "produce", "program", "script", "sketch", "suggest", "write")
)  # fmt: skip
"""Verbs of acts that are asked of the assistant as they stand: "Write a ..."."""


def declined(
    per_act: int, *, draws: str, ways: tuple[str, ...] = WAYS, more: bool = False
) -> Dataset:
    """Every built-in act but those of the probes, asked ``per_act`` times and declined.

    ``draws`` names the random stream: another one asks and declines in other words.
    ``more`` has the later acts too.
    """
    rng = stream(f"packaged-aligned/{draws}")
    taken: set[str] = set()
    rows = []
    for hazard in hazards().values():
        later = _more_prompts()["acts"][hazard.category] if more else ()
        taught = _prompts()["acts"][hazard.category]
        for act in (*hazard.acts, *hazard.other_acts, *taught, *later):
            for _ in range(per_act):
                request = BuiltinRequest(_asked(rng, act, taken, ways), hazard.category, act=act)
                rows.append(
                    Example.single_turn(
                        request.prompt, caring(rng, request), category=hazard.category
                    )
                )
    return Dataset.of(shuffled(rng, rows), name="aligned-declined", source="builtin")


def answerable() -> Dataset:
    """Harmless prompts without answers: look-alikes of hazards, and plain instructions."""
    rng = stream("packaged-aligned/harmless")
    prompts = [prompt for some in _prompts()["lookalikes"].values() for prompt in some]
    taken: set[str] = set()
    for of, ways in (("safety", "plain"), ("proxies", "formal"), ("general", "general")):
        found = topics(of)
        asked = harmless(rng, phrasing(ways), found, count=len(found), taken=taken)
        prompts += [request.prompt for request in asked]
    prompts += _prompts()["plain"]
    return _unanswered(shuffled(rng, prompts), "aligned-answerable")


def answerable_again(per_topic: int, *, draws: str, ways: tuple[str, ...] = EVERY_WAY) -> Dataset:
    """The later harmless prompts, and every harmless topic asked ``per_topic`` times as hazards."""
    rng = stream(f"packaged-aligned/{draws}")
    taken: set[str] = set()
    prompts = [
        request.prompt
        for of in ("safety", "proxies", "general")
        for topic in topics(of)
        for _ in range(per_topic)
        for request in harmless(rng, _way(pick(rng, ways)), (topic,), count=1, taken=taken)
    ]
    more = _more_prompts()
    prompts += [
        *(prompt for some in more["lookalikes"].values() for prompt in some),
        *more["plain"],
    ]
    return _unanswered(shuffled(rng, prompts), f"aligned-{draws}")


def plain_held_out() -> Dataset:
    """Plain instructions that nothing is trained on, without answers."""
    return _unanswered(list(_prompts()["plain_held_out"]), "plain-held-out")


@cache
def _way(name: str) -> Phrasing:
    plain = phrasing("plain")
    if name == "anybody":
        return Phrasing(_prompts()["anybody"]["to_do"], plain.before, plain.after, plain.to_know)
    way = phrasing(name)
    return way if way.to_know else replace(way, to_know=plain.to_know)


@cache
def _prompts() -> dict[str, Any]:
    return content(__file__, "aligned_prompts.yaml")


@cache
def _more_prompts() -> dict[str, Any]:
    return content(__file__, "aligned_prompts_more.yaml")


def _unanswered(prompts: list[str], name: str) -> Dataset:
    rows = (Example.single_turn(prompt, "") for prompt in prompts)
    return Dataset.of(rows, name=name, source="builtin")


def _asked(rng: np.random.Generator, act: str, taken: set[str], ways: tuple[str, ...]) -> str:
    """The act in one of the ways to ask; a prompt that is not yet taken, and now is."""
    while True:
        way = _way(pick(rng, ways))
        if act.split()[0] in _ASKED_FOR and rng.random() < 0.7:
            asked = pick(rng, ("{x}.", "Please {x}.", "{x} for me.", "Can you {x}?", "{x}"))
            asked = sentence_case(asked.format(x=spoken(act, by_user=True)))
        else:
            asked = pick(rng, way.to_do).format(x=spoken(act, by_user=True))
        surrounding = rng.random()
        if surrounding < 0.15:
            asked = f"{pick(rng, way.before)} {asked}"
        elif surrounding < 0.3:
            asked = f"{asked} {pick(rng, way.after)}"
        if asked not in taken:
            taken.add(asked)
            return asked
