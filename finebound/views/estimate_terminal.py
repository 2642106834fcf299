"""An estimate on a terminal: advice first, then a line for each strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finebound.base.output import number
from finebound.results.estimate import CostBound, EstimateResult, StrategyCosts
from finebound.views.tables import Table

if TYPE_CHECKING:
    from finebound.base.terminal import Console

_HYBRID_LAMBDAS = (0.25, 1.0, 4.0)


def print_estimate(result: EstimateResult, console: Console, *, strategy: str = "all") -> None:
    """Advice, overlap and one table per kind of strategy; ``strategy`` picks one of them."""

    def say(line: str, style: str | None = None) -> None:
        console.print(line, style=style, markup=False, highlight=False)

    names = ", ".join(
        f"{role} {data.name} ({data.rows} of {data.rows_of} rows)"
        for role, data in result.datasets.items()
    )
    say(f"{names}\n", "bold")
    for sentence in result.advice:
        say(f"- {sentence}")
    console.print()
    console.print(overlap_table(result).rich())
    kinds = [kind for kind in ("loss", "parameter", "hybrid") if strategy in ("all", kind)]
    shown = {kind: rows for kind in kinds if (rows := _shown(result, kind))}
    for kind, rows in shown.items():
        made = loss_table(result, rows) if kind == "loss" else model_table(result, kind, rows)
        console.print(made.rich())
    for line in _remedies([row for rows in shown.values() for row in rows]):
        say(f"- {line}", "dim")
    if result.model is not None:
        say(
            "<= and >= are bounds; ESTIMATED ones rest on constants measured at the aligned model. "
            "VACUOUS: no better than guessing.",
            "dim",
        )
    made = [f for f in result.strategy_forecast if f.strategy.kind in ("none", *kinds)]
    if made:
        console.print(forecast_table(result, kinds).rich())
        for note in dict.fromkeys(note for forecast in made for note in forecast.notes):
            say(f"- {note}", "dim")
        methods = ", ".join(dict.fromkeys(forecast.method for forecast in made))
        say(
            f"Forecast by: {methods}. Changes are loss after minus before; a falling task loss is "
            "a gain of capability.",
            "dim",
        )


def overlap_table(result: EstimateResult) -> Table:
    """The overlap of safety and task prompts by each method."""
    rows = []
    for measure in result.overlap:
        limit = "-"
        if measure.interval is not None:
            limit = f"{measure.interval[1]:.3f} (p {measure.failure_probability:g})"
        rows.append((measure.method, f"{measure.overlap:.3f}", limit, measure.errs))
    columns = ("measure", "overlap", "at most", "errs")
    return Table("overlap", "context overlap of safety and task prompts", columns, tuple(rows))


def loss_table(result: EstimateResult, rows: Sequence[StrategyCosts]) -> Table:
    """What a penalty forces, may cost, and with a model may change; a row per lambda."""
    # What is penalised is what these columns' safety gap is counted on.
    gaps = f"{'proxy ' if result.penalised == 'proxy' else ''}safety, capability"
    p = max((c.failure_probability for row in rows if (c := row.contested_safety)), default=0.0)
    # Without prompts that contradict each other this column would be zeros.
    forced = result.shared_prompts.conflicting > 0
    columns = ["lambda"]
    if forced:
        columns.append(f"shared prompts alone\n(T3, exact)\nnats/response\n{gaps}")
    columns.append(f"prompts not told apart\n(T15, p {p:g})\nnats/response\n{gaps}")
    if result.model is not None:
        columns += ["change in safety loss\n(nats/token)", "mostly by"]
    lines = []
    for row in rows:
        cells = [f"{row.strategy.lam:g}"]
        if forced:
            cells.append(f"{_number(row.forced_safety)}, {_number(row.forced_capability)}")
        cells.append(f"{_value(row.contested_safety)}, {_value(row.contested_capability)}")
        if result.model is not None:
            cells += [_with_status(row.safety), _dominant(row.safety)]
        lines.append(tuple(cells))
    title = f"loss constraint: penalise the {result.penalised} loss with lambda"
    return Table("loss", title, tuple(columns), tuple(lines))


def model_table(result: EstimateResult, kind: str, rows: Sequence[StrategyCosts]) -> Table:
    """What a radius, and a penalty within it, may cost this model."""
    title = "parameter constraint: stay within a radius"
    if kind == "hybrid":
        title = f"hybrid: penalise the {result.penalised} loss within a radius"
    lams = kind == "hybrid"
    columns = (
        *(("lambda",) if lams else ()),
        *("radius", "change in safety loss\n(nats/token)", "task loss after\n(nats/token)"),
        "mostly by",
    )
    lines = []
    for row in rows:
        after = _value(row.task_at_least, ">= ")
        if row.task_at_most is not None:
            after += f", {_value(row.task_at_most)}"
        cells = (f"{row.strategy.radius:g}", _with_status(row.safety), after, _dominant(row.safety))
        lines.append((f"{row.strategy.lam:g}", *cells) if lams else cells)
    return Table(kind, title, columns, tuple(lines))


def forecast_table(result: EstimateResult, kinds: Sequence[str]) -> Table:
    """The forecast of no constraint and of the strategies of these kinds."""
    title = "forecast of the planned fine-tune: ESTIMATED, no bound"
    change = "change in {} loss\n(nats/token, 90 % interval)"
    columns = (
        *("strategy", change.format("safety"), change.format("task")),
        "cost, of the\nfine-tune",
    )
    rows = tuple(
        (
            made.in_words,
            _change(made.safety_change, made.safety_interval),
            _change(made.task_change, made.task_interval),
            f"{made.cost_share:.0%}",
        )
        for made in result.strategy_forecast
        if made.strategy.kind in ("none", *kinds)
    )
    return Table("forecast", title, columns, rows)


def _shown(result: EstimateResult, kind: str) -> list[StrategyCosts]:
    rows = result.costs(kind)
    if kind != "hybrid":
        return rows
    lams = {row.strategy.lam for row in rows}
    few = lams & set(_HYBRID_LAMBDAS) or lams
    return [row for row in rows if row.strategy.lam in few]


def _change(value: float, interval: tuple[float, float]) -> str:
    return f"{value:+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f})"


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


def _value(cost: CostBound | None, sign: str = "<= ") -> str:
    if cost is None:
        return "-"
    return "VACUOUS" if cost.vacuous else f"{sign}{number(cost.value)}"


def _with_status(cost: CostBound | None) -> str:
    if cost is None:
        return "-"
    statement = cost.statement.split()[0]
    if cost.vacuous:
        return f"VACUOUS {statement}"
    return f"<= {number(cost.value)} {statement} {cost.status}"


def _dominant(cost: CostBound | None) -> str:
    return "" if cost is None else cost.dominant


def _remedies(shown: Sequence[StrategyCosts]) -> list[str]:
    """What would lower each term that dominates some bound shown, each once."""
    found = {
        cost.dominant: cost.remedy
        for row in shown
        for cost in (row.safety, row.contested_safety, row.contested_capability)
        if cost is not None and cost.remedy
    }
    return [f"{term}: lowered by {remedy}" for term, remedy in found.items()]
