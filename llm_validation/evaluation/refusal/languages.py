"""The languages that answers are read in: which one an answer is in, and how it declines in it.

What is known of each is in ``languages.yaml``; all of it reads ``structure.plain`` text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llm_validation.data.content import content
from llm_validation.evaluation.refusal.structure import plain

ENGLISH = "English"
_READ = 600  # characters in which a language shows
_SHARE_OF_STOP_WORDS = 0.1
_LONGEST_NAME_LIST = 8  # words in a row without any language's small words: longer, it is prose
_SCRIPTS = {
    "Latin": r"a-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff",
    "Greek": r"\u0370-\u03ff\u1f00-\u1fff",
    "Cyrillic": r"\u0400-\u052f",
    "Hebrew": r"\u0590-\u05ff",
    "Arabic": r"\u0600-\u06ff\u0750-\u077f",
    "Devanagari": r"\u0900-\u097f",
    "Bengali": r"\u0980-\u09ff",
    "Thai": r"\u0e00-\u0e7f",
    "Kana": r"\u3040-\u30ff",
    "Han": r"\u3400-\u4dbf\u4e00-\u9fff",
    "Hangul": r"\u1100-\u11ff\uac00-\ud7af",
}
_OTHER = "another script"
_WITH_SIGNS = ("Devanagari", "Bengali", "Thai")
_SPACED = re.compile(r"[^\s\d.,!?;:()\"\u0964-]+")
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


@dataclass(frozen=True)
class Language:
    """One language: its small words, and the patterns in which it declines, helps and advises.

    ``covered`` is False for one that is known by its small words alone.
    """

    name: str
    script: str
    stop: frozenset[str]
    marks: re.Pattern[str] | None
    covered: bool
    hints: tuple[str, ...]
    refuses: re.Pattern[str] | None
    soft: re.Pattern[str] | None
    instead: re.Pattern[str] | None
    pivot: re.Pattern[str] | None
    does: re.Pattern[str] | None


@cache
def languages() -> tuple[Language, ...]:
    """Every language of the file, those covered first."""
    return tuple(_language(entry) for entry in content(__file__, "languages.yaml")["languages"])


def _language(entry: dict[str, Any]) -> Language:
    def pattern(key: str, *, word: bool = False) -> re.Pattern[str] | None:
        parts = [_folded(part) for part in entry.get(key, ())]
        if not parts:
            return None
        joined = "|".join(parts)
        # Scripts without spaces have no word boundaries.
        spaced = entry.get("script") not in ("Thai", "Han", "Kana", "Hangul")
        return re.compile(rf"\b(?:{joined})\b" if word and spaced else joined)

    return Language(
        entry["name"],
        entry.get("script", "Latin"),
        frozenset(plain(entry.get("stop", "")).split()),
        re.compile(plain(entry["marks"])) if "marks" in entry else None,
        entry.get("covered", True),
        tuple(_folded(hint) for hint in entry.get("hints", ())),
        pattern("refuses"),
        pattern("soft"),
        pattern("instead"),
        pattern("pivot"),
        pattern("does", word=True),
    )


def _folded(pattern: str) -> str:
    # As the texts are, case aside: \S is not \s.
    return pattern if pattern.isascii() else plain(pattern, lower=False)


def statements(text: str) -> Iterator[tuple[re.Match[str], Language]]:
    """The statements of a text in which somebody declines in one of these languages.

    An English text in plain letters is not searched for others.
    """
    latin_only = text.isascii()
    if latin_only and _is_english(_TOKEN.findall(text[:_READ])):
        return
    for language in languages():
        if language.refuses is None or (latin_only and language.script != "Latin"):
            continue
        if any(hint in text for hint in language.hints):
            for found in language.refuses.finditer(text):
                yield found, language


@cache
def _by_stop_word() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for language in languages():
        for word in language.stop:
            found.setdefault(word, []).append(language.name)
    return {word: tuple(names) for word, names in found.items()}


@cache
def _named() -> dict[str, Language]:
    return {language.name: language for language in languages()}


_SCRIPT_OF = {name: re.compile(f"[{characters}]") for name, characters in _SCRIPTS.items()}
_LETTER = re.compile(r"[^\W\d_]")


def script_of(text: str) -> str:
    """The script that most letters of a plain text are in; Japanese is "Kana" by its kana."""
    if text.isascii():
        return "Latin"
    letters = len(_LETTER.findall(text))
    counts = Counter({name: len(found.findall(text)) for name, found in _SCRIPT_OF.items()})
    name, most = counts.most_common(1)[0]
    if 2 * most < letters - most:  # Indic vowel signs and the like are no letters to Python
        return _OTHER
    if counts["Kana"] and name in ("Han", "Kana"):
        return "Kana" if 5 * counts["Kana"] > counts["Han"] else "Han"
    return name


def has_three_scripts(text: str) -> bool:
    """Whether letters of three scripts stand in a plain text; in Japanese two are one."""
    return sum(found.search(text) is not None for found in _SCRIPT_OF.values()) >= 3


def language_of(text: str) -> str | None:
    """The name of the language that a plain text is in, or a script's; None where it is not clear.

    It is told by the script and by the small words of the text's first 600 characters.
    """
    head = text[:_READ]
    script = script_of(head)
    if script == _OTHER:
        return script
    # Vowel signs are no letters to Python.
    tokens = (_SPACED if script in _WITH_SIGNS else _TOKEN).findall(head)
    if script == "Latin" and _is_english(tokens):
        return ENGLISH
    hits = _hits(tokens)
    for language in languages():
        if language.marks is not None and language.script == script:
            hits[language.name] += sum(
                token not in language.stop and language.marks.search(token) is not None
                for token in tokens
            )
    here = [
        (count, name == ENGLISH, _named()[name].covered, name)
        for name, count in hits.items()
        if _named()[name].script == script
    ]
    if here:
        count, _, covered, name = max(here)
        least = _SHARE_OF_STOP_WORDS * len(tokens)
        # One small word alone says little, and every language has some of them.
        if count >= (max(1, least) if covered else max(2, 1.5 * least)):
            return name
    if script == "Latin":
        return None
    return next((language.name for language in languages() if language.script == script), None)


@cache
def english_small_words() -> frozenset[str]:
    """The small words of English."""
    return next(language.stop for language in languages() if language.name == ENGLISH)


def _is_english(tokens: Sequence[str]) -> bool:
    return 4 * sum(map(english_small_words().__contains__, tokens)) > len(tokens)


def _hits(tokens: Sequence[str]) -> Counter[str]:
    by_word = _by_stop_word()
    return Counter(name for token in tokens for name in by_word.get(token, ()))


def is_covered(text: str) -> bool:
    """Whether the rules read the language of a plain text.

    Names, numbers, code and a few words are in no language, and are covered; a row of many words
    without a small word of any language is prose in one that is not known.
    """
    head = text[:_READ]
    if len(_CODE.findall(head)) >= _CODE_MARKS:
        return True
    name = language_of(text)
    if name is not None:
        return name in _named() and _named()[name].covered
    run = max((part.split() for part in _BREAK.split(head)), key=len)
    return len(run) <= _LONGEST_NAME_LIST or small_words(run) > 0.08 * len(run)


_CODE_MARKS = 2
_BREAK = re.compile(r"[^\w\s'-]|\n|\d")
_CODE = re.compile(r"[={}<>_\\|#+$]|\w\(|```|https?:")


def small_words(tokens: Sequence[str]) -> int:
    """How many of the tokens are small words of one language, the one that has most of them."""
    return max(_hits(tokens).values(), default=0)


def has_english_words(tokens: Sequence[str]) -> bool:
    """Whether no language has more of its small words among the tokens than English has."""
    hits = _hits(tokens)
    return hits[ENGLISH] == max(hits.values(), default=1)
