"""The outcome of ``finebound validate`` for people."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isinf, isnan
from typing import TYPE_CHECKING, Any

from finebound.base.output import number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from llm_validation.experiments.comparison import Compared
    from llm_validation.experiments.config import Experiment
    from llm_validation.experiments.forecasts import Forecasts
    from llm_validation.experiments.validation import Summary, Validation
    from theory.confidence import Interval

_WIDTH_OF_FILES = 160
_LEAST_WIDTHS = {"run": 22, "gates failed": 12}
_SHORT = {"CERTIFIED": "", "EXACT": "", "HIGH_PROBABILITY": " (p)", "ESTIMATED": " (est.)"}


def print_plan(experiment: Experiment, runs: Sequence[Mapping[str, Any]]) -> None:
    """The runs of an experiment that has not begun."""
    columns = ("id", "strategy", "task", "proxy", "method", "seed", "steps", "rows_a_step")
    table = _table(
        f"{experiment.name}: {len(runs)} runs of {experiment.model}. {experiment.description}",
        [name.replace("_", " ") for name in columns],
    )
    for run in runs:
        table.add_row(*("-" if run[name] is None else str(run[name]) for name in columns))
    _console().print(table)


def print_validation(found: Validation) -> None:
    """Runs beside their bounds, the bounds' verdicts, the split, the findings."""
    console = _console()
    _print_aligned(console, found)
    console.print(_runs(found))
    for outcome in found.outcomes:
        if outcome.status == "failed":
            console.print(f"{outcome.run.id} failed: {outcome.error}", markup=False)
    pending = sum(o.status == "pending" for o in found.outcomes)
    if pending:
        console.print(f"{pending} runs are not done yet; the next start goes on with them.")
    console.print(_bounds(found))
    for c in found.violated:
        console.print(
            f"VIOLATED: {c.run} at step {c.step}: {c.bound.statement} ({c.bound.form}) says "
            f"{number(c.bound.value)}, measured {number(c.measured)}.",
            markup=False,
        )
    if found.splits:
        console.print(_splits(found))
    for r in found.routers:
        console.print(
            f"Router of {r.task}, {r.method}, seed {r.seed}: balanced accuracy "
            f"{r.balanced_accuracy:.3f}, safety loss {r.losses.safety_increase:+.3f}, "
            f"capability gap {r.losses.capability_gap:+.3f} nats/token.",
            markup=False,
        )
    if any(_exponent(s) for s in found.summaries):
        console.print(_onsets(found))
    if found.forecasts is not None:
        console.print(_forecasts(found.forecasts))
    if any(f.verdict != "not tested" for f in found.findings):
        console.print(_findings(found))
    else:
        console.print("The paper's findings: this grid has no pairs of runs that test one.")
    if found.behaviour is not None:
        from finebound.cli.behaviour_table import print_behaviour

        print_behaviour(console, found)
    _print_gates(console, found)
    _print_verdict(console, found)


def _console() -> Console:
    from finebound.base.terminal import Console

    # A file has no width; rich would take 80 columns and fold every number.
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


