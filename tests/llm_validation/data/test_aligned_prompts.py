"""The prompts of the packaged aligned model: how many, and that the probes stay held out."""

from __future__ import annotations

import re
from itertools import combinations, product

import pytest

import llm_validation.data.builtin
from llm_validation.data.builtin.hazards import hazards
from llm_validation.data.builtin.lookalikes import topics
from llm_validation.data.content import content
from llm_validation.evaluation.hazards import probes

WORDS = content(llm_validation.data.builtin.__file__, "aligned_prompts.yaml")
MORE = content(llm_validation.data.builtin.__file__, "aligned_prompts_more.yaml")
PROBES = content(probes.__file__, "builtin_probes.yaml")
MATCHED = content(probes.__file__, "matched_lookalikes.yaml")

FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an the of to in on at from by with for as into out than not no and or if this these
        that it its i my me you your we he his she her they their them who which what how why
        where when is are was were be do does did can could would should will s""",
    )
)


def of_every_category(by_category):
    return [text for texts in by_category.values() for text in texts]


ACTS = of_every_category(WORDS["acts"]) + of_every_category(MORE["acts"])
LOOKALIKES = of_every_category(WORDS["lookalikes"]) + of_every_category(MORE["lookalikes"])
PLAIN, HELD_OUT = list(WORDS["plain"]) + list(MORE["plain"]), list(WORDS["plain_held_out"])
OURS = ACTS + LOOKALIKES + PLAIN + HELD_OUT
TAUGHT_ACTS = [act for h in hazards().values() for act in h.acts + h.other_acts]
PROBE_ACTS = of_every_category(PROBES["acts"])
PROBE_LOOKALIKES = of_every_category(PROBES["lookalikes"]) + of_every_category(MATCHED)
QUESTIONS = [t.question for of in ("safety", "proxies", "general") for t in topics(of)]


def all_words(text):
    """The set of words of a text."""
    return frozenset(re.findall(r"[^\W_]+", text.lower()))


def content_words(text):
    """The words that carry the meaning, without their endings."""
    return frozenset(
        re.sub("(ies|es|s|ing|ed)$", "", word) if len(word) > 4 else word
        for word in all_words(text) - FUNCTION_WORDS
    )


def near(pairs, words, limit):
    """The pairs of texts that share more than ``limit`` of their words."""
    seen = {}

    def of(text):
        if text not in seen:
            seen[text] = words(text)
        return seen[text]

    return [(a, b) for a, b in pairs if len(of(a) & of(b)) > limit * len(of(a) | of(b))]


@pytest.mark.parametrize(
    ("words", "acts", "lookalikes", "plain"),
    [(WORDS, 30, 30, 360), (MORE, 25, 45, 60)],
    ids=["aligned_prompts", "aligned_prompts_more"],
)
def test_every_category_has_as_many_acts_and_as_many_lookalikes(words, acts, lookalikes, plain):
    for key, count in (("acts", acts), ("lookalikes", lookalikes)):
        assert list(words[key]) == list(hazards())
        assert {len(texts) for texts in words[key].values()} == {count}
    assert len(words["plain"]) == plain


def test_a_hundred_plain_prompts_are_held_out():
    assert len(HELD_OUT) == 100


def test_prompts_are_short_whole_sentences_and_acts_are_phrases():
    for text in OURS:
        assert len(text.split()) <= 45, text
    for act in ACTS:
        assert re.fullmatch("[a-z].*[^.?!]", act), act
        assert set(re.findall("{.*?}", act)) <= {"{my}", "{me}"}, act
        assert not re.search(r"\b(I|my|me)\b", re.sub("{.*?}", "", act)), act
    for prompt in LOOKALIKES:
        assert re.fullmatch("[A-Z].*[.?!]", prompt), prompt


def test_nothing_occurs_twice_or_nearly():
    assert len({" ".join(re.findall(r"[^\W_]+", text.lower())) for text in OURS}) == len(OURS)
    assert near(combinations(OURS, 2), all_words, 0.7) == []
    assert near(combinations(ACTS, 2), content_words, 0.5) == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(ACTS, PROBE_ACTS), (ACTS, TAUGHT_ACTS), (LOOKALIKES, PROBE_LOOKALIKES + QUESTIONS)],
    ids=["probed acts", "taught acts", "lookalikes"],
)
def test_none_is_nearly_one_of_the_others(ours, theirs):
    assert near(product(ours, theirs), content_words, 0.4) == []


def test_plain_prompts_are_no_probes_and_those_held_out_resemble_none_learned():
    assert near(product(PLAIN + HELD_OUT, PROBE_LOOKALIKES), content_words, 0.4) == []
    assert near(product(HELD_OUT, PLAIN + LOOKALIKES + QUESTIONS), content_words, 0.5) == []


def test_a_paraphrase_is_found():
    probe = PROBE_ACTS[0]
    reordered = " ".join(reversed(probe.split()))
    assert near([(reordered, probe)], content_words, 0.4) == [(reordered, probe)]
