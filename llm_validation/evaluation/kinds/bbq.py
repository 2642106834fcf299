"""``finebound evaluate bbq``: accuracy and bias on BBQ, from predictions or from a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError
from llm_validation.evaluation.asking import ask, load_asked
from llm_validation.evaluation.options import Generation, Output, require_one_source
from llm_validation.evaluation.registry import Evaluation, Work

if TYPE_CHECKING:
    from llm_validation.evaluation.fairness.items import Exclusions, ItemSet

BUILTIN = "builtin"
_SANE_SHARE = 0.2  # of rows without a score


@dataclass(frozen=True, kw_only=True)
class Options(Output, Generation):
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
    exclusions: Literal["study", "original", "none"] = "study"
    """Rows of BBQ to leave out as faulty: "study" the 200 of arXiv 2511.00382, "original" the 16
    that BBQ's authors drop."""


def evaluate(options: Options, work: Work) -> Evaluation:
    """Accuracy and bias by category and condition."""
    require_one_source(
        options.predictions,
        options.model,
        example="`finebound evaluate bbq --predictions answers.jsonl`",
        name="predictions",
    )
    if options.field is not None and options.predictions is None:
        raise InputError("`field` belongs to `predictions`.", remedy="Leave it out with `model`.")
    if options.rows is not None and (options.rows < 1 or options.model is None):
        raise InputError(
            "`rows` is a number of items to ask a model, at least 1.",
            remedy="Leave it out with `predictions`.",
        )
    from llm_validation.evaluation.fairness.record import as_result
    from llm_validation.evaluation.fairness.scores import score

    more: dict[str, Any] = {}
    if options.predictions is not None:
        found = _scored_elsewhere(options.predictions, options, work)
        label = options.label or options.predictions.stem
    else:
        found, name = _asked(options, work)
        label = options.label or name
        more["by"] = options.by
    summary = {
        **score(found.items, found.predictions or (), seed=options.seed).as_json(),
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
    work.notes += _too_faulty(found)
    record = as_result(found, label=label, summary=summary)
    return Evaluation([record], summary, code=int(found.faulty_share > _SANE_SHARE))


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


def _items(data: str, options: Options) -> ItemSet:
    from llm_validation.evaluation.fairness.items import only_categories
    from llm_validation.evaluation.fairness.loading import load_items

    return only_categories(load_items(data, exclusions=_exclusions(options)), options.category)


def _exclusions(options: Options) -> Exclusions | None:
    return None if options.exclusions == "none" else options.exclusions


def _scored_elsewhere(file: Path, options: Options, work: Work) -> ItemSet:
    from finebound.base.records import file_sha256
    from llm_validation.evaluation.fairness.items import only_categories
    from llm_validation.evaluation.fairness.reading import (
        PREDICTION,
        match_predictions,
        read_items,
    )

    exclusions, field = _exclusions(options), options.field or PREDICTION
    if options.data is None:
        found = read_items(file, exclusions=exclusions, with_predictions=True, field=field)
        found = only_categories(found, options.category)
    else:
        reference = _items(options.data, options)
        found = match_predictions(
            file,
            reference,
            exclusions=exclusions,
            categories={item.category for item in reference.items} if options.category else (),
            field=field,
        )
    if file.is_dir():
        inside = sorted(each for each in file.rglob("*") if each.is_file())
        work.inputs.update({f"predictions/{each.name}": file_sha256(each) for each in inside})
    else:
        work.inputs["predictions"] = file_sha256(file)
    return found


def _asked(options: Options, work: Work) -> tuple[ItemSet, str]:
    """The model's answers, and its name."""
    from llm_validation.evaluation.fairness.answering import answered, require_texts
    from llm_validation.evaluation.fairness.items import sampled

    items = _items(options.data or BUILTIN, options)
    if options.rows is not None:
        items = sampled(items, options.rows, seed=options.seed)
    require_texts(items.items)
    loaded = load_asked(options, work)
    keys = [item.key for item in items.items]

    def respond(prompts: list[str]) -> list[str | None]:
        turns = [(("user", prompt),) for prompt in prompts]
        found = ask(loaded, turns, options, work, ids=keys, doing="answering BBQ")
        return [response.text for response in found]

    by_letter = options.by == "generation"
    found = answered(items, loaded, respond=respond if by_letter else None, progress=work.progress)
    return found, loaded.name
