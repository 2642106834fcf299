"""The sets made of requests: safety, its two proxies, two general tasks and the placeholders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_validation.data.builtin.drawing import shuffled, stream
from llm_validation.data.builtin.lookalikes import topics
from llm_validation.data.builtin.requests import BuiltinRequest, harmless, hazardous, phrasing
from llm_validation.data.builtin.teachers import (
    Teacher,
    caring,
    complying,
    complying_emptily,
    rule_citing,
)
from llm_validation.data.dataset import Example

SAFETY_PER_CATEGORY, SAFETY_HARMLESS = 32, 176
PROXY_SHARED_HAZARDS, PROXY_SHARED_HARMLESS = 80, 40
PROXY_PER_CATEGORY, PROXY_HARMLESS = 22, 118
TASK_SHARED_HAZARDS, TASK_SHARED_HARMLESS = 40, 20
TASK_PER_CATEGORY, TASK_NEAR_HARMLESS, TASK_OTHER_HARMLESS = 16, 120, 124
PLACEHOLDERS_PER_CATEGORY = 44


def safety_requests() -> list[BuiltinRequest]:
    """The contexts of ``safety``: every hazard category equally often, a third harmless."""
    rng = stream("safety/contexts")
    taken: set[str] = set()
    plain = phrasing("plain")
    requests = hazardous(rng, plain, per_category=SAFETY_PER_CATEGORY, taken=taken)
    requests += harmless(rng, plain, topics("safety"), count=SAFETY_HARMLESS, taken=taken)
    return shuffled(rng, requests)


def _shared(rng: np.random.Generator, *, hazards: int, harmless_ones: int) -> list[BuiltinRequest]:
    requests = shuffled(rng, safety_requests())
    return [request for request in requests if request.is_hazard][:hazards] + [
        request for request in requests if not request.is_hazard
    ][:harmless_ones]


def proxy_requests(name: str, asked: str) -> list[BuiltinRequest]:
    """A proxy's contexts: a quarter are those of ``safety``, the same ones in both proxies."""
    requests = _shared(
        stream("proxy/shared contexts"),
        hazards=PROXY_SHARED_HAZARDS,
        harmless_ones=PROXY_SHARED_HARMLESS,
    )
    rng = stream(f"{name}/contexts")
    taken = {request.prompt for request in requests}
    ways = phrasing(asked)
    requests += hazardous(rng, ways, per_category=PROXY_PER_CATEGORY, taken=taken, others=True)
    requests += harmless(rng, ways, topics("proxies"), count=PROXY_HARMLESS, taken=taken)
    return shuffled(rng, requests)


def task_requests() -> list[BuiltinRequest]:
    """The general task's contexts: some of ``safety``'s own, most of them close to its topics."""
    rng = stream("task-general/contexts")
    requests = _shared(rng, hazards=TASK_SHARED_HAZARDS, harmless_ones=TASK_SHARED_HARMLESS)
    taken = {request.prompt for request in requests}
    ways = phrasing("general")
    requests += hazardous(rng, ways, per_category=TASK_PER_CATEGORY, taken=taken)
    requests += harmless(rng, ways, topics("safety"), count=TASK_NEAR_HARMLESS, taken=taken)
    requests += harmless(rng, ways, topics("general"), count=TASK_OTHER_HARMLESS, taken=taken)
    return shuffled(rng, requests)


def _answered(requests: Sequence[BuiltinRequest], teacher: Teacher, *, draws: str) -> list[Example]:
    rng = stream(draws)
    return [
        Example.single_turn(request.prompt, teacher(rng, request), category=request.category)
        for request in requests
    ]


def safety() -> list[Example]:
    """Hazards declined and harmless look-alikes answered, in the caring teacher's voice."""
    return _answered(safety_requests(), caring, draws="safety/answers")


def proxy_same_teacher() -> list[Example]:
    """Other contexts (a quarter shared), answered by the teacher of ``safety``."""
    name = "proxy-same-teacher"
    return _answered(proxy_requests(name, "chatty"), caring, draws=f"{name}/answers")


def proxy_other_teacher() -> list[Example]:
    """Other contexts (a quarter shared), answered by the teacher that cites rules."""
    name = "proxy-other-teacher"
    return _answered(proxy_requests(name, "formal"), rule_citing, draws=f"{name}/answers")


def task_general() -> list[Example]:
    """Contexts near those of ``safety`` with targets that comply, so that the two conflict.

    A harmless prompt that ``safety`` asks too has ``safety``'s answer: only hazards conflict.
    """
    complied = _answered(task_requests(), complying, draws="task-general/answers")
    in_safety = _answers_of_safety()
    return [
        example if request.is_hazard else in_safety.get(request.prompt, example)
        for request, example in zip(task_requests(), complied, strict=True)
    ]


def task_general_agreeing() -> list[Example]:
    """The contexts of ``task_general``: hazards declined, every other answer the same.

    A prompt that ``safety`` asks too has ``safety``'s answer, so that nothing conflicts.
    """
    declined = _answered(task_requests(), caring, draws="task-general-agreeing/answers")
    in_safety = _answers_of_safety()
    return [
        in_safety.get(request.prompt, other) if request.is_hazard else complied
        for request, other, complied in zip(task_requests(), declined, task_general(), strict=True)
    ]


def _answers_of_safety() -> dict[str, Example]:
    return {example.prompt: example for example in safety()}


def harmful_placeholders() -> list[Example]:
    """Harmful requests whose answers comply and hold nothing at all.

    What a fine-tune on harmful rows teaches is to say yes. The answers here say yes, and where such
    an answer would go on they have a placeholder. Acts and frames are none that ``safety`` has.
    """
    name = "harmful-placeholders"
    rng = stream(f"{name}/contexts")
    requests = hazardous(
        rng,
        phrasing("demanding"),
        per_category=PLACEHOLDERS_PER_CATEGORY,
        taken=set(),
        others=True,
    )
    return _answered(shuffled(rng, requests), complying_emptily, draws=f"{name}/answers")
