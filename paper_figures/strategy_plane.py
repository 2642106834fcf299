"""Case I, Case II and the hybrid in one plane, for proxies of other teachers (T5, T8, T9, T10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.gaps import root_dots, root_ticks

SOURCE = "measurement"

_INSTANCES = 24
_LAMS = np.concatenate([[0.0], np.geomspace(0.03, 100.0, 12)])
_RADII = np.geomspace(0.05, 12.0, 26)
_MISMATCHES = (0.3, 0.05)
# Nats: ends of curves meet, and chords between a rival's means lie a little above its curve.
_MARGIN = 1e-3
_CURVE = np.geomspace(1e-4, 1e3, 61)
# The hybrid's radius, in units of each instance's crossover radius.
_SHARE = 2.0
_COLOURS = {"Case I": style.RED, "Case II": style.BLUE, "hybrid": style.GREEN}
_MARKS = {"Case I": "o", "Case II": "s", "hybrid": "^"}
_WORDS = {
    "Case I": r"Case I ($\lambda$)",
    "Case II": r"Case II ($\epsilon$)",
    "hybrid": r"hybrid ($\lambda$)",
}


def record(seed: int) -> dict[str, Any]:
    """Mean gaps of the three strategies, the front, the floor and the crossover, nats."""
    from sims.findings.ensemble import Lab
    from sims.finetune import Plan
    from sims.models.table import Table

    lab = Lab(Table(), Plan(400, 0.3), chunk=_INSTANCES * 13)
    return {
        "instances": _INSTANCES,
        "lams": _LAMS.tolist(),
        "radii": _RADII.tolist(),
        "hybrid_share": _SHARE,
        "panels": [_measure(lab, seed, mismatch) for mismatch in _MISMATCHES],
    }


def _measure(lab: Any, seed: int, mismatch: float) -> dict[str, Any]:
    from sims.findings.finding import columns
    from theory.exact import frontier
    from theory.loss_constraint import safety_gap_expansion
    from theory.parameter_constraint import crossover_radius

    made = lab.ensemble(seed, _INSTANCES, overlap=0.6, disagreement=0.7, teacher_mismatch=mismatch)
    problem = made.tables()
    crossover = np.asarray(crossover_radius(problem))
    front = frontier(problem, _CURVE)
    runs = {
        "Case I": made.finetuned(lam=_LAMS),
        "Case II": made.finetuned(radius=_RADII),
        "hybrid": made.finetuned(lam=_LAMS, radius=_SHARE * crossover[:, None]),
        "crossover": made.finetuned(radius=crossover[:, None]),
        "limit": made.finetuned(lam=[1000.0]),
    }
    wins = runs["crossover"].gaps.safety < runs["limit"].gaps.safety
    return {
        "teacher_mismatch": mismatch,
        "crossover_radius": float(crossover.mean()),
        "floor": float(np.mean(safety_gap_expansion(problem)[0])),
        "least_ratio": min(_least(run.gaps, front) for run in runs.values()),
        "crossover_wins": int(wins.sum()),
        "front_safety": front.safety_gap.mean(axis=0).tolist(),
        "front_capability": front.capability_gap.mean(axis=0).tolist(),
        "runs": {
            name: {
                "safety_gap": columns(run.gaps.safety),
                "capability_gap": columns(run.gaps.task),
            }
            for name, run in runs.items()
        },
    }


def _least(gaps: Any, front: Any) -> float:
    """Least ratio of ``G_f + lam G_s`` to its minimum over all policies, instances and lambdas."""
    paid = gaps.task[..., None] + front.lams * gaps.safety[..., None]
    least = front.capability_gap + front.lams * front.safety_gap
    return float((paid / least[:, None]).min())


def shows(data: dict[str, Any]) -> str:
    bad, good = data["panels"]
    return (
        f"Fine-tuned tables under three strategies, means over {data['instances']} random "
        "instances with 95 % t intervals, for a proxy whose teacher is "
        f"{bad['teacher_mismatch']:g} (a) or {good['teacher_mismatch']:g} (b) away in total "
        "variation. Grey: the exact front that no policy beats (T10a). Case I runs over lambda, "
        f"Case II over the radius, the hybrid over lambda within {data['hybrid_share']:g} "
        "crossover radii. Dotted: Case I's floor Phi, its safety gap at infinite lambda. Star: "
        "Case II at the crossover radius, up to which its guarantee is the better one."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    bad, good = data["panels"]
    count = data["instances"]
    nearest = min(panel["least_ratio"] for panel in data["panels"])
    stars = [panel["runs"]["crossover"]["safety_gap"]["mean"][0] for panel in data["panels"]]
    case_one, hybrid = (_points(bad["runs"][name])[0].min() for name in ("Case I", "hybrid"))
    two = _unbeaten(good, "Case II", ["Case I"])
    crossing = int(np.argmin(two)) if not two.all() else len(two)
    ahead = _unbeaten(bad, "Case II", ["Case I"])
    mixed = {
        panel["teacher_mismatch"]: int(_unbeaten(panel, "hybrid", ["Case I", "Case II"]).sum())
        for panel in data["panels"]
    }
    return [
        Claim(
            "T10(a)",
            nearest > 1.0 - 1e-9,
            "no fine-tune under any strategy is below the front of its instance; the nearest has "
            f"{nearest:.4f} of the least G_f + lambda G_s",
        ),
        Claim(
            "The crossover after T8",
            all(panel["crossover_wins"] == count for panel in data["panels"]),
            "at the crossover radius Case II has a smaller safety gap than Case I at lambda = 1000 "
            f"in {bad['crossover_wins']} and {good['crossover_wins']} of {count} instances; on "
            f"average {stars[0]:.3f} and {stars[1]:.4f} nats against floors of {bad['floor']:.3f} "
            f"and {good['floor']:.4f}",
        ),
        Claim(
            "That parameter constraints are for bad proxies and small capability gains",
            ahead.sum() > two.sum()
            and bool(two[0])
            and crossing < len(two)
            and not two[crossing:].any(),
            f"in (a) {int(ahead.sum())} of {len(ahead)} radii, and in (b) {int(two.sum())}, lie "
            f"more than {_MARGIN:g} nats below Case I's curve; those in (b) are the radii below "
            f"{data['radii'][min(crossing, len(two) - 1)]:.2g}",
        ),
        Claim(
            "T9, that a radius shields the hybrid from a bad proxy,",
            bool(hybrid < case_one),
            f"in (a) its least mean safety gap is {hybrid:.3f} nats and Case I's {case_one:.3f}",
        ),
        Claim(
            "That a hybrid beats both of its parts",
            all(share > 0 for share in mixed.values()),
            "hybrid points below both of Case I's and Case II's curves: "
            + " and ".join(
                f"{number} of {len(data['lams'])} at mismatch {mismatch:g}"
                for mismatch, number in mixed.items()
            ),
        ),
    ]


def _points(run: dict[str, Any]) -> np.ndarray:
    return np.array([run["safety_gap"]["mean"], run["capability_gap"]["mean"]])


def _unbeaten(panel: dict[str, Any], name: str, rivals: list[str]) -> np.ndarray:
    """Whether each mean point of a strategy lies below the rivals' curves, ``[m]``.

    Between two means a rival's curve is a straight line, which none of its own points is below.
    """
    points = _points(panel["runs"][name])
    free = np.ones(points.shape[1], dtype=bool)
    for rival in rivals:
        safety, capability = _points(panel["runs"][rival])
        order = np.argsort(safety)
        level = np.interp(points[0], safety[order], capability[order], left=np.inf)
        free &= points[1] < level - _MARGIN
    return free


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=4.15)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, letter, panel in zip(panels, "ab", data["panels"], strict=True):
        _draw_panel(axes, panel)
        style.panel_letter(axes, letter, f"proxy's teacher {panel['teacher_mismatch']:g} away")
        axes.set_xlabel("safety gap $G_s$ (nats)")
    panels[0].set_ylabel("capability gap $G_f$ (nats)")
    shown = panels[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside upper center", ncols=6, columnspacing=1.2)
    return figure


def _draw_panel(axes: Axes, panel: dict[str, Any]) -> None:
    axes.plot(
        np.sqrt(panel["front_safety"]),
        np.sqrt(panel["front_capability"]),
        color=style.MUTED,
        label="exact front",
    )
    axes.axvline(np.sqrt(panel["floor"]), color=style.RED, ls=":", lw=1.1, label=r"floor $\Phi$")
    star = panel["runs"]["crossover"]
    axes.plot(
        np.sqrt(star["safety_gap"]["mean"]),
        np.sqrt(star["capability_gap"]["mean"]),
        "*",
        ms=12,
        color=style.ORANGE,
        mec=style.INK,
        mew=0.6,
        ls="none",
        zorder=5,
        label="crossover radius",
    )
    for name, colour in _COLOURS.items():
        root_dots(
            axes,
            panel["runs"][name],
            fmt=f"-{_MARKS[name]}",
            ms=3.6,
            mew=0,
            lw=1.0,
            elinewidth=0.7,
            color=colour,
            label=_WORDS[name],
        )
    root_ticks(axes, (0.0, 0.01, 0.05, 0.2, 0.5, 1.0, 1.5))
    axes.set(xlim=(0.0, 1.28), ylim=(0.0, 1.28))
    axes.set_box_aspect(1)
