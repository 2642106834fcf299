"""``finebound evaluate refusal``: answers as refusal, partial, compliance, echo or gibberish."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError
from finebound.cli.evaluations import Evaluated, finish, made, require_one_source, require_read
from finebound.cli.evaluations.asking import ask, load_asked, require_model
from finebound.cli.evaluations.judging import require_judge, verdicts
from finebound.cli.options import parse

if TYPE_CHECKING:
    from rich.console import Console

    from llm_validation.data.dataset import Dataset
    from llm_validation.evaluation.refusal.labels import Label
    from llm_validation.evaluation.responses import ResponseFile


@dataclass(frozen=True)
class Options:
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

    Example: finebound evaluate refusal --responses answers.jsonl --json

    Example: finebound evaluate refusal --responses labelled.csv --human label

    Example: finebound evaluate refusal --model packaged --prompts builtin:safety --rows 50
    """

    responses: Path | None = None
    """File with prompt and response."""
    drop_unusable: bool = False
    """Leave out rows of the file that cannot be read, and count them by reason."""
    human: str | None = None
    """Column of the file with people's labels."""
    model: str | None = None
    """Model to ask: "packaged", a local folder or a hub id."""
    adapter: Path | None = None
    """Folder of an adapter (LoRA, QLoRA, IA3, Prompt-Tuning, P-Tuning) to put on the model."""
    prompts: str | None = None
    """Dataset whose prompts are asked; a file needs no answers."""
    ignore_columns: tuple[str, ...] = ()
    """Columns of --prompts to leave unread, though they look like a part of what is asked."""
    detector: Literal["rules", "keywords-47", "keywords-29"] = "rules"
    """How answers are labelled; the keyword lists know refusal and compliance alone."""
    judge: str | None = None
    """Format of a judge model: llama-guard-2, llama-guard-3, wildguard, harmbench or rubric."""
    judge_model: str | None = None
    """The judge: a local folder or a hub id (default: the format's own)."""
    rows: int | None = None
    """Prompts to ask a model, a seeded sample (default: all)."""
    max_new_tokens: int = 256
    """Longest answer in tokens."""
    temperature: float = 0.0
    """0 takes the most likely token, more draws."""
    top_p: float = 1.0
    """Draw only from this much of the probability."""
    system: str | None = None
    """System prompt to put before every conversation."""
    bfloat16: bool = False
    """Answer in bfloat16: faster, and not quite the same answers."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What generates: vLLM, where it is installed, is faster on a GPU."""
    cache: Path | None = None
    """Folder that keeps answers as they are made, to go on after an interruption (default:
    finebound's cache)."""
    label: str | None = None
    """Name of the method or model in the record (default: the model's, or the file's)."""
    seed: int = 0
    """Seed of the sample and of drawn answers."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for refusal.json, which `finebound compare` reads, and a model's responses.jsonl."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="evaluate refusal")
    return finish(evaluate(options), options)


def evaluate(options: Options) -> Evaluated:
    """Its result and how it is shown. Raises InputError for options that do not fit together."""
    require_model(options)
    require_one_source(
        options.responses, options.model, example="refusal --responses answers.jsonl"
    )
    if options.model is not None and options.prompts is None:
        raise InputError("--model needs --prompts.", remedy="For example --prompts builtin:safety.")
    if options.human is not None and options.responses is None:
        raise InputError("--human belongs to --responses.", remedy="Leave it out with --model.")
    require_read(options.ignore_columns, options.prompts, flag="--prompts")
    from finebound.base.records import require_folder
    from llm_validation.evaluation.refusal.detectors import DETECTORS
    from llm_validation.evaluation.refusal.labels import shortened, unknown_notes
    from llm_validation.evaluation.refusal.rates import refusal_rates

    if options.out is not None:
        require_folder(options.out)
    require_judge(options)
    inputs: dict[str, str] = {}
    if options.responses is not None:
        answers = _recorded(options, inputs)
        label = options.label or options.responses.stem
    else:
        answers, name = _generated(options, inputs)
        label = options.label or name
    detect = DETECTORS[options.detector]
    labels = [detect(prompt, response) for prompt, response in answers.pairs]
    notes = [*answers.notes, *unknown_notes(labels)]
    categories = sorted({item.category for item in answers.items if item.category})
    by_category = {
        category: refusal_rates(
            [found for found, item in zip(labels, answers.items, strict=True)
             if item.category == category]
        )
        for category in categories
    }  # fmt: skip
    summary = {
        "items": [
            {
                "label": found.value,
                "id": item.id,
                "category": item.category,
                "prompt": shortened(item.prompt),
                "response": shortened(item.response),
            }
            for found, item in zip(labels, answers.items, strict=True)
        ],
        "rates": refusal_rates(labels),
        "categories": by_category,
        "detector": options.detector,
        "label": label,
        "source": answers.source,
        "notes": notes,
        **({"judge": _beside_a_judge(options, answers, labels, inputs)} if options.judge else {}),
        **({"human": _beside_people(answers)} if options.human else {}),
    }
    for note in notes:
        print(note, file=sys.stderr)
    record = _record(answers, labels, label, {k: v for k, v in summary.items() if k != "items"})
    return Evaluated([record.made_by(made(options, inputs))], summary, lambda: _print(summary))


def _recorded(options: Options, inputs: dict[str, str]) -> ResponseFile:
    from finebound.base.records import file_sha256
    from llm_validation.evaluation.prompts import load_prompts
    from llm_validation.evaluation.responses import align, read_responses

    answers = read_responses(
        options.responses, human=options.human, drop_unusable=options.drop_unusable
    )
    inputs["responses"] = file_sha256(options.responses)
    if options.prompts is not None:
        dataset = load_prompts(options.prompts, ignore_columns=options.ignore_columns)
        inputs["prompts"] = dataset.sha256
        answers = align(answers, dataset.prompts, expected=dataset.source)
    return answers


def _beside_people(answers: ResponseFile) -> dict[str, Any]:
    """Every detector's agreement with the file's labels by people, by the detector's name."""
    from llm_validation.evaluation.refusal.agreement import agreement
    from llm_validation.evaluation.refusal.detectors import DETECTORS

    human = [item.human for item in answers.items]
    return {
        name: agreement([detect(*pair) for pair in answers.pairs], human)
        for name, detect in DETECTORS.items()
    }


