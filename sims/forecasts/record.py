"""Everything that the sweep says, as JSON: the figure's record, and the forecaster's reasons."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from finebound.base.records import spawn_seed
from sims.forecasts.interpolation import COST, MIX, SHAPE, interpolations
from sims.forecasts.lab import Lab
from sims.forecasts.summary import columns, read_cells, summarised
from sims.forecasts.sweep import DESIGNS, Sizes, sweep
from sims.forecasts.world import World


def forecast_record(
    seed: int, sizes: Sizes | None = None, *, design: str = "raised", world: World | None = None
) -> dict[str, Any]:
    """Cells of errors (refusals as probabilities, losses in nats per token), and what was run.

    ``design`` is the one whose unrolls are interpolated. The same seed gives the same record.
    """
    sizes = Sizes() if sizes is None else sizes
    lab = Lab.aligned(spawn_seed(seed, "worlds"), sizes.worlds, world)
    table = columns(sweep(lab, sizes, spawn_seed(seed, "plans")))
    reads = list(interpolations(lab, sizes, spawn_seed(seed, "interpolations"), DESIGNS[design]))
    read = {(read.what, read.amount) for read in reads}
    true = (len(sizes.shapes) + len(read)) * sizes.plans * (sizes.repeats + 1)
    return {
        "sizes": asdict(sizes),
        "true_fine_tunes": true,
        "coarse_unrolls": int((table["design"] != "fine-tune").sum()),
        **summarised(table),
        "interpolated": {"shape": SHAPE, "cost": COST, "mix": MIX, "design": design},
        "interpolations": read_cells(reads),
    }
