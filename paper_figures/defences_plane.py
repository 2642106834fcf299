"""Which defence buys what: defended and undefended fine-tunes in one plane, and their scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.results.tradeoff import UNDEFENDED, PairedInterval
from finebound.views import style
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks, zero_lines
from paper_figures.defended import read_compared

SOURCE = "measurement"

# Stage "after" in colours, "during" in grey outlines, the prompt a star: told apart by mark too.
_LOOKS = {
    "splora": (style.RED, "o"),
    "safe-lora": (style.BLUE, "s"),
    "safe-merge": (style.GREEN, "^"),
    "resta": (style.ORANGE, "D"),
    "lora-scaling": ("#56B4E9", "v"),
    "antidote": ("#CC79A7", "X"),
    "ptst": ("#7A5C00", "*"),
    "data-mixing": (style.MUTED, "P"),
    "kl-to-aligned": (style.MUTED, "<"),
    "radius": (style.MUTED, ">"),
    "hybrid": (style.MUTED, "h"),
    "ewc": (style.MUTED, "p"),
    "constrained-sft": ("#8C564B", "d"),
    "lisa": ("#5E4FA2", "H"),
    "asft": ("#9E0142", "8"),
    UNDEFENDED: (style.INK, "."),
}
_CURVES: dict[str, dict[str, Any]] = {
    "limit": {"color": style.INK, "ls": "-", "lw": 1.4},
    "front": {"color": style.INK, "ls": (0, (1.5, 1.5)), "lw": 1.4},
    "forecasts": {"color": style.MUTED, "ls": "none", "marker": "1", "ms": 6},
}
_TOLERANCE = 1e-4  # nats/token: losses are float32 forward passes


def record(seed: int) -> dict[str, Any]:
    """The places and scores of ``finebound defend --compare``; ``seed`` is the experiment's own."""
    found, sha256 = read_compared()
    return {
        "model": found.model["name"],
        "task": found.task,
        "places": [
            {
                "id": place.id,
                "family": place.family,
                "method": place.seeds[0].method,
                "counts": place.counts,
                "gain": _three(place.gain),
                "rise": _three(place.rise),
                "above_forced": place.above_forced,
                "other": place.seeds[0].budget.other,
            }
            for place in found.places
        ],
        "scores": [
            {
                "family": score.family,
                "strengths": score.strengths,
                "volume": _three(score.hypervolume),
                "less": _three(score.less_baseline),
            }
            for score in found.scores
        ],
        "reference": found.reference.to_dict(),
        "frontiers": [curve.to_dict() for curve in found.frontiers],
        "sha256": sha256,
        "manifest": found.manifest.to_dict(),
    }


def _three(found: PairedInterval | None) -> list[float] | None:
    if found is None:
        return None
    interval = found.as_interval()
    return [interval.estimate, interval.lower, interval.upper]


def shows(data: dict[str, Any]) -> str:
    failed = sum(not place["counts"] for place in data["places"])
    other = sum(bool(place["other"]) for place in data["places"])
    return (
        f"Defences of an unconstrained fine-tune ({data['model']}, task {data['task']}) beside the "
        "undefended sweep over checkpoints and learning rates. (a) Held-out changes from the "
        "aligned model (cross at 0), paired 95 % bootstrap intervals over rows; right and down is "
        f"better; {failed} of {len(data['places'])} models no longer speak (grey crosses) and are "
        f"in no score, {other} were made with another budget than the undefended run. "
        f"{_told(data['frontiers'])}"
        "(b) The area that each family dominates, against no gain at the worst coherent safety "
        "loss; in brackets its number of strengths."
    )


def _told(frontiers: list[dict[str, Any]]) -> str:
    """The theoretical curves in words."""
    words = {
        "limit": "Solid line: T10's limit on every policy on these rows ({status}{below})",
        "front": "dotted: T16's front of fine-tunes linearised at the aligned model, within the "
        "undefended run's displacement ({status})",
        "forecasts": "tripods: T16's forecasts of the grid's runs ({status})",
    }
    below = ": they force nothing, and it lies below the axes"
    told = [
        words[c["form"]].format(
            status=c["status"].lower(), below="" if c.get("forces", True) else below
        )
        for c in frontiers
    ]
    return f"{'; '.join(told)}. "


def claims(data: dict[str, Any]) -> list[Claim]:
    scored = [s for s in data["scores"] if s["volume"] and s["family"] != UNDEFENDED]
    better = [s for s in scored if s["less"][1] > 0.0]
    best = max(scored, key=lambda s: s["less"][0], default=None)
    told = "no family has a coherent model"
    if best is not None:
        middle, low, high = best["less"]
        told = (
            f"{len(better)} of {len(scored)} families do, the best ({best['family']}) by "
            f"{middle:+.3g} ({low:.2g} to {high:.2g}) squared nats/token"
        )
    made = [Claim("That a defence dominates more than the undefended sweep", bool(better), told)]
    above = [p["above_forced"] for p in data["places"] if p["above_forced"] is not None]
    if above:
        made.append(
            Claim(
                "T10, below whose limit on these rows no model lies,",
                min(above) >= -_TOLERANCE,
                f"the nearest of {len(above)} coherent models is {min(above):.3g} nats/token "
                "above it",
            )
        )
    return [*made, *_of_the_front(data)]


