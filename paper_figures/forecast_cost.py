"""What a coarse unroll's design costs and how far it errs, on thousands of toy fine-tunes (T20)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim

SOURCE = "measurement"

_OPTIMISER, _SHARE = "adamw", 0.05
_NOW = "raised"  # the design of the forecaster
# Panel (a): design and rows a step (0: the plan's own).
_LINES = {
    (_NOW, 1): ("1 row a step, raised rate", style.BLUE, "o"),
    ("straight", 1): ("1 row, straight rate", style.ORANGE, "s"),
    (_NOW, 4): ("4 rows, raised rate", style.GREEN, "^"),
    ("straight", 0): ("the plan's rows", style.INK, "D"),
}
_AGAIN = ("the fine-tune again", style.MUTED, "x")
# Panel (b): optimiser and design, all of 1 row a step.
_FAR = {
    (_OPTIMISER, _NOW): _LINES[_NOW, 1],
    ("momentum", "straight"): ("1 row, SGD with momentum", style.RED, "v"),
    (_OPTIMISER, "fine-tune"): _AGAIN,
}
_ERROR = "|error| of the refusals' change (points)"
_LIMITS, _TICKS = (0.08, 100.0), (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# Panel (c): what is read, and the ways to read it.
_READ = {
    ("rate", 0.5): "half the rate",
    ("steps", 0.5): "half the steps",
    ("mix", 0.03): "3 % safety rows",
    ("mix", 0.06): "6 % safety rows",
}
_WAYS = {
    "path": ("coarse path, or span", style.BLUE, "o"),
    "span": ("coarse path, or span", style.BLUE, "o"),
    "scaled end": ("coarse end, scaled", style.ORANGE, "s"),
    "own unroll": ("an unroll of its own", style.GREEN, "^"),
    "scaled true end": ("true end scaled, or true span", style.RED, "D"),
    "true span": ("true end scaled, or true span", style.RED, "D"),
    "fine-tune": _AGAIN,
}


def record(seed: int) -> dict[str, Any]:
    """Errors of every design's forecasts in cells; ten to twenty minutes on one core."""
    from sims.forecasts.record import forecast_record

    return forecast_record(seed)


def _chosen(cells: Sequence[dict[str, Any]], **by: Any) -> list[dict[str, Any]]:
    return [cell for cell in cells if all(cell[key] == value for key, value in by.items())]


def _by_cost(data: dict[str, Any], design: str, rows: int) -> list[dict[str, Any]]:
    """Cells of one line of panel (a), cheapest first."""
    cells = _chosen(data["designs"], optimiser=_OPTIMISER, design=design, rows=rows)
    return sorted((cell for cell in cells if cell["share"] > 0), key=lambda cell: cell["cost"])


def shows(data: dict[str, Any]) -> str:
    return (
        f"Coarse unrolls (T20; {data['coarse_unrolls']:,} of them) against toy fine-tunes of "
        f"aligned transformers ({data['true_fine_tunes']:,}). Errors are those of the forecast "
        "change of the probability that a harmful prompt is refused, in percentage points. Solid: "
        "medians, dashed: 90th percentiles. The truth is a mean over fine-tunes that see other "
        "rows; grey: how far one more of them lies from it. (a) AdamW, against the share of the "
        f"fine-tune's rows that an unroll sees. (b) At {_SHARE:.0%} of the rows, against how far "
        "the fine-tune went. (c) AdamW, other plans read off the same unrolls: marks are medians, "
        "lines end at the 90th percentile."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    now, straight, whole = (
        _chosen(_by_cost(data, design, rows), share=_SHARE)[0]
        for design, rows in ((_NOW, 1), ("straight", 1), ("straight", 0))
    )
    momentum = _chosen(
        data["designs"], optimiser="momentum", design="straight", rows=1, share=_SHARE
    )[0]
    clipped, wider = (
        _chosen(data["interpolations"], optimiser="momentum", what="plan", way=way)[0]
        for way in ("coarse", "clip times root")
    )
    span, again = (
        _chosen(data["interpolations"], optimiser=_OPTIMISER, what="mix", amount=0.03, way=way)[0]
        for way in ("true span", "fine-tune")
    )
    return [
        Claim(
            f"T20, that at {_SHARE:.0%} of AdamW's rows steps of one row at a raised rate are "
            "nearer to the fine-tune than at a straight rate or than few steps of all rows,",
            now["refusal"]["size"] < min(straight["refusal"]["size"], whole["refusal"]["size"]),
            f"mean errors of {_points(now)}, {_points(straight)} and {_points(whole)} points; "
            f"{now['within']:.0%}, {straight['within']:.0%} and {whole['within']:.0%} within 10 "
            f"points, over {now['n']}, {straight['n']} and {whole['n']} fine-tunes",
        ),
        Claim(
            "T20, that it forecasts SGD with momentum and clipped gradients as well,",
            momentum["refusal"]["size"] <= now["refusal"]["size"],
            f"a mean error of {_points(momentum)} points over {momentum['n']} fine-tunes, the "
            f"refusals being forecast {_points(momentum, 'bias')} points too high; on "
            f"{clipped['n']} more {_points(clipped, 'bias')} too high, and "
            f"{_points(wider, 'bias')} where the norm at which single rows are clipped is raised "
            "as a rate is",
        ),
        Claim(
            "T20, that two unrolls and their span give the smaller shares of safety rows,",
            span["refusal"]["p90"] <= 1.5 * again["refusal"]["p90"],
            f"between two true ends the weights of 3 % safety rows err by {_points(span, 'p90')} "
            f"points at the 90th percentile, another fine-tune by {_points(again, 'p90')}",
        ),
    ]


def _points(cell: dict[str, Any], which: str = "size") -> str:
    return f"{100 * cell['refusal'][which]:.1f}"


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=6.2)
    panels = figure.subplot_mosaic([["cost", "distance"], ["read", "read"]])
    cost, distance, read = panels["cost"], panels["distance"], panels["read"]
    _costs(cost, data)
    cost.set_ylabel(_ERROR)
    _distances(distance, data)
    _reads(read, data["interpolations"])
    style.panel_letter(cost, "a", "error against cost")
    style.panel_letter(distance, "b", "error against distance")
    style.panel_letter(read, "c", "other plans, read off the same unrolls")
    looks = dict.fromkeys([*_LINES.values(), *_FAR.values()])
    kinds = [
        style.key("median", color=style.INK, lw=1.4),
        style.key("90th percentile", color=style.INK, lw=0.9, ls="--"),
    ]
    lines = [style.key(label, color=colour, marker=mark, ms=4) for label, colour, mark in looks]
    figure.legend(handles=[*lines, *kinds], loc="outside upper center", ncols=4)
    figure.legend(handles=_ways(), loc="outside lower center", ncols=3)
    return figure


