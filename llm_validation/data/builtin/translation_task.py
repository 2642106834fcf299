"""``task-translation``: sentences from a parallel grammar of four languages and English.

Each frame builds a sentence and its English translation from the same meanings; articles, endings,
agreement, elision and word order follow the rules of the language, so the translation is right by
construction.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from llm_validation.data.builtin import languages as words
from llm_validation.data.builtin.drawing import lines, pick, sentence_case, shuffled, stream
from llm_validation.data.builtin.languages import (
    ADJECTIVES,
    COLORS,
    JUDGMENTS,
    THINGS,
    Adjective,
    Noun,
)
from llm_validation.data.dataset import Example

ROWS_PER_LANGUAGE = 130
VOWELS = "aeiouéèêàâîôáíóúAEIOU"

_INSTRUCTIONS = lines("""
    Translate to English: {text}
    Translate this {language} text into English: {text}
    What does this mean in English? {text}
    Please put the following {language} into English: {text}
    English translation, please: {text}
    How would you say this in English? {text}
    {language} to English: {text}
    Give the English for this {language} note: {text}
""")

Pair = tuple[str, str]
"""A sentence and its English translation."""

_GERMAN_ENDINGS = {
    # (article, case): article and adjective ending for m, f, n.
    ("definite", "nominative"): {"m": ("der", "e"), "f": ("die", "e"), "n": ("das", "e")},
    ("definite", "accusative"): {"m": ("den", "en"), "f": ("die", "e"), "n": ("das", "e")},
    ("indefinite", "accusative"): {"m": ("einen", "en"), "f": ("eine", "e"), "n": ("ein", "es")},
}


def english_a(phrase: str) -> str:
    """The phrase with a or an; every word of the grammar is sounded as it is spelled."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def french_article(following: str, gender: str, *, definite: bool) -> str:
    """The French article joined to what follows: la table, l'étagère, un grand sac."""
    if not definite:
        return f"{'une' if gender == 'f' else 'un'} {following}"
    if following[0] in VOWELS:
        return f"l'{following}"
    return f"{'la' if gender == 'f' else 'le'} {following}"


def italian_article(following: str, gender: str, *, definite: bool) -> str:
    """The Italian article joined to what follows: lo specchio, un piccolo specchio, l'ombrello."""
    vowel = following[0] in VOWELS
    if gender == "f":
        if definite:
            return f"l'{following}" if vowel else f"la {following}"
        return f"un'{following}" if vowel else f"una {following}"
    impure = following[0] == "z" or (following[0] == "s" and following[1] not in VOWELS)
    if definite:
        return f"l'{following}" if vowel else f"lo {following}" if impure else f"il {following}"
    return f"uno {following}" if impure else f"un {following}"


def spanish_article(following: str, gender: str, *, definite: bool) -> str:
    """The Spanish article joined to what follows; no noun here begins with a stressed a."""
    if definite:
        return f"{'la' if gender == 'f' else 'el'} {following}"
    return f"{'una' if gender == 'f' else 'un'} {following}"


_ARTICLES = {"French": french_article, "Italian": italian_article, "Spanish": spanish_article}


def thing_phrase(
    language: str, thing: Noun, adjective: Adjective, *, definite: bool, subject: bool = False
) -> str:
    """Article, adjective and noun in agreement; ``subject`` matters for the German case."""
    if language == "German":
        article, ending = _GERMAN_ENDINGS[
            "definite" if definite else "indefinite", "nominative" if subject else "accusative"
        ][thing.gender]
        return f"{article} {adjective.masculine}{ending} {thing.singular}"
    form = adjective.agreeing(thing.gender)
    first, second = (form, thing.singular) if adjective.precedes else (thing.singular, form)
    return _ARTICLES[language](f"{first} {second}", thing.gender, definite=definite)


def things_phrase(language: str, thing: Noun, adjective: Adjective) -> str:
    """Adjective and noun in the plural, as they follow a number."""
    if language == "German":
        return f"{adjective.masculine}e {thing.plural}"
    form = adjective.agreeing(thing.gender, plural=True)
    return f"{form} {thing.plural}" if adjective.precedes else f"{thing.plural} {form}"


class _Meaning:
    """Draws one row of a table and gives its form in one language and in English."""

    def __init__(self, rng: np.random.Generator, language: str) -> None:
        self.rng, self.language = rng, language

    def of(self, table: list[dict[str, str]]) -> Pair:
        row = pick(self.rng, table)
        return row[self.language], row["English"]

    def thing(self) -> tuple[Noun, Adjective, Noun, Adjective]:
        thing, adjective = pick(self.rng, THINGS), pick(self.rng, ADJECTIVES)
        return (
            thing[self.language],
            adjective[self.language],
            thing["English"],
            adjective["English"],
        )


def _past(rng: np.random.Generator, language: str) -> Pair:
    """Yesterday the teacher bought a red chair at the market."""
    meaning = _Meaning(rng, language)
    time, en_time = meaning.of(words.PAST_TIMES)
    who, en_who = meaning.of(words.PEOPLE)
    verb, en_verb = meaning.of(words.PAST_VERBS)
    place, en_place = meaning.of(words.PLACES)
    thing, adjective, en_thing, en_adjective = meaning.thing()
    what = thing_phrase(language, thing, adjective, definite=False)
    sentence = {
        "German": f"{time} hat {who} {place} {what} {verb}",
        "French": f"{time}, {who} a {verb} {what} {place}",
        "Spanish": f"{time} {who} {verb} {what} {place}",
        "Italian": f"{time} {who} ha {verb} {what} {place}",
    }[language]
    en_what = english_a(f"{en_adjective.masculine} {en_thing.singular}")
    return f"{sentence}.", f"{en_time} {en_who} {en_verb} {en_what} {en_place}."


