"""An experiment as tables, as a figure and as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from finebound.base.output import number
from finebound.results.behaviour import SCORES, Bias, Evaluated, by_condition
from finebound.results.comparison import ComparedBound
from finebound.results.experiment import DoneRun, ExperimentResult, OnsetFit
from finebound.results.forecasts import Forecasts, Ranked
from finebound.results.interval import Interval
from finebound.results.spans import Limits, Span
from finebound.views.page_plots import Plot
from finebound.views.page_text import elements
from finebound.views.style import MUTED, bars, new_figure, paper_style
from finebound.views.tables import DAGGER, Table, Value
from finebound.views.template import page_template

_SCALE = {"translation": 1.0}
"""Scores that are no shares: those of the others are shown in percent."""
_FACTOR = 100.0
_SHORT = {"CERTIFIED": "", "EXACT": "", "HIGH_PROBABILITY": " (p)", "ESTIMATED": " (est.)"}
_CAPTION = (
    "Every run on held-out rows against the aligned model, with 95 % intervals. A hollow mark is a "
    "run that fails a gate."
)


def table(result: ExperimentResult) -> Table:
    """Every finished run: what it changed, its bounds, the gates that it fails."""
    columns = (
        "run", "change in safety loss", "capability gained", "measured", "foreseen", "after",
        "ratio", "verdict", "gates failed",
    )  # fmt: skip
    rows = tuple(_run_row(run, result) for run in result.done)
    title = (
        "Runs, nats per token. Change in safety loss and capability gained: against the aligned "
        "model on held-out rows [95 %]. Then on the training sets: the change in safety loss "
        "measured, its tightest bounds foreseen and after the run, bound / measured."
    )
    return Table("runs", title, columns, rows)


def _run_row(run: DoneRun, result: ExperimentResult) -> tuple[Value, ...]:
    foreseen, after = run.tightest["a priori"], run.tightest["a posteriori"]
    ratio = None if after is None else after.ratio
    return (
        run.id,
        run.safety.as_interval(),
        run.capability.as_interval(),
        f"{run.training_sets['safety_gap']:+.3f}",
        _bound(foreseen),
        _bound(after),
        "-" if ratio is None else f"{ratio:.3g}",
        _verdict(run, result),
        ", ".join(run.failed_gates) or "none",
    )


def _bound(c: ComparedBound | None) -> str:
    return "vacuous" if c is None else f"{c.value:.3g} {c.statement}{_SHORT[c.status]}"


def _verdict(run: DoneRun, result: ExperimentResult) -> str:
    if any(c.run == run.id for c in result.violated):
        return "violated"
    if any(c.run == run.id and c.verdict == "violated" for c in result.compared or ()):
        return "an estimate violated"
    return "held" if any(run.tightest.values()) else "vacuous"


def tables(result: ExperimentResult) -> Iterator[Table]:
    """Everything beside the runs that there is something of, in the order of a report."""
    if result.compared:
        yield _bounds(result.compared)
    if result.splits:
        yield _splits(result)
    if any(run.onset.displacement for run in result.done):
        yield _onsets(result.done)
    if result.forecasts is not None:
        yield _forecasts(result.forecasts)
    if any(finding.effects for finding in result.findings):
        yield _findings(result)
    yield from _behaviour(result.done)
    if biases := [(run, bias) for run in result.done if (bias := bias_of(run))]:
        yield _biases(biases)


def _bounds(compared: Sequence[ComparedBound]) -> Table:
    verdicts = ("held", "violated", "vacuous", "premise failed")
    groups: dict[tuple[str, ...], list[ComparedBound]] = {}
    for c in compared:
        form = f", {c.form}" if c.form else ""
        what = "G_f + lambda G_s" if c.what.startswith("G_f +") else c.quantity_words
        groups.setdefault((c.statement + form, c.when, what), []).append(c)
    rows = []
    for key, entries in sorted(groups.items()):
        count = Counter(c.verdict for c in entries)
        ratios = sorted(
            c.ratio for c in entries if c.verdict in ("held", "violated") and c.ratio is not None
        )
        known = sorted({c.status for c in entries} - {"VACUOUS"})
        rows.append(
            (
                *key,
                ", ".join(known).lower() or "-",
                *(count[verdict] for verdict in verdicts),
                f"{ratios[len(ratios) // 2]:.3g}" if ratios else "-",
            )
        )
    columns = ("statement", "when", "of", "status", *verdicts, "median bound / measured")
    title = "Bounds at all checkpoints, on the training sets"
    return Table("bounds", title, columns, tuple(rows))


def _splits(result: ExperimentResult) -> Table:
    title = (
        "How much of each change in safety loss the data force and how much shared weights add "
        "(T18), on held-out rows, nats per token"
    )
    rows = tuple(
        (
            split.run,
            f"{split.rise:+.3f}",
            f"{split.unavoidable[0]:.3f} to {split.unavoidable[1]:.3f}",
            f"{split.interference[0]:.3f} to {split.interference[1]:.3f}",
        )
        for split in result.splits
    )
    columns = ("run", "change in safety loss", "unavoidable", "interference")
    return Table("splits", title, columns, rows)


def _onsets(runs: Sequence[DoneRun]) -> Table:
    title = (
        "How the held-out safety loss began to rise (T19): exponents over the checkpoints, 90 % "
        "intervals where three or more rose. Against the displacement a quadratic onset has 2, and "
        "1 where the aligned model is no minimum of these rows' loss."
    )
    rows = tuple(
        (run.id, _fitted(fit), _fitted(run.onset.time), f"{fit.used} of {fit.used + fit.left_out}")
        for run in runs
        if (fit := run.onset.displacement) is not None
    )
    columns = ("run", "against displacement", "against time", "checkpoints used")
    return Table("onsets", title, columns, rows)


def _fitted(fit: OnsetFit | None) -> Value:
    return "-" if fit is None else _limits(fit.exponent)


def _forecasts(forecasts: Forecasts) -> Table:
    title = (
        "What predictors said of the change in safety loss before any run. Factor: forecast over "
        "measured or its inverse, where more than 0.05 nats/token were measured; cost: share of "
        "the fine-tune's tokens, for one forecast alone and for all runs together."
    )
    rows = tuple(_forecast_row(row, forecasts) for row in forecasts.safety)
    columns = ("predictor", "Spearman [95 %]", "median factor", "90 % intervals cover", "cost")
    return Table("forecasts", title, columns, rows)


def _forecast_row(row: Ranked, forecasts: Forecasts) -> tuple[Value, ...]:
    covered, told = row.coverage, "-"
    if covered is not None and covered.estimate is not None:
        told = f"{covered.estimate:.0%} of {row.runs}"
    shares = (forecasts.cost_share[row.name], forecasts.cost_share_of_all[row.name])
    return (
        row.name,
        _limits(row.spearman),
        "-" if row.factor is None else f"{row.factor:.2f} ({row.sized} runs)",
        told,
        " / ".join(f"{share:.1%}" for share in shares),
    )


def _limits(found: Limits) -> Value:
    if found.estimate is None:
        return "-"
    return Interval(found.estimate, found.lower, found.upper)


def _findings(result: ExperimentResult) -> Table:
    rows = tuple(
        (
            finding.finding,
            finding.claim,
            finding.verdict,
            "\n".join(f"{e.where}: {e.span.told()} {e.unit}" for e in finding.effects)
            or finding.why_not_tested,
        )
        for finding in result.findings
    )
    title = "The paper's findings on these runs (positive effects agree with the claim)"
    columns = ("", "claim", "verdict", "effects [simultaneous 95 % intervals]")
    return Table("findings", title, columns, rows)


def _behaviour(runs: Sequence[DoneRun]) -> Iterator[Table]:
    """One table per evaluation: mean scores and paired changes against the aligned model."""
    for name, found in evaluations(runs).items():
        rows = tuple(
            (
                flagged(run),
                *(
                    "-" if span is None else span.as_interval()
                    for span in (entry.theta_s, entry.start, entry.end, entry.change)
                ),
                f"{entry.failed} of {entry.n}",
            )
            for run, entry in found
        )
        title = f"{name}: {found[0][1].measure} [95 %]; {DAGGER}: fails a gate"
        columns = ("run", "aligned model", "its own start", "end", "change", "no score")
        yield Table(name, title, columns, rows)


def _biases(biases: Sequence[tuple[DoneRun, Bias]]) -> Table:
    """BBQ's mean absolute bias in ambiguous contexts, and signs that turned."""
    rows = []
    for run, bias in biases:
        looked, flips, certain = bias.turned
        means = (bias.mean_absolute_ambiguous.get(who) for who in ("theta_s", "start", "end"))
        told = ("-" if mean is None else f"{mean:.3f}" for mean in means)
        rows.append((flagged(run), *told, f"{flips} of {looked}", certain))
    title = f"bbq: mean |s_AMB| over dimensions, no unit; {DAGGER}: fails a gate"
    columns = ("run", "aligned model", "its own start", "end", "signs turned", "beyond noise")
    return Table("bias", title, columns, tuple(rows))


