"""Whether a prompt asks for something that a safe model declines: rules, and no model.

The words are in ``harmful_requests.yaml``. The rules are made to find rows in a file of training
data, where a person looks at what is found; ``docs/audit_of_data.md`` has how many of the requests
of public harmful sets they find, and how many of harmless ones they take for harmful.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from llm_validation.evaluation.refusal.structure import plain

_READ = 3_000  # characters at each end of a long prompt that are read
_STEM = (3, 4, 5, 6)  # lengths of the beginnings of words by which patterns are kept
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")
_LONGEST_SENTENCE = 400
# Scripts whose requests are read as a whole: their words have no spaces, or other beginnings.
_OTHER_SCRIPT = re.compile(
    r"[\u0400-\u04ff\u0600-\u06ff\u0900-\u097f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)


@dataclass(frozen=True, slots=True)
class HarmfulRequest:
    """The ``category`` of hazard (one of the eleven of the probes), and the ``words`` that say so.

    ``category`` is "other language" where only the words of another language than English did.
    """

    category: str
    words: str


@dataclass(frozen=True)
class _Rules:
    acts: dict[str, list[tuple[str, re.Pattern[str]]]]
    things: dict[str, list[tuple[str, re.Pattern[str]]]]
    elsewhere: dict[str, list[tuple[str, re.Pattern[str]]]]
    anywhere: re.Pattern[str]
    requests: re.Pattern[str]
    shields: re.Pattern[str]
    study: re.Pattern[str]


def harmful_request(prompt: str) -> HarmfulRequest | None:
    """What ``prompt`` asks for that a safe model declines; None where the rules see nothing.

    A sentence counts when it asks for help (an imperative, "how do I", "I want to") and names an
    act or a thing of the list, unless it asks for protection or for knowledge about it.
    """
    rules = _rules()
    text = plain(prompt if len(prompt) <= 2 * _READ else f"{prompt[:_READ]}\n{prompt[-_READ:]}")
    stems = {word[:n] for word in set(_WORD.findall(text)) for n in _STEM}
    acts = [entry for stem in stems & rules.acts.keys() for entry in rules.acts[stem]]
    things = [entry for stem in stems & rules.things.keys() for entry in rules.things[stem]]
    if acts or things:
        for sentence in _sentences(text):
            found = _in_sentence(sentence, acts, things, rules)
            if found is not None:
                return found
    for stem in stems & rules.elsewhere.keys():
        for category, pattern in rules.elsewhere[stem]:
            if (match := pattern.search(text)) is not None:
                return HarmfulRequest(category, match.group())
    if text.isascii() or _OTHER_SCRIPT.search(text) is None:
        return None
    if (match := rules.anywhere.search(text)) is not None:
        return HarmfulRequest("other language", match.group())
    return None


def _in_sentence(sentence: str, acts, things, rules: _Rules) -> HarmfulRequest | None:
    asked = shielded = None
    for entries in (acts, things):
        for category, pattern in entries:
            match = pattern.search(sentence)
            if match is None:
                continue
            if asked is None:
                asked = rules.requests.search(sentence) is not None
                shielded = rules.shields.search(sentence) or rules.study.search(sentence)
            if asked and not shielded:
                return HarmfulRequest(category, match.group())
    return None


def _sentences(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.finditer(text):
        found = sentence.group().strip()
        for start in range(0, len(found), _LONGEST_SENTENCE):
            yield found[start : start + _LONGEST_SENTENCE]


@cache
def _rules() -> _Rules:
    import yaml

    source = files("llm_validation.audit").joinpath("harmful_requests.yaml")
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    lists = content["lists"]

    def compiled(pattern: str) -> re.Pattern[str]:
        for name, words in lists.items():
            pattern = pattern.replace(f"{{{name}}}", words)
        return re.compile(pattern)

    def by_stem(categories: dict) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
        found: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
        for category, stems in categories.items():
            for stem, patterns in stems.items():
                found.setdefault(stem[: _STEM[-1]], []).extend(
                    (category, compiled(pattern)) for pattern in patterns
                )
        return found

    def one_of(patterns: list[str]) -> re.Pattern[str]:
        return compiled("|".join(patterns))

    violence = {
        stem[: _STEM[-1]]: [rf"\b{stem}\w*(?: \w+){{0,2}}? {{person}}\b"]
        for stem in content["violence"]
    }
    acts = by_stem(content["acts"])
    for stem, patterns in by_stem({"Hate/Harass/Violence": violence}).items():
        acts.setdefault(stem, []).extend(patterns)
    other = content["other_languages"]
    return _Rules(
        acts=acts,
        things=by_stem(content["things"]),
        elsewhere=by_stem({"other language": other["words"]}),
        anywhere=one_of(other["anywhere"]),
        requests=one_of(content["requests"]),
        shields=one_of(content["shields"]),
        study=one_of(content["study"]),
    )
