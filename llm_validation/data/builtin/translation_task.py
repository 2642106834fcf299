"""``task-translation``: sentences from a parallel grammar of four languages and English.

A sentence and its English translation are built from the same meanings; articles, endings,
agreement, elision and word order follow the rules of the language, so the translation is right by
construction.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from llm_validation.data.builtin.drawing import pick, sentence_case, shuffled, stream
from llm_validation.data.builtin.languages import LANGUAGES, tables, thing_phrase, things_phrase
from llm_validation.data.content import content
from llm_validation.data.dataset import Example

ROWS_PER_LANGUAGE = 130


def _words() -> dict[str, Any]:
    return content(__file__, "translation_task.yaml")


def _sentence(rng: np.random.Generator, frame: dict[str, Any], language: str) -> tuple[str, str]:
    """A sentence of a frame in ``language``, and its English translation."""
    drawn = {name: pick(rng, tables()[table]) for name, table in frame["draws"].items()}
    text, english = (
        sentence_case(frame[each].format_map(_forms(drawn, each))) for each in (language, "English")
    )
    return text, english


def _forms(drawn: dict[str, dict[str, Any]], language: str) -> dict[str, str]:
    """What the fields of a frame stand for in one language."""
    forms = {name: row[language] for name, row in drawn.items()}
    if "thing" not in forms:
        return forms
    thing, adjective = forms["thing"], forms["adjective"]
    if "judgment" in forms:
        form = forms["judgment"].agreeing(thing.gender)
        forms["judgment"] = _words()["german_predicate"].get(form, form)
    return forms | {
        "a_thing": thing_phrase(language, thing, adjective, definite=False),
        "the_thing": thing_phrase(language, thing, adjective, definite=True),
        "subject": thing_phrase(language, thing, adjective, definite=True, subject=True),
        "things": things_phrase(language, thing, adjective),
        "it": _words()["pronouns"].get(language, {}).get(thing.gender, ""),
    }


def _note(rng: np.random.Generator, language: str) -> tuple[str, str]:
    """Two sentences of different frames, and their translation."""
    frames = shuffled(rng, _words()["sentences"])[:2]
    text, english = zip(*(_sentence(rng, frame, language) for frame in frames), strict=True)
    return " ".join(text), " ".join(english)


def examples() -> list[Example]:
    """The rows, every language equally often; ``category`` is the source language."""
    rng = stream("task-translation")
    rows = []
    for language in LANGUAGES:
        for _ in range(ROWS_PER_LANGUAGE):
            text, english = _note(rng, language)
            prompt = pick(rng, _words()["instructions"]).format(text=text, language=language)
            rows.append(Example.single_turn(prompt, english, category=language))
    return shuffled(rng, rows)
