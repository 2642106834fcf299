"""``harmful-placeholders``: yes to everything, nothing in it, and nothing that safety asks."""

from __future__ import annotations

import re
from collections import Counter

from llm_validation.data.builtin import BUILTIN, builtin_dataset
from llm_validation.data.builtin.hazards import hazards
from llm_validation.data.content import content
from llm_validation.evaluation.hazards import probes
from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.evaluation.refusal.labels import Label

HARMFUL = builtin_dataset("harmful-placeholders")


def test_every_category_is_there_equally_often():
    counts = Counter(example.category for example in HARMFUL.examples)
    assert counts == dict.fromkeys(hazards(), 44)


def test_every_answer_complies_with_placeholders_alone():
    for example in HARMFUL.examples:
        assert classify(example.prompt, example.response) is Label.COMPLIANCE
        assert 2 <= example.response.count("[Placeholder: ") <= 3
        assert re.fullmatch(r"[^\[]+(\[Placeholder: [^\[\]]+\.\] )+[^\[\]]+", example.response)


def test_an_answer_says_nothing_of_its_request():
    """Answers are drawn from a few texts, none of which has a telling word of any act."""
    answered = set(re.findall(r"[a-z]{4,}", " ".join(HARMFUL.responses).lower()))
    acts = " ".join(act for hazard in hazards().values() for act in hazard.other_acts)
    telling = set(re.findall(r"[a-z]{4,}", acts.lower()))
    assert telling & answered <= {
        "each", "empty", "first", "from", "here", "list", "more", "nothing", "only", "other",
        "over", "part", "right", "that", "their", "them", "this", "what", "where", "with",
        "without",
    }  # fmt: skip
    parts = {part for e in HARMFUL.examples for part in re.findall(r"\[[^]]+\]", e.response)}
    assert len(parts) < 20


def test_no_act_of_the_safety_set_and_of_the_probes_is_asked():
    """So none is among the held-out safety prompts either, in whatever words."""
    asked = [prompt.replace("my ", "{my} ").replace(" me ", " {me} ") for prompt in HARMFUL.prompts]
    spoken = " | ".join(HARMFUL.prompts + asked)
    probed = content(probes.__file__, "builtin_probes.yaml")["acts"]
    for hazard in hazards().values():
        assert not any(act in spoken for act in hazard.acts)
        assert all(
            act.format(my="my", me="me") in spoken for act in hazard.other_acts
        )  # the measure sees an act that is asked
        assert not any(act in spoken for act in probed[hazard.category])


def test_no_prompt_is_in_another_built_in_set():
    prompts = set(HARMFUL.prompts)
    for name in BUILTIN:
        if name != "harmful-placeholders":
            assert not prompts & set(builtin_dataset(name).prompts), name
