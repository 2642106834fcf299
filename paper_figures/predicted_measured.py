"""Every bound on the safety loss beside what real fine-tunes measured (T1, T6, T12)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.finetuned import (
    gates_note,
    main_task,
    read_finetuned,
    run_of,
    setting,
    words,
)

SOURCE = "measurement"

_WHEN = {"a priori": "known before the run", "a posteriori": "with what the run measured"}
_LOOKS = {
    "T1": (style.BLUE, "o"),
    "T6": (style.RED, "s"),
    "T9": (style.ORANGE, "D"),
    "T12": (style.GREEN, "^"),
}
# Rows: T1 and T12 often agree, and then both are to be seen.
_LIFTS = {"T1": -0.16, "T12": 0.16}
_CERTAIN = ("EXACT", "CERTIFIED", "HIGH_PROBABILITY")
# Nats per token: linear below, so that a fall and a rise both have a place.
_LINEAR = 0.1
_CLOSE = 10.0
_KEPT = (
    *("run", "fraction", "when", "statement", "form", "status", "value", "measured", "ratio"),
    "verdict",
)


def record(seed: int) -> dict[str, Any]:
    """Bounds on the safety loss's rise and the measured rise; ``seed`` is the experiment's own."""
    result, about = read_finetuned()
    return {
        "experiment": about,
        "log_vocabulary": float(np.log(about["vocabulary"])),
        "runs": [run_of(run) for run in result.done],
        "bounds": [
            {name: getattr(bound, name) for name in _KEPT}
            for bound in result.compared or ()
            if bound.what == "safety loss rise" and bound.direction == "upper"
        ],
    }


def shows(data: dict[str, Any]) -> str:
    return (
        "Upper bounds on the rise of the safety loss beside the measured rise (black bar) at the "
        f"end of every real fine-tune ({setting(data['experiment'])}), on the training sets, "
        "where losses are exact: (a) from the aligned model and the training budget alone, (b) "
        "with the displacement and the task loss that the run reached. Hollow: vacuous, above "
        "log V (dashed), which a uniform guess guarantees; crosses: the bound's premise about "
        "training failed, so it claims nothing. Numbers: the tightest informative bound over the "
        "measured rise; a dash where the safety loss did not rise, 'none' where no bound is "
        "informative. T1 needs exact losses only; the others use measured constants."
        + gates_note(data["runs"], "†")
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    by_statement: dict[str, list[dict[str, Any]]] = {}
    for bound in data["bounds"]:
        by_statement.setdefault(bound["statement"], []).append(bound)
    found = [
        _of_statement(name, by_statement[name])
        for name in sorted(by_statement, key=lambda name: int(name[1:]))
    ]
    told = {
        when: [_tightest(data, run["id"], when) is not None for run in data["runs"]]
        for when in _WHEN
    }
    rises = [run["id"] for run in data["runs"] if run["training_safety"] > 0.0]
    ratios = {
        when: [
            float(bound["ratio"])
            for run in rises
            if (bound := _tightest(data, run, when)) is not None
        ]
        for when in _WHEN
    }
    found += [
        Claim(
            f"That every run has an informative bound {_WHEN[when]}",
            all(told[when]),
            f"{sum(told[when])} of {len(told[when])} runs have one",
        )
        for when in _WHEN
    ]
    least = {when: min(values, default=np.inf) for when, values in ratios.items()}
    found.append(
        Claim(
            f"That an informative bound is within a factor of {_CLOSE:g} of every measured rise",
            all(len(r) == len(rises) and max(r, default=0.0) <= _CLOSE for r in ratios.values()),
            f"of {len(rises)} runs whose safety loss rose "
            + " and ".join(
                f"{sum(r <= _CLOSE for r in ratios[when])} have such a bound {_WHEN[when]} "
                + (f"(nearest {least[when]:.3g} times the rise)" if ratios[when] else "(none)")
                for when in _WHEN
            ),
        )
    )
    return found


def _of_statement(name: str, bounds: list[dict[str, Any]]) -> Claim:
    verdicts = Counter(bound["verdict"] for bound in bounds)
    certain = sum(b["verdict"] == "held" and b["status"] in _CERTAIN for b in bounds)
    places = len({(bound["run"], bound["fraction"]) for bound in bounds})
    return Claim(
        name,
        verdicts["violated"] == 0,
        f"of {len(bounds)} bounds at {places} checkpoints of {len({b['run'] for b in bounds})} "
        f"runs {verdicts['violated']} are violated, {verdicts['held']} are informative and hold "
        f"({certain} of them certified), {verdicts['vacuous']} are vacuous, and the premise of "
        f"{verdicts['premise failed']} failed",
    )


def _at_the_end(data: dict[str, Any], run: str, when: str) -> list[dict[str, Any]]:
    mine = [b for b in data["bounds"] if b["run"] == run and b["when"] == when]
    last = max((b["fraction"] for b in mine), default=1.0)
    return [b for b in mine if b["fraction"] == last]


def _tightest(data: dict[str, Any], run: str, when: str) -> dict[str, Any] | None:
    """The tightest bound at the run's end that says something and whose premise holds."""
    told = [b for b in _at_the_end(data, run, when) if b["verdict"] in ("held", "violated")]
    return min(told, key=lambda b: float(b["value"]), default=None)


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=1.5 + 0.2 * len(data["runs"]))
    panels = figure.subplots(1, 2, sharey=True, sharex=True)
    values = [float(b["value"]) for b in data["bounds"]]
    right = 30.0 * max(v for v in [1.0, *values] if np.isfinite(v))
    left = 1.6 * min([-_LINEAR, *(run["training_safety"] for run in data["runs"])])
    ticks = [-0.1, 0.0, 0.1, 1.0, 10.0, 1e2, 1e3, 1e4, 1e5, 1e6]
    labels = ["\N{MINUS SIGN}.1", "0", ".1", "1", "10", "", "10³", "", "10⁵", ""]
    for axes, letter, when in zip(panels, "ab", _WHEN, strict=True):
        axes.set_xscale("symlog", linthresh=_LINEAR, linscale=1.3)
        axes.set_xlim(left, right)
        axes.set_xticks(ticks, labels)
        axes.minorticks_off()
        axes.set_ylim(len(data["runs"]) - 0.4, -0.6)
        axes.axvline(0.0, color=style.MUTED, lw=0.6)
        axes.axvline(data["log_vocabulary"], color=style.MUTED, ls="--", lw=0.8)
        for row, run in enumerate(data["runs"]):
            _row(axes, row, run, data, when)
        style.panel_letter(axes, letter, _WHEN[when])
        axes.set_xlabel("rise of the safety loss (nats/token)")
    main = main_task(data["runs"])
    panels[0].set_yticks(range(len(data["runs"])), [words(run, main=main) for run in data["runs"]])
    panels[0].set_ylabel(f"run (on {main} if not named)")
    _legend(figure, data)
    return figure