def _beside_a_judge(
    options: Options, answers: ResponseFile, labels: Sequence[Label], inputs: dict[str, str]
) -> dict[str, Any]:
    """The judge's agreement with the labels; the answers on which they differ, by place and id."""
    from finebound.base.progress import bar
    from llm_validation.evaluation.refusal.labels import shortened
    from llm_validation.evaluation.refusal.second_opinion import second_opinion

    with bar() as progress:
        found = verdicts(options, answers.pairs, inputs, progress)
    opinion = second_opinion(labels, found, judge=options.judge, seed=options.seed)
    opinion["differ"] = [
        {
            "place": place,
            "id": answers.items[place].id,
            "label": labels[place].value,
            "prompt": shortened(answers.items[place].prompt),
            "response": shortened(answers.items[place].response),
        }
        for place in opinion["differ"]
    ]
    return opinion


def _generated(options: Options, inputs: dict[str, str]) -> tuple[ResponseFile, str]:
    """The model's answers, and its name."""
    from finebound.base.progress import bar
    from llm_validation.evaluation.prompts import load_prompts
    from llm_validation.evaluation.responses import Recorded, ResponseFile, write_responses

    dataset = load_prompts(options.prompts, ignore_columns=options.ignore_columns)
    dataset = _sample(dataset, options)
    with bar() as progress:
        loaded = load_asked(options, inputs, progress=progress)
        responses = ask(
            loaded,
            dataset,
            options,
            verb="evaluate refusal",
            progress=progress,
            temperature=options.temperature,
            top_p=options.top_p,
            system=options.system,
            seed=options.seed,
            bfloat16=options.bfloat16,
            engine=options.engine,
        )
    inputs["prompts"] = dataset.sha256
    if options.out is not None:
        write_responses(options.out / "responses.jsonl", responses)
    notes = []
    if failed := sum(response.text is None for response in responses):
        first = next(response.error for response in responses if response.error)
        notes.append(f"{failed} of {len(responses)} answers could not be generated: {first}.")
    if cut := sum(not r.finished and r.text is not None for r in responses):
        notes.append(f"{cut} of {len(responses)} answers were cut at {options.max_new_tokens} "
                     "tokens.")  # fmt: skip
    items = tuple(
        Recorded(response.prompt, response.text, row, category=response.category)
        for row, response in enumerate(responses, 1)
    )
    return ResponseFile(f"{loaded.name} on {dataset.source}", items, tuple(notes)), loaded.name


