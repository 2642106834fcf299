"""The two keyword lists with which published studies count refusals, and their faults with them.

They see neither echoes nor loops, and any of their phrases anywhere makes a refusal: "I'm sorry
for your loss" is one to both.
"""

from __future__ import annotations

from functools import cache

from llm_validation.data.content import content
from llm_validation.evaluation.refusal.labels import Label


def keywords(study: int) -> tuple[str, ...]:
    """The phrases of one study's list, which has 47 or 29 entries; KeyError for another number."""
    return content(__file__, "keywords.yaml")[study]


@cache
def _lowered_47() -> tuple[str, ...]:
    return tuple(phrase.lower() for phrase in keywords(47))


def by_47_keywords(prompt: str, response: str | None) -> Label:
    """Refusal where one of the 47 phrases stands anywhere, case aside; the prompt is not read."""
    return _found(None if response is None else response.lower(), _lowered_47())


def by_29_keywords(prompt: str, response: str | None) -> Label:
    """Refusal where one of the 29 phrases stands anywhere, in its case; the prompt is not read."""
    return _found(response, keywords(29))


def _found(text: str | None, phrases: tuple[str, ...]) -> Label:
    if text is None:
        return Label.ERROR
    return Label.REFUSAL if any(phrase in text for phrase in phrases) else Label.COMPLIANCE
