"""One finished run: its bounds as a table, its curves as figures, all of it as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from finebound.base.errors import InputError
from finebound.base.records import to_json
from finebound.results.bounds import SIGN
from finebound.results.comparison import ComparedBound
from finebound.results.experiment import DoneRun
from finebound.results.result import Known
from finebound.results.run import Measured, RunResult
from finebound.views.page_plots import Plot
from finebound.views.page_text import SIGNS, elements
from finebound.views.style import MUTED, new_figure, paper_style
from finebound.views.tables import Table
from finebound.views.template import page_template

_SHOWN_ANSWERS = 8
_CURVES = {
    "task_loss": "task, this step's rows",
    "proxy_loss": "proxy, this step's rows",
}
_CHANGES = {
    "safety_gap": "change in safety loss",
    "capability_gain": "capability gained",
    "proxy_gap": "change in proxy loss",
}
_CAPTIONS = (
    "Losses on the rows of each step, before its update.",
    "Change of each set's loss against the aligned model; dashed: held-out rows, which no training "
    "set holds.",
    "How far the weights are from the aligned model's.",
)


def table(result: RunResult) -> Table:
    """The bounds at the end of training beside what was measured there."""
    rows = tuple(
        (
            c.quantity_words,
            f"{c.statement}, {c.form}" if c.form else c.statement,
            c.when,
            SIGN[c.direction],
            float(c.value),
            float(c.measured),
            c.ratio,
            c.status.lower(),
            c.verdict,
        )
        for c in _in_order(measured(result).compared)
    )
    columns = ("of", "statement", "when", "", "bound", "measured", "ratio", "status", "verdict")
    return Table("bounds", f"{result.id}: bounds beside the measurement", columns, rows)


def _in_order(compared: Iterable[ComparedBound]) -> list[ComparedBound]:
    return sorted(compared, key=lambda c: (c.what, c.when, c.statement))


def measured(result: RunResult) -> Measured:
    """What the run's files hold. Raises InputError where its experiment is not judged."""
    if result.measured is None:
        raise InputError(
            "this folder holds no finished run of an experiment.",
            remedy="Give OUT/runs/ID of a run that `finebound validate` lists as done.",
        )
    return result.measured


def plot(result: RunResult) -> Figure:
    """The run's curves: losses of each step, changes at checkpoints, displacement."""
    found = measured(result)
    with paper_style():
        figure = new_figure(height=7.6, width=7.2)
        for axes, draw in zip(figure.subplots(3, 1), _DRAWN, strict=True):
            draw(axes, found)
    return figure


def _losses(axes: Axes, found: Measured) -> None:
    for name, words in _CURVES.items():
        if name in found.curves:
            values = _numbers(found.curves[name])
            axes.plot(np.arange(1, len(values) + 1), values, label=words, linewidth=1.2)
    _steps(axes)
    axes.set_ylabel("loss, nats/token")
    axes.legend(frameon=False)


def _changes(axes: Axes, found: Measured) -> None:
    checkpoints = found.entry.checkpoints
    for name in checkpoints[-1].loss_change:
        points = [(c.step, c.loss_change[name]) for c in checkpoints if name in c.loss_change]
        dashed = "--" if name.endswith("held-out") else "-"
        axes.plot(*zip(*points, strict=True), dashed, marker="o", markersize=3, label=name)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    _steps(axes)
    axes.set_ylabel("change of the loss, nats/token")
    axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _displacement(axes: Axes, found: Measured) -> None:
    values = _numbers(found.curves["displacement"])
    axes.plot(np.arange(1, len(values) + 1), values, linewidth=1.2)
    _steps(axes)
    axes.set_ylabel("displacement")
    axes.ticklabel_format(axis="y", useOffset=False)


def _steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


_DRAWN = (_losses, _changes, _displacement)


def _numbers(values: Sequence[Known]) -> np.ndarray:
    return np.array(values, dtype=float)


def _plots(found: Measured) -> list[Plot]:
    plots = []
    for draw, caption in zip(_DRAWN, _CAPTIONS, strict=True):
        with paper_style():
            figure = new_figure(height=2.8, width=7.2)
            draw(figure.add_subplot(), found)
        plots.append(Plot(figure, caption))
    return plots


def first_screen(result: RunResult) -> str:
    """The summary and the bounds, as HTML."""
    said = elements(result.summary().splitlines())
    return said if result.measured is None else said + table(result).html()


def page(result: RunResult) -> str:
    """``report.html`` of the run; every string is escaped.

    Raises InputError where there is no judged run.
    """
    found = measured(result)
    trained = found.training
    return page_template("run.html.j2").render(
        run=found.entry,
        rows=_rows(found.entry),
        answers=found.answers[:_SHOWN_ANSWERS],
        plots=_plots(found),
        bounds=_in_order(found.compared),
        signs=SIGNS,
        given=to_json(found.entry.given),
        trained=f"device {trained.device}, peak memory {trained.peak_memory_bytes / 1e9:.2f} GB",
        manifest=trained.manifest.to_dict(),
    )


def _rows(run: DoneRun) -> Mapping[str, str]:
    """What the run changed, in nats per token."""
    training = {
        f"{_CHANGES.get(name, name)}, training sets (exact)": f"{value:+.4f}"
        for name, value in run.training_sets.items()
    }
    return {
        "change in safety loss, held-out rows": run.safety.told(digits=4),
        "capability gained, held-out rows": run.capability.told(digits=4),
        **training,
        "displacement of the weights": f"{run.displacement:.4g} after {run.steps} steps",
    }
