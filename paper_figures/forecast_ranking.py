"""What forecasts said of real fine-tunes beforehand, beside what these then did (T16, T20)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.base.errors import InputError
from finebound.views import style
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks
from paper_figures.finetuned import read_finetuned, setting

SOURCE = "measurement"

# Ours, with the statement each is from.
_OURS = {
    "coarse unroll (T20)": ("T20", style.BLUE, "o"),
    "linearised (T16)": ("T16", style.ORANGE, "s"),
}
_FACTOR, _LARGE, _COVERED, _SPEARMAN = 1.5, 0.05, 0.8, 0.9


def record(seed: int) -> dict[str, Any]:
    """Forecasts beside measurements, predictors ranked; ``seed`` is the experiment's own."""
    result, about = read_finetuned("forecasts")
    forecasts = result.forecasts
    if forecasts is None:
        raise InputError(
            "the experiment was made without forecasts.",
            remedy="Leave `forecast` out of its configuration, and make it in a new folder.",
        )
    intervals = {run.id: run.safety_interval for run in result.done}
    return {
        "experiment": about,
        "forecasts": [
            {
                "run": entry.run,
                "name": entry.name,
                "said": entry.safety_change,
                "interval": entry.interval_90.safety,
                "measured": entry.measured_safety_change,
                "measured_interval": intervals[entry.run],
            }
            for entry in forecasts.runs
            if entry.name in _OURS and entry.interval_90 is not None
        ],
        "ranking": [
            row.to_dict() | {"cost": forecasts.cost_share[row.name]} for row in forecasts.safety
        ],
    }


def shows(data: dict[str, Any]) -> str:
    return (
        "What predictors said of the held-out safety loss before each real fine-tune "
        f"({setting(data['experiment'])}). (a) Ours, in nats per token, with 90 % intervals, "
        "against the measured rise with its 95 % bootstrap interval over rows; on the line a "
        "forecast is right, in the band right within a factor of 1.5. (b) Spearman correlation of "
        "every predictor with the measured rises, with 95 % bootstrap intervals over runs; the "
        "percentage is its cost in the fine-tune's tokens. Predictors that see only the pair of "
        "datasets say the same of every strategy on it, which counts as a tie."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    rows = {row["name"]: row for row in data["ranking"]}
    others = [row for name, row in rows.items() if name not in _OURS]
    best = max(others, key=_rho)
    found = []
    for name, (statement, _, _) in _OURS.items():
        if name not in rows:
            continue
        row = rows[name]
        rho, covered = _rho(row), row["coverage"]["estimate"]
        spearman = row["spearman"]
        found.append(
            Claim(
                f"{statement}, that the forecast ranks the runs with a Spearman correlation of at "
                f"least {_SPEARMAN:g} and better than every baseline,",
                rho >= _SPEARMAN and rho > _rho(best),
                f"{rho:.2f} ({spearman['lower']:.2f} to {spearman['upper']:.2f}) over "
                f"{row['runs']} runs, the best baseline ({best['name']}) {_rho(best):.2f}",
            )
        )
        found.append(
            Claim(
                f"{statement}, that the forecast's median factor is at most {_FACTOR:g} where the "
                f"safety loss moved by more than {_LARGE:g} nats/token and its 90 % intervals "
                f"cover at least {_COVERED:.0%} of the runs,",
                float(row["factor"]) <= _FACTOR and covered >= _COVERED,
                f"median factor {float(row['factor']):.2f} over {row['sized']} runs, "
                f"{covered:.0%} covered, at {row['cost']:.1%} of the fine-tune's tokens",
            )
        )
    return found


def _rho(row: dict[str, Any]) -> float:
    """The predictor's correlation, below all others where it says the same of every run."""
    rho = row["spearman"]["estimate"]
    return -np.inf if rho is None else rho


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=1.3 + 0.2 * max(len(data["ranking"]), 10))
    points, ranks = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    _points(points, data["forecasts"])
    _ranks(ranks, data["ranking"])
    figure.legend(*points.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    style.panel_letter(points, "a", "forecast against measured")
    style.panel_letter(ranks, "b", "how well each predictor ranks")
    return figure


def _points(axes: Axes, forecasts: list[dict[str, Any]]) -> None:
    for name, (_, colour, mark) in _OURS.items():
        mine = [f for f in forecasts if f["name"] == name]
        if not mine:
            continue
        x, y = (
            np.array([[f[middle], *f[ends]] for f in mine], float).T
            for middle, ends in (("measured", "measured_interval"), ("said", "interval"))
        )
        axes.errorbar(
            x[0],
            y[0],
            zorder=3 if name == next(iter(_OURS)) else 2,
            xerr=style.bars(x),
            yerr=style.bars(y),
            fmt=mark,
            ms=4,
            lw=0.7,
            color=colour,
            label=name,
        )
    middle = [f[key] for f in forecasts for key in ("measured", "said")]
    low, high = min([*middle, 0.0]) - 0.1, max([*middle, 0.0]) + 0.15
    ends = np.array([low, 0.0, high])
    axes.plot(ends, ends, color=style.INK, lw=0.8, zorder=0)
    axes.fill_between(
        ends, ends / _FACTOR, ends * _FACTOR, color=style.MUTED, alpha=0.2, lw=0, zorder=0
    )
    axes.set(xlim=(low, high), ylim=(low, high))
    fixed_ticks(axes)
    axes.set_xlabel("measured rise of the safety loss (nats/token)")
    axes.set_ylabel("forecast (nats/token)")


def _ranks(axes: Axes, ranking: list[dict[str, Any]]) -> None:
    told = sorted(ranking, key=_rho)
    for place, row in enumerate(told):
        _, colour, mark = _OURS.get(row["name"], ("", style.MUTED, "D"))
        if _rho(row) == -np.inf:
            axes.text(0.0, place, "the same of every run", fontsize=8, va="center", ha="center")
            continue
        low, high = (float(row["spearman"][end]) for end in ("lower", "upper"))
        axes.plot([low, high], [place, place], color=colour, lw=1.2)
        axes.plot(_rho(row), place, mark, ms=4.5, color=colour)
        axes.text(
            1.02,
            place,
            f"{row['cost']:.0%}",
            transform=axes.get_yaxis_transform(),
            fontsize=8,
            va="center",
            color=style.INK,
        )
    axes.axvline(0.0, color=style.MUTED, lw=0.6)
    axes.axvline(_SPEARMAN, color=style.MUTED, lw=0.8, ls="--")
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-0.7, len(told) - 0.3)
    fixed_ticks(axes)
    axes.set_yticks(range(len(told)), [row["name"] for row in told])
    axes.set_xlabel("Spearman correlation (no unit)")
