"""Defences and runs in one plane: as tables, as a figure and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from finebound.base.output import number
from finebound.results.tradeoff import DefendedSeed, PairedInterval, TradeoffResult
from finebound.views.tables import Table
from finebound.views.template import page_template
from finebound.views.tradeoff_plots import depth_plot, plane_plot, scores_plot

if TYPE_CHECKING:
    from finebound.results.interval import Interval

_RATES = ("refusal", "over_refusal", "incoherent")


def table(result: TradeoffResult) -> Table:
    """Every seed of every place: where it lies, what it answers, whether it speaks, its budget."""
    columns = (
        "place", "gain", "change in safety loss", "at equal gain", "refused", "over-refused",
        "incoherent", "coherence", "budget",
    )  # fmt: skip
    rows = tuple(
        (
            place.id,
            _interval(place.gain),
            _interval(place.rise),
            _interval(place.against_baseline),
            *rates(seed),
            "passed" if seed.gate.passed else f"FAILED: {seed.gate.because}",
            "; ".join(seed.budget.other) or "the same",
        )
        for place in result.places
        for seed in place.seeds
    )
    return Table("places", f"{result.experiment}, task {result.task}: {result.unit}", columns, rows)


def scores_table(result: TradeoffResult) -> Table:
    """Every family's hypervolume, beside the undefended sweep's, and distance to the frontier."""
    columns = (
        "family", "strengths", "hypervolume", "less the undefended sweep's",
        "distance to the frontier",
    )  # fmt: skip
    rows = tuple(
        (
            score.family,
            score.strengths,
            _interval(score.hypervolume) or "no coherent model",
            _interval(score.less_baseline),
            _interval(score.distance),
        )
        for score in result.scores
    )
    worst = f"{result.reference.rise:+.4f}"
    title = f"Scores: hypervolume against no gain and the worst coherent safety rise ({worst})"
    return Table("scores", title, columns, rows)


def plot(result: TradeoffResult) -> Figure:
    """The plane."""
    return plane_plot(result).figure


def first_screen(result: TradeoffResult) -> str:
    """The scores and the places as HTML."""
    return scores_table(result).html() + table(result).html()


def page(result: TradeoffResult) -> str:
    """``defences.html``; every string is escaped."""
    plots = [plane_plot(result), scores_plot(result)]
    return page_template("tradeoff.html.j2", interval=interval_words, rates=rates).render(
        result=result,
        plots=[drawn for drawn in plots if drawn is not None],
        layers=[depth_plot(entry) for entry in result.layers_shown],
        manifest=result.manifest.to_dict(),
    )


def interval_words(found: PairedInterval | None) -> str:
    """An interval for people; a dash where there is none."""
    if found is None:
        return "-"
    shown = found.as_interval()
    return f"{shown.estimate:+.4f} [{number(shown.lower)}, {number(shown.upper)}]"


def rates(seed: DefendedSeed) -> list[str]:
    """Refused, over-refused and incoherent, each as a count of a number; a dash where unasked."""
    shares = [getattr(seed.answers, name, None) for name in _RATES]
    return [f"{share.count}/{share.n}" if share and share.n else "-" for share in shares]


def _interval(found: PairedInterval | None) -> Interval | None:
    return None if found is None else found.as_interval()