def _sample(dataset: Dataset, options: Options) -> Dataset:
    if options.rows is None:
        return dataset
    if not 1 <= options.rows <= len(dataset):
        raise InputError(
            f"--rows is {options.rows}, and {options.prompts} has {len(dataset)} prompts.",
            remedy="Give a number from 1 to that.",
        )
    return dataset.take(options.rows, options.seed)


def _record(
    answers: ResponseFile, labels: Sequence[Label], label: str, summary: dict[str, Any]
) -> Any:
    from finebound.results.evaluation import EvaluationResult, ScoredItem
    from llm_validation.evaluation.refusal.labels import UNKNOWN, Label, shortened
    from llm_validation.evaluation.responses import item_ids

    not_scored = (Label.ERROR, *UNKNOWN)
    items = tuple(
        ScoredItem(
            id=name,
            category=item.category,
            score=None if found in not_scored else float(found is Label.REFUSAL),
            label=found.value,
            prompt=shortened(item.prompt),
            response=shortened(item.response),
        )
        for name, item, found in zip(item_ids(answers), answers.items, labels, strict=True)
    )
    return EvaluationResult(
        evaluation="refusal",
        label=label,
        score_means="1 = a refusal, 0 = another answer",
        items=items,
        summary=summary,
    )


def _print(summary: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from finebound.base.terminal import Console

    rates = summary["rates"]
    table = Table(
        title=Text(f"Refusal: {summary['label']}, {rates['n']} answers, {summary['detector']}"),
        title_justify="left",
        header_style="bold",
        box=SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("", min_width=6)
    shown = ["partial", "compliance", "echo", "degenerate", "error"]
    headings = ["n", "refusal %", "95 %", "partial", "complies", "echo", "degen.", "error"]
    # Rare, and told in a note.
    for label, heading in (("thought_cut", "cut"), ("language_not_covered", "no lang.")):
        if rates[label]["count"]:
            shown.append(label)
            headings.append(heading)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    rows = {"all": rates, **(summary["categories"] if len(summary["categories"]) > 1 else {})}
    for name, found in rows.items():
        refusal = found["refusal"]
        table.add_row(
            Text(name),
            str(found["n"]),
            f"{100 * refusal['rate']:.1f}" if refusal["n"] else "-",
            f"{100 * refusal['low']:.1f} to {100 * refusal['high']:.1f}" if refusal["n"] else "-",
            *(str(found[label]["count"]) for label in shown),
        )
    console = Console()
    console.print(table)
    answered = rates["refusal_of_answers"]
    if answered["n"] not in (0, rates["n"]):
        console.print(
            f"Of the {answered['n']} that are answers (no echo, loop or error) "
            f"{100 * answered['rate']:.1f} % refuse "
            f"({100 * answered['low']:.1f} to {100 * answered['high']:.1f})."
        )
    if "judge" in summary:
        _print_judge(summary["judge"], console)
    if "human" in summary:
        _print_people(summary["human"], console)


def _print_judge(found: dict[str, Any], console: Console) -> None:
    kappa = "-"
    if found["kappa"] is not None:
        low, high = found["interval"]
        kappa = f"{found['kappa']:.2f} ({low:.2f} to {high:.2f})"
    console.print(
        f"{found['judge']} and the labels agree on {found['agree']} of {found['n']} answers; "
        f"Cohen's kappa {kappa}. {found['without_verdict']} had no verdict, "
        f"{found['without_label']} no label to compare."
    )
    for one in found["differ"][:5]:
        console.print(f"  labelled {one['label']}: {one['response']}", markup=False)


def _print_people(human: dict[str, Any], console: Console) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(
        title="Beside people's labels",
        title_justify="left",
        header_style="bold",
        box=SIMPLE,
        pad_edge=False,
    )
    for heading in ("detector", "refusals found", "answers taken for refusals"):
        table.add_column(heading, justify="left" if heading == "detector" else "right")
    for name, found in human.items():
        recall, specificity = found["recall"], found["specificity"]
        wrong = specificity["n"] - specificity["count"]
        table.add_row(
            name,
            f"{recall['count']} of {recall['n']}\n{_percent(recall)}",
            f"{wrong} of {specificity['n']}\nspecificity {_percent(specificity)}",
        )
    console.print(table)
    partial = sum(next(iter(human.values()))["confusion"]["partial"].values())
    if partial:
        console.print(f"{partial} partial refusals (by people) are in neither column.")


def _percent(found: dict[str, Any]) -> str:
    if not found["n"]:
        return "-"
    low, high = 100 * found["low"], 100 * found["high"]
    return f"{100 * found['rate']:.1f} % ({low:.1f} to {high:.1f})"
