"""Defences and runs in the plane of capability and safety, as ``finebound defend`` finds them."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from finebound.base.output import number
from finebound.results.experiment import AnswerRates
from finebound.results.interval import Interval
from finebound.results.result import Known, Manifest, Number, Part, Result

UNDEFENDED = "undefended"
"""The family of the baseline: its checkpoints, and every learning rate of the grid."""


class PairedInterval(Part):
    """An estimate and its 95 % bootstrap interval, on the same resampled rows as all others."""

    estimate: Known
    lower: Number
    upper: Number

    def as_interval(self) -> Interval:
        estimate = float("nan") if self.estimate is None else self.estimate
        return Interval(estimate, self.lower, self.upper)


class ModuleEntry(Part):
    """What a defence saw of one adapted module, and whether it changed it; None: no such number.

    ``distance`` is ``|C dW - dW|`` and ``cosine`` that of ``C dW`` and ``dW``, C the alignment's
    fast projector, ``projector_norm`` its 2-norm. ``score`` is what the method decided by.
    """

    name: str
    distance: Known
    cosine: Known
    projector_norm: Known
    score: Known
    changed: bool


class AdapterCost(Part):
    """Of all modules: trained numbers, operations per token, milliseconds for 128 tokens."""

    modules: int
    parameters: int
    flops_per_token: int
    milliseconds: Known


class CostChange(Part):
    """An adapter's cost before a defence and after it."""

    before: AdapterCost
    after: AdapterCost


class DefendResult(Result):
    """What ``finebound defend`` did to an adapter, module by module.

    ``cost`` is there where a method prunes; further entries are a method's own ``details``.
    ``files`` are the hashes of what was written beside the record.
    """

    model_config = ConfigDict(extra="allow")

    kind: ClassVar[str] = "defend"
    file: ClassVar[str] = "defend.json"
    sealed: ClassVar[bool] = True

    method: str
    stage: str
    settings: dict[str, Any]
    modules: tuple[ModuleEntry, ...]
    notes: tuple[str, ...]
    cost: CostChange | None = None
    manifest: Manifest
    files: dict[str, str] = Field(default_factory=dict)

    @property
    def details(self) -> dict[str, Any]:
        return self.model_extra or {}

    def to_dict(self) -> dict[str, Any]:
        content = super().to_dict()
        last = {name: content.pop(name) for name in ("manifest", "files") if name in content}
        return content | last

    @property
    def title(self) -> str:
        settings = ", ".join(f"{k} {v}" for k, v in self.settings.items() if v is not None)
        changed = sum(module.changed for module in self.modules)
        return f"{self.method} ({settings}): {changed} of {len(self.modules)} modules changed"

    def summary(self) -> str:
        lines = [self.title]
        if self.cost is not None:
            before, after = self.cost.before, self.cost.after
            times = (number(c.milliseconds or float("nan")) for c in (before, after))
            lines.append(
                f"Unmerged adapter: {before.modules} -> {after.modules} modules, "
                f"{before.parameters:,} -> {after.parameters:,} parameters, "
                f"{before.flops_per_token:,} -> {after.flops_per_token:,} operations per token, "
                f"{' -> '.join(times)} ms for 128 tokens here."
            )
        return "\n".join([*lines, *self.notes])


class Budget(Part):
    """Steps and rows that made a point; ``other`` says how that differs from the undefended run."""

    training_steps: int
    task_rows: int
    safety_rows: int
    harmful_rows: int
    extra_seconds: Number
    needs: str
    other: tuple[str, ...]


class CoherenceGate(Part):
    """Whether a model still speaks, and the number or fact that decided it."""

    passed: bool
    because: str


class DefendedSeed(Part):
    """One seed of one strength of one family: its held-out losses, answers and budget.

    ``command`` makes the defended adapter again. ``answers`` are None where nothing was asked.
    """

    id: str
    method: str
    family: str
    strength: str
    stage: str
    run: str
    seed: int
    safety_loss: Number
    task_loss: Number
    gate: CoherenceGate
    answers: AnswerRates | None
    budget: Budget
    same_budget: bool
    settings: dict[str, Any]
    changed_modules: int
    details: dict[str, Any]
    notes: tuple[str, ...]
    command: str | None


class TradeoffPlace(Part):
    """Where one strength of one family lies: changes from the aligned model, nats per token.

    ``gain`` is the fall of the held-out task loss, ``rise`` the change in safety loss. ``counts``
    is False where its gate failed, and such a place is in no score. ``excess`` is the rise above
    the frontier of all counted places at its gain, ``on_frontier`` the share of draws in which that
    is at most 0, ``against_baseline`` the rise above the undefended sweep's at the same gain (None
    where the sweep does not gain so much), ``above_forced`` that above T10's limit.
    """

    id: str
    family: str
    counts: bool
    gain: PairedInterval
    rise: PairedInterval
    excess: Known
    on_frontier: Known
    against_baseline: PairedInterval | None
    above_forced: Known
    seeds: tuple[DefendedSeed, ...]


