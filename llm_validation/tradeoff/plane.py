"""Defended and undefended models in the (capability, safety) plane, with paired intervals.

A point's coordinates are changes of held-out losses from theta_s, nats per token: its ``gain`` is
the fall of the task's loss, its ``rise`` that of the safety loss. All points are measured on the
same rows, and every bootstrap draw resamples those rows once for all of them, so differences
between points are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finebound.results.tradeoff import FamilyScore, PairedInterval
from llm_validation.experiments.statistics import LEVEL, Pair
from theory.resampling import percentile_interval, resampled_rows

DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Place:
    """Where one strength of one family lies: losses by seed; ``counts`` is False where its gate
    failed, and such a place is in no score."""

    id: str
    family: str
    safety: Mapping[int, Pair]
    task: Mapping[int, Pair]
    counts: bool


@dataclass(frozen=True, eq=False)
class Plane:
    """The places' coordinates: ``gain`` and ``rise`` ``[n]``, their draws ``[k, n]``."""

    places: tuple[Place, ...]
    gain: np.ndarray
    rise: np.ndarray
    gain_draws: np.ndarray
    rise_draws: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        """Which places are in the scores, ``[n]`` bool."""
        return np.array([place.counts for place in self.places], dtype=bool)

    @property
    def largest_gain(self) -> float:
        """Of the counted places, at least 0."""
        return max(0.0, float(self.gain[self.counted].max(initial=0.0)))

    @property
    def largest_rise(self) -> float:
        """The reference's safety loss above theta_s: the worst counted place's, at least 0."""
        return max(0.0, float(self.rise[self.counted].max(initial=0.0)))

    def members(self, family: str) -> np.ndarray:
        """Which places are the family's and in the scores, ``[n]`` bool."""
        return self.counted & np.array([place.family == family for place in self.places])


def locate(places: Sequence[Place], *, rng: np.random.Generator, draws: int = DRAWS) -> Plane:
    """Coordinates of all places on the same resampled rows (and seeds, where several).

    Raises ValueError for places that were measured on different numbers of rows.
    """
    picks = {}
    for what in ("safety", "task"):
        sizes = {pair.rows for place in places for pair in getattr(place, what).values()}
        if len(sizes) != 1:
            raise ValueError(f"the {what} rows of the places differ in number: {sorted(sizes)}")
        (n,) = sizes
        picks[what] = resampled_rows(n, rng, draws)
    seeds: dict[int, np.ndarray] = {}
    columns: dict[str, list[np.ndarray]] = {"safety": [], "task": []}
    points: dict[str, list[float]] = {"safety": [], "task": []}
    for place in places:
        for what, found in columns.items():
            pairs = [pair for _, pair in sorted(getattr(place, what).items())]
            points[what].append(float(np.mean([pair.changes() for pair in pairs])))
            values = np.stack([pair.changes(picks[what]) for pair in pairs])
            if len(pairs) > 1:
                if len(pairs) not in seeds:
                    seeds[len(pairs)] = resampled_rows(len(pairs), rng, draws)
                chosen = seeds[len(pairs)]
                found.append(values[chosen, np.arange(draws)[:, None]].mean(axis=1))
            else:
                found.append(values[0])
    return Plane(
        tuple(places),
        gain=-np.array(points["task"]),
        rise=np.array(points["safety"]),
        gain_draws=-np.stack(columns["task"], axis=1),
        rise_draws=np.stack(columns["safety"], axis=1),
    )


def hypervolume(gain: np.ndarray, rise: np.ndarray, *, worst: float) -> np.ndarray:
    """Area between points ``[..., n]`` and the reference (gain 0, rise ``worst``), squared nats.

    What at least one point dominates: less gain and more rise than it. Points beyond the
    reference add nothing. 0 without points.
    """
    gain, rise = np.asarray(gain, dtype=np.float64), np.asarray(rise, dtype=np.float64)
    if not gain.shape[-1]:
        return np.zeros(gain.shape[:-1])
    width, depth = np.maximum(gain, 0.0), np.maximum(worst - rise, 0.0)
    order = np.argsort(-width, axis=-1)
    width = np.take_along_axis(width, order, axis=-1)
    depth = np.maximum.accumulate(np.take_along_axis(depth, order, axis=-1), axis=-1)
    steps = -np.diff(width, axis=-1, append=0.0)
    return (steps * depth).sum(axis=-1)


def excess(
    gain: np.ndarray, rise: np.ndarray, others_gain: np.ndarray, others_rise: np.ndarray
) -> np.ndarray:
    """By how much ``[...]`` a point's rise exceeds the least of the others with at least its gain.

    ``others`` are ``[..., n]``; theta_s itself, at (0, 0), is one of them. Infinitely negative
    where no other gains as much.
    """
    enough = others_gain >= gain[..., None]
    least = np.where(enough, others_rise, np.inf).min(axis=-1, initial=np.inf)
    least = np.where(gain <= 0.0, np.minimum(least, 0.0), least)
    return rise - least


