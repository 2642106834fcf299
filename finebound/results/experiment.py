"""A whole experiment: its runs beside their bounds, findings, forecasts, behaviour."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from finebound.base.integrity import read_record, require_unchanged
from finebound.results.audit import AuditResult
from finebound.results.behaviour import Behaviour, SharedBehaviour
from finebound.results.comparison import BoundCounts, ComparedBound, ComparisonResult
from finebound.results.forecasts import Forecasts
from finebound.results.result import Known, Manifest, Number, Part, Result
from finebound.results.spans import Limits, Span
from finebound.results.strategies import strategy_label

if TYPE_CHECKING:
    from finebound.results.advice import Advice

_PREPARED = "prepared.json"
AGAIN = "Start the experiment again with `finebound validate`: it writes that anew."


class Share(Part):
    """``count`` of ``n`` with its Wilson 95 % interval; without items the rate is None."""

    count: int
    n: int
    rate: Known
    low: Number
    high: Number


class AnswerRates(Part):
    """Refusals of harmful prompts, of harmless look-alikes, and answers that are neither."""

    refusal: Share
    over_refusal: Share
    incoherent: Share
    errors: int
    thought_cut: int = 0
    language_not_covered: int = 0


class PopulationInterval(Limits):
    """T14's interval; ``of`` says of what."""

    of: str


class OnsetFit(Part):
    """T19: ``rise = coefficient x^exponent`` over the checkpoints that rose."""

    exponent: Limits
    coefficient: Number
    used: int
    left_out: int


class Onset(Part):
    """Against the displacement and against the training time; None where nothing rose."""

    displacement: OnsetFit | None
    time: OnsetFit | None


class Checkpoint(Part):
    """A run after ``step`` steps; ``loss_change`` by set, nats per token."""

    step: int
    fraction: Number
    displacement: Number
    loss_change: dict[str, Known]


class OwnStart(Part):
    """What a start that is not the aligned model changes by itself, nats per token."""

    safety_gap: Number
    safety_interval: tuple[Number, Number]
    loss_change: dict[str, Known]

    @property
    def safety(self) -> Span:
        return Span(estimate=self.safety_gap, interval=self.safety_interval)


class DoneRun(Part):
    """A finished run, nats per token.

    ``safety_gap`` is the change in held-out safety loss against the aligned model, ``capability_
    gap`` the held-out task loss above the best run of the task and seed, ``training_sets`` exact
    changes on the training sets. ``tightest`` has the tightest upper bounds on the change in safety
    loss there, by when they are known.
    """

    id: str
    status: Literal["done"]
    safety_gap: Number
    capability_gap: Number
    gates: dict[str, bool]
    gate_details: dict[str, str]
    task: str
    proxy: str | None
    method: str
    seed: int
    strategy: dict[str, Any]
    population: str
    safety_interval: tuple[Number, Number]
    safety_population_interval: PopulationInterval
    capability_gain: Number
    capability_gain_interval: tuple[Number, Number]
    training_sets: dict[str, Number]
    displacement: Number
    steps: int
    least_slack_T17: Known
    answers: AnswerRates | None
    onset: Onset
    tightest: dict[str, ComparedBound | None]
    checkpoints: list[Checkpoint]
    own_start: OwnStart | None
    behaviour: Behaviour | None
    given: dict[str, Any]
    error: None
    attempts: list[str]

    @property
    def safety(self) -> Span:
        """The change in held-out safety loss with its paired interval over rows."""
        return Span(estimate=self.safety_gap, interval=self.safety_interval)

    @property
    def capability(self) -> Span:
        """The capability gained on held-out rows, likewise."""
        return Span(estimate=self.capability_gain, interval=self.capability_gain_interval)

    @property
    def label(self) -> str:
        return strategy_label(self.strategy)

    @property
    def failed_gates(self) -> list[str]:
        return [name for name, passed in self.gates.items() if not passed]

    @property
    def passed(self) -> bool:
        """Whether every gate was passed: else the run's numbers are flagged."""
        return all(self.gates.values())


class OpenRun(Part):
    """A run that failed, or that is not done yet."""

    id: str
    status: Literal["failed", "pending"]
    safety_gap: None
    capability_gap: None
    gates: dict[str, bool]
    error: str | None
    attempts: list[str]


class Effect(Part):
    """One comparison: positive means that the finding holds there."""

    where: str
    estimate: Known
    interval: tuple[Number, Number]
    unit: str

    @property
    def span(self) -> Span:
        return Span(estimate=self.estimate, interval=self.interval)


Verdict = Literal["confirmed", "refuted", "undecided", "not tested"]


class Finding(Part):
    """A finding of the paper, the comparisons that test it and what they decide together."""

    finding: str
    claim: str
    verdict: Verdict
    effects: list[Effect]
    why_not_tested: str


class RouterLosses(Part):
    """What a router loses, nats per token; ``theory.routing.MeasuredRouter`` says of what."""

    safety_increase: Number
    capability_gap: Number
    unrouted_safety_increase: Number
    unrouted_capability_gap: Number


class Router(Part):
    """T18's router of one task, on held-out rows: its choices' accuracy and what it loses."""

    task: str
    method: str
    seed: int
    balanced_accuracy: Number
    losses: RouterLosses


