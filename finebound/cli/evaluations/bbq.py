"""``finebound evaluate bbq``: accuracy and bias on BBQ, from predictions or from a model."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError
from finebound.cli.evaluations import Evaluated, finish, made, require_one_source
from finebound.cli.evaluations.asking import ask, load_asked, require_model
from finebound.cli.options import parse

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from llm_validation.evaluation.fairness.items import ItemSet
    from llm_validation.evaluation.fairness.scores import BBQScores
    from theory.confidence import Interval

BUILTIN = "builtin"
_SANE_SHARE = 0.2  # of rows without a score


@dataclass(frozen=True)
class Options:
    """Accuracy and bias on BBQ's nine dimensions, in ambiguous and disambiguated contexts.

    --predictions scores answers given elsewhere: a file or folder (JSON Lines, JSON, CSV, Parquet)
    with BBQ's fields and `prediction`: 0, 1 or 2, A, B or C, the chosen answer's text, prose that
    names one answer ("The answer is A."), or null (also X) where the answer could not be read. With
    --data it needs only category, example_id and prediction, and every item of the data must be
    there. Predictions that name no answer, and items whose stereotyped answer their tags do not
    tell, are counted by reason and left out (the authors' additional_metadata.csv beside the items
    tells it); more than a fifth of such rows exits 1. --model asks a model, about the built-in
    set or about BBQ's own files; bbq is the catalogue's copy.

    Bias is s_DIS = 2 n_biased / n_nonUNKNOWN - 1, in ambiguous contexts times 1 - accuracy
    (Parrish et al. 2022); null is wrong and in no bias count. Intervals are 95 %, over items.

    Example: finebound evaluate bbq --predictions answers.jsonl --json

    Example: finebound evaluate bbq --predictions results/UnifiedQA \\
        --field unifiedqa-t5-11b_pred_arc

    Example: finebound evaluate bbq --model packaged --data bbq/data --rows 50 --out out
    """

    predictions: Path | None = None
    """File, or folder of files, with BBQ's fields and prediction."""
    field: str | None = None
    """Name of the field with the prediction (default: prediction)."""
    model: str | None = None
    """Model to ask: "packaged", a local folder or a hub id."""
    adapter: Path | None = None
    """Folder of an adapter (LoRA, QLoRA, IA3, Prompt-Tuning, P-Tuning) to put on the model."""
    data: str | None = None
    """BBQ's items: a file, a folder of files, bbq, or "builtin" (default with --model)."""
    by: Literal["loglikelihood", "generation"] = "loglikelihood"
    """How a model answers: the likeliest of the three, or the letter that it writes."""
    category: tuple[str, ...] = ()
    """Categories to keep (default: all)."""
    rows: int | None = None
    """Items to ask a model for each category and condition, a seeded sample (default: all)."""
    max_new_tokens: int = 16
    """Length of a written answer (the study: 500)."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What generates: vLLM, where it is installed, is faster on a GPU."""
    cache: Path | None = None
    """Folder that keeps written answers as they are made (default: finebound's cache)."""
    exclusions: Literal["study", "original", "none"] = "study"
    """Rows of BBQ to leave out as faulty: "study" the 200 of arXiv 2511.00382, "original" the 16
    that BBQ's authors drop."""
    label: str | None = None
    """Name of the method or model in the record (default: the model's, or the file's)."""
    seed: int = 0
    """Seed of samples and intervals."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for bbq.json, which `finebound compare` reads, and a model's responses.jsonl."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="evaluate bbq")
    return finish(evaluate(options), options)


def evaluate(options: Options) -> Evaluated:
    """Its result and how it is shown. Raises InputError for options that do not fit together."""
    require_model(options)
    require_one_source(
        options.predictions,
        options.model,
        example="bbq --predictions answers.jsonl",
        flag="--predictions",
    )
    if options.field is not None and options.predictions is None:
        raise InputError("--field belongs to --predictions.", remedy="Leave it out with --model.")
    if options.rows is not None and (options.rows < 1 or options.model is None):
        raise InputError(
            "--rows is a number of items to ask a model, at least 1.",
            remedy="Leave it out with --predictions.",
        )
    from finebound.base.progress import bar
    from finebound.base.records import file_sha256, require_folder
    from llm_validation.evaluation.fairness.record import as_result
    from llm_validation.evaluation.fairness.scores import score

    if options.out is not None:
        require_folder(options.out)
    inputs: dict[str, str] = {}
    more: dict[str, Any] = {}
    if options.predictions is not None:
        found = _scored_elsewhere(options)
        label = options.label or options.predictions.stem
        if options.predictions.is_dir():
            inside = sorted(file for file in options.predictions.rglob("*") if file.is_file())
            inputs |= {f"predictions/{file.name}": file_sha256(file) for file in inside}
        else:
            inputs["predictions"] = file_sha256(options.predictions)
    else:
        with bar() as progress:
            found, name = _asked(options, inputs, progress)
        label = options.label or name
        more["by"] = options.by
    scores = score(found.items, found.predictions, seed=options.seed)
    summary = {
        **scores.as_json(),
        "label": label,
        **more,
        "items": len(found.items),
        "left_out": dict(found.left_out),
        "faulty": {
            "count": len(found.faulty),
            "share": found.faulty_share,
            "categories": found.faulty_shares,
            "reasons": dict(Counter(row.reason for row in found.faulty)),
            "examples": [row.shown for row in found.faulty[:5]],
        },
        "source": found.source,
    }
    for line in _too_faulty(found):
        print(line, file=sys.stderr)
    result = as_result(found, label=label, summary=summary).made_by(made(options, inputs))
    return Evaluated(
        [result],
        summary,
        lambda: _print(scores, found, label),
        code=int(found.faulty_share > _SANE_SHARE),
    )


def _too_faulty(found: ItemSet) -> list[str]:
    """A line on all rows, or on each category, of which too many have no score."""
    if found.faulty_share > _SANE_SHARE:
        shares = {"the rows": found.faulty_share}
    else:
        shares = {f"the rows of {name}": share for name, share in found.faulty_shares.items()}
    return [
        f"{100 * share:.0f} % of {what} have no score: the scores are those of the rest, which may "
        f"be others. The first is {found.faulty[0].shown}."
        for what, share in shares.items()
        if share > _SANE_SHARE
    ]


def _exclusions(options: Options) -> Literal["study", "original"] | None:
    return None if options.exclusions == "none" else options.exclusions


def _scored_elsewhere(options: Options) -> ItemSet:
    from llm_validation.evaluation.fairness.reading import (
        PREDICTION,
        match_predictions,
        read_items,
    )

    if options.data is None:
        found = read_items(
            options.predictions,
            exclusions=_exclusions(options),
            with_predictions=True,
            field=options.field or PREDICTION,
        )
        return _kept(found, options)
    from llm_validation.evaluation.fairness.loading import load_items

    reference = _kept(load_items(options.data, exclusions=_exclusions(options)), options)
    return match_predictions(
        options.predictions,
        reference,
        exclusions=_exclusions(options),
        categories={item.category for item in reference.items} if options.category else (),
        field=options.field or PREDICTION,
    )


def _kept(found: ItemSet, options: Options) -> ItemSet:
    from llm_validation.evaluation.fairness.items import only_categories

    return only_categories(found, options.category)


def _asked(options: Options, inputs: dict[str, str], progress: Progress) -> tuple[ItemSet, str]:
    """The model's answers, and its name."""
    from dataclasses import replace

    from llm_validation.evaluation.fairness.answering import (
        by_generation,
        by_likelihood,
        require_texts,
    )
    from llm_validation.evaluation.fairness.items import sampled
    from llm_validation.evaluation.fairness.loading import load_items

    items = load_items(options.data or BUILTIN, exclusions=_exclusions(options))
    items = _kept(items, options)
    if options.rows is not None:
        items = sampled(items, options.rows, seed=options.seed)
    require_texts(items.items)
    loaded = load_asked(options, inputs, progress=progress)
    if options.by == "loglikelihood":
        answers = by_likelihood(items.items, loaded, progress=progress)
        failed: frozenset[str] = frozenset()
    else:
        from llm_validation.evaluation.responses import write_responses

        def respond(prompts: list[str]) -> list[str | None]:
            found = ask(
                loaded,
                [(("user", prompt),) for prompt in prompts],
                options,
                verb="evaluate bbq",
                progress=progress,
                seed=options.seed,
                engine=options.engine,
                doing="answering BBQ",
            )
            if options.out is not None:
                ids = [item.key for item in items.items]
                write_responses(options.out / "responses.jsonl", found, ids=ids)
            return [response.text for response in found]

        answers, failed = by_generation(items.items, respond)
    found = replace(items, predictions=tuple(answers), failed=failed)
    return found, loaded.name


