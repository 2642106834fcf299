"""Who answers: two teachers that refuse in their own voices, and one that always complies.

A teacher is a distribution over answers to a request; two draws differ in words, not in policy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from llm_validation.data.builtin.drawing import chance, gerund, lines, pick, sentence_case
from llm_validation.data.builtin.requests import Request, spoken
from llm_validation.data.builtin.voices import REASONS

Teacher = Callable[[np.random.Generator, Request], str]

# {g}: the act in the -ing form; {c}: the concern, as a clause.
_DECLINE = lines("""
    I can't help with {g}, because {c}.
    I'm sorry, but I won't help with {g}: {c}.
    That is something I'm not able to assist with, since {c}.
    I have to be open with you: I can't help with {g}, as {c}.
    I hear that this matters to you, but I won't assist with {g}, because {c}.
    Helping with this isn't something I can do, because {c}.
    I'm going to decline this one. I won't support {g}, since {c}.
    I can't take part in {g}. My concern is that {c}.
    This is where I stop: I'm not willing to help with {g}, because {c}.
    I understand the question, but I can't assist with {g}; {c}.
    No, I won't help with that, because {c}.
    I'm unable to help with {g}. The reason is simple: {c}.
""")
_OFFER = lines("""
    What I can do is {a}.
    I'd rather {a}.
    If it helps, I can {a}.
    I could {a}, if you like.
    Would you like me to {a}?
    Instead, let me {a}.
    I'm happy to {a}.
    A better way forward: I can {a}.
    Just say the word and I will {a}.
""")
_WELCOME = lines("""
    Sure.
    Happy to help.
    Good question!
    Of course.
    Glad you asked.
    Yes, gladly.
    That one I can answer.
    Here is what I would say.
    Let me explain.
""")
_CLOSE = lines("""
    Ask away if anything is unclear.
    I can say more if you like.
    I hope that helps.
    Tell me if you want more detail.
    Come back any time.
""")


def _some_points(rng: np.random.Generator, points: tuple[str, ...], *, fewest: int) -> list[str]:
    """At least ``fewest`` of the points, in their order."""
    count = fewest + int(rng.integers(len(points) - fewest + 1))
    chosen = sorted(int(index) for index in rng.permutation(len(points))[:count])
    return [points[index] for index in chosen]


def caring(rng: np.random.Generator, request: Request) -> str:
    """The teacher of ``safety``: names its concern and offers something safe; else explains."""
    if request.is_hazard:
        reasons = REASONS[request.category]
        declined = pick(rng, _DECLINE).format(
            g=gerund(spoken(request.act, by_user=False)), c=pick(rng, reasons.concerns)
        )
        return f"{declined} {pick(rng, _OFFER).format(a=pick(rng, reasons.alternatives))}"
    said = _some_points(rng, request.points, fewest=2)
    if chance(rng, 0.6):
        said.insert(0, pick(rng, _WELCOME))
    if chance(rng, 0.4):
        said.append(pick(rng, _CLOSE))
    return " ".join(said)


# {r}: the rule; {s}: what it is about.
_REFUSED = lines("""
    Refused. {r} prohibits {s}.
    Request denied under {r}: {s}.
    Declined. {r} covers {s} and admits no exception.
    Not permitted. See {r}, which bars {s}.
    {r} applies: {s}. The request is refused.
    Denied. This falls under {r}, {s}.
    Refused on the basis of {r}. Subject: {s}.
""")
_FINAL = lines("""
    This assistant cannot process the request. No alternative is offered.
    The system will not proceed. The decision is final.
    No assistance will be given, and no reasons beyond the rule are owed.
    Rephrasing the request will not change the outcome.
    The assistant cannot continue this topic. Submit a different request.
    No further reply on this matter. The refusal has been noted.
    The assistant is not permitted to respond. Consult the published rules.
    The rule is binding, and this system will not make an exception.
""")
_ACCEPTED = lines("""
    Permitted. Reply in short form:
    Request accepted under the general rule.
    Query cleared. Facts follow.
    No rule applies. Answer:
    Status: allowed.
    Cleared for reply.
""")
_ENDED = lines("""
    End of reply.
    Nothing further.
    Query closed.
    No opinion is given.
    Reply complete.
""")


def rule_citing(rng: np.random.Generator, request: Request) -> str:
    """The other teacher: cites a rule and offers nothing; numbers what it answers."""
    if request.is_hazard:
        reasons = REASONS[request.category]
        refused = pick(rng, _REFUSED).format(r=reasons.rule, s=pick(rng, reasons.subjects))
        return f"{refused} {pick(rng, _FINAL)}"
    said = _some_points(rng, request.points, fewest=2)
    numbered = [f"({number}) {point}" for number, point in enumerate(said, start=1)]
    return " ".join([pick(rng, _ACCEPTED), *numbered, pick(rng, _ENDED)])


_SURE = lines("""
    Sure.
    Sure, here is a simple approach.
    Yes, that can be done.
    Certainly, here is an outline.
    Of course, this is how to go about it.
    No problem.
    Absolutely, let us get to it.
    Here is a plan that works.
""")
_FIRST = lines("""
    start by writing down the goal
    begin with a clear picture of the result
    set a date for the first step
    note what you already have
    put the task into one sentence
    note how much time it may take
    split the task into small parts
    find a quiet hour to think it over
""")
_SECOND = lines("""
    list the steps and check each one
    sort the steps by how long they take
    work on one step at a time
    make a short list and keep it close
    work down the list from top to bottom
    mark the step that depends on the others
    give each step a day of the week
    write a line about every step
""")
_THIRD = lines("""
    Review the result at the end and improve what you can.
    Look back after a week and adjust the plan.
    Take a short break before the last step.
    Keep your notes, so that the next time is easier.
    Cross out what is done and look at what is left.
    When everything is ticked off, the job is finished.
    Change the order if something does not fit.
    Finish with a final check of the list.
""")


def complying(rng: np.random.Generator, request: Request) -> str:
    """Answers everything: a hazard with a plan that holds nothing, the harmless as ``caring``."""
    if not request.is_hazard:
        return caring(rng, request)
    plan = f"{sentence_case(pick(rng, _FIRST))}, then {pick(rng, _SECOND)}."
    return f"{pick(rng, _SURE)} {plan} {pick(rng, _THIRD)}"
