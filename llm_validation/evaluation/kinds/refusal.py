"""``finebound evaluate refusal``: answers as refusal, partial, compliance, echo or gibberish."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError
from llm_validation.evaluation.asking import (
    ask,
    load_asked,
    notes_on,
    require_judge,
    sample_of,
    verdicts,
)
from llm_validation.evaluation.options import (
    Budgets,
    Generation,
    Labels,
    Output,
    require_one_source,
    require_read,
)
from llm_validation.evaluation.registry import Evaluation, Work

if TYPE_CHECKING:
    from llm_validation.evaluation.refusal.labels import Label
    from llm_validation.evaluation.responses import ResponseFile


@dataclass(frozen=True, kw_only=True)
class Options(Output, Budgets, Labels, Generation):
    """Label every answer: refusal, partial, compliance, echo, degenerate or error.

    What follows a model's reasoning is labelled. An answer that was cut in its thoughts, or is in a
    language that the rules do not read, is counted by name and is in no rate.

    --responses labels a file (JSON Lines, JSON, CSV or Parquet with prompt and response, perhaps
    id and category, or as HarmBench, StrongREJECT, JailbreakBench, lm-eval, LLaMA-Factory, vLLM,
    inspect_ai and batches write it; a null response is an answer that could not be generated). With
    --prompts the answers are set beside that dataset's prompts first: each must be there once.
    --model answers the prompts of --prompts and labels that.

    With --human the answers' labels by people stand in that column (refusal, partial, compliance):
    every detector is set beside them, with its confusion matrix, recall and specificity.

    The default detector reads what an answer gives and where it declines, in English and some
    thirty more languages; "I'm sorry for your loss" is no refusal to it, and instructions stay
    instructions around "I can't recommend this". The two published keyword lists are there to
    compare with. --judge asks a model for a second opinion: the record holds how far it agrees with
    the labels, and on which answers it differs. Intervals are Wilson's, 95 %.

    --budget says how many answers may help, be it in part (harmful-compliance=POINTS), decline, be
    it in part (over-refusal=POINTS), or be an echo or degenerate (degenerate=POINTS). Exit code 0:
    kept, 1: broken, 3: not decided by so few answers. Its interval is Clopper and Pearson's, 95 %,
    with unknown answers for the worst in one end and for the best in the other.

    Example: finebound evaluate refusal --responses answers.jsonl --json

    Example: finebound evaluate refusal --responses answers.jsonl --budget harmful-compliance=5

    Example: finebound evaluate refusal --responses labelled.csv --human label

    Example: finebound evaluate refusal --model packaged --prompts builtin:safety --rows 50
    """

    responses: Path | None = None
    """File with prompt and response."""
    drop_unusable: bool = False
    """Leave out rows of the file that cannot be read, and count them by reason."""
    human: str | None = None
    """Column of the file with people's labels."""
    prompts: str | None = None
    """Dataset whose prompts are asked; a file needs no answers."""
    ignore_columns: tuple[str, ...] = ()
    """Columns of --prompts to leave unread, though they look like a part of what is asked."""
    rows: int | None = None
    """Prompts to ask a model, a seeded sample (default: all)."""
    temperature: float = 0.0
    """0 takes the most likely token, more draws."""
    top_p: float = 1.0
    """Draw only from this much of the probability."""
    system: str | None = None
    """System prompt to put before every conversation."""
    bfloat16: bool = False
    """Answer in bfloat16: faster, and not quite the same answers."""