def _of_the_front(data: dict[str, Any]) -> list[Claim]:
    """Whether coherent models stay above T16's estimate, where it says something."""
    fronts = [curve for curve in data["frontiers"] if curve["form"] == "front"]
    if not fronts:
        return []
    gain, rise = (np.array(fronts[0][name]) for name in ("gain", "rise"))
    counted = [p for p in data["places"] if p["counts"]]
    within = [p for p in counted if 0.0 <= p["gain"][0] <= gain[-1]]
    above = [p["rise"][0] - float(np.interp(p["gain"][0], gain, rise)) for p in within]
    told = f"it ends at a gain of {gain[-1]:.3g} nats/token, "
    told += (
        f"and {sum(a < 0.0 for a in above)} of the {len(within)} coherent models up to there are "
        f"below it, by at most {max(0.0, -min(above)):.3g}"
        if above
        else f"below that of all {len(counted)} coherent models"
    )
    return [
        Claim(
            "T16's front as an estimate of what no model passes",
            bool(within) and len(within) == len(counted) and min(above) >= -_TOLERANCE,
            told,
        )
    ]


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.9)
    plane, volumes = figure.subplots(1, 2, width_ratios=(1.5, 1.0))
    _plane(plane, data)
    _volumes(volumes, data)
    _legend(figure, data)
    return figure


def _plane(axes: Axes, data: dict[str, Any]) -> None:
    zero_lines(axes, cross=True)
    corners = [(0.0, 0.0)]
    for family in dict.fromkeys(place["family"] for place in data["places"]):
        members = [p for p in data["places"] if p["family"] == family and p["counts"]]
        if not members:
            continue
        members.sort(key=lambda place: place["gain"][0])
        x, y = (np.array([place[name] for place in members]).T for name in ("gain", "rise"))
        colour, mark = _LOOKS.get(members[0]["method"], (style.MUTED, "."))
        plain = family == UNDEFENDED
        axes.errorbar(
            x[0],
            y[0],
            xerr=style.bars(x),
            yerr=style.bars(y),
            fmt=("--" if plain else "-") + mark,
            color=colour,
            ms=7 if mark in ".*" else 4.6,
            mew=0,
            lw=1.4 if plain else 0.8,
            elinewidth=0.5,
            zorder=3 if plain else 2,
        )
        corners += [*zip(x[1], y[1], strict=True), *zip(x[2], y[2], strict=True)]
    low, high = style.with_room(corners)
    for place in data["places"]:
        if not place["counts"]:
            at = np.clip((place["gain"][0], place["rise"][0]), low, high)
            axes.plot(*at, "x", color=style.MUTED, ms=5, mew=1.0, clip_on=False)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    fixed_ticks(axes)
    for curve in data["frontiers"]:
        axes.plot(curve["gain"], curve["rise"], zorder=1, **_CURVES[curve["form"]])
    style.panel_letter(axes, "a", "held-out rows")
    axes.set_xlabel("capability gained (nats/token)")
    axes.set_ylabel("rise of the safety loss (nats/token)")


def _volumes(axes: Axes, data: dict[str, Any]) -> None:
    scored = [s for s in data["scores"] if s["volume"]]
    x = np.array([s["volume"] for s in scored]).T
    height = np.arange(len(scored))[::-1]
    axes.errorbar(
        x[0], height, xerr=style.bars(x), fmt="o", color=style.INK, ms=3.6, elinewidth=0.8
    )
    base = next((s["volume"][0] for s in scored if s["family"] == UNDEFENDED), None)
    if base is not None:
        axes.axvline(base, color=style.MUTED, lw=0.7, ls="--", zorder=0)
    axes.set_xlim(min(0.0, float(x.min())), None)
    axes.set_ylim(-0.6, len(scored) - 0.4)
    fixed_ticks(axes)
    axes.set_yticks(height, [f"{s['family']} ({s['strengths']})" for s in scored])
    style.panel_letter(axes, "b", "hypervolume")
    axes.set_xlabel(r"dominated area (nats$^2$/token$^2$)")


def _legend(figure: Figure, data: dict[str, Any]) -> None:
    methods = dict.fromkeys(place["method"] for place in data["places"] if place["counts"])
    handles = []
    for method in methods:
        colour, mark = _LOOKS.get(method, (style.MUTED, "."))
        handles.append(style.mark(method, mark, color=colour, mew=0))
    names = {"limit": "T10's limit", "front": "T16's front", "forecasts": "T16's forecasts"}
    for curve in data["frontiers"]:
        label = names[curve["form"]]
        if curve["form"] == "limit" and not curve["forces"]:
            label += " (below)"
        handles.append(style.key(label, **_CURVES[curve["form"]]))
    figure.legend(handles=handles, loc="outside upper center", ncols=5)