def along_path(gain: float, path_gain: np.ndarray, path_rise: np.ndarray) -> float:
    """The rise at which a sweep reaches ``gain``, linear between its points and from theta_s.

    Only the sweep's points that none of it dominates count. NaN beyond its largest gain; 0 for no
    gain at all, which theta_s has for nothing.
    """
    if gain <= 0.0:
        return 0.0
    order = np.lexsort((path_rise, -path_gain))
    kept_gain, kept_rise, least = [], [], np.inf
    for g, r in zip(path_gain[order], path_rise[order], strict=True):
        if g > 0.0 and r < least:
            kept_gain.append(g)
            kept_rise.append(r)
            least = r
    if not kept_gain or gain > kept_gain[0]:
        return float("nan")
    start = min(0.0, kept_rise[-1])
    return float(np.interp(gain, [0.0, *kept_gain[::-1]], [start, *kept_rise[::-1]]))


def interval(estimate: float, draws: np.ndarray) -> PairedInterval:
    """A percentile interval of draws; the whole line where one of them is undefined."""
    found = percentile_interval(estimate, draws, level=LEVEL)
    return PairedInterval(estimate=found.estimate, lower=found.lower, upper=found.upper)


def scores(plane: Plane, *, baseline: str) -> list[FamilyScore]:
    """Every family's score, best hypervolume first; a family without a counted place has none.

    ``hypervolume`` against theta_s's safety loss plus the worst counted rise, and zero gain;
    ``less_baseline`` the same above the baseline family's, paired; ``distance`` is the mean over
    all gains that any place reaches of how far the family's least rise lies above the frontier
    of all places, in nats per token: the area between the two over the largest gain.
    """
    worst, widest = plane.largest_rise, plane.largest_gain
    of = _volumes(plane, plane.counted, worst)
    swept = plane.members(baseline)
    base = _volumes(plane, swept, worst)
    found = []
    for family in dict.fromkeys(place.family for place in plane.places):
        members = plane.members(family)
        entry: dict[str, Any] = {"hypervolume": None}
        own = _volumes(plane, members, worst)
        if members.any():
            entry["hypervolume"] = interval(*own)
            entry["less_baseline"] = interval(own[0] - base[0], own[1] - base[1])
            if widest > 0.0:
                point, draws = (
                    np.maximum(f - o, 0.0) / widest for f, o in zip(of, own, strict=True)
                )
                entry["distance"] = interval(float(point), draws)
        strengths = int(members.sum())
        score = FamilyScore(
            family=family,
            strengths=strengths,
            **entry,
            more_strengths_than_baseline=strengths > int(swept.sum()),
            one_strength=strengths == 1,
        )
        found.append((own[0] if strengths else -np.inf, score))
    return [score for _, score in sorted(found, key=lambda pair: pair[0])][::-1]


def _volumes(plane: Plane, members: np.ndarray, worst: float) -> tuple[float, np.ndarray]:
    return (
        float(hypervolume(plane.gain[members], plane.rise[members], worst=worst)),
        hypervolume(plane.gain_draws[:, members], plane.rise_draws[:, members], worst=worst),
    )


def coordinates(plane: Plane, *, baseline: str) -> list[dict[str, Any]]:
    """Every place's coordinates and distances, in the places' order.

    ``excess`` is the rise above the frontier of all counted places at its gain, ``on_frontier``
    the share of draws in which that is at most 0, ``against_baseline`` the rise above the baseline
    sweep's at the same gain (None where the sweep does not gain so much): negative is safer at
    equal capability.
    """
    counted, swept = plane.counted, plane.members(baseline)
    found = []
    for i, place in enumerate(plane.places):
        above = excess(plane.gain[i], plane.rise[i], plane.gain[counted], plane.rise[counted])
        above_draws = excess(
            plane.gain_draws[:, i],
            plane.rise_draws[:, i],
            plane.gain_draws[:, counted],
            plane.rise_draws[:, counted],
        )
        found.append(
            {
                "gain": interval(plane.gain[i], plane.gain_draws[:, i]),
                "rise": interval(plane.rise[i], plane.rise_draws[:, i]),
                "excess": float(above) if place.counts else None,
                "on_frontier": float((above_draws <= 0.0).mean()) if place.counts else None,
                "against_baseline": _against(plane, i, swept) if place.counts else None,
            }
        )
    return found


def _against(plane: Plane, i: int, swept: np.ndarray) -> PairedInterval | None:
    there = along_path(plane.gain[i], plane.gain[swept], plane.rise[swept])
    if np.isnan(there):
        return None
    draws = np.array(
        [
            along_path(g, path_gain, path_rise)
            for g, path_gain, path_rise in zip(
                plane.gain_draws[:, i],
                plane.gain_draws[:, swept],
                plane.rise_draws[:, swept],
                strict=True,
            )
        ]
    )
    known = ~np.isnan(draws)
    if known.mean() < LEVEL:
        return PairedInterval(estimate=float(plane.rise[i] - there), lower=-np.inf, upper=np.inf)
    return interval(float(plane.rise[i] - there), (plane.rise_draws[:, i] - draws)[known])
