"""``report.html`` of one finished run: curves, bounds beside measurements, gates. One file."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from finebound.base.errors import InputError
from finebound.base.integrity import (
    FILES,
    SEAL,
    as_written,
    read_record,
    require_of_its_run,
    require_unchanged,
)
from finebound.base.output import number
from finebound.base.records import to_json
from finebound.results.strategies import strategy_label
from finebound.views.page_plots import Plot
from finebound.views.template import page_template
from llm_validation.experiments.answers import ALIGNED, read_answers
from llm_validation.experiments.answers import FILE as ANSWERS
from llm_validation.experiments.validation import COMPARISON, VALIDATION
from llm_validation.training.record import RUN, STEPS

if TYPE_CHECKING:
    from jinja2 import Template

_SHOWN_ANSWERS = 8
_REMEDY = "Give the folder OUT/runs/ID of an experiment that `finebound validate` finished."
_CURVES = {
    "task_loss": "task, this step's rows",
    "proxy_loss": "proxy, this step's rows",
}


def run_page(folder: str | Path) -> str:
    """The page of the run in ``OUT/runs/ID``, from the experiment's records alone.

    Every string is escaped. Raises InputError where there is no finished, judged run.
    """
    folder = Path(folder).absolute()
    out = folder.parent.parent
    found = read_record(out / VALIDATION, remedy=_REMEDY)
    require_unchanged(out, found.get(FILES, {}), remedy=_REMEDY)
    document = read_record(folder / RUN, remedy=_REMEDY)
    require_of_its_run(folder)
    # An older record without a hash of itself may lack anything.
    unsealed = next((record for record in (found, document) if SEAL not in record), found)
    with as_written(unsealed, folder, remedy=_REMEDY):
        return _page(folder, found, document)


def _page(folder: Path, found: dict[str, Any], document: dict[str, Any]) -> str:
    out = folder.parent.parent
    run = next((r for r in found["runs"] if r["id"] == folder.name), None)
    if run is None or run["status"] != "done":
        raise InputError(
            "this folder holds no finished run of an experiment.",
            remedy="Give OUT/runs/ID of a run that `finebound validate` lists as done.",
            file=folder,
        )
    bounds = [
        c for c in _read(out / COMPARISON) if c["run"] == run["id"] and c["step"] == run["steps"]
    ]
    answers = read_answers(folder / ANSWERS)
    aligned = {a.prompt: a for a in read_answers(out / ALIGNED)}
    return _template().render(
        run=run,
        answers=[(aligned.get(answer.prompt), answer) for answer in answers[:_SHOWN_ANSWERS]],
        label=strategy_label(run["strategy"]),
        plots=list(_plots(_read(folder / STEPS), run)),
        bounds=sorted(bounds, key=lambda c: (c["what"], c["when"], c["statement"])),
        given=to_json(run["given"]),
        made=_made(document),
    )


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}.", remedy=_REMEDY, file=file) from None


def _plots(columns: dict[str, list[float | None]], run: dict[str, Any]):
    steps = np.arange(1, len(columns["task_loss"]) + 1)
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    axes = figure.add_subplot()
    for name, words in _CURVES.items():
        if name in columns:
            axes.plot(steps, np.array(columns[name], dtype=float), label=words, linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats/token")
    axes.legend(frameon=False)
    yield Plot(figure, "Losses on the rows of each step, before its update.")

    checkpoints = run["checkpoints"]
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    axes = figure.add_subplot()
    for name in checkpoints[-1]["loss_change"]:
        points = [
            (c["step"], c["loss_change"][name]) for c in checkpoints if name in c["loss_change"]
        ]
        dashed = "--" if name.endswith("held-out") else "-"
        axes.plot(*zip(*points, strict=True), dashed, marker="o", markersize=3, label=name)
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    axes.set_xlabel("step")
    axes.set_ylabel("change of the loss, nats/token")
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(frameon=False, fontsize="small", loc="outside right upper")
    yield Plot(
        figure,
        "Change of each set's loss against the aligned model; dashed: held-out rows, which no "
        "training set holds.",
    )
    figure = Figure(figsize=(7.2, 2.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, np.array(columns["displacement"], dtype=float), linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("displacement")
    yield Plot(figure, "How far the weights are from the aligned model's.")


def _made(document: dict[str, Any]) -> str:
    made = document["manifest"]
    code = made["code"].get("commit", "unknown")[:12] + (
        " (changed)" if made["code"].get("dirty") else ""
    )
    result = document["result"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    return (
        f"Code {code}; {versions}; {made['machine']}; device {result['device']}; peak memory "
        f"{result['peak_memory_bytes'] / 1e9:.2f} GB; data and model hashes are in run.json."
    )


@cache
def _template() -> Template:
    filters = {"number": lambda value: value if isinstance(value, str) else number(float(value))}
    return page_template("llm_validation.experiments", "run_page.html.j2", filters)
