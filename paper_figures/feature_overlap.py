"""What an unconstrained fine-tune costs: shared prompts against shared features, by model class."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.gaps import dots

SOURCE = "measurement"

_LEVELS = (0.0, 0.3, 0.6, 0.9)
_DISAGREEMENT = 0.7
_COUNTS = {"tabular": 96, "log-linear": 96, "mlp": 96, "transformer": 32}
_COLOURS = {
    "tabular": style.MUTED,
    "log-linear": style.ORANGE,
    "mlp": style.BLUE,
    "transformer": style.RED,
}
_WORDS = {
    "tabular": "table",
    "log-linear": "log-linear",
    "mlp": "MLP",
    "transformer": "transformer",
}
_MARKS = {"tabular": "D", "log-linear": "s", "mlp": "o", "transformer": "^"}


def record(seed: int) -> dict[str, Any]:
    """Safety gaps along three lines of knobs, and effects from first to last level, nats."""
    from sims.findings.features import damage
    from sims.findings.finding import columns, mean_interval

    lines: dict[str, list[dict[str, float]]] = {
        "agreeing prompts": [
            {"overlap": x, "feature_overlap": 0.5, "disagreement": 0.0} for x in _LEVELS
        ],
        "disagreeing prompts": [
            {"overlap": x, "feature_overlap": 0.5, "disagreement": _DISAGREEMENT} for x in _LEVELS
        ],
        "features": [{"overlap": 0.0, "feature_overlap": x, "disagreement": 0.0} for x in _LEVELS],
    }
    panels = []
    for line, settings in lines.items():
        classes = []
        for family, count in _COUNTS.items():
            lost = np.stack([damage(seed, family, count, **at) for at in settings], axis=-1)
            effect, interval = mean_interval(lost[:, -1] - lost[:, 0], level=0.99)
            classes.append(
                {
                    "family": family,
                    "safety_gap": columns(lost),
                    "effect": effect,
                    "effect_interval": list(interval),
                }
            )
        panels.append({"line": line, "classes": classes})
    return {
        "levels": list(_LEVELS),
        "disagreement": _DISAGREEMENT,
        "instances": dict(_COUNTS),
        "panels": panels,
    }


def shows(data: dict[str, Any]) -> str:
    counts = sorted(set(data["instances"].values()))
    return (
        "The safety gap after an unconstrained fine-tune on the task, means with 95 % t intervals "
        f"over {counts[-1]:g} random instances ({counts[0]:g} for the transformer). (a), (b) "
        "Against the mass of prompts that safety and task data share, at half of the features "
        "shared: the shared prompts are answered alike in (a), and with total variation "
        f"{data['disagreement']:g} between the answers in (b). (c) Against the share of features "
        "(words of a prompt, for the transformer) in common, no prompt being shared."
    )


def _effects(data: dict[str, Any], line: int) -> dict[str, dict[str, Any]]:
    return {entry["family"]: entry for entry in data["panels"][line]["classes"]}


def claims(data: dict[str, Any]) -> list[Claim]:
    agreeing, disagreeing, features = (_effects(data, line) for line in range(3))
    start = {name: entry["safety_gap"]["mean"][0] for name, entry in features.items()}
    low = {name: entry["safety_gap"]["low"][0] for name, entry in agreeing.items()}
    table = max(abs(gap) for gap in agreeing["tabular"]["safety_gap"]["mean"][:1])
    networks = ("mlp", "transformer")
    return [
        Claim(
            "T3, that only shared contexts cost a table safety,",
            table < 1e-6 and disagreeing["tabular"]["effect_interval"][0] > 0,
            f"without any its gap is {table:.1e} nats, with disagreeing ones it rises by "
            f"{_told(disagreeing['tabular'])}",
        ),
        Claim(
            "That classes with shared weights lose safety without a shared prompt",
            all(low[name] > 0 for name in ("log-linear", *networks)),
            "their gaps start at "
            + ", ".join(
                f"{agreeing[name]['safety_gap']['mean'][0]:.2f} ({_WORDS[name]})"
                for name in ("log-linear", *networks)
            )
            + " nats",
        ),
        *(
            Claim(
                f"That shared features cost the {_WORDS[name]} safety",
                features[name]["effect_interval"][0] > 0,
                f"from {start[name]:.2f} nats at the first level the gap changes by "
                f"{_told(features[name])}",
            )
            for name in ("log-linear", *networks)
        ),
        *(
            Claim(
                f"That features govern the {_WORDS[name]} and prompts do not",
                features[name]["effect_interval"][0] > disagreeing[name]["effect_interval"][1],
                f"features change the gap by {_told(features[name])}, prompts by "
                f"{_told(disagreeing[name])} when their answers disagree and by "
                f"{_told(agreeing[name])} when they agree",
            )
            for name in networks
        ),
    ]


def _told(entry: dict[str, Any]) -> str:
    low, high = entry["effect_interval"]
    return f"{entry['effect']:+.2f} nats (99 % interval {low:.2f} to {high:.2f})"


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.0)
    panels = figure.subplots(1, 3, sharey=True)
    levels = np.array(data["levels"])
    titles = ("prompts, same answers", "prompts, other answers", "features only")
    for axes, letter, title, panel in zip(panels, "abc", titles, data["panels"], strict=True):
        for entry in panel["classes"]:
            name, gap = entry["family"], entry["safety_gap"]
            mark = f"-{_MARKS[name]}"
            look: dict[str, Any] = {
                "ms": 4,
                "lw": 1.3,
                "color": _COLOURS[name],
                "label": _WORDS[name],
            }
            dots(axes, levels, gap, fmt=mark, **look)
        style.panel_letter(axes, letter, title)
        shared = "features" if panel["line"] == "features" else "prompts"
        axes.set_xlabel(f"{shared} shared (share of mass)")
        axes.set_xticks(levels)
    panels[0].set_ylim(bottom=0.0)
    panels[2].set_xlabel("features shared (share of length)")
    panels[0].set_ylabel("safety gap $G_s$ (nats)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure
