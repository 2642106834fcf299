"""``finebound estimate`` on a terminal: advice first, then a line for each strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finebound.output import number
from llm_validation.estimation.summary import Row, Verdict, advice, rows, strategy_as_json

if TYPE_CHECKING:
    from llm_validation.estimation.pipeline import Estimate

_HYBRID_LAMBDAS = (0.25, 1.0, 4.0)


def print_estimate(estimate: Estimate, console: Console, *, strategy: str = "all") -> None:
    """Advice, overlap and one table a kind of strategy; ``strategy`` picks one of them."""
    names = ", ".join(
        f"{role} {dataset.name} ({len(dataset)} of {estimate.rows_of[role]} rows)"
        for role, dataset in estimate.datasets.items()
    )
    console.print(f"[bold]{escape(names)}[/bold]\n")
    for sentence in advice(estimate):
        console.print(f"- {escape(sentence)}")
    console.print()
    console.print(_overlap_table(estimate))
    table_rows = [(strategy_as_json(row.strategy), row) for row in rows(estimate)]
    if strategy in ("all", "loss"):
        console.print(_loss_table(estimate, [r for s, r in table_rows if s["kind"] == "loss"]))
    if estimate.model is None:
        return
    if strategy in ("all", "parameter"):
        chosen = [r for s, r in table_rows if s["kind"] == "parameter"]
        console.print(_model_table(chosen, "parameter constraint: stay within a radius"))
    if strategy in ("all", "hybrid"):
        lams = {s["lam"] for s, _ in table_rows if s["kind"] == "hybrid"}
        shown = lams & set(_HYBRID_LAMBDAS) or lams
        chosen = [r for s, r in table_rows if s["kind"] == "hybrid" and s["lam"] in shown]
        console.print(_model_table(chosen, "hybrid: penalise the proxy loss within a radius"))
    console.print(
        "<= and >= are bounds; ESTIMATED ones rest on constants measured at the aligned model. "
        "VACUOUS: no better than guessing.",
        style="dim",
    )


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
    table = Table(title="loss constraint: penalise the proxy loss with lambda", **_LOOK)
    table.add_column("lambda", justify="right")
    table.add_column("shared prompts alone\n(exact, nats/response)\nsafety, capability")
    table.add_column("contexts answered apart\n(T15, nats/response)\nsafety, capability")
    if estimate.model is not None:
        table.add_column("safety loss rises\n(nats/token)")
        table.add_column("dominated by; lowered by")
    for row in loss_rows:
        cells = [
            f"{row.strategy.lam:g}",
            f"{number(row.forced_safety)}, {number(row.forced_capability)}",
            f"{_value(row.contested_safety)}, {_value(row.contested_capability)}",
        ]
        if estimate.model is not None:
            cells += [_with_status(row.safety), _why(row.safety)]
        table.add_row(*cells)
    return table


def _model_table(model_rows: list[Row], title: str) -> Table:
    table = Table(title=title, **_LOOK)
    hybrid = any("lam" in vars(row.strategy) for row in model_rows)
    for column in (*(["lambda"] if hybrid else []), "radius"):
        table.add_column(column, justify="right")
    table.add_column("safety loss rises\n(nats/token)")
    table.add_column("task loss after\n(nats/token)")
    table.add_column("dominated by; lowered by")
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
            _why(row.safety),
        )
    return table


def _value(verdict: Verdict | None, sign: str = "<= ") -> str:
    if verdict is None:
        return "-"
    return "VACUOUS" if verdict.vacuous else f"{sign}{number(verdict.value)}"


def _with_status(verdict: Verdict | None) -> str:
    if verdict is None:
        return "-"
    return f"<= {number(verdict.value)} {verdict.statement.split()[0]} {verdict.status}"


def _why(verdict: Verdict | None) -> str:
    if verdict is None or not verdict.dominant:
        return ""
    return f"{verdict.dominant}; {verdict.remedy}" if verdict.remedy else verdict.dominant
