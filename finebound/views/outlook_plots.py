"""The figures of an answer: refusals before and after, and every option in one plane."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from finebound.results.estimate import EstimateResult
from finebound.results.outlook import BROKEN, KEPT, UNDECIDED, Option, ShareForecast
from finebound.views.outlook_words import (
    label,
    percent,
    percent_within,
    plain,
    signed,
    typeset,
)
from finebound.views.page_plots import FAINT, GRID, PAGE_WIDTH, SAFETY, TASK, Plot
from finebound.views.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    RED,
    few_ticks,
    new_figure,
    paper_style,
)

_MARKS: dict[str, tuple[str, dict[str, Any]]] = {
    KEPT: ("keeps the budget", {"color": BLUE, "marker": "o"}),
    UNDECIDED: ("not decided", {"color": ORANGE, "marker": "s"}),
    BROKEN: ("breaks it", {"color": RED, "marker": "X"}),
}
_AWAY = (8.0, 20.0)
"""Distances of a label from its point, in points of print."""
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_PART = (0.5, 0.0, 1.0)
"""Of a label's width or height that lies before its anchor, by side (0, 1, -1)."""
_TEXT: dict[str, Any] = {"fontsize": 8, "color": INK, "parse_math": False}
_BUDGET: dict[str, Any] = {"color": MUTED, "ls": (0, (4, 2)), "lw": 1.2}


