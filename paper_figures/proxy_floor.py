"""What a proxy teacher costs: the safety gap against lambda and its floor Phi (T5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from theory.bound import Direction
from theory.divergence import Array
from theory.exact import exact
from theory.loss_constraint import safety_floor, safety_gap_expansion
from theory.problem import Distribution, TabularProblem
from theory.strategy import LossConstraint

SOURCE = "theory"

_LAMS = np.geomspace(1e-2, 1e4, 121)
_RESPONSES = 4
# Contexts 0-3 are in safety, proxy and task data, 4-5 in safety and proxy data, 6 in task data.
_SAFETY = np.array([1, 1, 1, 1, 1, 1, 0], dtype=bool)
_TASK = np.array([1, 1, 1, 1, 0, 0, 1], dtype=bool)
_ALIGNMENT_ERROR = 0.1
_COLOURS = {
    "same teacher": style.BLUE,
    "self-generated": style.GREEN,
    "other teacher": style.RED,
    "over-cautious teacher": style.INK,
}


def record(seed: int) -> dict[str, Any]:
    """Safety gaps, floors and expansions of each proxy over lambda, in nats."""
    rng = np.random.default_rng(seed)
    contexts = len(_SAFETY)
    teacher, task, other = rng.dirichlet(np.full(_RESPONSES, 2.0), size=(3, contexts))
    # The aligned model has not quite learnt its data, and writes the self-generated proxy.
    learnt = rng.dirichlet(np.full(_RESPONSES, 2.0), size=contexts)
    aligned = (1.0 - _ALIGNMENT_ERROR) * teacher + _ALIGNMENT_ERROR * learnt
    proxies = {
        "same teacher": teacher,
        "self-generated": aligned,
        "other teacher": 0.5 * (teacher + other),
    }
    safety = Distribution(_masses(rng, _SAFETY), teacher)
    proxy_context = _masses(rng, _SAFETY)
    tasks = Distribution(_masses(rng, _TASK), task)
    curves = [
        _curve(
            name,
            TabularProblem(safety, tasks, Distribution(proxy_context, target), aligned=aligned),
        )
        for name, target in proxies.items()
    ]
    # A proxy teacher that avoids the answer which safety and task data both favour.
    cautious = TabularProblem(
        Distribution([1.0], [[0.6, 0.3, 0.1]]),
        Distribution([1.0], [[0.8, 0.1, 0.1]]),
        Distribution([1.0], [[0.2, 0.5, 0.3]]),
    )
    return {
        "lams": _LAMS.tolist(),
        "proxies": curves,
        "overpenalised": _curve("over-cautious teacher", cautious),
    }


def _masses(rng: np.random.Generator, support: np.ndarray) -> Array:
    masses = np.zeros(len(support))
    masses[support] = rng.dirichlet(np.full(int(support.sum()), 3.0))
    return masses


def _curve(name: str, problem: TabularProblem) -> dict[str, Any]:
    solutions, uppers = [], []
    for lam in _LAMS:
        strategy = LossConstraint(lam=float(lam))
        solutions.append(exact(problem, strategy))
        bounds = safety_floor(problem, strategy)
        uppers.append(min(float(b.value) for b in bounds if _is_proved_upper(b)))
    floor, first, second = (float(term) for term in safety_gap_expansion(problem))
    return {
        "proxy": name,
        "safety_gap": [float(solution.safety_gap) for solution in solutions],
        "capability_gap": [float(solution.capability_gap) for solution in solutions],
        "upper": uppers,
        "floor": floor,
        "first_order": first,
        "second_order": None if np.isnan(second) else second,
        "aligned_safety_gap": float(problem.safety_gap_at_aligned),
    }


def _is_proved_upper(bound: Any) -> bool:
    return bound.direction == Direction.UPPER and bound.status != "NOT_APPLICABLE"


def _first_term(curve: dict[str, Any]) -> tuple[float, int]:
    """``c`` and ``k`` of the first term ``c / lam^k`` of the excess over the floor."""
    if curve["second_order"] is not None:
        return curve["second_order"], 2
    return curve["first_order"], 1


def shows(data: dict[str, Any]) -> str:
    return (
        "(a) The exact safety gap of a loss-constrained fine-tune against the strength lambda of "
        "the proxy's loss, for proxies that differ in their teacher only; dotted: the floor Phi "
        "(T5). (b) The excess over that floor; dashed: its first term in 1/lambda. (c) A proxy "
        "teacher that avoids the answer which safety and task data both favour: a finite lambda "
        "(dot) beats all larger ones."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    lams = np.array(data["lams"])
    curves = {curve["proxy"]: curve for curve in data["proxies"]}
    every = [*curves.values(), data["overpenalised"]]
    gaps = {name: np.array(curve["safety_gap"]) for name, curve in curves.items()}
    within = max((np.array(c["safety_gap"]) / np.array(c["upper"])).max() for c in every)
    terms = {name: _first_term(curve) for name, curve in curves.items()}
    last = {
        name: (gaps[name][-1] - curve["floor"]) * lams[-1] ** terms[name][1] / terms[name][0]
        for name, curve in curves.items()
    }
    told = ", ".join(
        f"{name} {last[name]:.3f} (lambda^-{order})" for name, (_, order) in terms.items()
    )
    lowest = np.minimum.reduce(list(gaps.values())) >= gaps["same teacher"]
    own = curves["self-generated"]
    beats = {name: int((gaps["self-generated"] < gap).sum()) for name, gap in gaps.items()}
    hurt = data["overpenalised"]
    best = int(np.argmin(hurt["safety_gap"]))
    return [
        Claim(
            "T5, upper bound,",
            within <= 1.0 + 1e-12,
            f"at all {len(every) * len(lams)} points the safety gap is at most {within:.3f} of its "
            "bound",
        ),
        Claim(
            "T5, first term of the excess over the floor,",
            all(abs(ratio - 1.0) < 0.05 for ratio in last.values()),
            f"at lambda = {lams[-1]:g} the excess over this term is {told}",
        ),
        Claim(
            "T5, floor of a self-generated proxy,",
            abs(own["floor"] - own["aligned_safety_gap"]) <= 1e-12,
            f"it is {own['floor']:.2g} nats, the aligned model's own safety gap "
            f"({own['aligned_safety_gap']:.2g}), against {curves['other teacher']['floor']:.2g} "
            f"for the other teacher and {curves['same teacher']['floor']:.2g} for the same one; it "
            f"beats the other teacher at {beats['other teacher']} of {len(lams)} lambdas and the "
            f"same teacher at {beats['same teacher']}",
        ),
        Claim(
            "The reported finding that the same teacher's proxy has the least safety gap",
            bool(lowest.all()),
            f"it has it at {int(lowest.sum())} of {len(lams)} lambdas",
        ),
        Claim(
            "T5, over-penalising hurts when the first-order term is negative,",
            hurt["first_order"] < 0 and hurt["safety_gap"][best] < hurt["floor"],
            f"the term is {hurt['first_order']:.3f} nats, and the least safety gap is "
            f"{hurt['safety_gap'][best]:.4f} nats at lambda = {lams[best]:.2g} against a floor of "
            f"{hurt['floor']:.4f}",
        ),
    ]


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=2.75)
    gap, excess, hurt = figure.subplots(1, 3)
    lams = np.array(data["lams"])
    for curve in data["proxies"]:
        colour = _COLOURS[curve["proxy"]]
        gap.loglog(lams, curve["safety_gap"], color=colour, label=curve["proxy"])
        if curve["floor"] > 0:
            gap.axhline(curve["floor"], color=colour, ls=":", lw=1.1)
        coefficient, order = _first_term(curve)
        above = np.abs(np.array(curve["safety_gap"]) - curve["floor"])
        excess.loglog(lams, above, color=colour)
        excess.loglog(lams, abs(coefficient) / lams**order, "--", color=colour, lw=1.0)
    style.panel_letter(gap, "a", "safety gap by proxy")
    gap.set_ylabel("safety gap $G_s$ (nats)")
    gap.set_ylim(1e-6, 1.0)
    style.panel_letter(excess, "b", "excess over the floor")
    excess.set_ylabel(r"$|G_s - \Phi|$ (nats)")
    excess.set_ylim(1e-9, 1.0)
    _draw_overpenalised(hurt, data["overpenalised"], lams)
    for axes in (gap, excess, hurt):
        axes.set_xlabel(r"penalty strength $\lambda$ (no unit)")
        axes.set_xlim(lams[0], lams[-1])
        axes.set_xticks([1e-2, 1.0, 1e2, 1e4])
        axes.minorticks_off()
    _legend(figure, gap)
    return figure


def _draw_overpenalised(axes: Axes, curve: dict[str, Any], lams: Array) -> None:
    colour = _COLOURS[curve["proxy"]]
    gap = np.array(curve["safety_gap"])
    best = int(gap.argmin())
    coefficient, order = _first_term(curve)
    axes.semilogx(lams, gap, color=colour)
    axes.axhline(curve["floor"], color=colour, ls=":", lw=1.1)
    axes.semilogx(lams, curve["floor"] + coefficient / lams**order, "--", color=colour, lw=1.0)
    axes.plot(lams[best], gap[best], "o", ms=4.5, color=style.ORANGE)
    axes.annotate(
        f"least at\n$\\lambda$ = {lams[best]:.2g}",
        (lams[best], gap[best]),
        xytext=(-9, 52),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        arrowprops={"arrowstyle": "-", "lw": 0.7, "color": style.MUTED, "shrinkB": 4},
    )
    style.panel_letter(axes, "c", "over-penalising hurts")
    axes.set_ylabel("safety gap $G_s$ (nats)")
    axes.set_ylim(0.0, 1.15 * curve["floor"])


def _legend(figure: Figure, axes: Axes) -> None:
    lines, _ = axes.get_legend_handles_labels()
    kinds = [
        style.key(r"floor $\Phi$", color=style.INK, ls=":", lw=1.1),
        style.key(r"first term in $1/\lambda$", color=style.INK, ls="--", lw=1.0),
    ]
    figure.legend(handles=[*lines, *kinds], loc="outside upper center", ncols=5)
