"""The entries of a run's ``behaviour`` in ``validate.json``, as tables show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEAN_BIAS = "mean_absolute_ambiguous"


def entries_by_condition(behaviour: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Every evaluation by name, BBQ once for each context condition: "bbq, ambiguous".

    Entries that were written before conditions were told apart stay whole.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for name, entry in (behaviour or {}).items():
        if "conditions" not in entry:
            found[name] = entry
            continue
        for condition, cells in entry["conditions"].items():
            mine = {
                category: values
                for category, values in entry["categories"].items()
                if category.endswith(f", {condition}")
            }
            found[f"{name}, {condition}"] = {**entry, **cells, "categories": mine}
    return found


def biases(behaviour: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """BBQ's ``bias`` of a run; None where it has none."""
    return ((behaviour or {}).get("bbq") or {}).get("bias")


def turned(bias: Mapping[str, Any]) -> tuple[int, int, int]:
    """How many biases there are, how many turned their sign, and how many beyond noise."""
    cells = [cell for both in bias["categories"].values() for cell in both.values()]
    return len(cells), sum(c["flipped"] for c in cells), sum(c["certain"] for c in cells)
