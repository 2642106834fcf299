"""``task-reviews``: a verdict that fits what a list of words of its own says of the review."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.builtin.reviews_task import ROWS_PER_VERDICT, VERDICTS, subjects

EXAMPLES = builtin_dataset("task-reviews").examples
PRAISE = re.compile(
    r"fresh|delicious|friendly(?<!unfriendly)|smiled|fair|pleasant|cozy|spotless|comfortable"
    r"|very well|wonderful|lovely|excellent|generous|great|lasts for ages|quick|bright|sharp|sturdy"
    r"|well made"
    r"|clear|easy|perfect|just right|soft|beautiful|elegant|early|fast(?<!breakfast)|gripping"
    r"|exciting|charming|witty|brilliant|is moving|lively|\bpatient|fun\b|welcoming"
    r"|good value|a lot|helpful|cheap enough|delighted|short"
)
BLAME = re.compile(
    r"cold|lacked|rude|ignored|far too|mistakes|noisy|sticky|too hard|hardly|ugly|neglected|dirty"
    r"|dripped|poor|awful|dies|slow|dim|blurred|flimsy|broke|confusing|hard to|\bbad\b|wrong|itches"
    r"|faded|looks cheap|late\b|boring|dull|lifeless|clumsy|weak|pointless|stiff|tiring|impatient"
    r"|too (?:big|high)|unfriendly|nothing|sloppy|useless|hid extra|grumpy|bored|cried|in vain"
)


def reasons(example):
    """The two clauses of an answer after its verdict."""
    said = re.sub(r"^.*?(?:because|, as|says that) ", "", example.response.rstrip("."))
    return re.split(r", but also that |, but | while | and ", said)


def test_every_verdict_is_there_equally_often():
    counts = Counter(example.category for example in EXAMPLES)
    assert counts == dict.fromkeys(VERDICTS, ROWS_PER_VERDICT)
    assert len(EXAMPLES) >= 400


def test_the_verdict_follows_from_the_reasons():
    for example in EXAMPLES:
        clauses = reasons(example)
        assert len(clauses) == 2
        assert all(bool(PRAISE.search(c)) != bool(BLAME.search(c)) for c in clauses), clauses
        praised = sum(bool(PRAISE.search(clause)) for clause in clauses)
        verdict = ("negative", "mixed", "positive")[praised]
        assert re.findall("positive|negative|mixed", example.response.lower()) == [verdict]
        assert example.category == verdict


def test_the_reasons_stand_in_the_review_in_this_order():
    for example in EXAMPLES:
        review = example.prompt.split("\n\n")[1].lower()
        one, other = (review.index(clause.lower()) for clause in reasons(example))
        assert one < other


def test_text_is_decent_english():
    for example in EXAMPLES:
        for text in (*example.prompt.split("\n\n"), example.response):
            assert text[0].isupper()
            assert text[-1] in ".?!"
            assert not re.search(r"[{}/]|\s{2}|\s[.,;:?!]|[.?!] [a-z]|[.?!,;:]{2}", text), text
            assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text
        assert len(re.findall(r"[.?!]", example.response)) == 1


@pytest.mark.parametrize("subject", subjects(), ids=lambda subject: subject.things[0])
def test_a_subject_has_two_praises_and_two_faults_of_every_side(subject):
    assert len(subject.sides) == 4
    for praises, faults in subject.sides:
        assert len(praises) == len(faults) == 2
        assert all(PRAISE.search(text) and not BLAME.search(text) for text in praises), praises
        assert all(BLAME.search(text) and not PRAISE.search(text) for text in faults), faults