def _ways() -> list[Any]:
    return [
        style.mark(label, mark, ms=4.5, color=colour)
        for label, colour, mark in dict.fromkeys(_WAYS.values())
    ]


def _costs(axes: Axes, data: dict[str, Any]) -> None:
    for (design, rows), look in _LINES.items():
        cells = _by_cost(data, design, rows)
        _line(axes, [100 * cell["cost"] for cell in cells], cells, *look)
    again = _chosen(data["noise"], optimiser=_OPTIMISER)[0]
    for which, ls in (("median", "-"), ("p90", "--")):
        axes.axhline(_drawn(again["refusal"][which]), color=style.MUTED, lw=0.9, ls=ls)
    axes.set_xscale("log")
    ticks = sorted({cell["share"] for cell in data["designs"] if cell["share"] > 0})
    axes.set_xticks([100 * tick for tick in ticks], [f"{100 * tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("rows seen (% of the fine-tune's)")
    _error_axis(axes)


def _distances(axes: Axes, data: dict[str, Any]) -> None:
    edges = sorted({cell["distance"] for cell in data["distance"]})
    for (optimiser, design), look in _FAR.items():
        cells = _chosen(data["distance"], optimiser=optimiser, design=design)
        cells = sorted(cells, key=lambda cell: cell["distance"])
        _line(axes, [edges.index(cell["distance"]) for cell in cells], cells, *look)
    named = [f"{100 * edge:g}" for edge in edges]
    spans = [f"{low}–{high}" for low, high in pairwise(named)]
    axes.set_xticks(range(len(edges)), [*spans, f">{named[-1]}"])
    axes.set_xlabel("distance gone (% of the weights' length)")
    _error_axis(axes)


def _line(
    axes: Axes, x: Sequence[float], cells: list[dict[str, Any]], label: str, colour: str, mark: str
) -> None:
    for which, ls, size, lw in (("median", "-", 4.0, 1.4), ("p90", "--", 2.5, 0.9)):
        y = [_drawn(cell["refusal"][which]) for cell in cells]
        axes.plot(x, y, f"{mark}{ls}", ms=size, lw=lw, color=colour, label=label)


def _error_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.set_ylim(*_LIMITS)
    axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.minorticks_off()


def _reads(axes: Axes, cells: list[dict[str, Any]]) -> None:
    order = list(_WAYS)
    for place, (what, amount) in enumerate(_READ):
        mine = _chosen(cells, optimiser=_OPTIMISER, what=what, amount=amount)
        mine.sort(key=lambda cell: order.index(cell["way"]))
        for k, cell in enumerate(mine):
            _, colour, mark = _WAYS[cell["way"]]
            y = -(place + 0.8 * (k - 0.5 * (len(mine) - 1)) / len(mine))
            middle, far = (_drawn(cell["refusal"][which]) for which in ("median", "p90"))
            axes.plot([middle, far], [y, y], color=colour, lw=1.2)
            axes.plot(middle, y, mark, ms=4.5, color=colour)
    axes.set_yticks([-place for place in range(len(_READ))], list(_READ.values()))
    axes.set_ylabel("plan that is read (kind)")
    axes.set_xscale("log")
    axes.set_xlim(*_LIMITS)
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.minorticks_off()
    axes.set_xlabel(_ERROR)


def _drawn(error: float) -> float:
    """In points; what is smaller than the axis shows lies at its end."""
    return max(100 * error, _LIMITS[0])
