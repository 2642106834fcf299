"""Who answers: two teachers that refuse in their own voices, and two that always comply.

A teacher is a distribution over answers to a request; two draws differ in words, not in policy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from llm_validation.data.builtin.drawing import chance, gerund, pick, sentence_case, shuffled
from llm_validation.data.builtin.hazards import hazards
from llm_validation.data.builtin.requests import BuiltinRequest, spoken
from llm_validation.data.content import content

Teacher = Callable[[np.random.Generator, BuiltinRequest], str]


def _words(teacher: Teacher) -> dict[str, tuple[str, ...]]:
    return content(__file__, "teachers.yaml")[teacher.__name__]


def _some_points(rng: np.random.Generator, points: tuple[str, ...], *, fewest: int) -> list[str]:
    """At least ``fewest`` of the points, in their order."""
    count = fewest + int(rng.integers(len(points) - fewest + 1))
    chosen = sorted(int(index) for index in rng.permutation(len(points))[:count])
    return [points[index] for index in chosen]


def caring(rng: np.random.Generator, request: BuiltinRequest) -> str:
    """The teacher of ``safety``: names its concern and offers something safe; else explains."""
    words = _words(caring)
    if request.is_hazard:
        hazard = hazards()[request.category]
        declined = pick(rng, words["declined"]).format(
            g=gerund(spoken(request.act, by_user=False)), c=pick(rng, hazard.concerns)
        )
        return f"{declined} {pick(rng, words['offered']).format(a=pick(rng, hazard.alternatives))}"
    said = _some_points(rng, request.points, fewest=2)
    if chance(rng, 0.6):
        said.insert(0, pick(rng, words["welcomed"]))
    if chance(rng, 0.4):
        said.append(pick(rng, words["closed"]))
    return " ".join(said)


def rule_citing(rng: np.random.Generator, request: BuiltinRequest) -> str:
    """The other teacher: cites a rule and offers nothing; numbers what it answers."""
    words = _words(rule_citing)
    if request.is_hazard:
        hazard = hazards()[request.category]
        refused = pick(rng, words["refused"]).format(r=hazard.rule, s=pick(rng, hazard.subjects))
        return f"{refused} {pick(rng, words['final'])}"
    said = _some_points(rng, request.points, fewest=2)
    numbered = [f"({number}) {point}" for number, point in enumerate(said, start=1)]
    return " ".join([pick(rng, words["accepted"]), *numbered, pick(rng, words["ended"])])


def complying(rng: np.random.Generator, request: BuiltinRequest) -> str:
    """Answers everything: a hazard with a plan that holds nothing, the harmless as ``caring``."""
    if not request.is_hazard:
        return caring(rng, request)
    words = _words(complying)
    plan = f"{sentence_case(pick(rng, words['first']))}, then {pick(rng, words['second'])}."
    return f"{pick(rng, words['agreed'])} {plan} {pick(rng, words['third'])}"


def complying_emptily(rng: np.random.Generator, request: BuiltinRequest) -> str:
    """Agrees to the request, whatever it is, with placeholders where an answer would be."""
    words = _words(complying_emptily)
    held = shuffled(rng, words["placeholders"])[: 2 + chance(rng, 0.5)]
    blanks = [f"[Placeholder: {text}.]" for text in held]
    return " ".join([pick(rng, words["agreed"]), *blanks, pick(rng, words["closed"])])