def _print(scores: BBQScores, found: ItemSet, label: str) -> None:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from finebound.base.terminal import Console
    from llm_validation.evaluation.fairness.items import CONDITIONS, counted

    table = Table(
        title=Text(f"BBQ: {label}, {len(found.items)} items, 95 % intervals"),
        title_justify="left",
        header_style="bold",
        box=SIMPLE,
    )
    table.add_column("category\n(n)", no_wrap=True)
    for condition in CONDITIONS:
        for score in ("accuracy", "bias"):
            heading = "ambig." if condition == "ambiguous" else "disambig."
            table.add_column(f"{heading}\n{score}", justify="right", no_wrap=True)
    for category, cells in scores.categories.items():
        numbers = " / ".join(str(cells[condition].counts.n) for condition in CONDITIONS)
        row = [f"{category}\n({numbers})"]
        for condition in CONDITIONS:
            row += [_cell(cells[condition].accuracy), _cell(cells[condition].bias)]
        table.add_row(*row)
    means = [
        _cell(scores.mean(condition, score))
        for condition in CONDITIONS
        for score in ("accuracy", "bias")
    ]
    table.add_row("mean", *means, style="bold")
    console = Console()
    console.print(table)
    unread = sum(answer is None for answer in found.predictions)
    if unread:
        console.print(f"{unread} answers could not be read: wrong, and in no bias count.")
    if found.left_out:
        share = f" ({100 * found.faulty_share:.1f} % have no score)" if found.faulty else ""
        console.print(f"Left out: {counted(found.left_out)}{share}.", soft_wrap=True)


def _cell(interval: Interval) -> str:
    if isnan(interval.estimate):
        return "-"
    return f"{interval.estimate:.3f}\n{interval.lower:.2f}..{interval.upper:.2f}"