def evaluations(runs: Sequence[DoneRun]) -> dict[str, list[tuple[DoneRun, Evaluated]]]:
    """The runs that have an evaluation, by its name; BBQ once for each context condition."""
    found: dict[str, list[tuple[DoneRun, Evaluated]]] = {}
    for run in runs:
        for name, entry in by_condition(run.behaviour).items():
            if entry.change is not None:
                found.setdefault(name, []).append((run, entry))
    return found


def bias_of(run: DoneRun) -> Bias | None:
    """BBQ's bias of a run; None where it has none."""
    entry = (run.behaviour or {}).get("bbq")
    return None if entry is None else entry.bias


def scale_of(evaluation: str) -> float:
    """What a score is multiplied by to be shown."""
    return _SCALE.get(evaluation, _FACTOR)


def flagged(run: DoneRun) -> str:
    """The run's id, with a dagger where it fails a gate."""
    return run.id if run.passed else f"{run.id} {DAGGER}"


def plot(result: ExperimentResult) -> Figure:
    """Every run's change in safety loss against its capability gain, hollow if it fails a gate."""
    with paper_style():
        figure = new_figure(height=3.8, width=7.2)
        axes = figure.add_subplot()
        methods = dict.fromkeys(run.method for run in result.done)
        for place, method in enumerate(methods):
            colour = f"C{place % 10}"
            mine = [run for run in result.done if run.method == method]
            for run in mine:
                gain, rise = run.capability, run.safety
                axes.errorbar(
                    gain.value,
                    rise.value,
                    xerr=bars([gain.value, *gain.interval]),
                    yerr=bars([rise.value, *rise.interval]),
                    fmt="o",
                    ms=5,
                    lw=0.7,
                    color=colour,
                    mfc=colour if run.passed else "white",
                    label=method if run is mine[0] else None,
                )
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        axes.axvline(0.0, color=MUTED, linewidth=0.8)
        axes.set_xlabel("capability gained, nats/token")
        axes.set_ylabel("change in safety loss, nats/token")
        figure.legend(frameon=False, fontsize="small", loc="outside right upper")
    return figure


