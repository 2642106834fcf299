"""Validity and tightness of every statement: the distribution of truth / bound in an audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from finebound.views.page_text import SIGNS

if TYPE_CHECKING:
    from sims.rows import StatementAudit

SOURCE = "measurement"

# Instances of each family: about a minute on one core, the full audit is `make audit`.
_SIZES = {
    "tabular": 12_288,
    "price": 6_144,
    "quadratic": 12_288,
    "run-sets": 512,
    "routers": 4_096,
    "images": 4_096,
    "budgets": 2_048,
    "onsets": 2_048,
    "answers": 1_024,
    "certificates": 1_024,
    "calibrations": 1_024,
    "samples": 1_024,
    "log-linear": 256,
    "mlp": 128,
}
_QUANTITIES = {
    "safety_gap": ("safety gap", style.BLUE),
    "proxy_safety_gap": ("proxy safety gap", style.GREEN),
    "capability_gap": ("capability gap", style.RED),
    "weighted_sum": ("weighted sum", style.INK),
    "sqrt_sum": ("sum of roots", style.INK),
    "safety_loss_increase": ("safety loss increase", style.BLUE),
    "radius": ("radius", style.ORANGE),
    "safe_answers": ("share of safe answers", style.GREEN),
    "failure_probability": ("failure probability", style.INK),
}
_LEAST = 1e-3


def record(seed: int) -> dict[str, Any]:
    """Quantiles of truth / bound by statement, quantity and direction; what was compared."""
    from sims.audit import audit
    from sims.families.registry import FAMILIES

    rows = audit([(FAMILIES[name], count) for name, count in _SIZES.items()], seed=seed)
    return {
        "sizes": _SIZES,
        "statements": {name: _statement(row) for name, row in rows.items()},
    }


def _statement(row: StatementAudit) -> dict[str, Any]:
    from sims.rows import Tightness

    parts: dict[tuple[str, str], Tightness] = {}
    for (_, quantity, direction, _), tightness in row.tightness.items():
        part = parts.setdefault((quantity, direction), Tightness())
        part.counts += tightness.counts
    return {
        "comparisons": row.comparisons,
        "violations": row.violations,
        "closest": row.max_ratio,
        "mutants": len(row.mutants),
        "mutants_caught": row.caught,
        "tightness": [
            {"quantity": quantity, "direction": direction, **part.as_json()}
            for (quantity, direction), part in sorted(parts.items())
        ],
    }


def shows(data: dict[str, Any]) -> str:
    return (
        "Truth / bound for upper bounds (≤), bound / truth for lower ones (≥), the smaller of the "
        "two for equalities (=), of every statement over the audit's random toy problems and "
        "trained models, all its forms together. Dots: medians; thick and thin lines: the middle "
        "50 % and 90 %; what lies at the left edge is below 0.001, or lost in rounding. No "
        "instance lies beyond 1. Right: comparisons made, violations found, wrong versions "
        "refuted of those tried."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    return [
        Claim(
            name,
            row["violations"] == 0,
            f"{row['violations']} violations in {row['comparisons']:,} comparisons, "
            f"{row['mutants_caught']} of {row['mutants']} wrong versions refuted",
        )
        for name, row in data["statements"].items()
    ]


# Left edges of the columns beside the plot, in widths of the plot.
_NAMES, _COUNTS = -0.60, (1.22, 1.42, 1.66)


def draw(data: dict[str, Any]) -> Figure:
    statements = data["statements"]
    lines = sum(len(row["tightness"]) for row in statements.values())
    height = 0.145 * lines + 0.09 * len(statements) + 0.8
    figure = style.new_figure(height=height)
    # The columns of text beside the plot are placed by hand.
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.29, 0.5 / height, 0.42, 1.0 - 0.75 / height))
    y, ticks, labels = 0.0, [], []
    for name, row in statements.items():
        top = y
        for part in row["tightness"]:
            _line(axes, y, part)
            words, _ = _QUANTITIES[part["quantity"]]
            ticks.append(y)
            labels.append(f"{words} {SIGNS[part['direction']]}")
            y += 1.0
        middle = 0.5 * (top + y - 1.0)
        _text(axes, _NAMES, middle, name, weight="bold", ha="left")
        refuted = f"{row['mutants_caught']} of {row['mutants']}" if row["mutants"] else "none tried"
        counts = (f"{row['comparisons']:,}", f"{row['violations']}", refuted)
        for x, text in zip(_COUNTS, counts, strict=True):
            _text(axes, x, middle, text, ha="right")
        y += 0.6
        line = axes.axhline(
            y - 0.8, xmin=_NAMES, xmax=_COUNTS[-1], color=style.MUTED, linewidth=0.3
        )
        line.set_clip_on(False)
    axes.axvline(1.0, color=style.INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(_LEAST * 0.8, 1.2)
    axes.set_ylim(y - 0.8, -0.8)
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("truth / bound (ratio)", loc="left")
    axes.set_ylabel(
        "bounded quantity (direction)", rotation=0, ha="left", va="center", color=style.MUTED
    )
    axes.yaxis.set_label_coords(_NAMES, -1.3, transform=axes.get_yaxis_transform())
    _legend(figure)
    for x, words in zip(_COUNTS, ("compared", "violated", "refuted"), strict=True):
        _text(axes, x, -1.3, words, ha="right", color=style.MUTED)
    return figure


def _legend(figure: Figure) -> None:
    marks = {
        "median": {"marker": "o", "linestyle": "", "markersize": 3.5},
        "middle 50 %": {"linewidth": 3.0, "alpha": 0.6},
        "middle 90 %": {"linewidth": 0.8},
    }
    handles = [style.key(word, color=style.INK, **how) for word, how in marks.items()]
    figure.legend(handles=handles, loc="lower right", ncols=3)


def _text(axes: Axes, x: float, y: float, words: str, **how: Any) -> None:
    place = axes.get_yaxis_transform()
    axes.text(x, y, words, transform=place, va="center", fontsize=8, **how)


def _line(axes: Axes, y: float, part: dict[str, Any]) -> None:
    _, colour = _QUANTITIES[part["quantity"]]
    values = {q: max(part[q], _LEAST) for q in ("q05", "q25", "q50", "q75", "q95")}
    axes.plot([values["q05"], values["q95"]], [y, y], color=colour, linewidth=0.8)
    axes.plot([values["q25"], values["q75"]], [y, y], color=colour, linewidth=3.0, alpha=0.6)
    axes.plot([values["q50"]], [y], "o", color=colour, markersize=3.5)
