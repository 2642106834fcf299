"""How the safety gap falls in lambda for three proxies: trained tables on theory's curves (T5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.gaps import dots

SOURCE = "measurement"

_LAMS = np.geomspace(0.1, 1000.0, 17)
_CURVE = np.geomspace(0.05, 2000.0, 81)
_FITTED = 90.0
_INSTANCES = 16
_LEVEL = 0.99
# Of the other teacher in total variation: the one that is drawn, and those whose slope is told.
_DRAWN = 0.45
_MISMATCHES = (0.2, 0.3, 0.4, 0.5)
_TOLERANCE = 0.15
_COLOURS = {
    "same teacher": style.BLUE,
    "self-generated": style.GREEN,
    "other teacher": style.RED,
}
_EXPONENTS = {"same teacher": -2.0, "other teacher": -1.0}


def record(seed: int) -> dict[str, Any]:
    """Safety gaps and excesses over the floor of trained tables, and of theory, nats."""
    from sims.findings.ensemble import Lab
    from sims.findings.finding import columns, mean_interval, slopes
    from sims.finetune import Plan
    from sims.models.table import Table
    from theory.exact import exact
    from theory.loss_constraint import safety_gap_expansion
    from theory.strategy import LossConstraint

    lab = Lab(Table(), Plan(600, 0.3), chunk=_INSTANCES * len(_LAMS))
    knobs = {"overlap": 0.6, "disagreement": 0.5}
    same = lab.ensemble(seed, _INSTANCES, **knobs)
    # Alignment stopped early: the model that writes its own proxy is not quite its teacher.
    early = lab.ensemble(seed, _INSTANCES, stop=0.025, **knobs)
    proxies = {
        "same teacher": same,
        "self-generated": early.replaced(mu_hat=early.policies(early.theta_s)),
        "other teacher": lab.ensemble(seed, _INSTANCES, teacher_mismatch=_DRAWN, **knobs),
    }
    curves = []
    for name, made in proxies.items():
        problem = made.tables()
        floor, first, _ = (np.asarray(term) for term in safety_gap_expansion(problem))
        gaps = made.finetuned(lam=_LAMS).gaps.safety
        theory = np.stack(
            [exact(problem, LossConstraint(lam=float(lam))).safety_gap for lam in _CURVE], axis=-1
        )
        at_runs = np.stack(
            [exact(problem, LossConstraint(lam=float(lam))).safety_gap for lam in _LAMS], axis=-1
        )
        large = _LAMS >= _FITTED
        excess = np.abs(gaps - floor[:, None])
        slope, interval = mean_interval(slopes(_LAMS[large], excess[:, large]), level=_LEVEL)
        curves.append(
            {
                "proxy": name,
                "safety_gap": columns(gaps),
                "excess": columns(excess),
                "theory_gap": theory.mean(axis=0).tolist(),
                "theory_excess": np.abs(theory - floor[:, None]).mean(axis=0).tolist(),
                "floor": float(floor.mean()),
                "first_order_negative": int((first < 0).sum()),
                "slope": slope,
                "slope_interval": list(interval),
                "largest_error": float(np.abs(gaps / at_runs - 1.0).max()),
                "least_at": float(_LAMS[gaps.mean(axis=0).argmin()]),
            }
        )
    large = _LAMS >= _FITTED
    others = []
    for mismatch in _MISMATCHES:
        made = lab.ensemble(seed, _INSTANCES, teacher_mismatch=mismatch, **knobs)
        floor = np.asarray(safety_gap_expansion(made.tables())[0])
        excess = np.abs(made.finetuned(lam=_LAMS).gaps.safety - floor[:, None])
        slope, interval = mean_interval(slopes(_LAMS[large], excess[:, large]), level=_LEVEL)
        others.append({"mismatch": mismatch, "slope": slope, "slope_interval": list(interval)})
    return {
        "other_mismatches": others,
        "lams": _LAMS.tolist(),
        "curve_lams": _CURVE.tolist(),
        "fitted_from": _FITTED,
        "level": _LEVEL,
        "instances": _INSTANCES,
        "curves": curves,
    }


def shows(data: dict[str, Any]) -> str:
    return (
        "(a) The true safety gap of fine-tuned tables (points, means over "
        f"{data['instances']} random instances with 95 % t intervals) against the strength lambda "
        "of the proxy's loss, on theory's exact curves (T3, T5); dotted: the floor Phi. The "
        "self-generated proxy is written by a model whose alignment was stopped early. (b) The "
        "distance to that floor on logarithmic axes; numbers: slopes fitted from lambda = "
        f"{data['fitted_from']:g} on, with {100 * data['level']:g} % intervals."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    curves = {curve["proxy"]: curve for curve in data["curves"]}
    error = max(curve["largest_error"] for curve in curves.values())
    found = [
        Claim(
            "T3 and T5, the exact safety gap,",
            error < 0.01,
            f"trained tables are within {error:.1e} of it, relatively, at all "
            f"{len(data['lams']) * data['instances'] * len(curves)} runs",
        )
    ]
    for name, exponent in _EXPONENTS.items():
        low, high = curves[name]["slope_interval"]
        found.append(
            Claim(
                f"T5, decay like lambda^{exponent:g} with the {name},",
                abs(low - exponent) < _TOLERANCE and abs(high - exponent) < _TOLERANCE,
                f"the fitted exponent is {curves[name]['slope']:.3f} "
                f"({100 * data['level']:g} % interval {low:.3f} to {high:.3f})",
            )
        )
    spread = data["other_mismatches"]
    found.append(
        Claim(
            f"That lambda^-1 shows by lambda = {data['lams'][-1]:g} for any other teacher",
            all(abs(end + 1.0) < _TOLERANCE for entry in spread for end in entry["slope_interval"]),
            "the fitted exponents are "
            + ", ".join(
                f"{entry['slope']:.2f} ({entry['slope_interval'][0]:.2f} to "
                f"{entry['slope_interval'][1]:.2f}) at a mismatch of {entry['mismatch']:g}"
                for entry in spread
            )
            + "; where the first-order term almost vanishes lambda^-1 begins later",
        )
    )
    own, other = curves["self-generated"], curves["other teacher"]
    found.append(
        Claim(
            "T5, that a self-generated proxy has the smaller floor than another teacher's,",
            own["floor"] < other["floor"],
            f"the floors are {own['floor']:.4f} and {other['floor']:.4f} nats, with a slope of "
            f"{own['slope']:.3f} for the self-generated one",
        )
    )
    found.append(
        Claim(
            "T5(c), that over-penalising hurts where the first-order term is negative,",
            other["first_order_negative"] == data["instances"]
            and other["least_at"] < data["lams"][-1],
            f"with the other teacher it is negative in {other['first_order_negative']} of "
            f"{data['instances']} instances, and the mean gap is least at lambda = "
            f"{other['least_at']:.2g}, not at {data['lams'][-1]:g}",
        )
    )
    return found


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.3)
    gap, excess = figure.subplots(1, 2)
    lams, curve_lams = np.array(data["lams"]), np.array(data["curve_lams"])
    for curve in data["curves"]:
        colour = _COLOURS[curve["proxy"]]
        gap.plot(curve_lams, curve["theory_gap"], color=colour, lw=1.2, label=curve["proxy"])
        dots(gap, lams, curve["safety_gap"], logarithmic=True, ms=3.4, color=colour)
        gap.axhline(curve["floor"], color=colour, ls=":", lw=1.0)
        excess.plot(curve_lams, curve["theory_excess"], color=colour, lw=1.2)
        dots(excess, lams, curve["excess"], logarithmic=True, ms=3.4, color=colour)
    for line, curve in enumerate(reversed(data["curves"])):
        low, high = curve["slope_interval"]
        excess.text(
            0.04,
            0.06 + 0.085 * line,
            f"slope \N{MINUS SIGN}{abs(curve['slope']):.2f} ± {0.5 * (high - low):.2f}",
            transform=excess.transAxes,
            fontsize=8,
            color=_COLOURS[curve["proxy"]],
        )
    for axes in (gap, excess):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(r"penalty strength $\lambda$ (no unit)")
        axes.set_xlim(curve_lams[0], curve_lams[-1])
        axes.set_xticks([0.1, 1.0, 10.0, 100.0, 1000.0])
        axes.minorticks_off()
    style.panel_letter(gap, "a", "safety gap by proxy")
    gap.set_ylabel("safety gap $G_s$ (nats)")
    style.panel_letter(excess, "b", "distance to the floor")
    excess.set_ylabel(r"$|G_s - \Phi|$ (nats)")
    _legend(figure, gap)
    return figure


def _legend(figure: Figure, axes: Axes) -> None:
    lines, _ = axes.get_legend_handles_labels()
    kinds = [
        style.mark("fine-tuned tables", "o", ms=4, color=style.INK),
        style.key(r"floor $\Phi$", color=style.INK, ls=":", lw=1.0),
    ]
    figure.legend(handles=[*lines, *kinds], loc="outside upper center", ncols=5)
