"""What a fine-tune must, may and will probably cost, as measured and bounded before it."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from finebound.results.audit import AuditResult
from finebound.results.bounds import BoundEntry
from finebound.results.outlook import (
    BehaviourForecast,
    BudgetVerdict,
    Option,
    PlanSetting,
    Verdict,
)
from finebound.results.reading import DataReading
from finebound.results.result import Known, Manifest, Number, Part, Result
from finebound.results.spans import Limits
from finebound.results.strategies import StrategyEntry


class DataUsed(Part):
    """A dataset: ``rows`` of its ``rows_of`` rows were used; ``sha256`` is of those."""

    name: str
    source: str
    rows: int
    rows_of: int
    sha256: str


class CostBound(Part):
    """One side of one quantity: value, unit, the statement that gave it and what dominates it.

    ``remedy`` says what would lower it; empty where nothing is known to. A ``vacuous`` one says no
    more than is known without it.
    """

    value: Number
    unit: str
    status: str
    statement: str
    failure_probability: Number
    dominant: str
    remedy: str
    vacuous: bool


class StrategyCosts(Part):
    """One strategy: what it must and may cost. Entries are None where nothing was measured.

    ``forced_*``: what a table of answers pays at this lambda on the rows, exactly, nats per
    response; without a proxy no policy has a smaller weighted sum (T10). ``contested_*``: at most
    this much, for a policy that can answer each context apart. ``safety``: how much the safety loss
    may rise, nats per token. ``task_at_least``, ``task_at_most``: the task loss afterwards.
    """

    strategy: StrategyEntry
    in_words: str
    forced_safety: Number | None
    forced_capability: Number | None
    contested_safety: CostBound | None
    contested_capability: CostBound | None
    safety: CostBound | None
    task_at_least: CostBound | None
    task_at_most: CostBound | None


class OverlapEntry(Part):
    """Overlap of two sets of prompts by one method; see T15 of docs/theorems.md.

    ``overlap`` was measured from ``n_safety`` and ``n_task`` prompts; ``errs`` and ``why`` say on
    which side of the true one it can lie. The masses are the shares of prompts whose image both
    sets reach. ``interval`` contains the true overlap, the true image masses lie within ``radii``
    (safety, task; in TV) of the measured ones, and the method tells a safety and a task prompt with
    at least the ``accuracies``, all at once except with ``failure_probability``; these four are
    None for an estimate.
    """

    method: str
    safety_mass: Number
    task_mass: Number
    overlap: Number
    errs: str
    why: str
    n_safety: int
    n_task: int
    failure_probability: Number | None
    interval: tuple[Number, Number] | None
    radii: tuple[Number, Number] | None
    accuracies: tuple[Number, Number] | None
    details: dict[str, Known]
    status: str


class OverlapLimit(Part):
    """The overlap exceeds ``value`` with probability at most ``failure_probability``.

    The least upper end of the methods that have an interval; 1 and 0 without any.
    """

    value: Number
    failure_probability: Number


class PromptPair(Part):
    """A safety and a task prompt, their similarity in [0, 1], and their first rows (from 0)."""

    safety: str
    task: str
    similarity: Number
    safety_index: int
    task_index: int


class SharedPrompts(Part):
    """Prompts asked in both datasets, and those of them whose answers differ."""

    shared: int
    conflicting: int


class GapPoints(Part):
    """Safety and capability gaps at strengths lambda."""

    lam: list[Number]
    safety_gap: list[Number]
    capability_gap: list[Number]

    def at(self, lam: float) -> tuple[float, float]:
        """Both gaps at the point whose lambda is nearest to ``lam``."""
        place = min(range(len(self.lam)), key=lambda i: abs(self.lam[i] - lam))
        return self.safety_gap[place], self.capability_gap[place]


class ForcedFront(Part):
    """The exact front that the rows force on every policy (T10).

    ``asked`` are its points at the lambdas asked for, ``with_proxy`` where penalising the proxy
    ends instead, as far as that is finite (T5).
    """

    unit: str
    lam: list[Number]
    safety_gap: list[Number]
    capability_gap: list[Number]
    asked: GapPoints | None = None
    with_proxy: GapPoints | None = None

    @property
    def points(self) -> GapPoints:
        """The front's own points."""
        return GapPoints(
            lam=self.lam, safety_gap=self.safety_gap, capability_gap=self.capability_gap
        )


