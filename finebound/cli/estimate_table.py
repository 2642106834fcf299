"""``finebound estimate`` on a terminal: advice first, then a line for each strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from finebound.base.output import number, printable, strategy_as_json, strategy_words
from finebound.base.terminal import Console
from llm_validation.estimation.summary import Row, Verdict, advice, rows

if TYPE_CHECKING:
    from llm_validation.estimation.forecast import StrategyForecast
    from llm_validation.estimation.pipeline import Estimate

_MODEL_TITLES = {
    "parameter": "parameter constraint: stay within a radius",
    "hybrid": "hybrid: penalise the {} loss within a radius",
}
_HYBRID_LAMBDAS = (0.25, 1.0, 4.0)


def print_estimate(estimate: Estimate, console: Console, *, strategy: str = "all") -> None:
    """Advice, overlap and one table a kind of strategy; ``strategy`` picks one of them."""
    names = ", ".join(
        f"{role} {dataset.name} ({len(dataset)} of {estimate.rows_of[role]} rows)"
        for role, dataset in estimate.datasets.items()
    )
    console.print(f"[bold]{escape(names)}[/bold]\n")
    for sentence in advice(estimate):
        console.print(f"- {escape(printable(sentence))}")
    console.print()
    console.print(_overlap_table(estimate))
    kinds = {
        kind: [row for row in rows(estimate) if strategy_as_json(row.strategy)["kind"] == kind]
        for kind in ("loss", "parameter", "hybrid")
        if strategy in ("all", kind)
    }
    if "hybrid" in kinds:
        lams = {row.strategy.lam for row in kinds["hybrid"]}
        shown = lams & set(_HYBRID_LAMBDAS) or lams
        kinds["hybrid"] = [row for row in kinds["hybrid"] if row.strategy.lam in shown]
    if "loss" in kinds:
        console.print(_loss_table(estimate, kinds["loss"]))
    for kind, title in _MODEL_TITLES.items():
        if kinds.get(kind):
            console.print(_model_table(kinds[kind], title.format(_penalised(estimate))))
    for line in _remedies([row for shown_rows in kinds.values() for row in shown_rows]):
        console.print(f"- {line}", style="dim", highlight=False)
    if estimate.model is not None:
        console.print(
            "<= and >= are bounds; ESTIMATED ones rest on constants measured at the aligned model. "
            "VACUOUS: no better than guessing.",
            style="dim",
            highlight=False,
        )
    _print_forecasts(estimate.forecasts, console, strategy)


def _print_forecasts(
    forecasts: Sequence[StrategyForecast], console: Console, strategy: str
) -> None:
    shown = [
        made
        for made in forecasts
        if made.strategy is None or strategy in ("all", strategy_as_json(made.strategy)["kind"])
    ]
    if not shown:
        return
    table = Table(title="forecast of the planned fine-tune: ESTIMATED, no bound", **_LOOK)
    table.add_column("strategy")
    for what in ("safety", "task"):
        table.add_column(f"{what} loss changes by\n(nats/token, 90 % interval)")
    table.add_column("cost, of the\nfine-tune", justify="right")
    for made in shown:
        table.add_row(
            strategy_words(made.strategy),
            _change(made.safety_change, made.safety_interval),
            _change(made.task_change, made.task_interval),
            f"{made.cost_share:.0%}",
        )
    console.print(table)
    for note in dict.fromkeys(note for made in shown for note in made.notes):
        console.print(f"- {escape(note)}", style="dim", highlight=False)
    methods = ", ".join(dict.fromkeys(made.method for made in shown))
    console.print(
        f"Forecast by: {methods}. Changes are loss after minus before; a falling task loss is a "
        "gain of capability.",
        style="dim",
        highlight=False,
    )


def _change(value: float, interval: tuple[float, float]) -> str:
    return f"{value:+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f})"


def _penalised(estimate: Estimate) -> str:
    return "proxy" if "proxy" in estimate.datasets else "safety"


def _overlap_table(estimate: Estimate) -> Table:
    table = Table(title="context overlap of safety and task prompts", **_LOOK)
    for column in ("measure", "overlap", "at most", "errs"):
        table.add_column(column)
    for measure in estimate.overlap:
        limit = "-"
        if measure.interval is not None:
            limit = f"{measure.interval[1]:.3f} (p {measure.failure_probability:g})"
        table.add_row(measure.method, f"{measure.overlap:.3f}", limit, str(measure.errs))
    return table


_LOOK = {"title_justify": "left", "header_style": "bold", "title_style": "bold"}


def _loss_table(estimate: Estimate, loss_rows: list[Row]) -> Table:
    penalised = _penalised(estimate)
    table = Table(title=f"loss constraint: penalise the {penalised} loss with lambda", **_LOOK)
    # What is penalised is what these columns' safety gap is counted on.
    gaps = f"{'proxy ' if penalised == 'proxy' else ''}safety, capability"
    p = max(row.contested_safety.failure_probability for row in loss_rows)
    table.add_column("lambda", justify="right")
    # Without prompts that contradict each other this column would be zeros.
    forced = estimate.shared.conflicting > 0
    if forced:
        table.add_column(f"shared prompts alone\n(T3, exact)\nnats/response\n{gaps}")
    table.add_column(f"prompts not told apart\n(T15, p {p:g})\nnats/response\n{gaps}")
    if estimate.model is not None:
        table.add_column("safety loss rises\n(nats/token)")
        table.add_column("mostly by")
    for row in loss_rows:
        cells = [
            f"{row.strategy.lam:g}",
            *([f"{number(row.forced_safety)}, {number(row.forced_capability)}"] * forced),
            f"{_value(row.contested_safety)}, {_value(row.contested_capability)}",
        ]
        if estimate.model is not None:
            cells += [_with_status(row.safety), _dominant(row.safety)]
        table.add_row(*cells)
    return table


def _model_table(model_rows: list[Row], title: str) -> Table:
    table = Table(title=title, **_LOOK)
    hybrid = any("lam" in vars(row.strategy) for row in model_rows)
    for column in (*(["lambda"] if hybrid else []), "radius"):
        table.add_column(column, justify="right")
    table.add_column("safety loss rises\n(nats/token)")
    table.add_column("task loss after\n(nats/token)")
    table.add_column("mostly by")
    for row in model_rows:
        cells = [f"{row.strategy.lam:g}"] if hybrid else []
        after = _value(row.task_at_least, ">= ")
        if row.task_at_most is not None:
            after += f", {_value(row.task_at_most)}"
        table.add_row(
            *cells,
            f"{row.strategy.radius:g}",
            _with_status(row.safety),
            after,
            _dominant(row.safety),
        )
    return table


def _value(verdict: Verdict | None, sign: str = "<= ") -> str:
    if verdict is None:
        return "-"
    return "VACUOUS" if verdict.vacuous else f"{sign}{number(verdict.value)}"


def _with_status(verdict: Verdict | None) -> str:
    if verdict is None:
        return "-"
    statement = verdict.statement.split()[0]
    if verdict.vacuous:
        return f"VACUOUS {statement}"
    return f"<= {number(verdict.value)} {statement} {verdict.status}"


def _dominant(verdict: Verdict | None) -> str:
    return "" if verdict is None else verdict.dominant


def _remedies(shown: list[Row]) -> list[str]:
    """What would lower each term that dominates some bound shown, each once."""
    found = {
        verdict.dominant: verdict.remedy
        for row in shown
        for verdict in (row.safety, row.contested_safety, row.contested_capability)
        if verdict is not None and verdict.remedy
    }
    return [f"{term}: lowered by {remedy}" for term, remedy in found.items()]
