"""An audit as a page of Markdown, with a row that every statement can be linked to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LEGEND = """\
*Fine-tunes*: models that were trained or solved for. *Compared*: bounds with true gaps.
*Violated*: bounds that a truth lies beyond, by more than its derived rounding. *Closest*,
*median*: of truth / bound, or bound / truth for a lower bound. *Refuted*: wrong versions of the
statement (2 % too tight, a factor 2 off, flipped, a term dropped) that some instance refuted, of
those tried."""


def audit_page(content: Mapping[str, Any]) -> str:
    """The page of an ``audit.json``: statements, forms, violated assumptions, the adversary."""
    made = content["manifest"]
    sizes = ", ".join(f"{count:,} {name}" for name, count in content["sizes"].items())
    parts = [
        "# Audit of every statement",
        "<!-- Written by `make audit`. -->",
        f"Instances: {sizes}; seed {made['seed']}. An instance is a problem, under each strategy, "
        "or a set of runs. How it works: [simulations.md](simulations.md).",
        _table(
            ("", "fine-tunes", "compared", "violated", "closest", "median", "refuted"),
            [_row(name, row) for name, row in content["statements"].items()],
        ),
        _LEGEND,
        "## Where an assumption fails",
        "What becomes of a bound on instances that break one of its assumptions, which no "
        "statement claims anything about. *Broken*: share of instances beyond the bound; *worst*: "
        "the largest truth / bound.",
        _table(
            ("", "assumption that fails", "instances", "broken", "worst"),
            [_violated(case) for case in content["violated_assumptions"]],
            words=2,
        ),
    ]
    if content.get("adversarial"):
        parts += [
            "## Adversarial search",
            "The highest truth / bound that gradient ascent over the instance's own parameters "
            "found, recomputed by the bounds themselves.",
            _table(("statement, quantity, form", "ratio"), _adversarial(content["adversarial"])),
        ]
    for name, row in content["statements"].items():
        parts += [f"## {name}", *_forms(name, row)]
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """A table whose first ``words`` columns are words and the others numbers."""
    rule = ["---"] * words + ["---:"] * (len(heads) - words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *rows))


def _row(name: str, row: Mapping[str, Any]) -> list[str]:
    return [
        f"[{name}](#{name.lower()})",
        f"{row['finetunes']:,}",
        f"{row['comparisons']:,}",
        f"{row['violations']:,}",
        f"{row['max_ratio']:.6f}",
        f"{row['median_tightness']:.3f}",
        f"{row['mutants_caught']} of {row['mutants']}",
    ]


def _violated(case: Mapping[str, Any]) -> list[str]:
    worst = float(case["worst"])
    return [
        case["statement"],
        case["assumption"],
        f"{case['instances']:,}",
        f"{100 * case['share']:.0f} %",
        "infinite" if worst == float("inf") else f"{worst:.3g}",
    ]


def _adversarial(found: Mapping[str, Any]) -> list[list[str]]:
    return [[name.replace("|", "\\|"), f"{float(ratio):.9f}"] for name, ratio in found.items()]


def _forms(name: str, row: Mapping[str, Any]) -> list[str]:
    """Tightness by form and family, and the instance that came closest."""
    rows = [
        [
            f"{part['family']}",
            f"{part['quantity'].replace('_', ' ')}, {part['direction']}",
            part["form"].replace("|", "\\|") or "-",
            f"{part['instances']:,}",
            *(f"{part[q]:.3f}" for q in ("q05", "q50", "q95")),
        ]
        for part in row["tightness"]
        if part["instances"]
    ]
    heads = ("family", "quantity", "form", "instances", "5 %", "median", "95 %")
    worst = row["worst"] or {}
    closest = ", ".join(f"{key} {value}" for key, value in worst.items())
    return [
        f"Statement: [theorems.md](theorems.md). Truth / bound by family and form of {name}:",
        _table(heads, rows, words=3),
        f"Closest instance: {closest}." if closest else "No instance has a finite bound.",
    ]
