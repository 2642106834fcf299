"""``task-translation``: sentences from a parallel grammar of four languages and English.

A sentence and its English translation are built from the same meanings; articles, endings,
agreement, elision and word order follow the rules of the language, so the translation is right by
construction.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from llm_validation.data.builtin.drawing import pick, sentence_case, shuffled, stream
from llm_validation.data.builtin.languages import LANGUAGES, tables, thing_phrase, things_phrase
from llm_validation.data.content import content
from llm_validation.data.dataset import Example

ROWS_PER_LANGUAGE = 130

# What a frame may say of its thing and adjective.
_PHRASES = {
    "a_thing": partial(thing_phrase, definite=False),
    "the_thing": partial(thing_phrase, definite=True),
    "subject": partial(thing_phrase, definite=True, subject=True),
    "things": things_phrase,
}


def _words() -> dict[str, Any]:
    return content(__file__, "translation_task.yaml")


def _sentence(rng: np.random.Generator, frame: dict[str, Any], language: str) -> tuple[str, str]:
    """A sentence of a frame in ``language``, and its English translation."""
    drawn = {name: pick(rng, tables()[table]) for name, table in frame["draws"].items()}
    text, english = (_filled(frame[each], drawn, each) for each in (language, "English"))
    return text, english


def _filled(template: str, drawn: dict[str, dict[str, Any]], language: str) -> str:
    """The sentence of a template with the words that were drawn, in one language."""
    forms = {name: row[language] for name, row in drawn.items()}
    if "thing" in forms:
        thing, adjective = forms["thing"], forms["adjective"]
        forms["it"] = _words()["pronouns"].get(language, {}).get(thing.gender)
        for name, phrase in _PHRASES.items():
            if f"{{{name}}}" in template:
                forms[name] = phrase(language, thing, adjective)
        if "judgment" in forms:
            form = forms["judgment"].agreeing(thing.gender)
            forms["judgment"] = _words()["german_predicate"].get(form, form)
    return sentence_case(template.format_map(forms))


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
