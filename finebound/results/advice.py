"""What an experiment's runs support, in sentences: each with its numbers and intervals.

A pure function of the result. A run that fails a gate supports nothing; a difference is called one
only where intervals are apart. A share of runs or biases has Wilson's interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from finebound.results.behaviour import Pooled, SharedBehaviour
from finebound.results.result import Part
from finebound.results.spans import Span
from theory.confidence import wilson

if TYPE_CHECKING:
    from finebound.results.experiment import DoneRun, ExperimentResult

Topic = Literal["gates", "capability", "starts", "categories", "fairness", "translation", "loss"]
_NATS = " nats/token"
_SHARES = {"hazards": "safe answers", "refusal": "refusal of harmful prompts"}
_NAMED = 3
"""Runs named in one sentence; the others are counted."""
LEAST_RUNS = 4
"""Fewer pairs say nothing about a rank correlation."""


class Advice(Part):
    """One sentence. ``supported`` says whether its intervals decide what it is about."""

    topic: Topic
    sentence: str
    supported: bool
    runs: list[str]


def _said(topic: Topic, sentence: str, supported: bool, runs: Iterable[str] = ()) -> Advice:
    return Advice(topic=topic, sentence=sentence, supported=supported, runs=list(runs))


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their seed alone, their numbers averaged."""

    name: str
    task: str
    runs: tuple[DoneRun, ...]

    @property
    def ids(self) -> list[str]:
        return [run.id for run in self.runs]

    @property
    def safety(self) -> Span:
        return Span.mean([run.safety for run in self.runs])

    @property
    def capability(self) -> Span:
        return Span.mean([run.capability for run in self.runs])

    @property
    def own_start(self) -> Span | None:
        return _mean(run.own_start.safety for run in self.runs if run.own_start is not None)

    def change(self, evaluation: str) -> Span | None:
        """Of an evaluation's score against the aligned model; None where it was not evaluated."""
        entries = [(run.behaviour or {}).get(evaluation) for run in self.runs]
        return _mean(entry and entry.change for entry in entries)

    def start_change(self, evaluation: str) -> Span | None:
        """The same of the runs' own start."""
        entries = [(run.behaviour or {}).get(evaluation) for run in self.runs]
        return _mean(entry and entry.start_change for entry in entries)


def _mean(spans: Iterable[Span | None]) -> Span | None:
    known = [span for span in spans if span is not None and span.estimate is not None]
    return Span.mean(known) if known else None


def advice(result: ExperimentResult) -> list[Advice]:
    """What the finished runs support, the gates first."""
    done = result.done
    if not done:
        sentence = "0 runs are done: nothing is supported yet."
        return [_said(topic="gates", sentence=sentence, supported=False)]
    sound = [run for run in done if run.passed]
    settings = _settings(sound)
    return [
        *_gates(done, sound),
        *_equal_capability(settings),
        *_starts(_settings(done)),
        *_categories(result.behaviour),
        *_fairness(settings),
        *_translation(settings),
        *_loss(result.behaviour),
    ]


def _settings(runs: Sequence[DoneRun]) -> list[Setting]:
    tasks = {run.task for run in runs}
    groups: dict[tuple[str, str], list[DoneRun]] = {}
    for run in runs:
        parts = [run.method]
        if run.strategy["kind"] != "none":
            parts.append(run.label)
        if run.proxy:
            parts.append(f"proxy {run.proxy}")
        if len(tasks) > 1:
            parts.append(run.task)
        groups.setdefault((", ".join(parts), run.task), []).append(run)
    return [Setting(name, task, tuple(members)) for (name, task), members in groups.items()]


