"""How forecasts did, as a table and as a figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from finebound.results.interval import Interval
from finebound.results.skill import LOSS, REFUSALS, PredictorSkill, SkillResult
from finebound.results.spans import Limits
from finebound.views.style import BLUE, MUTED, new_figure, paper_style
from finebound.views.tables import Table, Value

_FORMS = {REFUSALS: ".0f", LOSS: ".2f"}
_UNITS = {REFUSALS: (100.0, "points"), LOSS: (1.0, "nats/token")}


def table(result: SkillResult) -> Table:
    """Both quantities: refusals in points, the safety loss in nats per token."""
    columns = (
        *("quantity", "forecast", "Spearman", "within 5 points (%)", "within 10 points (%)"),
        *("RMSE", "intervals that held (%)", "width", "width / range", "interval score"),
        "the estimate's score less this one's",
    )
    title = (
        f"{result.fine_tunes} fine-tunes in {result.pairs} pairs of datasets; refusals in points, "
        "the loss in nats per token; 90 % intervals"
    )
    return Table("skill", title, columns, tuple(map(_cells, result.predictors)))


def for_a_terminal(result: SkillResult) -> list[Table]:
    """One narrow table a quantity, without the intervals over fine-tunes."""
    tables = []
    for quantity in (REFUSALS, LOSS):
        scale, unit = _UNITS[quantity]
        near = ("within 10",) if quantity == REFUSALS else ()
        rows = []
        for one in result.about(quantity):
            spearman, within, held = (
                "-" if found is None or found.estimate is None else f"{found.estimate:{form}}"
                for found, form in (
                    (one.spearman, ".2f"),
                    (one.within_ten, ".0%"),
                    (one.covered, ".0%"),
                )
            )
            numbers = (f"{scale * x:{_FORMS[quantity]}}" for x in (one.width, one.interval_score))
            rows.append((_name(one), spearman, *([within] if near else []), held, *numbers))
        columns = ("forecast", "Spearman", *near, "held", "width", "score")
        tables.append(Table("skill", f"{quantity} ({unit})", columns, tuple(rows)))
    if result.methods:
        tables += [by_method(result, quantity) for quantity in (REFUSALS, LOSS)]
    if result.verdicts:
        tables.append(verdicts(result))
    return tables


def by_method(result: SkillResult, quantity: str) -> Table:
    """The estimate's own intervals of one quantity on the fine-tunes of each method."""
    (scale, unit), form = _UNITS[quantity], _FORMS[quantity]
    near = ("within 5", "within 10") if quantity == REFUSALS else ()
    rows = []
    for one in result.methods:
        if one.quantity == quantity:
            found = (one.covered, one.within_five, one.within_ten)
            held, *within = (_count(limits, one.fine_tunes) for limits in found if limits)
            numbers = (f"{scale * x:{form}}" for x in (one.width, one.error))
            rows.append((one.method, one.fine_tunes, held, *numbers, *within))
    columns = ("method", "fine-tunes", "held", "width", "median error", *near)
    return Table("skill_by_method", f"{quantity} ({unit}) by method", columns, tuple(rows))


def verdicts(result: SkillResult) -> Table:
    """What was said of each budget before the fine-tunes, and what they then did."""
    said = (f"{word}, {how}" for word in ("kept", "broken") for how in ("right", "wrong"))
    rows = tuple(
        (
            f"{one.points:g} points",
            *(one.kept_right, one.kept_wrong, one.broken_right, one.broken_wrong),
            f"{one.undecided_kept + one.undecided_broken} ({one.undecided_kept} kept)",
        )
        for one in result.verdicts
    )
    title = "what was said of a budget of refusals lost"
    return Table("skill_verdicts", title, ("budget", *said, "not decided"), rows)


def plot(result: SkillResult) -> Figure:
    """The interval score of every predictor; shorter is better."""
    with paper_style():
        figure = new_figure(height=2.4)
        for axes, quantity in zip(figure.subplots(1, 2), (REFUSALS, LOSS), strict=True):
            scale, unit = _UNITS[quantity]
            rows = result.about(quantity)
            for place, one in enumerate(rows):
                axes.barh(place, scale * one.interval_score, color=MUTED if place else BLUE)
            axes.set_yticks(range(len(rows)), list(map(_name, rows)))
            axes.invert_yaxis()
            axes.set_xlabel(f"{quantity}: interval score ({unit})")
    return figure


def _cells(one: PredictorSkill) -> tuple[Value, ...]:
    scale, _ = _UNITS[one.quantity]
    return (
        one.quantity,
        _name(one),
        _limits(one.spearman),
        _limits(one.within_five, 100.0),
        _limits(one.within_ten, 100.0),
        scale * one.rmse,
        _limits(one.covered, 100.0),
        scale * one.width,
        one.relative_width,
        scale * one.interval_score,
        _limits(one.score_difference, scale),
    )


def _count(found: Limits, n: int) -> int:
    return round(n * (found.estimate or 0.0))


def _name(one: PredictorSkill) -> str:
    return one.name if one.calibrated else f"{one.name}, raw"


def _limits(found: Limits | None, scale: float = 1.0) -> Interval | None:
    if found is None or found.estimate is None:
        return None
    return Interval(scale * found.estimate, scale * found.lower, scale * found.upper)