class FamilyScore(Part):
    """A family's hypervolume, (nats/token)^2; None where no place of it counts.

    ``less_baseline`` is that less the undefended sweep's, ``distance`` the mean rise above the
    frontier of all counted places over all gains, nats per token.
    """

    family: str
    strengths: int
    hypervolume: PairedInterval | None
    less_baseline: PairedInterval | None = None
    distance: PairedInterval | None = None
    more_strengths_than_baseline: bool
    one_strength: bool


class TheoryCurve(Part):
    """What theory says of the plane: T10's limit, T16's front or its forecasts of the runs.

    ``rise`` at each ``gain``, nats per token from the aligned model.
    """

    statement: str
    form: str
    status: str
    gain: tuple[Number, ...]
    rise: tuple[Number, ...]
    shared_prompts: int | None = None
    conflicting_prompts: int | None = None
    forces: bool | None = None
    lam: tuple[Known, ...] = ()
    displacement: tuple[Number, ...] = ()
    runs: tuple[str, ...] = ()
    says: str


class NotApplied(Part):
    """A strength of a method that does not apply to a run, and why."""

    method: str
    strength: str
    run: str
    why: str


class LayerEntry(Part):
    """The modules of one defended adapter, for a figure over depth."""

    id: str
    method: str
    strength: str
    modules: tuple[ModuleEntry, ...]

    @property
    def changed(self) -> int:
        return sum(module.changed for module in self.modules)


class FaithfulnessEntry(Part):
    """What of a method is its paper's, its release's and ours."""

    paper: str
    ours: str
    release: str


class ReferencePoint(Part):
    """What hypervolumes are taken against: no gain, and the worst counted rise."""

    gain: Number
    rise: Number


class TradeoffResult(Result):
    """What ``finebound defend --compare`` finds: every defence beside the undefended runs."""

    kind: ClassVar[str] = "tradeoff"
    file: ClassVar[str] = "defences.json"

    experiment: str
    model: dict[str, Any]
    task: str
    unit: str
    places: tuple[TradeoffPlace, ...]
    reference: ReferencePoint
    scores: tuple[FamilyScore, ...]
    frontiers: tuple[TheoryCurve, ...]
    not_applicable: tuple[NotApplied, ...]
    aligned_answers: AnswerRates | None
    layers: tuple[LayerEntry, ...]
    faithfulness: dict[str, FaithfulnessEntry]
    notes: tuple[str, ...]
    manifest: Manifest

    @property
    def families(self) -> list[str]:
        return list(dict.fromkeys(place.family for place in self.places))

    def of_family(self, family: str) -> list[TradeoffPlace]:
        """The counted places of a family, by their gain."""
        mine = [place for place in self.places if place.family == family and place.counts]
        return sorted(mine, key=lambda place: place.gain.estimate or 0.0)

    def summary(self) -> str:
        """The best family beside the undefended sweep, then what failed, theory, and the notes."""
        lines = [
            f"{s.family}: hypervolume {number(s.hypervolume.as_interval().estimate)} "
            f"(nats/token)^2, {number(s.less_baseline.as_interval().estimate)} above the "
            f"undefended sweep's [{number(s.less_baseline.lower)}, {number(s.less_baseline.upper)}]"
            for s in self.scores
            if s.hypervolume is not None and s.less_baseline is not None
        ]
        failed = [place.id for place in self.places if not place.counts]
        if failed:
            lines.append(f"no longer coherent, in no score: {', '.join(failed)}")
        return "\n".join([*lines, *self.told])

    @property
    def layers_shown(self) -> list[LayerEntry]:
        """Of each method that reports modules the strength that changed most of them."""
        widest: dict[str, LayerEntry] = {}
        for entry in self.layers:
            known = widest.get(entry.method)
            if known is None or entry.changed > known.changed:
                widest[entry.method] = entry
        return [e for e in widest.values() if any(m.cosine is not None for m in e.modules)]

    @property
    def told(self) -> list[str]:
        """What theory says of the plane, what does not apply, and the notes."""
        curves = [f"{c.statement} ({c.status.lower()}): {c.says}" for c in self.frontiers]
        lacking = [
            f"{f'{e.method} {e.strength}'.strip()} does not apply to {e.run}: {e.why}"
            for e in self.not_applicable
        ]
        return [*curves, *lacking, *self.notes]