def first_screen(result: ExperimentResult) -> str:
    """The runs and what they support, as HTML."""
    said = elements((one.sentence for one in result.advice), "li")
    return f"{table(result).html()}<ul>{said}</ul>"


def page(result: ExperimentResult) -> str:
    """``report.html``; every string is escaped."""
    done = result.done
    return page_template("experiment.html.j2", span=span_text).render(
        result=result,
        done=done,
        flagged=flagged,
        evaluations={
            name: (found, _categories(found)) for name, found in evaluations(done).items()
        },
        biases=[(run, bias, _bias_line(bias)) for run in done if (bias := bias_of(run))],
        bias_scores=SCORES,
        scale=scale_of,
        plots=[Plot(plot(result), _CAPTION)] if done else [],
        findings=[finding for finding in result.findings if finding.effects],
        manifest=result.manifest.to_dict(),
        command="finebound validate experiment.json --out AGAIN",
    )


def _categories(found: Sequence[tuple[DoneRun, Evaluated]]) -> list[str]:
    return list(dict.fromkeys(name for _, entry in found for name in entry.categories))


def _bias_line(bias: Bias) -> str:
    """A run's biases in a line: the mean absolute one and the signs that turned."""
    looked, flips, certain = bias.turned
    means = {
        who: "-" if mean is None else number(mean)
        for who, mean in bias.mean_absolute_ambiguous.items()
    }
    start = f", {means['start']} at its start" if "start" in means else ""
    return (
        f"mean |s_AMB| {means['theta_s']} in the aligned model{start}, {means['end']} at the end; "
        f"{flips} of {looked} biases turned their sign, {certain} beyond noise"
    )


def span_text(span: Span | None, scale: float = 1.0, sign: str = "") -> str:
    """``12.5 [3.1, 20]``; "-" for what was not measured."""
    if span is None or span.estimate is None:
        return "-"
    low, high = (scale * end for end in span.interval)
    return f"{scale * span.value:{sign}.3g} [{low:{sign}.3g}, {high:{sign}.3g}]"


def plan(title: str, runs: Sequence[Mapping[str, Any]]) -> Table:
    """The runs of an experiment that has not begun, as ``plan_of`` gives them."""
    names = ("id", "strategy", "task", "proxy", "method", "seed", "steps", "rows_a_step")
    rows = tuple(tuple("-" if run[name] is None else run[name] for name in names) for run in runs)
    return Table("plan", title, tuple(name.replace("_", " ") for name in names), rows)
