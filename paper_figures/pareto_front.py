"""The exact Pareto front of safety and capability over overlap and disagreement (T3, T10).

Each problem shares contexts of total mass ``overlap`` between safety and task data; on every
shared context the two teachers are ``disagreement`` apart in total variation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.gaps import root_ticks
from theory.divergence import Array, kl, mass_sum
from theory.exact import frontier
from theory.limits import disagreement_weighted_overlap
from theory.problem import Distribution, TabularProblem

SOURCE = "theory"

OVERLAPS = (0.05, 0.2, 0.5, 1.0)
DISAGREEMENTS = (0.25, 0.5, 1.0)
_SHARED_CONTEXTS = 6
_POLICIES = 20_000
_KEPT = 40
_LAMS = np.geomspace(1e-6, 1e6, 121)
# From viridis, darker with more overlap: ordered in any colour vision and in grey.
_COLOURS = {0.05: "#7AD151", 0.2: "#22A884", 0.5: "#31688E", 1.0: "#440154"}
_TICKS = {
    0.25: (0.0, 0.01, 0.05, 0.1, 0.2),
    0.5: (0.0, 0.05, 0.2, 0.4, 0.8),
    1.0: (0.0, 0.2, 0.8, 1.6, 3.0),
}


def record(seed: int) -> dict[str, Any]:
    """Fronts, overlap limits and random policies of every problem; gaps in nats."""
    rng = np.random.default_rng(seed)
    masses = rng.dirichlet(np.full(_SHARED_CONTEXTS, 2.0))
    parts = rng.dirichlet(np.full(2, 2.0), size=(2, _SHARED_CONTEXTS))
    common = rng.dirichlet(np.full(4, 4.0), size=_SHARED_CONTEXTS)
    instances = []
    for disagreement in DISAGREEMENTS:
        for overlap in OVERLAPS:
            problem = _problem(masses, parts, common, overlap, disagreement)
            instances.append(
                {"disagreement": disagreement, "overlap": overlap, **_measure(problem, rng)}
            )
    return {"lams": _LAMS.tolist(), "policies_each": _POLICIES, "instances": instances}


def _problem(
    masses: Array, parts: Array, common: Array, overlap: float, disagreement: float
) -> TabularProblem:
    """Shared contexts, then one that only the safety data and one that only the task data have."""
    rest = 1.0 - overlap
    agreed = (1.0 - disagreement) * common
    alone = np.zeros_like(parts[0])
    safety = agreed + disagreement * np.concatenate([parts[0], alone], axis=-1)
    task = agreed + disagreement * np.concatenate([alone, parts[1]], axis=-1)
    tail = np.full((2, 4), 0.25)
    return TabularProblem(
        Distribution([*(overlap * masses), rest, 0.0], np.concatenate([safety, tail])),
        Distribution([*(overlap * masses), 0.0, rest], np.concatenate([task, tail])),
    )


def _measure(problem: TabularProblem, rng: np.random.Generator) -> dict[str, Any]:
    front = frontier(problem, _LAMS)
    gaps = _gaps(problem, _random_policies(problem, rng))
    # The policy nearest to the front is kept: no policy is below unless that one is.
    nearest = int(_least_ratio(front.safety_gap, front.capability_gap, *gaps).argmin())
    kept = [nearest, *(i for i in range(_KEPT) if i != nearest)][:_KEPT]
    return {
        "sqrt_limit": float(np.sqrt(2.0) * disagreement_weighted_overlap(problem)),
        "front": _columns(front.safety_gap, front.capability_gap),
        "policies": _columns(*(gap[kept] for gap in gaps)),
    }


def _columns(safety_gap: Array, capability_gap: Array) -> dict[str, list[float]]:
    return {"safety_gap": safety_gap.tolist(), "capability_gap": capability_gap.tolist()}


def _random_policies(problem: TabularProblem, rng: np.random.Generator) -> Array:
    """``[n, X, V]``: optimal ones at a random lambda a context, disturbed little to wholly."""
    contexts, responses = problem.safety.target.shape
    # Half of them exchange safety for capability at another rate in each context.
    spread = rng.choice([0.0, 1.0], size=(_POLICIES, 1))
    exchange = rng.uniform(-3.0, 3.0, size=(_POLICIES, 1)) + spread * rng.normal(
        size=(_POLICIES, contexts)
    )
    weight = 1.0 / (1.0 + np.exp(-exchange))[..., None]
    policy = weight * problem.safety.target + (1.0 - weight) * problem.task.target
    noise = 10.0 ** rng.uniform(-2.0, 0.0, size=(_POLICIES, 1, 1))
    other = rng.dirichlet(np.ones(responses), size=(_POLICIES, contexts))
    return (1.0 - noise) * policy + noise * other


def _gaps(problem: TabularProblem, policies: Array) -> tuple[Array, Array]:
    safety, task = problem.safety, problem.task
    return (
        mass_sum(safety.context, kl(safety.target, policies)),
        mass_sum(task.context, kl(task.target, policies)),
    )


def _least_ratio(
    front_safety: Array, front_capability: Array, safety_gap: Array, capability_gap: Array
) -> Array:
    """``min over lambda of (G_f + lambda G_s) / V_s(lambda)`` for each policy; below 1: beaten."""
    least = front_capability + _LAMS * front_safety
    paid = capability_gap[:, None] + _LAMS * safety_gap[:, None]
    return (paid / least).min(axis=1)


def shows(data: dict[str, Any]) -> str:
    return (
        "The least capability gap of any policy at a given safety gap (solid; exact, T3 and T10a), "
        "for twelve problems: panels by the disagreement tau of the two teachers on the contexts "
        "that safety and task data share, colours by the mass of those contexts. Dashed: the limit "
        "sqrt G_f + sqrt G_s >= sqrt 2 kappa (T10b), a straight line on these square-root axes; "
        "they grow with tau, so that it falls at the same place in every panel. Dots: a "
        "sample of the random policies tried on the problem of their colour."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    lams = np.array(data["lams"])
    ratios, margins, tightness, chords, scaled = [], [], [], [], []
    whole = {
        item["disagreement"]: _paid(item, lams)
        for item in data["instances"]
        if item["overlap"] == 1
    }
    for item in data["instances"]:
        front, policies = _arrays(item["front"]), _arrays(item["policies"])
        ratios.append(_least_ratio(*front, *policies).min())
        limit = item["sqrt_limit"]
        on_front = (np.sqrt(front[0]) + np.sqrt(front[1])) / limit
        margins.append(min(on_front.min(), (np.sqrt(policies).sum(axis=0) / limit).min()))
        tightness.append(on_front.min())
        slope = -np.diff(front[1]) / np.diff(front[0])
        chords.append(bool(((lams[:-1] <= slope) & (slope <= lams[1:])).all()))
        same = _paid(item, lams) / (item["overlap"] * whole[item["disagreement"]])
        scaled.append(np.abs(same - 1.0).max())
    tried = data["policies_each"] * len(data["instances"])
    below = int((np.array(ratios) < 1.0).sum())
    return [
        Claim(
            "T10(a)",
            below == 0,
            f"{'none' if below == 0 else 'some'} of {tried:,} random policies "
            f"{'lies' if below == 0 else 'lie'} below its front (the nearest pays "
            f"{min(ratios):.5f} times the least G_f + lambda G_s)",
        ),
        Claim(
            "T10(a), convexity with slope -lambda,",
            all(chords),
            f"on {sum(chords)} of {len(chords)} fronts every chord's slope lies between the "
            "lambdas of its ends",
        ),
        Claim(
            "T3, cost proportional to the overlap mass at fixed teachers,",
            max(scaled) < 1e-9,
            f"the largest relative deviation is {max(scaled):.0e}",
        ),
        Claim(
            "T10(b)",
            min(margins) >= 1.0,
            f"sqrt G_f + sqrt G_s is at least {min(margins):.3f} times its limit everywhere, "
            f"and the fronts come within factors of {min(tightness):.3f} to "
            f"{max(tightness):.3f} of it",
        ),
    ]


def _arrays(columns: dict[str, list[float]]) -> tuple[Array, Array]:
    return np.array(columns["safety_gap"]), np.array(columns["capability_gap"])


def _paid(item: dict[str, Any], lams: Array) -> Array:
    safety_gap, capability_gap = _arrays(item["front"])
    return capability_gap + lams * safety_gap


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=2.85)
    panels = figure.subplots(1, len(DISAGREEMENTS))
    for axes, letter, disagreement in zip(panels, "abc", DISAGREEMENTS, strict=True):
        style.panel_letter(axes, letter, rf"disagreement $\tau$ = {disagreement:g}")
        for item in data["instances"]:
            if item["disagreement"] == disagreement:
                _draw_problem(axes, item)
        root_ticks(axes, _TICKS[disagreement])
        # The limit at full overlap is sqrt 2 tau.
        end = 1.3 * np.sqrt(2.0) * disagreement
        axes.set(xlim=(0.0, end), ylim=(0.0, end))
        axes.set_box_aspect(1)
        axes.set_xlabel("safety gap $G_s$ (nats)")
    panels[0].set_ylabel("capability gap $G_f$ (nats)")
    _legend(figure)
    return figure


def _draw_problem(axes: Axes, item: dict[str, Any]) -> None:
    colour, limit = _COLOURS[item["overlap"]], item["sqrt_limit"]
    root = np.sqrt(_arrays(item["policies"]))
    axes.plot(*root, ".", ms=3.2, mew=0, color=colour, alpha=0.6, zorder=1)
    axes.plot([0.0, limit], [limit, 0.0], "--", lw=0.9, color=colour, zorder=2)
    axes.plot(*np.sqrt(_arrays(item["front"])), color=colour, zorder=3)


def _legend(figure: Figure) -> None:
    handles = [style.key(f"{overlap:g}", color=colour) for overlap, colour in _COLOURS.items()]
    first = style.key("overlap mass:", color="none")
    kinds = [
        style.key("exact front", color=style.INK),
        style.key(r"limit $\sqrt{2}\,\kappa$", color=style.INK, lw=0.9, ls="--"),
        style.key("random policy", color=style.INK, ls="none", marker="."),
    ]
    figure.legend(
        handles=[first, *handles, *kinds], loc="outside upper center", ncols=8, columnspacing=1.2
    )
