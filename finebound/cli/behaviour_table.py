"""An experiment's behaviour for a terminal: every evaluation of every run, flagged where needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from llm_validation.experiments.validation import Validation

FLAG = "\N{DAGGER}"


def print_behaviour(console: Console, found: Validation) -> None:
    """One table an evaluation: mean scores and paired changes against theta_s."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from llm_validation.experiments.behaviour_entries import entries_by_condition

    runs = [(s, entries_by_condition(s.behaviour)) for s in found.summaries if s.behaviour]
    names = dict.fromkeys(name for _, entries in runs for name in entries)
    for name in names:
        scale = 1.0 if name == "translation" else 100.0
        mine = [(s, entries[name]) for s, entries in runs if name in entries]
        means = mine[0][1]["measure"] + ("" if scale == 1.0 else ", in percent")
        title = f"{name}: {means} [95 %]; {FLAG}: behind a failed gate"
        table = Table(title=Text(title), title_justify="left", header_style="bold", box=SIMPLE_HEAD)
        table.add_column("run", overflow="fold")
        for column in ("aligned", "its own start", "end", "change", "failed of"):
            table.add_column(column, no_wrap=True)
        for s, entry in mine:
            flag = "" if s.passed else f" {FLAG}"
            table.add_row(
                Text(s.measured.run.id + flag),
                *(
                    _told(entry.get(key), scale, sign)
                    for key, sign in (("theta_s", ""), ("start", ""), ("end", ""), ("change", "+"))
                ),
                f"{entry['failed']} of {entry['n']}",
            )
        console.print(table)
    _print_bias(console, found)


def _print_bias(console: Console, found: Validation) -> None:
    """One line a run: BBQ's mean absolute bias in ambiguous contexts, and signs that turned."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from llm_validation.experiments.behaviour_entries import MEAN_BIAS, biases, turned

    title = f"bbq: mean |s_AMB| over dimensions, no unit; {FLAG}: behind a failed gate"
    table = Table(title=Text(title), title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("run", overflow="fold")
    for column in ("aligned", "its own start", "end", "signs turned", "beyond noise"):
        table.add_column(column, no_wrap=True)
    for s in found.summaries:
        bias = biases(s.behaviour)
        if bias is None:
            continue
        looked, flips, certain = turned(bias)
        means = (bias[MEAN_BIAS].get(who) for who in ("theta_s", "start", "end"))
        table.add_row(
            Text(s.measured.run.id + ("" if s.passed else f" {FLAG}")),
            *("-" if mean is None or mean != mean else f"{mean:.3f}" for mean in means),
            f"{flips} of {looked}",
            str(certain),
        )
    if table.row_count:
        console.print(table)


def _told(entry: Mapping[str, Any] | None, scale: float, sign: str) -> str:
    if entry is None or entry["estimate"] != entry["estimate"]:
        return "-"
    low, high = (scale * float(end) for end in entry["interval"])
    return f"{scale * entry['estimate']:{sign}.1f} [{low:{sign}.0f}, {high:{sign}.0f}]"