def _gates(done: Sequence[DoneRun], sound: Sequence[DoneRun]) -> Iterator[Advice]:
    failing = len(done) - len(sound)
    if not failing:
        told = f"All {len(done)} finished runs pass every gate ({_share(len(done), len(done))})."
        yield _said(topic="gates", sentence=told, supported=True)
        return
    yield _said(
        topic="gates",
        sentence=f"{failing} of {len(done)} finished runs ({_share(failing, len(done))}) fail a "
        f"gate; what follows rests on the other {len(sound)}.",
        supported=True,
    )
    by_gate: dict[str, list[DoneRun]] = {}
    for run in done:
        for gate in run.failed_gates:
            by_gate.setdefault(gate, []).append(run)
    for gate, runs in sorted(by_gate.items(), key=lambda item: (-len(item[1]), item[0])):
        told = "; ".join(f"{r.id} ({r.gate_details[gate]})" for r in runs[:_NAMED])
        more = f"; and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
        share = _share(len(runs), len(done))
        fail = "fails" if len(runs) == 1 else "fail"
        yield _said(
            topic="gates",
            sentence=f"{len(runs)} of {len(done)} runs ({share}) {fail} the gate "
            f"\u201c{gate}\u201d: {told}{more}.",
            supported=True,
            runs=[r.id for r in runs],
        )


def _equal_capability(settings: Sequence[Setting]) -> Iterator[Advice]:
    """Among settings whose capability gains overlap: which cost the least safety."""
    for task in dict.fromkeys(one.task for one in settings):
        left = sorted(
            (one for one in settings if one.task == task),
            key=lambda one: -one.capability.value,
        )
        if len(left) > 1 and not left[0].capability.overlaps(left[1].capability):
            yield _alone(task, left[0], left[1])
        while left:
            peers = [one for one in left if one.capability.overlaps(left[0].capability)]
            left = [one for one in left if one not in peers]
            if len(peers) > 1:
                yield from _compared(task, peers)


def _alone(task: str, best: Setting, second: Setting) -> Advice:
    return _said(
        topic="capability",
        sentence=f"On {task} {best.name} gained the most capability, "
        f"{best.capability.told()}{_NATS} on held-out rows, with a change in safety loss of "
        f"{best.safety.told()}; next {second.name} gained {second.capability.told()} with "
        f"{second.safety.told()}.",
        supported=True,
        runs=[*best.ids, *second.ids],
    )


def _compared(task: str, peers: Sequence[Setting]) -> Iterator[Advice]:
    what = "the lowest change in held-out safety loss"
    yield _best(task, [(one, one.safety) for one in peers], what, 1.0, _NATS, 1)
    for evaluation, score in _SHARES.items():
        changes = [(one, one.change(evaluation)) for one in peers]
        known = [(one, span) for one, span in changes if span is not None]
        if len(known) > 1:
            yield _best(task, known, f"the best change in {score}", 100.0, " points", -1)


def _best(
    task: str,
    peers: Sequence[tuple[Setting, Span]],
    what: str,
    scale: float,
    unit: str,
    sign: int,
) -> Advice:
    """The best of ``peers`` by ``sign * span``, and whether its interval is apart from all."""
    (first, least), *others = sorted(peers, key=lambda peer: sign * peer[1].value)
    apart = not any(least.overlaps(span) for _, span in others)
    gains = sorted((one.capability for one, _ in peers), key=lambda gain: gain.value)
    verdict = (
        "the intervals are apart, so the runs support it"
        if apart
        else "the intervals overlap, so the runs do not separate them"
    )
    second, span = others[0]
    return _said(
        topic="capability",
        sentence=f"At matched capability on {task} ({len(peers)} settings, gains "
        f"{gains[0].told()} to {gains[-1].told()}{_NATS}), {first.name} has {what}: "
        f"{least.told(scale=scale)}{unit}; next {second.name} {span.told(scale=scale)}; {verdict}.",
        supported=apart,
        runs=[*first.ids, *second.ids],
    )


def _starts(settings: Sequence[Setting]) -> Iterator[Advice]:
    """Init-only controls: what a start that is not the aligned model costs by itself."""
    for one in settings:
        alone = one.own_start
        if alone is None:
            continue
        safe = one.start_change("hazards") or one.start_change("refusal")
        told = "" if safe is None else f" and safe answers by {safe.told(scale=100.0)} points"
        yield _said(
            topic="starts",
            sentence=f"The start of {one.name} alone changed the held-out safety loss by "
            f"{alone.told()}{_NATS}{told} before any training; at the end the change was "
            f"{one.safety.told()}.",
            supported=alone.is_apart_from_zero,
            runs=one.ids,
        )