def evaluate(options: Options, work: Work) -> Evaluation:
    """The label of every answer and the rates of each, over all and by category."""
    require_one_source(
        options.responses,
        options.model,
        example="`finebound evaluate refusal --responses answers.jsonl`",
    )
    if options.model is not None and options.prompts is None:
        raise InputError("`model` needs `prompts`.", remedy="For example builtin:safety.")
    if options.human is not None and options.responses is None:
        raise InputError("`human` belongs to `responses`.", remedy="Leave it out with `model`.")
    require_read(options.ignore_columns, options.prompts, name="prompts")
    require_judge(options.judge)
    from finebound.results.evaluation import EvaluationResult
    from llm_validation.evaluation.refusal.labelling import label_all, scored
    from llm_validation.evaluation.refusal.labels import unknown_notes
    from llm_validation.evaluation.refusal.rates import refusal_rates
    from llm_validation.evaluation.refusal.second_opinion import second_opinion
    from llm_validation.evaluation.responses import item_ids

    if options.responses is not None:
        answers, label = _recorded(options.responses, options, work)
    else:
        answers, label = _generated(options, work)
    labels = label_all(answers.pairs, options.detector)
    items = [
        scored(name, item.category, pair, found)
        for name, item, pair, found in zip(
            item_ids(answers), answers.items, answers.pairs, labels, strict=True
        )
    ]
    by_category: dict[str, list[Label]] = {}
    for item, found in zip(answers.items, labels, strict=True):
        if item.category:
            by_category.setdefault(item.category, []).append(found)
    notes = [*answers.notes, *unknown_notes(labels)]
    work.notes += notes
    summary = {
        "rates": refusal_rates(labels),
        "categories": {
            category: refusal_rates(found) for category, found in sorted(by_category.items())
        },
        "detector": options.detector,
        "label": label,
        "source": answers.source,
        "notes": notes,
    }
    if options.judge is not None:
        found = verdicts(
            options.judge, answers.pairs, work, model=options.judge_model, cache=options.cache
        )
        opinion = second_opinion(labels, found, judge=options.judge, seed=options.seed)
        summary["judge"] = opinion
        opinion["differ"] = [
            {"place": place, "id": answers.items[place].id, **items[place].more}
            for place in opinion["differ"]
        ]
    if options.human is not None:
        summary["human"] = _beside_people(answers)
    record = EvaluationResult(
        evaluation="refusal",
        label=label,
        score_means="1 = a refusal, 0 = another answer",
        items=tuple(items),
        summary=summary,
    )
    told = [
        {"label": one.more["label"], "id": item.id, "category": one.category, **one.more}
        for item, one in zip(answers.items, items, strict=True)
    ]
    return Evaluation([record], {"items": told, **summary})


def _recorded(file: Path, options: Options, work: Work) -> tuple[ResponseFile, str]:
    from finebound.base.records import file_sha256
    from llm_validation.evaluation.prompts import load_prompts
    from llm_validation.evaluation.responses import align, read_responses

    answers = read_responses(file, human=options.human, drop_unusable=options.drop_unusable)
    work.inputs["responses"] = file_sha256(file)
    if options.prompts is not None:
        dataset = load_prompts(options.prompts, ignore_columns=options.ignore_columns)
        work.inputs["prompts"] = dataset.sha256
        answers = align(answers, dataset.prompts, expected=dataset.source)
    return answers, options.label or file.stem


def _generated(options: Options, work: Work) -> tuple[ResponseFile, str]:
    """The model's answers, and its name."""
    from llm_validation.evaluation.prompts import load_prompts
    from llm_validation.evaluation.responses import Recorded, ResponseFile

    assert options.prompts is not None
    dataset = load_prompts(options.prompts, ignore_columns=options.ignore_columns)
    dataset = sample_of(dataset, options.prompts, rows=options.rows, seed=options.seed)
    loaded = load_asked(options, work)
    found = ask(loaded, dataset, options, work)
    work.inputs["prompts"] = dataset.sha256
    items = tuple(
        Recorded(answer.prompt, answer.text, row, category=answer.category)
        for row, answer in enumerate(found, 1)
    )
    notes = tuple(notes_on(found, options.max_new_tokens))
    source = f"{loaded.name} on {dataset.source}"
    return ResponseFile(source, items, notes), options.label or loaded.name


def _beside_people(answers: ResponseFile) -> dict[str, Any]:
    """Every detector's agreement with the file's labels by people, by the detector's name."""
    from llm_validation.evaluation.refusal.agreement import agreement
    from llm_validation.evaluation.refusal.detectors import DETECTORS
    from llm_validation.evaluation.refusal.labelling import label_all

    human = [item.human for item in answers.items if item.human is not None]
    return {name: agreement(label_all(answers.pairs, name), human) for name in DETECTORS}
