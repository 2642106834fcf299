"""The paper's findings on finished runs: an effect with an interval, and what it decides.

(a) a same-teacher proxy has the lower safety loss at each lambda; (b) code trades off better than
general instructions; (c) a parameter constraint is steeper than a loss constraint: it keeps
safety but limits capability; (d) raising lambda lowers the safety loss and the capability gained.
Source: Chen et al., arXiv 2503.20807. All effects are on held-out rows, in nats per token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from finebound.base.records import spawn_seed
from finebound.results.experiment import Effect, Finding, Verdict
from finebound.results.spans import Span
from finebound.results.strategies import strategy_label
from llm_validation.experiments.datasets import SAFETY, held_out
from llm_validation.experiments.run import Measured
from llm_validation.experiments.statistics import LEVEL, Pair, Statistic, resampled

_SAFETY = held_out(SAFETY)
_RISE, _LOSS = "rise", "task"


Test = tuple[str, list[dict[str, tuple[str, Pair]]], Statistic, str]
"""Where, the runs' losses by seed, the statistic, its unit."""


def findings(runs: Sequence[Measured], *, seed: int = 0) -> list[Finding]:
    """Every finding on these finished runs, from their records alone."""
    grid = _Grid(runs)
    return [
        _decide("a", "a same-teacher proxy has a lower safety loss than another teacher's",
                grid.proxies("same-teacher", "other-teacher"), seed,
                "needs runs with both proxies at one lambda"),
        _decide("a'", "a self-generated proxy has a lower safety loss than a same-teacher one",
                grid.proxies("self-generated", "same-teacher"), seed,
                "needs runs with both proxies at one lambda"),
        _decide("b", "code costs less safety for what it gains than general instructions",
                grid.tasks("code", "general"), seed,
                "needs one strategy on the tasks general and code"),
        _decide("b'", "agreeing instructions cost less safety for what they gain than general ones",
                grid.tasks("agreeing", "general"), seed,
                "needs one strategy on the tasks general and agreeing"),
        _decide("c", "a parameter constraint trades capability for safety more steeply",
                grid.steepness(), seed,
                "needs two radii and two lambdas on one task"),
        _decide("c'", "at equal capability a parameter constraint costs more safety",
                grid.equal_capability(), seed,
                "needs a radius whose capability lies between those of two lambdas"),
        _decide("d-safety", "raising lambda lowers the safety loss", grid.over_lambda(_RISE), seed,
                "needs two lambdas with one proxy"),
        _decide("d-capability", "raising lambda lowers the capability gained",
                grid.over_lambda(_LOSS), seed, "needs two lambdas with one proxy"),
    ]  # fmt: skip


def _decide(key: str, claim: str, made: Iterable[Test], seed: int, why_not: str) -> Finding:
    tests = list(made)
    # Bonferroni over the comparisons that must hold together.
    level = 1.0 - (1.0 - LEVEL) / max(len(tests), 1)
    effects = []
    for where, by_seed, statistic, unit in tests:
        rng = np.random.default_rng(spawn_seed(seed, f"{key}/{where}"))
        found = resampled(by_seed, statistic, rng=rng, level=level)
        ends = (found.lower, found.upper)
        effects.append(Effect(where=where, estimate=found.estimate, interval=ends, unit=unit))
    return Finding(
        finding=key,
        claim=claim,
        verdict=_verdict([effect.span for effect in effects]),
        effects=effects,
        why_not_tested="" if effects else why_not,
    )


def _verdict(effects: Sequence[Span]) -> Verdict:
    """Confirmed when every comparison's interval lies above 0, refuted when one lies below 0.

    Undecided otherwise; the intervals hold together with probability about 95 %.
    """
    if not effects:
        return "not tested"
    if any(effect.upper < 0.0 for effect in effects):
        return "refuted"
    return "confirmed" if all(effect.lower > 0.0 for effect in effects) else "undecided"


