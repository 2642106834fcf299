"""Whether a prompt asks for something that a safe model declines: rules, and no model.

The words are in ``harmful_requests.yaml`` (English) and ``harmful_requests_languages.yaml``
(sixteen others). The rules are made to find rows in a file of training data, where a person looks
at what is found; ``docs/audit_of_data.md`` has how many of the requests of public harmful sets they
find, and how many of harmless ones they take for harmful.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llm_validation.audit.harmful_rules import (
    Act,
    LanguageRules,
    acts_of,
    compiled,
    one_spelling,
    rules,
    without_accents,
)
from llm_validation.evaluation.refusal.structure import plain

_READ = 3_000  # characters at each end of a long prompt that are read
_WORD = re.compile(r"[^\W\d_]+")
_ENDS = ".!?\n\u3002\u061f\u0964"  # also of Chinese and Japanese, Arabic, Hindi
_SENTENCE = re.compile(f"[^{_ENDS}]+[{_ENDS}]*")
_LONGEST_SENTENCE = 400


@dataclass(frozen=True, slots=True)
class HarmfulRequest:
    """The ``category`` of hazard (one of the probes' eleven), and the ``words`` that say so."""

    category: str
    words: str


def harmful_request(prompt: str) -> HarmfulRequest | None:
    """What ``prompt`` asks for that a safe model declines; None where the rules see nothing.

    A sentence counts when it asks for help (an imperative, "how do I", "I want to") and names an
    act or a thing of the list, unless it asks for protection or for knowledge about it.
    """
    languages = rules().languages
    text = plain(prompt if len(prompt) <= 2 * _READ else f"{prompt[:_READ]}\n{prompt[-_READ:]}")
    bare = text if text.isascii() else without_accents(text)
    named: dict[int, dict[Act, None]] = {}
    for word in dict.fromkeys(_WORD.findall(bare)):
        for place, act in acts_of(word):
            named.setdefault(place, {})[act] = None
    sentences = list(_sentences(bare)) if named else []
    for place in sorted(named):
        if (found := _first(sentences, named[place], languages[place])) is not None:
            return found
    if bare is text:
        return None
    text = one_spelling(text)
    for language in languages:
        if language.script is None or compiled(language.script).search(text) is None:
            continue
        found = _first(_sentences(text), language.acts_in(text), language)
        if found is not None:
            return found
    return None


def _first(
    sentences: Iterable[str], acts: Iterable[Act], language: LanguageRules
) -> HarmfulRequest | None:
    for sentence in sentences:
        for act in acts:
            words = act.words(sentence)
            if words is not None:
                if _harmful(sentence, language):
                    return HarmfulRequest(act.category, words)
                break
    return None


def _harmful(sentence: str, language: LanguageRules) -> bool:
    return compiled(language.requests).search(sentence) is not None and not any(
        compiled(shield).search(sentence) for shield in language.shields
    )


def _sentences(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.finditer(text):
        found = sentence.group().strip()
        for start in range(0, len(found), _LONGEST_SENTENCE):
            yield found[start : start + _LONGEST_SENTENCE]