def _row(axes: Axes, row: int, run: dict[str, Any], data: dict[str, Any], when: str) -> None:
    axes.axhline(row, color=style.MUTED, lw=0.3, alpha=0.5, zorder=0)
    right = axes.get_xlim()[1]
    for bound in _at_the_end(data, run["id"], when):
        colour, mark = _LOOKS[bound["statement"]]
        filled = bound["verdict"] == "held" or bound["verdict"] == "violated"
        if bound["verdict"] == "premise failed":
            mark = "x"
        axes.plot(
            min(float(bound["value"]), 0.5 * right),
            row + _LIFTS.get(bound["statement"], 0.0),
            mark,
            ms=4.6,
            mew=0.9,
            mec=colour,
            mfc=colour if filled else "white",
        )
    axes.plot(run["training_safety"], row, "|", ms=9, mew=2.0, color=style.INK, zorder=5)
    tightest = _tightest(data, run["id"], when)
    if tightest is None:
        text = "none"
    else:
        ratio = tightest["ratio"]
        text = "–" if ratio is None else f"×{_short(float(ratio))}"
    axes.text(
        1.01,
        row,
        text,
        transform=axes.get_yaxis_transform(),
        fontsize=8,
        va="center",
        color=style.INK,
    )


def _short(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10.0 else f"{ratio:.1f}"


def _legend(figure: Figure, data: dict[str, Any]) -> None:
    names = sorted({b["statement"] for b in data["bounds"]}, key=lambda name: int(name[1:]))
    plain: dict[str, Any] = {"ls": "none", "ms": 4.6}
    handles = [style.mark("measured", "|", ms=9, mew=2, color=style.INK)]
    handles += [style.key(n, marker=_LOOKS[n][1], color=_LOOKS[n][0], **plain) for n in names]
    handles.append(style.key("vacuous", marker="o", mfc="white", color=style.MUTED, **plain))
    if any(b["verdict"] == "premise failed" for b in data["bounds"]):
        handles.append(style.key("premise failed", marker="x", color=style.MUTED, **plain))
    handles.append(style.key("log V", color=style.MUTED, ls="--", lw=0.8))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