def _table(title: str, columns: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        least = _LEAST_WIDTHS.get(column)
        table.add_column(column, overflow="fold", no_wrap=column in numbers, min_width=least)
    return table


def _print_aligned(console: Console, found: Validation) -> None:
    aligned = found.prepared.document["aligned"]
    if aligned.get("as_it_is"):
        return _print_as_it_is(console, found)
    lines = [
        f"Aligned model: safety loss {_from_to(aligned['safety_loss'])} nats/token on its training "
        f"rows, {_from_to(aligned['held_out_safety_loss'])} on held-out ones."
    ]
    if aligned["answers"]["after"]:
        refusal, over = (
            [aligned["answers"][when][what] for when in ("before", "after")]
            for what in ("refusal", "over_refusal")
        )
        lines.append(
            f"It refuses {_share(refusal[1])} held-out harmful prompts (before: "
            f"{_share(refusal[0])}) and {_share(over[1])} harmless look-alikes (before: "
            f"{_share(over[0])})."
        )
    console.print(" ".join(lines), markup=False)


def _print_as_it_is(console: Console, found: Validation) -> None:
    """The aligned model is the user's own: nothing was before it."""
    document = found.prepared.document
    aligned, name = document["aligned"], document["model"]["name"]
    lines = [
        f"Aligned model: {name} as it is, safety loss {aligned['safety_loss'][1]:.2f} nats/token "
        f"on the safety rows, {aligned['held_out_safety_loss'][1]:.2f} on held-out ones."
    ]
    if answers := aligned["answers"]["after"]:
        lines.append(
            f"It refuses {_share(answers['refusal'])} held-out harmful prompts and "
            f"{_share(answers['over_refusal'])} harmless look-alikes."
        )
    console.print(" ".join(lines), markup=False)


def _from_to(losses: Sequence[float]) -> str:
    return f"{losses[0]:.2f} before, {losses[1]:.2f} after"


def _share(proportion: Mapping[str, Any]) -> str:
    return f"{proportion['count']} of {proportion['n']}"


def _runs(found: Validation) -> Table:
    numbers = ("safety loss", "capability gained", "measured", "foreseen", "after", "ratio")
    table = _table(
        "Runs, nats per token. Safety loss and capability gained: change against the aligned "
        "model on held-out rows [95 %]. Then on the training sets: the safety loss measured, its "
        "tightest bounds foreseen and after the run, bound / measured.",
        ("run", *numbers, "verdict", "gates failed"),
        numbers,
    )
    for s in found.summaries:
        foreseen, after = s.tightest["a priori"], s.tightest["a posteriori"]
        ratio = None if after is None else after.ratio
        table.add_row(
            s.measured.run.id,
            _interval(s.safety),
            _interval(s.task, sign=-1.0),
            f"{s.training['safety_gap']:+.3f}",
            _bound(foreseen),
            _bound(after),
            "-" if ratio is None else f"{ratio:.3g}",
            _verdict(s, found),
            ", ".join(name for name, gate in s.gates.items() if not gate.passed) or "none",
        )
    return table


def _bound(c: Compared | None) -> str:
    if c is None:
        return "vacuous"
    return f"{c.bound.value:.3g} {c.bound.statement}{_SHORT[str(c.bound.status)]}"


def _verdict(s: Summary, found: Validation) -> str:
    run = s.measured.run.id
    if any(c.run == run for c in found.violated):
        return "violated"
    mine = [c for c in found.compared if c.run == run]
    if any(c.verdict == "violated" for c in mine):
        return "an estimate violated"
    return "held" if any(s.tightest.values()) else "vacuous"


def _interval(interval: Interval, sign: float = 1.0, *, digits: int = 2) -> str:
    low, high = sorted((sign * interval.lower, sign * interval.upper))
    return f"{sign * interval.estimate:+.3f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _bounds(found: Validation) -> Table:
    verdicts = ("held", "violated", "vacuous", "premise failed")
    table = _table(
        "Bounds at all checkpoints, on the training sets",
        ("statement", "when", "of", "status", *verdicts, "median bound / measured"),
    )
    groups: dict[tuple[str, ...], list[Compared]] = {}
    for c in found.compared:
        form = f", {c.bound.form}" if c.bound.form else ""
        what = "G_f + lambda G_s" if c.what.startswith("G_f +") else c.what
        groups.setdefault((c.bound.statement + form, c.when, what), []).append(c)
    for key, entries in sorted(groups.items()):
        count = Counter(c.verdict for c in entries)
        ratios = sorted(
            c.ratio for c in entries if c.verdict in ("held", "violated") and c.ratio is not None
        )
        known = sorted({str(c.bound.status) for c in entries} - {"VACUOUS"})
        table.add_row(
            *key,
            ", ".join(known).lower() or "-",
            *(str(count[verdict]) for verdict in verdicts),
            f"{ratios[len(ratios) // 2]:.3g}" if ratios else "-",
        )
    return table


def _splits(found: Validation) -> Table:
    table = _table(
        "What of each safety loss the data force and what shared weights add (T18), on held-out "
        "rows, nats per token",
        ("run", "safety loss", "unavoidable", "interference"),
    )
    for s in found.splits:
        table.add_row(
            s.run,
            f"{s.rise:+.3f}",
            f"{s.unavoidable[0]:.3f} to {s.unavoidable[1]:.3f}",
            f"{s.interference[0]:.3f} to {s.interference[1]:.3f}",
        )
    return table


def _exponent(summary: Summary) -> dict[str, Any] | None:
    return summary.onset["displacement"]


def _onsets(found: Validation) -> Table:
    table = _table(
        "How the held-out safety loss set in (T19): exponents over the checkpoints, 90 % intervals "
        "where three or more rose. Against the displacement a quadratic onset has 2, and 1 where "
        "the aligned model is no minimum of these rows' loss.",
        ("run", "against displacement", "against time", "checkpoints used"),
    )
    for s in found.summaries:
        if (fit := _exponent(s)) is None:
            continue
        table.add_row(
            s.measured.run.id,
            *(_fitted(s.onset[against]) for against in ("displacement", "time")),
            f"{fit['used']} of {fit['used'] + fit['left_out']}",
        )
    return table


def _fitted(fit: Mapping[str, Any]) -> str:
    interval = fit["exponent"]
    if isinf(interval["upper"]):
        return f"{interval['estimate']:.2f}"
    return f"{interval['estimate']:.2f} [{interval['lower']:.2f}, {interval['upper']:.2f}]"


def _forecasts(forecasts: Forecasts) -> Table:
    numbers = ("Spearman [95 %]", "median factor", "90 % intervals cover", "cost")
    table = _table(
        "What predictors said of the safety loss before any run. Factor: forecast over measured or "
        "its inverse, where more than 0.05 nats/token were measured; cost: share of the "
        "fine-tune's tokens, for one forecast alone and for all runs together.",
        ("predictor", *numbers),
        numbers,
    )
    for row in forecasts.safety:
        covered = row.coverage
        table.add_row(
            row.name,
            "-" if isnan(row.spearman.estimate) else _interval(row.spearman),
            "-" if row.factor is None else f"{row.factor:.2f} ({row.sized} runs)",
            "-" if covered is None else f"{covered.estimate:.0%} of {row.runs}",
            f"{forecasts.shares[row.name]:.1%} / {forecasts.shared[row.name]:.1%}",
        )
    return table


def _findings(found: Validation) -> Table:
    table = _table(
        "The paper's findings on these runs (positive effects agree with the claim)",
        ("", "claim", "verdict", "effects [simultaneous 95 % intervals]"),
    )
    for f in found.findings:
        effects = "\n".join(
            f"{e.where}: {_interval(e.interval, digits=3)} {e.unit}" for e in f.effects
        )
        table.add_row(f.key, f.claim, f.verdict, effects or f.why_not_tested)
    return table


def _print_gates(console: Console, found: Validation) -> None:
    by_reason: dict[str, list[str]] = {}
    for s in found.summaries:
        for name, gate in s.gates.items():
            if not gate.passed:
                by_reason.setdefault(f"{name}: {gate.because}", []).append(s.measured.run.id)
    if by_reason:
        console.print("\nGates failed:")
    for reason, runs in by_reason.items():
        console.print(f"  {reason} ({', '.join(runs)})", markup=False)


def _print_verdict(console: Console, found: Validation) -> None:
    counts = found.counts
    console.print(
        f"\nBounds: {counts['held']} held, {counts['violated']} violated "
        f"({counts['violated_certain']} of them certain), {counts['vacuous']} vacuous, "
        f"{counts['premise_failed']} whose premise failed."
    )
    written = found.prepared.out / "validate.json"
    console.print(f"Written: {written}, comparison.json", markup=False, soft_wrap=True)
