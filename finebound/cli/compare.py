"""``finebound compare``: paired statistics over evaluations and over runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from finebound.base.errors import InputError
from finebound.cli.options import given_options, parse

if TYPE_CHECKING:
    from rich.console import Console

    from finebound.results.evaluation import EvaluationResult
    from finebound.views.tables import Table
    from llm_validation.evaluation.fairness.flips import BiasChange
    from llm_validation.evaluation.statistics.comparison import Comparison
    from theory.confidence import Interval


_REMEDY = "Give a record that `finebound evaluate ... --out` or `finebound validate` wrote."


@dataclass(frozen=True)
class Options:
    """Compare methods item by item: means, differences, paired tests, effect sizes, tables.

    RUNS are records that `finebound evaluate ... --out` wrote, validate.json of `finebound
    validate`, or folders with such. Evaluations are paired by the items' ids; records with the same
    label are seeds of one method. Runs are grouped by --by and paired over what else they share.
    Runs that failed a gate of their experiment's validate.json are marked, and in no test.

    Two methods: Wilcoxon's signed-rank test. Three or more: Friedman's with Kendall's W, and
    Wilcoxon's of every pair with Bonferroni's correction. Effect r = |z| / sqrt(n), n the number of
    pairs that differ, named after Sawilowsky. Intervals: 95 % over items and seeds, of few items or
    of items that are all alike as wide as their number allows. A sentence says of each method
    whether it differs from the base beyond chance (interval and corrected test) or is undecided.
    BBQ: ambiguous and disambiguated contexts apart, with the bias of each and where it turned its
    sign.

    Example: finebound compare base/bbq.json lora/bbq.json ia3/bbq.json --base base --out tables
    """

    runs: Positional[tuple[Path, ...]]
    """Records or folders of them."""
    base: str | None = None
    """Label that differences are taken to (default: the first)."""
    by: Literal["method", "strategy", "proxy", "task"] | None = None
    """What to group runs of a grid by (default: the first of these that differs)."""
    keep_failed_gates: bool = False
    """Test runs that failed a gate, too; they stay marked."""
    seed: int = 0
    """Seed of the bootstrap."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for compare.json and the tables in Markdown, CSV and LaTeX."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="compare")
    from finebound.base.records import file_sha256, manifest, require_folder, staged_folder, to_json
    from finebound.views.tables import FORMATS
    from llm_validation.evaluation.statistics.tables import tables_of

    if not options.runs:
        raise InputError(
            "there is nothing to compare.",
            remedy="Name records: finebound compare base/bbq.json lora/bbq.json.",
        )
    if options.out is not None:
        require_folder(options.out)
    files = [file for path in options.runs for file in _records(path)]
    results, notes, judged = _results(files, options)
    compared = [
        (comparison, _flips(group, comparison, options))
        for group, comparison in _comparisons(results, notes, options)
    ]
    tables = [
        table
        for comparison, flips in compared
        for table in (*tables_of(comparison), *_bias_table(comparison, flips, gates=True))
    ]
    made = manifest(
        given=given_options(options, Options),
        inputs={str(file): file_sha256(file) for file in dict.fromkeys([*files, *judged])},
        seed=options.seed,
    )
    content = to_json(
        {
            "comparisons": [
                {**comparison.as_json(), "bias_changes": [change.as_json() for change in flips]}
                for comparison, flips in compared
            ],
            "manifest": made,
        }
    )
    if options.out is not None:
        with staged_folder(options.out) as folder:
            (folder / "compare.json").write_text(content + "\n", encoding="utf-8")
            for table in tables:
                for ending, form in FORMATS.items():
                    file = folder / f"{table.name}.{ending}"
                    file.write_text(form(table), encoding="utf-8")
    if options.json:
        print(content)
        return 0
    from finebound.base.terminal import Console

    console = Console()
    for comparison, flips in compared:
        _print(comparison, flips, console)
    if options.out is not None:
        console.print(f"\nWritten: {options.out / 'compare.json'} and {len(tables)} tables")
    return 0


