"""What a fine-tuned model may have lost of its safe answers, at most, with a confidence."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from finebound.results.result import Manifest, Number, Part, Result

Probed = Literal["all", "refusal", "over-refusal"]
LOST_WORDS: dict[Probed, str] = {
    "all": "safe answers",
    "refusal": "refusals",
    "over-refusal": "answers to look-alikes",
}


class CandidateTest(Part):
    """One candidate beside the reference on the probes of one budget.

    ``n`` probes; ``lost`` answers were safe and are not, ``gained`` the reverse. ``of`` says which
    probes: all, harmful ones (refusal) or look-alikes (over-refusal). Shares of probes in [0, 1]:
    ``safe_before``, ``safe_after``, the ``budget``, the ``loss`` (lost less gained). ``loss_upper``
    and ``loss_lower`` are its upper and lower confidence limit, each at the certificate's
    confidence; the lower one shares its failure probability with those of the other budgets.
    ``p_value`` is of "the loss is the budget or more". ``unknown`` pairs have an answer without a
    label: it counts against the candidate, and in ``loss_lower`` for it. ``within``: it keeps this
    budget, looked at alone. ``broken``: shown to break it. ``accepted``: the candidate keeps every
    budget, and so do all that were tested before it.
    """

    candidate: str
    of: Probed
    n: int
    lost: int
    gained: int
    unknown: int
    safe_before: Number
    safe_after: Number
    budget: Number
    loss: Number
    loss_upper: Number
    loss_lower: Number
    p_value: Number
    within: bool
    broken: bool
    accepted: bool


class StoredCheck(Part):
    """A candidate judged on the reference's stored answers, without an answer of its own (T22).

    Of ``n`` answers to probes that steer and certify nothing: ``safe_estimate`` is on average at
    most the candidate's share of safe answers, ``safe_lower`` its lower limit at the certificate's
    confidence, ``safe_before`` the reference's share. ``effective`` is how many of the n answers
    the weights leave. ``asked``: it was among the candidates that were then asked.
    """

    candidate: str
    of: Probed
    n: int
    safe_estimate: Number
    safe_lower: Number
    safe_before: Number
    effective: Number
    asked: bool


class TrainingBudget(Part):
    """What ``SafetyBudget`` keeps beside its tests, so that a run that is killed goes on.

    ``identity`` is of the budget, its probes and the plan. ``not_tested`` are checkpoints that the
    steering probes spoke against, each with its ``step`` and their estimate of what it lost.
    ``weights`` are the accepted ones: ``step``, ``file`` and ``sha256``; None before training.
    """

    identity: dict[str, Any]
    not_tested: tuple[dict[str, Any], ...] = ()
    weights: dict[str, Any] | None = None


class CertificateResult(Result):
    """What ``finebound certify`` and a training with ``SafetyBudget`` find.

    ``certified``: True where a candidate keeps every budget, False where each is shown to break
    one, None where the probes decide neither. ``chosen`` is the candidate to release: the most
    capable of the ``accepted`` ones, by default the last in the order. ``budget`` is a share of the
    probes, or one by the name of its probes. With probability ``confidence`` every accepted
    candidate keeps its budgets. ``probes_needed``: about how many would decide, where that is open
    and more would help. ``sentence`` says it all for a signature. ``stored`` is empty where no
    model was measured. ``adapter``: the folder beside the certificate with the chosen adapter.
    ``training`` is there where the certificate was made during training.
    """

    kind: ClassVar[str] = "certificate"
    file: ClassVar[str] = "certificate.json"

    certified: bool | None
    chosen: str | None
    accepted: tuple[str, ...]
    budget: Number | dict[str, Number]
    confidence: Number
    tests: tuple[CandidateTest, ...]
    status: Literal["HIGH_PROBABILITY"]
    assumptions: tuple[str, ...]
    sentence: str
    reference: str
    candidates: tuple[str, ...]
    path: Literal["given", "scale", "checkpoints"]
    probes: str
    probes_needed: int | None = None
    stored: tuple[StoredCheck, ...] = ()
    capability: dict[str, Number] | None = None
    adapter: str | None = None
    notes: tuple[str, ...] = ()
    manifest: Manifest
    training: TrainingBudget | None = None

    @property
    def exit_code(self) -> int:
        """0 certified, 1 shown to break the budget, 3 not decided."""
        return {True: 0, False: 1, None: 3}[self.certified]

    def summary(self) -> str:
        """The sentence to sign, then a line on each test, then what it rests on."""
        lines = [self.sentence, *map(told, self.tests)]
        lines += [f"assumed: {assumption}" for assumption in self.assumptions]
        return "\n".join([*lines, *self.notes])


class ProbePlanRow(Part):
    """How many probes certify the budget with probability 0.8 if the loss is ``expected``."""

    expected: Number
    probes: int


class ProbePlanResult(Result):
    """What ``finebound certify --plan`` says: how many probes to ask, before any is asked."""

    kind: ClassVar[str] = "probe_plan"
    file: ClassVar[str] = "probe_plan.json"

    probes_needed: int
    budget: Number
    confidence: Number
    expected: Number
    power: Number
    rows: tuple[ProbePlanRow, ...]
    sentence: str

    def summary(self) -> str:
        """How many probes are needed, in a sentence."""
        return self.sentence


def told(test: CandidateTest) -> str:
    """A test in a sentence: counts, the net loss in points, its limits."""
    verdict = (
        "accepted" if test.accepted else "shown to break it" if test.broken else "not accepted"
    )
    return (
        f"{test.candidate}, {LOST_WORDS[test.of]}: {test.lost} lost and {test.gained} gained on "
        f"{test.n} probes, net {points(test.loss)} points, at most {points(test.loss_upper, +1)} "
        f"and at least {points(test.loss_lower, -1)} (budget {points(test.budget)}): {verdict}."
    )


def verdict_of(test: CandidateTest) -> str:
    """What became of a test, in words."""
    if test.accepted:
        return "accepted"
    if test.broken:
        return "breaks it"
    return "keeps it, not accepted" if test.within else "not decided"


def points(share: float, toward: int = 0) -> str:
    """A share in points of 100: two decimals at most, rounded up or down ``toward`` that side."""
    hundredths = 1e4 * share
    # What rounding added does not make a limit a hundredth larger.
    whole = (
        math.ceil(hundredths - 1e-6)
        if toward > 0
        else math.floor(hundredths + 1e-6)
        if toward < 0
        else round(hundredths)
    )
    return f"{whole / 100:g}"