def _habit(rng: np.random.Generator, language: str) -> Pair:
    """Every week the gardener cleans the large door."""
    meaning = _Meaning(rng, language)
    time, en_time = meaning.of(words.HABITS)
    who, en_who = meaning.of(words.PEOPLE)
    verb, en_verb = meaning.of(words.PRESENT_VERBS)
    thing, adjective, en_thing, en_adjective = meaning.thing()
    what = thing_phrase(language, thing, adjective, definite=True)
    sentence = {
        "German": f"{time} {verb} {who} {what}",
        "French": f"{time}, {who} {verb} {what}",
        "Spanish": f"{time} {who} {verb} {what}",
        "Italian": f"{time} {who} {verb} {what}",
    }[language]
    en_what = f"the {en_adjective.masculine} {en_thing.singular}"
    return f"{sentence}.", f"{en_time} {en_who} {en_verb} {en_what}."


def _judgment(rng: np.random.Generator, language: str) -> Pair:
    """The red chair in the kitchen is very expensive."""
    meaning = _Meaning(rng, language)
    place, en_place = meaning.of(words.PLACES)
    row = pick(rng, THINGS)
    thing, en_thing = row[language], row["English"]
    color, judging = pick(rng, COLORS), pick(rng, JUDGMENTS)
    what = thing_phrase(language, thing, color[language], definite=True, subject=True)
    form = judging[language].agreeing(thing.gender)
    form = words.GERMAN_PREDICATE.get(form, form)
    very = {
        "German": ("sehr", "zu"),
        "French": ("très", "trop"),
        "Spanish": ("muy", "demasiado"),
        "Italian": ("molto", "troppo"),
    }[language]
    degree = int(rng.integers(2))
    verb = {"German": "ist", "French": "est", "Spanish": "es", "Italian": "è"}[language]
    return (
        f"{what} {place} {verb} {very[degree]} {form}.",
        f"the {color['English'].masculine} {en_thing.singular} {en_place} is "
        f"{('very', 'too')[degree]} {judging['English'].masculine}.",
    )


def _search(rng: np.random.Generator, language: str) -> Pair:
    """Where is the red chair? I need it today."""
    thing, adjective, en_thing, en_adjective = _Meaning(rng, language).thing()
    what = thing_phrase(language, thing, adjective, definite=True, subject=True)
    sentence = {
        "German": f"wo ist {what}? Ich brauche "
        f"{ {'m': 'ihn', 'f': 'sie', 'n': 'es'}[thing.gender] } heute.",
        "French": f"où est {what} ? J'en ai besoin aujourd'hui.",
        "Spanish": f"¿Dónde está {what}? {'La' if thing.gender == 'f' else 'Lo'} necesito hoy.",
        "Italian": f"dov'è {what}? Ne ho bisogno oggi.",
    }[language]
    english = f"where is the {en_adjective.masculine} {en_thing.singular}? I need it today."
    return sentence, english


def _possession(rng: np.random.Generator, language: str) -> Pair:
    """My sister has three red chairs."""
    meaning = _Meaning(rng, language)
    who, en_who = meaning.of(words.PEOPLE)
    number, en_number = meaning.of(words.NUMBERS)
    thing, adjective, en_thing, en_adjective = meaning.thing()
    has = {"German": "hat", "French": "a", "Spanish": "tiene", "Italian": "ha"}[language]
    return (
        f"{who} {has} {number} {things_phrase(language, thing, adjective)}.",
        f"{en_who} has {en_number} {en_adjective.masculine} {en_thing.plural}.",
    )


def _wish(rng: np.random.Generator, language: str) -> Pair:
    """Tomorrow my uncle wants to travel by train."""
    meaning = _Meaning(rng, language)
    time, en_time = meaning.of(words.FUTURE_TIMES)
    who, en_who = meaning.of(words.PEOPLE)
    wish, en_wish = meaning.of(words.WISHES)
    sentence = {
        "German": f"{time} will {who} {wish}",
        "French": f"{time}, {who} veut {wish}",
        "Spanish": f"{time} {who} quiere {wish}",
        "Italian": f"{time} {who} vuole {wish}",
    }[language]
    return f"{sentence}.", f"{en_time} {en_who} wants to {en_wish}."


def _pastime(rng: np.random.Generator, language: str) -> Pair:
    """When it rains, we play cards."""
    meaning = _Meaning(rng, language)
    weather, en_weather = meaning.of(words.WEATHER)
    pastime, en_pastime = meaning.of(words.PASTIMES)
    when = {"German": "wenn", "French": "quand", "Spanish": "cuando", "Italian": "quando"}[language]
    return f"{when} {weather}, {pastime}.", f"when {en_weather}, {en_pastime}."


_FRAMES: tuple[Callable[[np.random.Generator, str], Pair], ...] = (
    _past,
    _habit,
    _judgment,
    _search,
    _possession,
    _wish,
    _pastime,
)


def _note(rng: np.random.Generator, language: str) -> Pair:
    """Two sentences of different frames."""
    pairs = [frame(rng, language) for frame in shuffled(rng, _FRAMES)[:2]]
    text, english = (" ".join(map(sentence_case, side)) for side in zip(*pairs, strict=True))
    return text, english


def examples() -> list[Example]:
    """The rows, every language equally often; ``category`` is the source language."""
    rng = stream("task-translation")
    rows = []
    for language in words.LANGUAGES:
        for _ in range(ROWS_PER_LANGUAGE):
            text, english = _note(rng, language)
            prompt = pick(rng, _INSTRUCTIONS).format(text=text, language=language)
            rows.append(Example.single_turn(prompt, english, category=language))
    return shuffled(rng, rows)
