"""Nouns, adjectives and their articles in English, German, French, Spanish and Italian."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from llm_validation.data.content import content

LANGUAGES = ("German", "French", "Spanish", "Italian")
_VOWELS = "aeiouéèêàâîôáíóúAEIOU"
_GERMAN_ENDINGS = {
    # (article, case): article and adjective ending for m, f, n.
    ("definite", "nominative"): {"m": ("der", "e"), "f": ("die", "e"), "n": ("das", "e")},
    ("definite", "accusative"): {"m": ("den", "en"), "f": ("die", "e"), "n": ("das", "e")},
    ("indefinite", "accusative"): {"m": ("einen", "en"), "f": ("eine", "e"), "n": ("ein", "es")},
}


@dataclass(frozen=True)
class Noun:
    """A thing in one language: gender (m, f or n), singular and plural."""

    gender: str
    singular: str
    plural: str

    @classmethod
    def of(cls, cell: str) -> Noun:
        """The noun of a cell such as ``m Stuhl Stühle``."""
        return cls(*cell.split(" ", 2))


@dataclass(frozen=True)
class Adjective:
    """An adjective in one language: masculine and feminine, singular and plural.

    German holds its stem in all four forms; ``precedes`` says that it stands before the noun.
    """

    masculine: str
    feminine: str
    masculine_plural: str
    feminine_plural: str
    precedes: bool = False

    @classmethod
    def of(cls, cell: str) -> Adjective:
        """The adjective of a cell: one form, or four; "<" stands before its noun."""
        forms = cell.removeprefix("<").split()
        return cls(*(forms * 4 if len(forms) == 1 else forms), precedes=cell.startswith("<"))

    def agreeing(self, gender: str, *, plural: bool = False) -> str:
        """The form for a masculine (m) or feminine (f) noun."""
        if gender == "f":
            return self.feminine_plural if plural else self.feminine
        return self.masculine_plural if plural else self.masculine


_MAKES = {"things": Noun.of, "colors": Adjective.of, "judgments": Adjective.of}


@cache
def tables() -> dict[str, tuple[dict[str, Any], ...]]:
    """The tables of words; a row is one meaning, by language.

    Of ``things`` the cells are nouns, of ``colors``, ``judgments`` and (both together)
    ``adjectives`` they are adjectives, else texts.
    """
    found: dict[str, tuple[dict[str, Any], ...]] = {
        name: tuple(
            dict(zip(("English", *LANGUAGES), map(_MAKES.get(name, str), row), strict=True))
            for row in rows
        )
        for name, rows in content(__file__, "translation_task.yaml")["tables"].items()
    }
    return found | {"adjectives": found["colors"] + found["judgments"]}


def _english_article(following: str, gender: str, *, definite: bool) -> str:
    """The, a or an; every word of the grammar is sounded as it is spelled."""
    if definite:
        return f"the {following}"
    return f"{'an' if following[0] in 'aeiou' else 'a'} {following}"


def _french_article(following: str, gender: str, *, definite: bool) -> str:
    """The French article joined to what follows: la table, l'étagère, un grand sac."""
    if not definite:
        return f"{'une' if gender == 'f' else 'un'} {following}"
    if following[0] in _VOWELS:
        return f"l'{following}"
    return f"{'la' if gender == 'f' else 'le'} {following}"


def _italian_article(following: str, gender: str, *, definite: bool) -> str:
    """The Italian article joined to what follows: lo specchio, un piccolo specchio, l'ombrello."""
    vowel = following[0] in _VOWELS
    if gender == "f":
        if definite:
            return f"l'{following}" if vowel else f"la {following}"
        return f"un'{following}" if vowel else f"una {following}"
    impure = following[0] == "z" or (following[0] == "s" and following[1] not in _VOWELS)
    if definite:
        return f"l'{following}" if vowel else f"lo {following}" if impure else f"il {following}"
    return f"uno {following}" if impure else f"un {following}"


def _spanish_article(following: str, gender: str, *, definite: bool) -> str:
    """The Spanish article joined to what follows; no noun here begins with a stressed a."""
    if definite:
        return f"{'la' if gender == 'f' else 'el'} {following}"
    return f"{'una' if gender == 'f' else 'un'} {following}"


_ARTICLES = {
    "English": _english_article,
    "French": _french_article,
    "Italian": _italian_article,
    "Spanish": _spanish_article,
}


def thing_phrase(
    language: str, thing: Noun, adjective: Adjective, *, definite: bool, subject: bool = False
) -> str:
    """Article, adjective and noun in agreement; ``subject`` matters for the German case."""
    if language == "German":
        article, ending = _GERMAN_ENDINGS[
            "definite" if definite else "indefinite", "nominative" if subject else "accusative"
        ][thing.gender]
        return f"{article} {adjective.masculine}{ending} {thing.singular}"
    joined = _joined(language, thing.singular, adjective, adjective.agreeing(thing.gender))
    return _ARTICLES[language](joined, thing.gender, definite=definite)


def things_phrase(language: str, thing: Noun, adjective: Adjective) -> str:
    """Adjective and noun in the plural, as they follow a number."""
    if language == "German":
        return f"{adjective.masculine}e {thing.plural}"
    form = adjective.agreeing(thing.gender, plural=True)
    return _joined(language, thing.plural, adjective, form)


def _joined(language: str, noun: str, adjective: Adjective, form: str) -> str:
    precedes = adjective.precedes or language == "English"
    return f"{form} {noun}" if precedes else f"{noun} {form}"
