"""Where in depth a fine-tune leaves its alignment: distance, cosine, |C| and E-DIEM of modules."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from finebound.base.errors import InputError
from finebound.views import style
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks
from llm_validation.evaluation.statistics.correlation import spearman
from paper_figures import paths
from paper_figures.defended import read_compared

SOURCE = "measurement"

_STRENGTH = "keep 0.8"  # SPLoRA's default
_COLUMNS = {
    "distance": (r"$\|C\,\Delta W-\Delta W\|$", "distance (Frobenius norm)"),
    "cosine": (r"of $C\,\Delta W$ and $\Delta W$", "cosine (from -1 to 1)"),
    "projector_norm": (r"$\|C\|_2$ of the fast projector", "largest singular value (1 if exact)"),
    "score": ("E-DIEM against random updates", "score (interquartile ranges)"),
}
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.INK, style.MUTED)
_MARKS = "os^Dv<"
_CHANCE = 0.05
_BLOCK = re.compile(r"\.(\d+)\.")


def record(seed: int) -> dict[str, Any]:
    """SPLoRA's report of every module of an unconstrained run; ``seed`` is the experiment's own.

    ``finebound defend --compare`` made it from the saved adapter and the models before and after
    the alignment.
    """
    found, sha256 = read_compared()
    entries = [e for e in found.layers if (e.method, e.strength) == ("splora", _STRENGTH)]
    if not entries:
        raise InputError(
            f"the comparison has no layers of splora at {_STRENGTH}.",
            remedy="Make it with splora among the --methods.",
            file=paths.DEFENDED / found.file,
        )
    return {
        "model": found.model["name"],
        "task": found.task,
        "run": entries[0].id.partition("+")[0],
        "modules": [module.to_dict() for module in entries[0].modules],
        "sha256": sha256,
        "manifest": found.manifest.to_dict(),
    }


def shows(data: dict[str, Any]) -> str:
    pruned = sum(module["changed"] for module in data["modules"])
    return (
        f"Every adapted module of an unconstrained fine-tune ({data['model']}, task "
        f"{data['task']}, {data['run']}) beside its alignment: (a) distance and (b) cosine of the "
        "update dW and its projection C dW by the fast projector C of the aligned less the base "
        "weights, (c) C's norm, (d) E-DIEM against random updates of the same singular values. "
        f"Crosses: the {pruned} of {len(data['modules'])} modules that SPLoRA prunes, those of the "
        "highest E-DIEM."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    known = [m for m in data["modules"] if None not in (m["distance"], m["score"], m["cosine"])]
    rho = {
        name: spearman([m["score"] for m in known], [m[name] for m in known])
        for name in ("distance", "cosine")
    }
    return [
        Claim(
            "T6, whose radius sees the size of updates and not their direction, complemented by "
            "E-DIEM, which ranks modules by the direction rather than the size,",
            rho["cosine"] < 0.0 and abs(rho["cosine"]) > abs(rho["distance"]),
            f"Spearman correlation {rho['cosine']:+.2f} with the cosine and {rho['distance']:+.2f} "
            f"with the distance over {len(known)} modules",
        ),
        _middle(data),
    ]


def _middle(data: dict[str, Any]) -> Claim:
    """Whether the pruned modules lie in the middle half of the blocks beyond chance."""
    blocks = np.array([_block(module) for module in data["modules"]])
    pruned = np.array([module["changed"] for module in data["modules"]], dtype=bool)
    quarter = (blocks.max() + 1) / 4
    middle = (blocks >= quarter) & (blocks < 3 * quarter)
    inside = int((middle & pruned).sum())
    # As many or more of a random choice of as many modules.
    chance = float(
        stats.hypergeom.sf(inside - 1, len(blocks), int(middle.sum()), int(pruned.sum()))
    )
    return Claim(
        "The reported finding that SPLoRA prunes middle blocks",
        chance < _CHANCE,
        f"{inside} of {int(pruned.sum())} pruned modules are in the middle half of "
        f"{blocks.max() + 1} blocks, which a random choice reaches with probability {chance:.2g}",
    )


def _block(module: dict[str, Any]) -> int:
    return int(_BLOCK.findall(module["name"])[0])


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=4.6)
    panels = figure.subplots(2, 2)
    kinds: dict[str, list[dict[str, Any]]] = {}
    for module in data["modules"]:
        kinds.setdefault(module["name"].rpartition(".")[2], []).append(module)
    for letter, axes, (name, (title, words)) in zip(
        "abcd", panels.flat, _COLUMNS.items(), strict=True
    ):
        for number, modules in enumerate(kinds.values()):
            depth = np.array([_block(module) for module in modules])
            value = np.array([np.nan if m[name] is None else m[name] for m in modules], float)
            pruned = np.array([m["changed"] for m in modules], dtype=bool)
            colour, mark = _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
            axes.plot(depth, value, color=colour, lw=0.8)
            axes.plot(depth[~pruned], value[~pruned], mark, color=colour, ms=3.2, mew=0)
            axes.plot(depth[pruned], value[pruned], "x", color=colour, ms=5.5, mew=1.5)
        if name in ("cosine", "score"):
            axes.axhline(0.0, color=style.MUTED, lw=0.5, zorder=0)
        style.panel_letter(axes, letter, title)
        axes.set_ylabel(words)
        axes.set_xlabel("block (from the input)")
        fixed_ticks(axes)
    _legend(figure, list(kinds))
    return figure


def _legend(figure: Figure, kinds: list[str]) -> None:
    handles = [
        style.key(
            kind,
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKS[number % len(_MARKS)],
            lw=0.8,
            ms=3.2,
            mew=0,
        )
        for number, kind in enumerate(kinds)
    ]
    handles.append(style.mark("pruned", "x", ms=5.5, color=style.INK, mew=1.5))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