class _Grid:
    """Finished runs by what they differ in."""

    def __init__(self, runs: Sequence[Measured]) -> None:
        self.runs = [m for m in runs if m.loss(m.last, _SAFETY) is not None]
        self.seeds: dict[tuple, dict[int, Measured]] = {}
        for m in self.runs:
            self.seeds.setdefault(_cell(m), {})[m.run.seed] = m

    def proxies(self, better: str, worse: str) -> Iterator[Test]:
        """The safety loss under one proxy less that under another, at each penalty."""
        for cell in self.seeds:
            task, method, strategy, proxy = cell
            if proxy != better or strategy[0] not in ("loss", "hybrid"):
                continue
            by_seed = self._joined({"good": cell, "bad": (task, method, strategy, worse)})
            if by_seed:
                where = f"{_words(strategy)}, {task}, {method}"
                yield where, by_seed, lambda x: x["bad " + _RISE] - x["good " + _RISE], "nats/token"

    def tasks(self, better: str, worse: str) -> Iterator[Test]:
        """Safety loss per nat of capability gained, of one task less that of another."""
        for cell in self.seeds:
            task, method, strategy, proxy = cell
            if task != better:
                continue
            by_seed = self._joined({"good": cell, "bad": (worse, method, strategy, proxy)})
            if by_seed:
                where = ", ".join(filter(None, [_words(strategy), proxy, method]))
                yield where, by_seed, lambda x: _price(x, "bad") - _price(x, "good"), "nats/nat"

    def over_lambda(self, what: str) -> Iterator[Test]:
        """What falls from each lambda to the next: the safety loss, or the capability gained."""
        for (task, method, proxy), cells in self._sweeps("lam").items():
            for low, high in pairwise(cells):
                by_seed = self._joined({"low": low, "high": high})
                if not by_seed:
                    continue
                where = f"lambda {low[2][1]:g} to {high[2][1]:g}, {proxy}, {task}, {method}"
                sign = 1.0 if what == _RISE else -1.0
                yield where, by_seed, _fall(what, sign), "nats/token"

    def steepness(self) -> Iterator[Test]:
        """|capability / safety| over the radii less the same over the lambdas."""
        for (task, method), radii, lams, proxy in self._both_cases():
            ends = {"r0": radii[0], "r1": radii[-1], "l0": lams[0], "l1": lams[-1]}
            by_seed = self._joined(ends)
            if by_seed:
                yield (
                    f"{task}, {proxy}, {method}",
                    by_seed,
                    lambda x: _slope(x, "r0", "r1") - _slope(x, "l0", "l1"),
                    "nats/nat",
                )

    def equal_capability(self) -> Iterator[Test]:
        """Safety loss of a radius less that of the loss constraint with the same capability."""
        for (task, method), radii, lams, proxy in self._both_cases(least_radii=1):
            for radius in radii:
                names = {"r": radius, **{f"l{i}": cell for i, cell in enumerate(lams)}}
                by_seed = self._joined(names)
                if by_seed and all(_within(seed, len(lams)) for seed in by_seed):
                    where = f"radius {radius[2][1]:g}, {task}, {proxy}, {method}"
                    yield where, by_seed, _against_case_one(len(lams)), "nats/token"

    def _sweeps(self, kind: str) -> dict[tuple, list[tuple]]:
        """Cells of one strategy's sweep, from its smallest value to its largest."""
        found: dict[tuple, list[tuple]] = {}
        for cell in self.seeds:
            task, method, strategy, proxy = cell
            if strategy[0] == ("loss" if kind == "lam" else "parameter") and strategy[2] == kind:
                key = (task, method, proxy) if kind == "lam" else (task, method)
                found.setdefault(key, []).append(cell)
        return {
            key: sorted(cells, key=lambda c: c[2][1])
            for key, cells in found.items()
            if len(cells) > 1 or kind != "lam"
        }

    def _both_cases(self, least_radii: int = 2) -> Iterator[tuple]:
        radii = self._sweeps("radius")
        for (task, method, proxy), lams in self._sweeps("lam").items():
            mine = radii.get((task, method), [])
            if len(mine) >= least_radii and proxy != "other-teacher":
                yield (task, method), mine, lams, proxy

    def _joined(self, cells: Mapping[str, tuple]) -> list[dict[str, tuple[str, Pair]]]:
        """Losses of these cells by name and set, for every seed that all of them have."""
        if any(cell not in self.seeds for cell in cells.values()):
            return []
        common = set.intersection(*(set(self.seeds[cell]) for cell in cells.values()))
        return [
            {
                key: value
                for name, cell in cells.items()
                for key, value in _losses(self.seeds[cell][seed], name).items()
            }
            for seed in sorted(common)
        ]


def _cell(m: Measured) -> tuple:
    strategy = m.run.plan.as_dict()["strategy"]
    values = tuple((k, v) for k, v in sorted(strategy.items()) if k != "kind")
    first = values[0] if values else (None, None)
    key = (strategy["kind"], first[1], first[0], values[1:])
    return m.run.task, m.run.method, key, m.run.proxy


def _losses(m: Measured, name: str) -> dict[str, tuple[str, Pair]]:
    task = held_out(m.task)
    return {
        f"{name} {_RISE}": (_SAFETY, Pair(m.losses[0][_SAFETY], m.losses[m.last][_SAFETY])),
        f"{name} {_LOSS}": (task, Pair(m.losses[0][task], m.losses[m.last][task])),
    }


def _words(strategy: tuple) -> str:
    kind, value, name, others = strategy
    settings = {} if name is None else {name: value, **dict(others)}
    return strategy_label({"kind": kind, **settings})


def _fall(what: str, sign: float) -> Statistic:
    return lambda x: sign * (x[f"low {what}"] - x[f"high {what}"])


def _price(x: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Safety loss for each nat of capability gained."""
    return x[f"{name} {_RISE}"] / -x[f"{name} {_LOSS}"]


def _slope(x: Mapping[str, np.ndarray], a: str, b: str) -> np.ndarray:
    """|change of capability / change of safety| between two runs."""
    return np.abs((x[f"{a} {_LOSS}"] - x[f"{b} {_LOSS}"]) / (x[f"{a} {_RISE}"] - x[f"{b} {_RISE}"]))


def _within(seed: Mapping[str, tuple[str, Pair]], lams: int) -> bool:
    """Whether the radius's capability lies among the loss constraint's, theta_s included."""
    gain = -float(seed[f"r {_LOSS}"][1].changes())
    gains = [0.0, *(-float(seed[f"l{i} {_LOSS}"][1].changes()) for i in range(lams))]
    return min(gains) <= gain <= max(gains)


def _against_case_one(lams: int) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    def statistic(x: Mapping[str, np.ndarray]) -> np.ndarray:
        gain = np.atleast_1d(-x[f"r {_LOSS}"])
        rise = np.atleast_1d(x[f"r {_RISE}"])
        zero = np.zeros_like(gain)
        gains = np.stack([zero, *(np.atleast_1d(-x[f"l{i} {_LOSS}"]) for i in range(lams))])
        rises = np.stack([zero, *(np.atleast_1d(x[f"l{i} {_RISE}"]) for i in range(lams))])
        order = np.argsort(gains, axis=0)
        gains = np.take_along_axis(gains, order, axis=0)
        rises = np.take_along_axis(rises, order, axis=0)
        other = np.array([np.interp(g, gains[:, k], rises[:, k]) for k, g in enumerate(gain)])
        found = rise - other
        return found if np.ndim(x[f"r {_RISE}"]) else found[0]

    return statistic