class SafetySplit(Part):
    """A run's change in held-out safety loss in its two parts, nats per token.

    The unavoidable part lies in ``unavoidable``, what sharing weights adds in ``interference``.
    ``reachable`` says whether the router is as capable as the run, without which it bounds
    nothing from above.
    """

    run: str
    rise: Number
    unavoidable: tuple[Number, Number]
    interference: tuple[Number, Number]
    reachable: bool


class EnvelopeRun(Part):
    """One run of T17's envelope: its losses, its lambda and how far it is from its minimum."""

    id: str
    proxy_loss: Number
    task_loss: Number
    lam: Number
    slack: Number


class EnvelopeLines(Part):
    """The lines whose lowest is the envelope."""

    lam: list[Number]
    intercept: list[Number]


class Brackets(Part):
    """Limits on the losses at lambdas between the runs."""

    lam: list[Number]
    proxy_loss_lower: list[Number]
    proxy_loss_upper: list[Number]
    task_loss_lower: list[Number]
    task_loss_upper: list[Number]


class Envelope(Part):
    """T17 for a task and proxy, on the training sets."""

    task: str
    method: str
    seed: int
    proxy: str
    runs: list[EnvelopeRun]
    envelope: EnvelopeLines
    brackets: Brackets


class AnswersOfAligned(Part):
    """Of the model before and after its alignment; None where no answers were asked for."""

    before: AnswerRates | None
    after: AnswerRates | None


class Aligned(Part):
    """The aligned model, from which every run starts. Losses before and after its alignment."""

    as_it_is: bool
    folder: str
    sha256: str
    safety_loss: tuple[Known, Known]
    held_out_safety_loss: tuple[Known, Known]
    gradient_norm: Known
    gradient_norm_upper: Known
    answers: AnswersOfAligned


class SetEntry(Part):
    """A set of rows and its loss at the aligned model (``loss_at_theta_s``), nats per token."""

    source: str
    reading: dict[str, Any] = Field(default={})
    sha256: str
    rows: int
    loss_at_theta_s: Number
    tokens: int


Run = Annotated[DoneRun | OpenRun, Field(discriminator="status")]


class ExperimentResult(Result):
    """What ``finebound validate``, ``finebound finetune`` and ``finebound.validate`` find.

    ``compared`` is read from ``comparison.json`` beside the record, None where it was not; the
    name of the ``model`` that was aligned from ``prepared.json``.
    """

    kind: ClassVar[str] = "experiment"
    file: ClassVar[str] = "validate.json"
    sealed: ClassVar[bool] = True

    runs: list[Run]
    bounds: BoundCounts
    violated: list[ComparedBound]
    findings: list[Finding]
    forecasts: Forecasts | None
    routers: list[Router]
    splits: list[SafetySplit]
    envelopes: list[Envelope]
    behaviour: SharedBehaviour | None
    left_out: list[str] = Field(default=[])
    aligned: Aligned
    sets: dict[str, SetEntry]
    audit: dict[str, AuditResult] = Field(default={})
    manifest: Manifest
    files: dict[str, str] = Field(default={})
    compared: Annotated[SkipJsonSchema[list[ComparedBound] | None], Field(exclude=True)] = None
    model: Annotated[SkipJsonSchema[str], Field(exclude=True)] = "a model"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The result of an experiment's folder, or of its record alone. Raises InputError.

        Of a folder ``compared`` and ``model`` are read too. Raises Damaged where a file is not
        what was written.
        """
        found, folder = super().load(path), Path(path)
        if not folder.is_dir():
            return found
        require_unchanged(folder, found.files, remedy=AGAIN)
        beside: dict[str, Any] = {}
        if (folder / ComparisonResult.file).is_file():
            beside["compared"] = ComparisonResult.load(folder).entries
        if (folder / _PREPARED).is_file():
            beside["model"] = read_record(folder / _PREPARED, remedy=AGAIN)["model"]["name"]
        return found.model_copy(update=beside)

    def save(self, path: str | Path) -> Path:
        """Write ``comparison.json`` beside the record where it is known, then the record."""
        path = Path(path)
        if self.compared is not None:
            folder = path.parent if path.suffix == ".json" else path
            ComparisonResult(entries=self.compared).save(folder)
        return super().save(path)

    @property
    def found(self) -> dict[str, Any]:
        """What was found, without what made it: the ``--json`` output."""
        without = ("audit", "manifest", "files")
        return {name: value for name, value in self.to_dict().items() if name not in without}

    @property
    def done(self) -> list[DoneRun]:
        return [run for run in self.runs if isinstance(run, DoneRun)]

    @property
    def name(self) -> str:
        return str(self.manifest.given.get("name", "experiment"))

    @property
    def description(self) -> str:
        return str(self.manifest.given.get("description", ""))

    @property
    def passed(self) -> bool:
        """Whether no certain bound was violated and no run failed."""
        return not self.violated and all(run.status != "failed" for run in self.runs)

    @cached_property
    def advice(self) -> list[Advice]:
        """What the finished runs support, sentence by sentence."""
        from finebound.results.advice import advice

        return advice(self)

    def summary(self) -> str:
        """How many runs are done and bounds held, then what the runs support."""
        done, bounds = len(self.done), self.bounds
        first = (
            f"{self.name}: {done} of {len(self.runs)} runs done, {bounds.held} bounds held, "
            f"{bounds.violated} violated, {bounds.vacuous} vacuous"
        )
        return "\n".join([first, *(one.sentence for one in self.advice)])