class SampleTest(Part):
    """A statistic of two samples and its permutation p-value under "same distribution"."""

    statistic: Known
    p_value: Known
    method: str


class PromptDifference(Part):
    """How the prompts of proxy and safety data differ.

    ``tv_lower`` is a lower limit of their total variation that fails with
    ``failure_probability``: a map of prompts can hide a difference and not invent it. ``mmd`` and
    ``sliced_wasserstein`` compare ``points`` of length 1, "embeddings" or "n-grams".
    """

    tv_lower: Number
    failure_probability: Number
    mmd: SampleTest
    sliced_wasserstein: Known
    points: str
    measures: list[OverlapEntry]


class TeacherDifference(Part):
    """What matched answers say about who wrote the safety and the proxy data.

    ``p_value`` is that of "same teacher" from all tests together (Bonferroni over ``p_values``).
    ``accuracy`` is the share of held-out pairs in which a classifier names the safety answer (1/2:
    it cannot), with its two-sided Clopper-Pearson interval, ``tv_lower`` a lower limit of the
    teachers' mean total variation on the matched prompts. ``separated`` is False where the pairs do
    not share their prompts, so that prompts and teachers cannot be told apart. ``statistics``: the
    mean of each, of safety and of proxy.
    """

    verdict: str
    matching: str
    separated: bool
    pairs: int
    p_value: Known
    p_values: dict[str, Known]
    accuracy: Limits
    tv_lower: Number
    statistics: dict[str, tuple[Known, Known]]
    log_likelihood_difference: Limits | None
    why: str
    details: dict[str, Known]


class ProxyDifference(Part):
    """How the proxy differs from the safety data: in what is asked, and in who answers."""

    context: PromptDifference
    teacher: TeacherDifference


class ModelLoss(Part):
    """A model's loss on one dataset, nats: the token sum over the count, and per response.

    ``bootstrap`` is a 95 % interval for ``per_token`` over rows. ``bernstein`` (T14) covers the
    population mean of a row's mean token loss, if no row's exceeds ``loss_range``. ``rows`` of
    ``rows_of`` were measured.
    """

    per_token: Number
    per_sequence: Number
    tokens_a_row: Number
    rows: int
    rows_of: int
    bootstrap: Limits
    bernstein: Limits
    loss_range: Number


class LossesOfRows(Part):
    """Losses of the rows that the gradients used: row numbers (from 0), nats, token counts."""

    rows: list[int]
    token_sum: list[Number]
    token_count: list[int]


class GradientNorm(Part):
    """A gradient's norm on a sample, nats per token per unit length.

    ``value`` is biased upward, so on the safe side on average. ``squared_unbiased`` is the inner
    product of the gradients of two independent halves, free of that bias and negative where noise
    prevails. ``standard_error`` estimates the root of ``E ||g - E g||^2``; ``upper`` is value +
    standard error, which bounds use: an estimate, no confidence limit.
    """

    value: Number
    squared_unbiased: Number
    standard_error: Number
    upper: Number


class CurvatureFound(Part):
    """Eigenvalues that a search found, largest magnitude first, nats per token per length^2.

    Each has an eigenvalue of the sample's matrix within its residual; ``converged``: the first
    residual is within the tolerance asked for. No larger eigenvalue is excluded. ``along_start``
    is d'Hd for the unit direction of the start.
    """

    kind: str
    eigenvalues: list[Number]
    residuals: list[Number]
    along_start: Number
    steps: int
    converged: bool
    rows: int
    tokens: int
    dimension: int
    estimated: bool

    @property
    def largest(self) -> float:
        """Safe-side value of the largest eigenvalue found (signed): its upper error bound."""
        return max(v + r for v, r in zip(self.eigenvalues, self.residuals, strict=True))

    @property
    def norm(self) -> float:
        """Safe-side value of the largest magnitude found: for T6, T7 and T12's constants."""
        return max(abs(v) + r for v, r in zip(self.eigenvalues, self.residuals, strict=True))


