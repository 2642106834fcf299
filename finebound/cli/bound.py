"""``finebound bound``: theory alone, on a PROBLEM.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from finebound.cli.options import StrategyKind, make_strategy, parse


@dataclass(frozen=True)
class Options:
    """All bounds of a problem under a strategy, and the true gaps where a closed form exists.

    PROBLEM.json is one of

      {"kind": "tabular", "safety": {"context": [0.5, 0.5], "target": [[0.9, 0.1], [0.2, 0.8]]},
       "task": {"context": [0.5, 0.5], "target": [[0.1, 0.9], [0.2, 0.8]]}}

      {"kind": "quadratic", "H_s": [[1, 0], [0, 2]], "H_f": [[1, 0], [0, 1]],
       "theta_s": [0, 0], "theta_f": [1, 1]}

      {"kind": "constants", "capability_gap_at_aligned": 0.8, "loss_range": 12, "tv": 0.01,
       "logit_lipschitz": {"value": 3.0, "known": "estimated"}}

    A constant may say its unit, which must be the one expected ("nats" for losses, "" for shares),
    and "inf" where it is infinite. A quadratic problem has at most 2,000 coordinates; up to 16 are
    solved in exact arithmetic. Of an exact gap only digits that hold are printed; --json says under
    "exact_limits" how far each can be off.

    Example: finebound bound PROBLEM.json --strategy loss --lam 0.5
    """

    problem: Annotated[Path, tyro.conf.Positional]
    """The problem file."""
    strategy: StrategyKind = "loss"
    """loss: penalise the proxy loss; parameter: stay within a radius; hybrid: both."""
    lam: float | None = None
    """Strength of the proxy loss, above 0."""
    epsilon: float | None = None
    """Instead of --lam: the proxy safety gap allowed, in nats."""
    radius: float | None = None
    """Largest distance from the aligned parameters."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Also write bounds.json into this folder."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="bound")
    from finebound.api import bounds
    from finebound.base.records import require_folder

    if options.out is not None:
        require_folder(options.out)
    strategy = make_strategy(
        options.strategy, lam=options.lam, epsilon=options.epsilon, radius=options.radius
    )
    found = bounds(options.problem, strategy)
    if options.out is not None:
        found.save(options.out)
    if options.json:
        print(found.to_json())
        return 0
    from finebound.base.terminal import Console
    from finebound.views.bounds import table

    console = Console()
    if found.exact is not None:
        console.print(found.exact_in_words, highlight=False)
    console.print(table(found, title=f"{options.problem.name}: bounds").rich())
    if found.lacking:
        console.print("does not apply here:", *found.lacking, sep="\n  ", highlight=False)
    return 0
