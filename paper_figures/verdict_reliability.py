"""Whether what was said of a budget before real fine-tunes was right (T20, T25)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.refusals_forecast import skill_of_the_evidence

SOURCE = "measurement"

_WRONG, _DECIDED = 0.1, 0.5
_PARTS = {
    "kept_right": ("said kept, was kept", style.BLUE, ""),
    "broken_right": ("said broken, was broken", style.GREEN, ""),
    "kept_wrong": ("said kept, was broken", style.RED, ""),
    "broken_wrong": ("said broken, was kept", style.ORANGE, ""),
    "undecided_kept": ("not decided, was kept", "white", "...."),
    "undecided_broken": ("not decided, was broken", "#d0d0d0", "////"),
}


def record(seed: int) -> dict[str, Any]:
    """Of every shipped fine-tune, at each budget; ``seed`` changes nothing of it."""
    skill = skill_of_the_evidence(seed)
    return {name: skill[name] for name in ("fine_tunes", "pairs", "verdicts")}


def shows(data: dict[str, Any]) -> str:
    return (
        f"{data['fine_tunes']} fine-tunes of the packaged aligned model in {data['pairs']} pairs "
        "of datasets. Before each was run it was said whether it keeps a budget of harmful probes "
        "that are refused no more: kept or broken where the whole 90 % interval, calibrated on the "
        "fine-tunes of other pairs (T25), is on one side of the budget, else not decided. Bars "
        "count what was then measured."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    rows = data["verdicts"]
    given = [(one, _sum(one, "kept_right", "broken_right"), _wrong(one)) for one in rows]
    wrong = sum(wrong for *_, wrong in given)
    told = sum(right + wrong for _, right, wrong in given)
    few = min(given, key=lambda found: found[1] + found[2])
    decided = few[1] + few[2]
    return [
        Claim(
            f"T25, that at most {_WRONG:.0%} of the verdicts are wrong at any budget,",
            all(wrong <= _WRONG * max(1, right + wrong) for _, right, wrong in given),
            f"{wrong} of {told} verdicts at {len(rows)} budgets were wrong",
        ),
        Claim(
            f"T20, that the forecast decides at least {_DECIDED:.0%} of the fine-tunes at every "
            "budget,",
            decided >= _DECIDED * data["fine_tunes"],
            f"the fewest are {decided} of {data['fine_tunes']}, at {few[0]['points']:g} points; "
            f"{sum(one['kept_right'] + one['kept_wrong'] for one in rows)} verdicts at all "
            "budgets were that it is kept",
        ),
    ]


def _sum(one: dict[str, Any], *names: str) -> int:
    return sum(one[name] for name in names)


def _wrong(one: dict[str, Any]) -> int:
    return _sum(one, "kept_wrong", "broken_wrong")


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=2.5)
    axes = figure.subplots()
    rows = data["verdicts"]
    left = [0] * len(rows)
    for name, (label, colour, hatch) in _PARTS.items():
        counts = [one[name] for one in rows]
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "ec": style.INK, "lw": 0.6}
        axes.barh(range(len(rows)), counts, left=left, height=0.66, label=label, **look)
        for place, (count, start) in enumerate(zip(counts, left, strict=True)):
            if count:
                box = {"fc": "white", "ec": "none", "pad": 1.0}
                middle = start + count / 2
                axes.text(middle, place, str(count), ha="center", va="center", bbox=box)
        left = [start + count for start, count in zip(left, counts, strict=True)]
    axes.set_yticks(range(len(rows)), [f"{one['points']:g}" for one in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1, data["fine_tunes"]))
    axes.set_xlabel("fine-tunes (number)")
    axes.set_ylabel("budget (points)")
    figure.legend(loc="outside upper center", ncols=3)
    return figure