def _records(path: Path) -> list[Path]:
    """The file, or a folder's records: those that evaluations wrote, and validate.json."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(
            "there is no such file or folder.",
            remedy="Give records that `finebound evaluate ... --out` or `finebound validate` "
            "wrote.",
            file=path,
        )
    found = [file for file in sorted(path.glob("*.json")) if _is_record(file)]
    if not found:
        raise InputError(
            "the folder holds no record of an evaluation and no validate.json.",
            remedy="Give the folder that --out named.",
            file=path,
        )
    return found


def _is_record(file: Path) -> bool:
    from finebound.base.integrity import read_json

    if file.name == "validate.json":
        return True
    content = read_json(file, remedy=_REMEDY)
    return isinstance(content, dict) and {"evaluation", "label", "items"} <= content.keys()


def _results(
    files: Sequence[Path], options: Options
) -> tuple[list[EvaluationResult], tuple[list[str], list[str]], list[Path]]:
    """What is compared; notes on evaluations and on grids; whose validate.json was looked into."""
    from finebound.base.integrity import read_record
    from finebound.results.evaluation import EvaluationResult
    from llm_validation.evaluation.statistics.runs import (
        Run,
        results_of_runs,
        runs_of,
        with_gates,
    )

    results: list[EvaluationResult] = []
    grids: list[tuple[Path, list[Run]]] = []
    for file in files:
        content = read_record(file, remedy=_REMEDY)
        if "runs" in content:
            grids.append((file, runs_of(content, file=file)))
        else:
            results.append(EvaluationResult.of(content, file=file))
    results, notes, judged = with_gates(results)
    if not grids:
        return results, (notes, []), judged
    of_runs, of_grids = results_of_runs(
        grids, by=options.by, keep_failed_gates=options.keep_failed_gates
    )
    return [*results, *of_runs], (notes, of_grids), judged


def _comparisons(
    results: Sequence[EvaluationResult], notes: tuple[list[str], list[str]], options: Options
) -> list[tuple[list[EvaluationResult], Comparison]]:
    """One comparison for each evaluation that there are results of; of BBQ one a condition."""
    from llm_validation.evaluation.fairness.conditions import by_condition, conditions_of
    from llm_validation.evaluation.fairness.record import EVALUATION
    from llm_validation.evaluation.statistics.comparison import compare
    from llm_validation.evaluation.statistics.runs import QUANTITIES

    groups: dict[str, list[EvaluationResult]] = {}
    for result in results:
        groups.setdefault(result.evaluation, []).append(result)
    return [
        (
            group,
            compare(
                [by_condition(result, condition) for result in group],
                base=options.base,
                seed=options.seed,
                notes=notes[evaluation in QUANTITIES],
                condition=condition,
                keep_failed_gates=options.keep_failed_gates,
            ),
        )
        for evaluation, group in groups.items()
        for condition in (evaluation == EVALUATION and conditions_of(group)) or [None]
    ]


def _flips(
    results: Sequence[EvaluationResult], comparison: Comparison, options: Options
) -> list[BiasChange]:
    """Of BBQ: every bias beside the base's, the seeds of a label taken together."""
    from llm_validation.evaluation.fairness.flips import bias_changes
    from llm_validation.evaluation.fairness.record import EVALUATION, scores_of
    from llm_validation.evaluation.statistics.comparison import by_label

    if comparison.evaluation != EVALUATION:
        return []
    labels = by_label(results, keep_failed_gates=options.keep_failed_gates)
    scores = {label: scores_of(found, seed=options.seed) for label, found in labels.items()}
    base = scores.pop(comparison.base)
    changes = bias_changes(base, list(scores.items()))
    return [change for change in changes if change.condition == comparison.condition]


def _bias_table(
    comparison: Comparison, changes: Sequence[BiasChange], *, gates: bool
) -> list[Table]:
    """Every bias beside the base's, and each method's mean absolute one."""
    from statistics import fmean

    from finebound.views.tables import Table
    from llm_validation.evaluation.fairness.conditions import SCORES
    from llm_validation.evaluation.statistics.tables import name_and_title, shown_labels

    if not changes:
        return []
    name, title = name_and_title(comparison)
    score = SCORES[comparison.condition]
    names = shown_labels(comparison, gates=gates)
    base = names[comparison.base]
    rows: list[tuple[Any, ...]] = []
    for label in dict.fromkeys(change.label for change in changes):
        mine = [change for change in changes if change.label == label]
        rows += [(c.category, names[label], c.base, c.now, _flip(c)) for c in mine]
        before, after = (fmean(abs(b.estimate) for b in side) for side in _sides(mine))
        rows.append((f"mean |{score}|", names[label], before, after, ""))
    columns = ("category", "method", f"{score} of {base}", score, "sign flip")
    told = f"{title}: {score} beside that of {base} (95 % intervals), and where its sign turned"
    return [Table(f"{name}_bias", told, columns, tuple(rows))]


def _flip(change: BiasChange) -> str:
    if not change.flipped:
        return ""
    return "beyond noise" if change.certain else "within noise"


def _sides(changes: Sequence[BiasChange]) -> tuple[list[Interval], list[Interval]]:
    return [change.base for change in changes], [change.now for change in changes]


def _for_a_terminal(table: Table, base: str) -> tuple[Table, int]:
    """Pairs with the base, biases that flipped and their means; the files have all rows.

    And how many more.
    """
    from dataclasses import replace

    rows = table.rows
    if table.name.endswith("_pairs"):
        rows = tuple(row for row in rows if base in row[:2])
    elif table.name.endswith("_bias"):
        rows = tuple(row for row in rows if row[-1] or row[0].startswith("mean"))
    return replace(table, rows=rows), len(table.rows) - len(rows)


def _print(comparison: Comparison, flips: Sequence[BiasChange], console: Console) -> None:
    """The tables for a terminal, and notes, which name the gates."""
    from rich.text import Text

    from llm_validation.evaluation.statistics.tables import shown_labels, tables_of

    base = shown_labels(comparison, gates=False)[comparison.base]
    tables = tables_of(comparison, gates=False)
    for table in (*tables, *_bias_table(comparison, flips, gates=False)):
        table, left = _for_a_terminal(table, base)
        if table.rows:
            console.print(table.rich())
        if left:
            console.print(f"({left} more rows in {table.name}.md with --out)")
    for line in (*comparison.sentences(decided=True), *comparison.sentences(decided=False)):
        console.print(Text(line), soft_wrap=True)
    failed = {method.label: method.failed for method in comparison.methods if method.failed}
    for label, count in failed.items():
        console.print(f"{label}: {count} items have no score (failed or unreadable)")
    if comparison.unpaired:
        console.print(f"{comparison.unpaired} items are not in every method and were left out")
    for note in comparison.notes:
        console.print(Text(note), soft_wrap=True)
