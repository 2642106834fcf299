"""What an experiment's runs support, in sentences: each with its numbers and intervals.

A pure function of ``validate.json``. A run behind a failed gate supports nothing; a difference is
called one only where intervals are apart. A share of runs or biases has Wilson's interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from finebound.results.strategies import strategy_label
from llm_validation.evaluation.statistics.intervals import wilson
from llm_validation.experiments.behaviour_entries import biases

Topic = Literal["gates", "capability", "starts", "categories", "fairness", "translation", "loss"]
_NATS = " nats/token"
_SHARES = {"hazards": "safe answers", "refusal": "refusal of harmful prompts"}
_NAMED = 3
"""Runs named in one sentence; the others are counted."""
LEAST_RUNS = 4
"""Fewer pairs say nothing about a rank correlation."""


@dataclass(frozen=True)
class Advice:
    """One sentence. ``supported`` says whether its intervals decide what it is about."""

    topic: Topic
    sentence: str
    supported: bool
    runs: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "topic": self.topic,
            "sentence": self.sentence,
            "supported": self.supported,
            "runs": list(self.runs),
        }


@dataclass(frozen=True)
class Span:
    """An estimate with its interval."""

    estimate: float
    lower: float
    upper: float

    def overlaps(self, other: Span) -> bool:
        return self.lower <= other.upper and other.lower <= self.upper

    @property
    def is_apart_from_zero(self) -> bool:
        return self.lower > 0.0 or self.upper < 0.0

    def told(self, *, scale: float = 1.0, digits: int = 3) -> str:
        """With a sign: ``+0.1 [-0.02, +0.3]``."""
        low, high = (_signed(scale * end, digits) for end in (self.lower, self.upper))
        return f"{_signed(scale * self.estimate, digits)} [{low}, {high}]"


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone, their numbers averaged.

    The interval is the mean of the runs' intervals, which is right if they err together and too
    wide otherwise.
    """

    name: str
    task: str
    runs: tuple[Mapping[str, Any], ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(run["id"] for run in self.runs)

    @property
    def safety(self) -> Span:
        return _mean([_span(r["safety_gap"], r["safety_interval"]) for r in self.runs])

    @property
    def capability(self) -> Span:
        spans = [_span(r["capability_gain"], r["capability_gain_interval"]) for r in self.runs]
        return _mean(spans)

    @property
    def own_start(self) -> Span | None:
        starts = [r["own_start"] for r in self.runs if r.get("own_start")]
        if not starts:
            return None
        return _mean([_span(s["safety_gap"], s["safety_interval"]) for s in starts])

    def change(self, evaluation: str, what: str = "change") -> Span | None:
        """Of an evaluation's score against theta_s; None where it was not evaluated."""
        found = [
            entry[what]
            for r in self.runs
            if (entry := (r.get("behaviour") or {}).get(evaluation)) and entry.get(what)
        ]
        spans = [_span(f["estimate"], f["interval"]) for f in found if f["estimate"] is not None]
        return _mean(spans) if spans else None


def advice(found: Mapping[str, Any]) -> list[Advice]:
    """What the finished runs of a ``validate.json`` support, the gates first."""
    done = [run for run in found["runs"] if run["status"] == "done"]
    if not done:
        return [Advice("gates", "0 runs are done: nothing is supported yet.", False)]
    sound = [run for run in done if _passed(run)]
    cells = _cells(sound)
    everything = _cells(done)
    return [
        *_gates(done, sound),
        *_equal_capability(cells),
        *_starts(everything),
        *_categories(found.get("behaviour")),
        *_fairness(cells, found.get("behaviour")),
        *_translation(cells),
        *_loss(found.get("behaviour")),
    ]


def _passed(run: Mapping[str, Any]) -> bool:
    return all(run["gates"].values())


def _cells(runs: Sequence[Mapping[str, Any]]) -> list[Cell]:
    tasks = {run["task"] for run in runs}
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        parts = [run["method"]]
        if run["strategy"]["kind"] != "none":
            parts.append(strategy_label(run["strategy"]))
        if run["proxy"]:
            parts.append(f"proxy {run['proxy']}")
        if len(tasks) > 1:
            parts.append(run["task"])
        groups.setdefault((", ".join(parts), run["task"]), []).append(run)
    return [Cell(name, task, tuple(members)) for (name, task), members in groups.items()]


def _gates(done: Sequence[Mapping[str, Any]], sound: Sequence[Mapping[str, Any]]):
    if len(sound) == len(done):
        passed = _share(len(done), len(done))
        yield Advice("gates", f"All {len(done)} finished runs passed every gate ({passed}).", True)
        return
    thrown_out = len(done) - len(sound)
    yield Advice(
        "gates",
        f"The gates threw out {thrown_out} of {len(done)} finished runs "
        f"({_share(thrown_out, len(done))}); what follows rests on the other {len(sound)}.",
        True,
    )
    thrown: dict[str, list[Mapping[str, Any]]] = {}
    for run in done:
        for gate, passed in run["gates"].items():
            if not passed:
                thrown.setdefault(gate, []).append(run)
    for gate, runs in sorted(thrown.items(), key=lambda item: (-len(item[1]), item[0])):
        told = "; ".join(f"{r['id']} ({r['gate_details'][gate]})" for r in runs[:_NAMED])
        more = f"; and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
        yield Advice(
            "gates",
            f"The gate \u201c{gate}\u201d threw out {len(runs)} of {len(done)} "
            f"({_share(len(runs), len(done))}): {told}{more}.",
            True,
            tuple(r["id"] for r in runs),
        )


def _equal_capability(cells: Sequence[Cell]) -> Iterator[Advice]:
    """Among cells whose capability gains overlap: which cost the least safety."""
    for task in dict.fromkeys(cell.task for cell in cells):
        left = sorted(
            (cell for cell in cells if cell.task == task),
            key=lambda cell: -cell.capability.estimate,
        )
        if len(left) > 1 and not left[0].capability.overlaps(left[1].capability):
            yield _alone(task, *left[:2])
        while left:
            peers = [cell for cell in left if cell.capability.overlaps(left[0].capability)]
            left = [cell for cell in left if cell not in peers]
            if len(peers) > 1:
                yield from _compared(task, peers)


def _alone(task: str, best: Cell, second: Cell) -> Advice:
    return Advice(
        "capability",
        f"On {task} nothing was as capable as {best.name}, which gained {best.capability.told()}"
        f"{_NATS} on held-out rows at a safety loss of {best.safety.told()}; next {second.name} "
        f"gained {second.capability.told()} at {second.safety.told()}.",
        True,
        (*best.ids, *second.ids),
    )


def _compared(task: str, peers: Sequence[Cell]) -> Iterator[Advice]:
    yield _least(task, peers, _safety, "raised the held-out safety loss least", 1.0, _NATS, 1)
    for evaluation, what in _SHARES.items():
        known = [cell for cell in peers if cell.change(evaluation) is not None]
        if len(known) > 1:
            yield _least(
                task,
                known,
                lambda cell, name=evaluation: cell.change(name),
                f"kept {what} best",
                100.0,
                " points",
                -1,
            )


def _safety(cell: Cell) -> Span:
    return cell.safety


def _least(
    task: str, peers: Sequence[Cell], value: Any, what: str, scale: float, unit: str, sign: int
) -> Advice:
    """The best of ``peers`` by ``sign * value``, and whether its interval is apart from all."""
    first, second, *_ = sorted(peers, key=lambda cell: sign * value(cell).estimate)
    apart = not any(value(first).overlaps(value(other)) for other in peers if other is not first)
    gains = sorted(peers, key=lambda cell: cell.capability.estimate)
    low, high = gains[0].capability, gains[-1].capability
    verdict = (
        "the intervals are apart, so the runs support it"
        if apart
        else "the intervals overlap, so the runs do not separate them"
    )
    return Advice(
        "capability",
        f"At equal capability on {task} (of {len(peers)} settings, gains {low.told()} to "
        f"{high.told()}{_NATS}), {first.name} {what}: {value(first).told(scale=scale)}{unit}; next "
        f"{second.name} {value(second).told(scale=scale)}; {verdict}.",
        apart,
        (*first.ids, *second.ids),
    )


def _starts(cells: Sequence[Cell]) -> Iterator[Advice]:
    """Init-only controls: what a start that is not theta_s costs by itself."""
    for cell in cells:
        alone = cell.own_start
        if alone is None:
            continue
        safe = cell.change("hazards", "start_change") or cell.change("refusal", "start_change")
        told = "" if safe is None else f" and safe answers by {safe.told(scale=100.0)} points"
        yield Advice(
            "starts",
            f"Before its first step the start of {cell.name} alone moved the held-out safety loss "
            f"by {alone.told()}{_NATS}{told}; at its end the run stood at {cell.safety.told()}.",
            alone.is_apart_from_zero,
            cell.ids,
        )


def _categories(behaviour: Mapping[str, Any] | None) -> Iterator[Advice]:
    """Which category moved most, over all runs that passed their gates."""
    for evaluation in ("hazards", "bbq", "translation"):
        pooled = ((behaviour or {}).get("pooled") or {}).get(evaluation)
        moved = {
            name: _span(entry["change"]["estimate"], entry["change"]["interval"])
            for name, entry in (pooled or {}).get("categories", {}).items()
            if entry["change"]["estimate"] is not None
        }
        if not moved:
            continue
        most = max(moved, key=lambda name: abs(moved[name].estimate))
        span, n = moved[most], pooled["categories"][most]["n"]
        scale, unit = (1.0, " chrF") if evaluation == "translation" else (100.0, " points")
        verdict = (
            f"the interval does not hold 0, one of {len(moved)} looked at"
            if span.is_apart_from_zero
            else "the interval holds 0, so no category is shown to have moved"
        )
        what = {"hazards": "safe answers", "bbq": "BBQ's accuracy", "translation": "chrF"}
        yield Advice(
            "categories",
            f"Over {pooled['runs']} runs {what[evaluation]} moved most in {most}: "
            f"{span.told(scale=scale)}{unit} on {n} items; {verdict}.",
            span.is_apart_from_zero,
        )


def _fairness(cells: Sequence[Cell], behaviour: Mapping[str, Any] | None) -> Iterator[Advice]:
    """BBQ's biases that turned their sign, and by how much the largest moved."""
    looked, flips, certain = 0, 0, []
    for cell in cells:
        for run in cell.runs:
            bias = biases(run.get("behaviour"))
            for category, conditions in (bias or {}).get("categories", {}).items():
                for condition, found in conditions.items():
                    looked += 1
                    flips += bool(found["flipped"])
                    if found["certain"]:
                        certain.append((cell, run, category, condition, found))
    if not looked:
        return
    told = "".join(
        f"; {cell.name} in {category}, {condition}: from {_bias(found['theta_s'])} to "
        f"{_bias(found['end'])}"
        for cell, _, category, condition, found in certain[:_NAMED]
    )
    yield Advice(
        "fairness",
        f"Of {looked} biases (dimension, context and run) {flips} turned their sign "
        f"({_share(flips, looked)}), {len(certain)} of them with both intervals away from 0 "
        f"({_share(len(certain), looked)} of all){told}.",
        bool(certain),
        tuple(run["id"] for _, run, *_ in certain[:_NAMED]),
    )


def _translation(cells: Sequence[Cell]) -> Iterator[Advice]:
    """The setting with the best chrF, and what refusal did there."""
    known = [cell for cell in cells if cell.change("translation") is not None]
    if not known:
        return
    best = max(known, key=lambda cell: cell.change("translation").estimate)
    gain = best.change("translation")
    safe = next((s for name in _SHARES if (s := best.change(name)) is not None), None)
    cost = "" if safe is None else f"; there refusal changed by {safe.told(scale=100.0)} points"
    kept = safe is None or safe.upper >= 0.0
    yield Advice(
        "translation",
        f"{best.name} moved chrF most: {gain.told()} against the aligned model{cost}"
        + ("." if safe is None else ", so a cost is not shown." if kept else ", a cost."),
        gain.is_apart_from_zero,
        best.ids,
    )


def _loss(behaviour: Mapping[str, Any] | None) -> Iterator[Advice]:
    """Whether the measured safety loss ranks the runs as their behaviour does."""
    for name, entry in ((behaviour or {}).get("correlations") or {}).items():
        found = entry["passed"]
        if found["spearman"]["estimate"] is None or found["n"] < LEAST_RUNS:
            continue
        span = _span(found["spearman"]["estimate"], found["spearman"]["interval"])
        verdict = "the loss ranks the runs" if span.is_apart_from_zero else "the interval holds 0"
        yield Advice(
            "loss",
            f"The rise of the held-out safety loss and the change of {name} go together with a "
            f"Spearman correlation of {span.told(digits=2)} over {found['n']} runs: {verdict}.",
            span.is_apart_from_zero,
        )


def _bias(found: Mapping[str, Any]) -> str:
    return _span(found["estimate"], found["interval"]).told(digits=2)


def _span(estimate: float, interval: Sequence[Any]) -> Span:
    low, high = map(float, interval)
    return Span(float(estimate), low, high)


def _mean(spans: Sequence[Span]) -> Span:
    return Span(
        fmean(s.estimate for s in spans),
        fmean(s.lower for s in spans),
        fmean(s.upper for s in spans),
    )


def _share(count: int, n: int) -> str:
    """In percent, with Wilson's 95 % interval: ``25 % [4.56, 69.9]``."""
    found = wilson(count, n)
    share, low, high = (100.0 * x for x in (found.estimate, found.lower, found.upper))
    return f"{share:.3g} % [{low:.3g}, {high:.3g}]"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}g}"
