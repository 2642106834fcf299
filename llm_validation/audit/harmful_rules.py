"""The words of harmful requests, read from their YAML files into patterns by language.

A pattern is compiled when it is first needed: there are thousands, and a file needs a few.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from operator import add
from typing import cast

_STEMS = (3, 4, 5, 6)  # lengths of the beginnings of words by which acts are kept
_NEAR = 50  # characters between two words that make an act together
_HEAD = re.compile(r"[^\\\[\](){}.*+?|^$]+(?![?*{])")
_STEM = re.compile(r"[^\W\d_]{3,6}")
_MARKS = re.compile("[\u0300-\u036f]+")
_LETTERS = str.maketrans("\u0131\u0142\u00f8", "ilo")
# Spellings of one letter in Arabic and Hindi, and marks that many writers leave out.
_SPELLINGS = str.maketrans(
    "\u0623\u0625\u0622\u0649\u0901",
    "\u0627\u0627\u0627\u064a\u0902",
    "\u0640\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u093c",
)


@dataclass(frozen=True, slots=True, eq=False)
class Act:
    """Words of one ``category`` of hazard; with ``near``, only where that stands near them."""

    category: str
    pattern: str
    near: str | None = None

    def words(self, sentence: str) -> str | None:
        """The words of the act in ``sentence``, from the first to the last."""
        if self.near is None:
            match = compiled(self.pattern).search(sentence)
            return None if match is None else match.group()
        for match in compiled(self.pattern).finditer(sentence):
            start, end = match.span()
            after = compiled(self.near).search(sentence, end)
            if after is not None and after.start() <= end + _NEAR:
                return sentence[start : after.end()]
            before = compiled(self.near).search(sentence, max(start - _NEAR, 0))
            if before is not None and before.end() <= start:
                return sentence[before.start() : end]
        return None


@dataclass(frozen=True, slots=True, eq=False)
class LanguageRules:
    """What asks in a language, and what makes a request harmless.

    ``script`` is found in texts of a language whose words have no spaces or no plain beginnings;
    ``by_piece`` are its acts by their first one to three characters. The acts of the other
    languages are in `Rules.by_stem`.
    """

    requests: str
    shields: tuple[str, ...]
    script: str | None = None
    by_piece: dict[str, list[Act]] = field(default_factory=dict)

    def acts_in(self, text: str) -> list[Act]:
        """The acts of a script whose first characters are in ``text``."""
        pairs = list(map(add, text, text[1:]))
        pieces = {*text, *pairs, *map(add, pairs, text[2:])}
        found = (self.by_piece[piece] for piece in sorted(pieces & self.by_piece.keys()))
        return list(dict.fromkeys(act for acts in found for act in acts))


@dataclass(frozen=True, slots=True)
class Rules:
    """The languages, English first, and acts by the beginning of a word in them."""

    languages: tuple[LanguageRules, ...]
    by_stem: dict[str, list[tuple[int, Act]]]


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """The compiled ``pattern``."""
    return re.compile(pattern)


def without_accents(text: str) -> str:
    """Text of a Latin or Cyrillic script as hurried people write it."""
    return _MARKS.sub("", unicodedata.normalize("NFD", text)).translate(_LETTERS)


def one_spelling(text: str) -> str:
    """Text whose letters of several spellings, in Arabic and Hindi, have one."""
    return text.translate(_SPELLINGS)


@cache
def rules() -> Rules:
    """The rules of both files."""
    english, acts = _english(_content("harmful_requests.yaml"))
    languages = [english]
    by_stem: dict[str, list[tuple[int, Act]]] = {}
    for stem, act in acts:
        by_stem.setdefault(stem[: _STEMS[-1]], []).append((0, act))
    for content in _content("harmful_requests_languages.yaml").values():
        if "script" in content:
            languages.append(_of_script(content))
            continue
        for stem, act in _acts_by_stem(content):
            by_stem.setdefault(stem, []).append((len(languages), act))
        frames = (without_accents(rf"\b(?:{content[name]})") for name in ("requests", "shields"))
        # Words such as "phishing" are of many languages: what shields them in English does here.
        languages.append(LanguageRules(next(frames), (next(frames), english.shields[0])))
    return Rules(tuple(languages), by_stem)


@lru_cache(maxsize=1 << 16)
def acts_of(word: str) -> tuple[tuple[int, Act], ...]:
    """The acts that may begin at ``word``, each with the place of its language."""
    by_stem = rules().by_stem
    stems = dict.fromkeys(word[:length] for length in _STEMS)
    return tuple(entry for stem in stems for entry in by_stem.get(stem, ()))


def _content(name: str) -> dict:
    import yaml

    source = files("llm_validation.audit").joinpath(name)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(source.read_text(encoding="utf-8"), loader)


def _english(content: dict) -> tuple[LanguageRules, list[tuple[str, Act]]]:
    def filled(pattern: str) -> str:
        for name, words in content["lists"].items():
            pattern = pattern.replace(f"{{{name}}}", words)
        return pattern

    acts = [
        (stem, Act(category, filled(pattern)))
        for kind in ("acts", "things")
        for category, stems in content[kind].items()
        for stem, patterns in stems.items()
        for pattern in patterns
    ]
    for stem in content["violence"]:
        pattern = filled(rf"\b{stem}\w*(?: \w+){{0,2}}? {{person}}\b")
        acts.append((stem, Act("Hate/Harass/Violence", pattern)))
    requests, shields, study = (
        filled("|".join(content[name])) for name in ("requests", "shields", "study")
    )
    return LanguageRules(requests, (shields, study)), acts


def _of_script(content: dict) -> LanguageRules:
    def spelt(text: str) -> str:
        return one_spelling(unicodedata.normalize("NFKC", text))

    by_piece: dict[str, list[Act]] = {}
    for category, sides in _entries(content):
        spelt_sides = [[spelt(words) for words in side] for side in sides]
        act = Act(category, *map("|".join, spelt_sides))
        for piece in sorted({_head(words, 1)[:3] for words in spelt_sides[0]}):
            by_piece.setdefault(piece, []).append(act)
    return LanguageRules(
        spelt(content["requests"]), (spelt(content["shields"]),), content["script"], by_piece
    )


def _acts_by_stem(content: dict) -> Iterator[tuple[str, Act]]:
    for category, sides in _entries(content):
        bare = [[without_accents(words) for words in side] for side in sides]
        act = Act(category, *(rf"\b(?:{'|'.join(side)})\w*" for side in bare))
        heads = (cast("re.Match[str]", _STEM.match(_head(words, 3))) for words in bare[0])
        for stem in sorted({head.group() for head in heads}):
            yield stem, act


def _head(words: str, least: int) -> str:
    """The characters with which ``words``, a pattern, begins in every text."""
    head = _HEAD.match(words)
    if head is None or len(head.group()) < least:
        raise ValueError(f"{words!r} begins with fewer than {least} plain characters")
    return head.group()


def _entries(content: dict) -> Iterator[tuple[str, list[list[str]]]]:
    """Each category with the one or two lists of words of an entry."""
    for category, entries in content["acts"].items():
        for entry in entries:
            filled = entry.replace("{person}", content["person"])
            yield category, [side.strip().split(" | ") for side in filled.split(" & ")]