class LogitMovement(Part):
    """The most that a logit was seen to move per unit step.

    ``value`` counts movement up to a shift common to a token's logits, which softmax ignores: half
    the range of ``z - z_s``. ``unshifted`` is the plain maximum norm, ``radius`` the longest step
    tried, ``by_direction`` the largest ``value`` along each direction.
    """

    value: Number
    unshifted: Number
    radius: Number
    by_direction: dict[str, Known]
    rows: int
    tokens: int
    estimated: bool


class LoraShapes(Part):
    """The LoRA that is planned on the measured weights; ``shapes`` are ``(d_out, d_in)``."""

    rank: int
    alpha: Number
    shapes: list[tuple[int, int]]


class MeasuredLandscape(Part):
    """Losses, gradients, curvatures and J at the aligned model, in named ``coordinates``.

    Keys of ``losses`` and ``gradient_norms``: safety, task and proxy. Of ``cosines``: safety_task,
    safety_proxy and task_proxy (None for a zero gradient). Of ``curvatures``: safety, task and
    mismatch, that of ``Delta = f_s - f_proxy``; their ``along_start`` is the curvature along the
    task's gradient. ``mismatch`` is ``|| grad Delta ||`` (T12), None without a proxy.
    ``parameter_norm`` is the coordinates' norm at the start. ``lora`` is None for all weights;
    ``task_descent`` is the slope of the task's loss along the steepest step that the fine-tune can
    take: the gradient's norm, for a LoRA that of the gradient cut to its rank. Everything is an
    estimate from a sample.
    """

    coordinates: str
    dimension: int
    parameter_norm: Number
    seed: int
    losses: dict[str, LossesOfRows]
    gradient_norms: dict[str, GradientNorm]
    cosines: dict[str, Known]
    mismatch: GradientNorm | None
    curvatures: dict[str, CurvatureFound]
    logit_lipschitz: LogitMovement
    lora: LoraShapes | None
    task_descent: Number | None


class MeasuredModel(Part):
    """What was measured on the aligned model, before any fine-tune."""

    name: str
    sha256: str
    parameters: int
    vocabulary: int
    unit: str
    losses: dict[str, ModelLoss]
    landscape: MeasuredLandscape


class ConstantEntry(Part):
    """A constant of the bounds on the model, how it is known, and what it is."""

    value: Number
    known: str
    failure_probability: Number
    unit: str
    meaning: str = ""


class StepForecast(Part):
    """A straight step of length ``radius`` down the task's gradient, nats per token.

    Second order at the aligned model: an estimate of early in a fine-tune, no bound.
    """

    radius: Number
    safety_change: Known
    task_change: Known


class StrategyForecastEntry(Part):
    """What the planned fine-tune is forecast to change under a strategy, in ``unit``; no bound.

    Losses after less before. The 90 % intervals are what usual errors are, no guarantee.
    ``cost_share`` is the forecast's cost over its fine-tune's, both in tokens. A radius is the norm
    of the weights' change. ``notes`` say what a reader of this row must know besides.
    """

    strategy: StrategyEntry
    safety_change: Number
    safety_interval: tuple[Number, Number]
    task_change: Number
    task_interval: tuple[Number, Number]
    cost_share: Number
    method: str
    notes: list[str]
    status: str
    in_words: str
    unit: str


class _Measured(Part):
    strategy: StrategyEntry
    basis: str


class StrategyBound(BoundEntry, _Measured):
    """A bound, the strategy it is for, and its ``basis``.

    That is "rows" (no measurement error), "model", or the name of a measure of overlap.
    """