def _categories(behaviour: SharedBehaviour | None) -> Iterator[Advice]:
    """Which category moved most, over all runs that pass their gates."""
    names = {"hazards": "safe answers", "bbq": "BBQ's accuracy", "translation": "chrF"}
    for evaluation, what in names.items():
        pooled = behaviour and behaviour.pooled.get(evaluation)
        if pooled:
            yield from _most_moved(evaluation, what, pooled)


def _most_moved(evaluation: str, what: str, pooled: Pooled) -> Iterator[Advice]:
    moved = {n: c.change for n, c in pooled.categories.items() if c.change.estimate is not None}
    if not moved:
        return
    most = max(moved, key=lambda name: abs(moved[name].value))
    span = moved[most]
    scale, unit = (1.0, " chrF") if evaluation == "translation" else (100.0, " points")
    verdict = (
        f"the interval excludes 0, one of {len(moved)} looked at"
        if span.is_apart_from_zero
        else "the interval includes 0, so no category is shown to have moved"
    )
    yield _said(
        topic="categories",
        sentence=f"Over {pooled.runs} runs {what} moved most in {most}: {span.told(scale=scale)}"
        f"{unit} on {pooled.categories[most].n} items; {verdict}.",
        supported=span.is_apart_from_zero,
    )


def _fairness(settings: Sequence[Setting]) -> Iterator[Advice]:
    """BBQ's biases that turned their sign, and by how much the largest moved."""
    looked, flips, certain = 0, 0, []
    for one in settings:
        for run in one.runs:
            entry = (run.behaviour or {}).get("bbq")
            bias = None if entry is None else entry.bias
            for category, conditions in bias.categories.items() if bias else ():
                for condition, cell in conditions.items():
                    looked += 1
                    flips += cell.flipped
                    if cell.certain:
                        certain.append((one.name, run.id, category, condition, cell))
    if not looked:
        return
    told = "".join(
        f"; {name} in {category}, {condition}: from {_bias(cell.theta_s)} to {_bias(cell.end)}"
        for name, _, category, condition, cell in certain[:_NAMED]
    )
    yield _said(
        topic="fairness",
        sentence=f"Of {looked} biases (dimension, context and run) {flips} turned their sign "
        f"({_share(flips, looked)}), {len(certain)} of them with both intervals away from 0 "
        f"({_share(len(certain), looked)} of all){told}.",
        supported=bool(certain),
        runs=[run for _, run, *_ in certain[:_NAMED]],
    )


def _translation(settings: Sequence[Setting]) -> Iterator[Advice]:
    """The setting with the best chrF, and what refusal did there."""
    known = [(one, gain) for one in settings if (gain := one.change("translation")) is not None]
    if not known:
        return
    best, gain = max(known, key=lambda pair: pair[1].value)
    safe = next((s for name in _SHARES if (s := best.change(name)) is not None), None)
    cost = "" if safe is None else f"; there refusal changed by {safe.told(scale=100.0)} points"
    kept = safe is None or safe.upper >= 0.0
    yield _said(
        topic="translation",
        sentence=f"{best.name} moved chrF most: {gain.told()} against the aligned model{cost}"
        + ("." if safe is None else ", so a cost is not shown." if kept else ", a cost."),
        supported=gain.is_apart_from_zero,
        runs=best.ids,
    )


def _loss(behaviour: SharedBehaviour | None) -> Iterator[Advice]:
    """Whether the change in safety loss ranks the runs as their behaviour does."""
    for name, entry in (behaviour.correlations if behaviour else {}).items():
        found = entry.passed
        span = found.spearman
        if span.estimate is None or found.n < LEAST_RUNS:
            continue
        verdict = "the loss ranks the runs" if span.is_apart_from_zero else "0 is in the interval"
        yield _said(
            topic="loss",
            sentence=f"The change in held-out safety loss and the change of {name} have a Spearman "
            f"correlation of {span.told(digits=2)} over {found.n} runs: {verdict}.",
            supported=span.is_apart_from_zero,
        )


def _bias(span: Span | None) -> str:
    return "-" if span is None else span.told(digits=2)


def _share(count: int, n: int) -> str:
    """In percent, with Wilson's 95 % interval: ``25 % [4.56, 69.9]``."""
    found = wilson(count, n)
    share, low, high = (100.0 * x for x in (found.estimate, found.lower, found.upper))
    return f"{share:.3g} % [{low:.3g}, {high:.3g}]"