def before_after_figure(result: EstimateResult) -> Plot | None:
    """Refusals of harmful probes and of look-alikes, now and after; None without a forecast."""
    forecast = result.forecast
    if forecast is None:
        return None
    shares = {
        "harmful probes refused": (forecast.refusal, SAFETY),
        "look-alikes refused": (forecast.over_refusal, TASK),
    }
    names = [
        f"{name}\n{percent(share.before)} → {percent_within(share.after, share.interval)}"
        for name, (share, _) in shares.items()
    ]
    with paper_style():
        figure = new_figure(height=2.2, width=PAGE_WIDTH)
        axes = figure.subplots()
        for place, (share, colour) in enumerate(shares.values()):
            _draw_share(axes, place, share, colour)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(-2, 102), ylim=(1.6, -0.5), xlabel="share of answers that refuse (%)")
        axes.set_xticks(range(0, 101, 20))
        axes.grid(True, axis="x", color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        level = percent(forecast.refusal.level)
        handles = [
            Line2D([], [], ls="none", marker="o", color=FAINT, label="now"),
            Line2D([], [], marker="o", color=MUTED, label=f"after, with its {level} interval"),
        ]
        if any(share.greedy_after is not None for share, _ in shares.values()):
            look: dict[str, Any] = {"ls": "none", "marker": "o", "color": MUTED, "mfc": "white"}
            handles.append(Line2D([], [], label="hollow: greedy answers", **look))
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    told = "; ".join(name.replace("\n", ": ") for name in names)
    return Plot(
        figure,
        f"Answers at temperature 1 to {forecast.refusal.n} harmful probes and "
        f"{forecast.over_refusal.n} look-alikes, now and as forecast after the fine-tune: {told}. "
        "An interval says what usual errors are; it is no guarantee.",
    )


def options_figure(result: EstimateResult) -> Plot | None:
    """Every option's refusals against its capability gain; None where none was tried."""
    options, forecast = result.options, result.forecast
    if not options or forecast is None:
        return None
    limit = next((b.limit for b in result.budgets if b.quantity == "refusal"), None)
    share = forecast.refusal
    return figure_of_options(options, before=share.before, level=share.level, limit=limit)


def figure_of_options(
    options: Sequence[Option], *, before: float, level: float, limit: float | None
) -> Plot:
    """The options, best first; the aligned model refuses the share ``before``.

    ``limit`` is what may be lost of it, in points; intervals have the ``level``.
    """
    now, before = percent(before), 100 * before
    levels = [] if limit is None else [before - limit]
    with paper_style():
        figure = new_figure(height=4.0, width=PAGE_WIDTH)
        axes = figure.subplots()
        axes.plot(0.0, before, "+", ms=11, mew=2, color=INK)
        for height in levels:
            axes.axhline(height, zorder=0, **_BUDGET)
        for one in options:
            look = _MARKS[one.within_budget][1]
            low, high = (100 * end for end in one.interval)
            axes.vlines(one.capability_gain, low, high, color=look["color"], lw=2.4, alpha=0.4)
            low, high = one.capability_interval
            axes.hlines(100 * one.refusal, low, high, color=look["color"], lw=1.2, alpha=0.3)
            axes.plot(one.capability_gain, 100 * one.refusal, ms=6.5, mec="white", mew=0.6, **look)
        _set_limits(axes, options, [before, *levels])
        axes.set_xlabel("capability gain: fall of the held-out task loss (nats/token)")
        axes.set_ylabel("harmful probes refused (%)")
        axes.grid(True, color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        decided = {one.within_budget for one in options}
        handles = [
            Line2D([], [], ls="none", ms=6.5, label=words, **look)
            for decision, (words, look) in _MARKS.items()
            if decision in decided
        ]
        if limit is not None:
            handles.append(Line2D([], [], label=f"budget: {limit:g} points lost", **_BUDGET))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        figure.draw_without_rendering()
        left_out = _label_points(axes, before, options, levels)
    best = options[0]
    caption = (
        "Every option that was tried; up and to the right is better. The cross is the aligned "
        f"model, which refuses {now}. Best: {plain(best.how, 90)}, "
        f"which refuses {percent_within(best.refusal, best.interval)} and gains "
        f"{signed(best.capability_gain)} nats/token. Bars: {percent(level)} "
        "intervals." + (" The table names every point." if left_out else "")
    )
    return Plot(figure, typeset(caption))


def _draw_share(axes: Axes, place: int, share: ShareForecast, colour: str) -> None:
    """Sampled answers on one line, greedy ones as hollow marks on a line below."""
    before, after = 100 * share.before, 100 * share.after
    low, high = (100 * end for end in share.interval)
    axes.hlines(place, low, high, color=colour, lw=5, alpha=0.35)
    axes.plot(before, place, "o", ms=8, color=FAINT)
    axes.plot(after, place, "o", ms=8, color=colour)
    for greedy, edge in ((share.greedy_before, FAINT), (share.greedy_after, colour)):
        if greedy is not None:
            axes.plot(100 * greedy, place + 0.3, "o", ms=6.5, mfc="white", mec=edge, mew=1.5)


def _set_limits(axes: Axes, options: Sequence[Option], levels: Sequence[float]) -> None:
    """Limits that hold every interval, the start and the budget, with room for labels."""
    gains = [0.0, *(end for option in options for end in option.capability_interval)]
    heights = [*levels, *(100 * end for option in options for end in option.interval)]
    wide = max(max(gains) - min(gains), 0.01)
    high = max(max(heights) - min(heights), 10.0)
    axes.set_xlim(min(gains) - 0.05 * wide, max(gains) + 0.05 * wide)
    axes.set_ylim(min(heights) - 0.08 * high, max(heights) + 0.1 * high)
    few_ticks(axes.xaxis, axes.get_xlim())
    few_ticks(axes.yaxis, (axes.get_ylim()[0], min(100.0, axes.get_ylim()[1])))


def _label_points(
    axes: Axes, before: float, options: Sequence[Option], levels: Sequence[float]
) -> int:
    """A label at the start and at every option where one fits; how many did not.

    A label covers no point, no interval, no budget's line (at ``levels``) and no other label.
    """
    to_pixels, around = axes.transData.transform, axes.get_window_extent()
    named = {(0.0, before): ["aligned model"]}
    for one in options:  # several may be one point
        named.setdefault((one.capability_gain, 100 * one.refusal), []).append(label(one))
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in map(to_pixels, named)]
    for one in options:
        ends = [to_pixels((one.capability_gain, 100 * end)) for end in one.interval]
        taken.append(Bbox(ends).padded(3, 0))
    for level in levels:
        y = to_pixels((0.0, level))[1]
        taken.append(Bbox.from_extents(around.x0, y - 1, around.x1, y + 1))
    left_out = 0
    for point, names in named.items():
        name, (x, y) = ", ".join(dict.fromkeys(names)), to_pixels(point)
        width, height = _size(axes, name)
        for away, (right, up) in product(_AWAY, _SIDES):
            # Where the text's left lower corner comes to lie.
            step = away * axes.figure.dpi / 72
            corner = x + right * step - width * _PART[right], y + up * step - height * _PART[up]
            box = Bbox.from_bounds(*corner, width, height).padded(1.5)
            inside = around.containsx(box.x0) and around.containsx(box.x1)
            inside = inside and around.containsy(box.y0) and around.containsy(box.y1)
            if inside and not box.count_overlaps(taken):
                taken.append(box)
                _label(axes, name, point, away, (right, up))
                break
        else:
            left_out += len(names)
    return left_out


def _size(axes: Axes, name: str) -> tuple[float, float]:
    """Width and height of a label in pixels."""
    text = axes.text(0.0, 0.0, name, **_TEXT)
    box = text.get_window_extent()
    text.remove()
    return box.width, box.height


def _label(
    axes: Axes, name: str, point: tuple[float, float], away: float, side: tuple[int, int]
) -> None:
    """A label on one side of its point, with a line to it where it is far away."""
    right, up = side
    line: dict[str, Any] = {"arrowstyle": "-", "color": FAINT, "lw": 0.7}
    line["relpos"] = (_PART[right], _PART[up])
    axes.annotate(
        name,
        point,
        (away * right, away * up),
        textcoords="offset points",
        ha=("center", "left", "right")[right],
        va=("center", "bottom", "top")[up],
        arrowprops=line if away > _AWAY[0] else None,
        **_TEXT,
    )