class RadiusCurves(Part):
    """What a radius does to both losses, nats per token, at each of ``radius``.

    ``safety_at_most`` is the bound on the change in safety loss, None where none applies, and
    ``vacuous`` where it says nothing. The task loss ends between ``task_at_least`` and
    ``task_at_most``. ``safety_change`` and ``task_change`` are those of the straight step.
    """

    radius: list[Number]
    safety_at_most: list[Known]
    vacuous: list[bool]
    task_at_least: list[Number]
    task_at_most: list[Number]
    safety_change: list[Known]
    task_change: list[Known]


class EstimateResult(Result):
    """What ``finebound estimate`` and ``finebound.estimate`` find.

    ``advice`` says what to do, the most decisive first. ``strategies``, the record's "table", are
    what each one must and may cost. Without a model ``model`` and ``constants`` are None and
    ``straight_steps`` is empty. ``strategy_forecast`` is what was asked for by ``forecast``.
    ``contested_prompts`` are the most asked of the prompts with different answers. ``request`` is
    all that was asked for, by name, and ``command`` the command line that asks it again. ``plan``
    is the fine-tune that was understood, and ``plan_notes`` say what the training file leaves open,
    contradicts, or says that the forecast does not hold. Without safety data the model's own
    answers are these: ``verdict``, ``forecast``, ``options`` (best first) and ``budgets`` are about
    its refusals. A record of version 1 lacks what stands after ``manifest``, and its "forecast" are
    the straight steps.
    """

    kind: ClassVar[str] = "estimate"
    file: ClassVar[str] = "estimate.json"
    version: ClassVar[int] = 2

    datasets: dict[str, DataUsed]
    reading: dict[str, DataReading]
    advice: list[str]
    left_out: list[str]
    audit: AuditResult
    strategies: list[StrategyCosts] = Field(alias="table")
    overlap: list[OverlapEntry]
    closest_pairs: list[PromptPair]
    shared_prompts: SharedPrompts
    frontier: ForcedFront
    proxy_mismatch: ProxyDifference | None
    model: MeasuredModel | None
    constants: dict[str, ConstantEntry] | None
    forecast_entry: BehaviourForecast | list[StepForecast] | None = Field(None, alias="forecast")
    strategy_forecast: tuple[StrategyForecastEntry, ...] = ()
    bounds: list[StrategyBound]
    manifest: Manifest
    overlap_limit: OverlapLimit | None = None
    proxy_overlap: tuple[OverlapEntry, ...] = ()
    contested_prompts: tuple[str, ...] = ()
    radius_curves: RadiusCurves | None = None
    request: dict[str, Any] | None = None
    command: str = ""
    plan: tuple[PlanSetting, ...] = ()
    plan_notes: tuple[str, ...] = ()
    straight_steps: tuple[StepForecast, ...] = ()
    verdict: Verdict | None = None
    options: tuple[Option, ...] = ()
    budgets: tuple[BudgetVerdict, ...] = ()

    @property
    def forecast(self) -> BehaviourForecast | None:
        """What happens to refusals; None where that was not asked, and in version 1."""
        entry = self.forecast_entry
        return entry if isinstance(entry, BehaviourForecast) else None

    @property
    def penalised(self) -> str:
        """Whose loss lambda weighs: "proxy" or "safety"."""
        return "proxy" if "proxy" in self.datasets else "safety"

    @property
    def planned_radius(self) -> StrategyBound | None:
        """How far the planned training can move the weights (T13); None without a model."""
        return next((bound for bound in self.bounds if bound.statement == "T13"), None)

    def costs(self, kind: str) -> list[StrategyCosts]:
        """The costs of the strategies of one kind: "loss", "parameter" or "hybrid"."""
        return [row for row in self.strategies if row.strategy.kind == kind]

    def summary(self) -> str:
        """The verdict where there is one, then the advice, one sentence per line."""
        verdict = [] if self.verdict is None else [self.verdict.sentence]
        return "\n".join([*verdict, *self.advice])
