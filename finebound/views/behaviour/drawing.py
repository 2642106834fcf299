"""Every figure of behaviour that an experiment has data for."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import cast

from finebound.base.records import to_json
from finebound.results.experiment import ExperimentResult
from finebound.views.behaviour.common import study_of
from finebound.views.figure_files import Drawn, FigureModule, draw_all

NAMES = (
    "method_tradeoff",
    "learning_rates",
    "hazard_heatmap",
    "bbq_dots",
    "refusal_chrf",
    "init_only",
    "behaviour_loss",
)


def draw_experiment(result: ExperimentResult, folder: Path, out: Path) -> list[Drawn]:
    """Draw the experiment of ``folder`` into ``out``: each figure that it has data for.

    Raises InputError for one without a finished run and its behaviour.
    """
    remedy = "Give the folder of a finished `finebound validate`."
    study = study_of(result, folder=folder, remedy=remedy)
    modules, records = {}, {}
    for name in NAMES:
        module = import_module(f"finebound.views.behaviour.{name}")
        data = json.loads(to_json(module.data_of({folder.name: study})))
        if data.get("runs") or data.get("panels"):
            command = f"finebound figures --from {folder}"
            modules[name] = cast("FigureModule", module)
            records[name] = {"data": data, "manifest": {"given": {"command": command}}}
    return draw_all(modules, records, records, out, f"the experiment in {folder}")
