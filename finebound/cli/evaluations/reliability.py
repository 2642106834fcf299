"""``finebound evaluate reliability``: the most uncertain answers referred, and calibration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError
from finebound.cli.evaluations import Evaluated, finish, made, require_one_source, require_read
from finebound.cli.evaluations.asking import ask, load_asked, require_model, sample_of
from finebound.cli.options import parse

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from llm_validation.evaluation.reliability.assessment import Assessed, Reliability
    from llm_validation.evaluation.reliability.calibration import Calibration
    from llm_validation.evaluation.reliability.uncertainty import TokenPredictions
    from theory.confidence import Interval


@dataclass(frozen=True)
class Options:
    """Scores of answers when the most uncertain are referred to a person, and calibration.

    --model answers the prompts of --data greedily. An answer's uncertainty is its mean token
    entropy (nats/token), its score ROUGE-1 or chrF against the dataset's answer, its confidence the
    mean probability of its tokens. The least uncertain answers are kept. AUARC is the mean score
    over all coverages; beside it stand that of a perfect ordering and that of none.

    --responses reads answers made elsewhere: score and uncertainty, confidence (0 to 1) or both;
    without an uncertainty it is 1 - confidence. With --data, prompt and response stand in place of
    the score. A null score or response is an answer that failed: it scores 0 and is referred first.

    The expected calibration error compares confidence with score, and the model's probability of
    its most likely token with how often that is the reference's token. Intervals: 95 %, bootstrap
    over answers.

    Example: finebound evaluate reliability --model packaged --data builtin:task-dialogue --rows 40

    Example: finebound evaluate reliability --responses lora.jsonl --json --out out
    """

    responses: Path | None = None
    """File with score, and uncertainty or confidence."""
    model: str | None = None
    """Model to ask: "packaged", a local folder or a hub id."""
    adapter: Path | None = None
    """Folder of an adapter (LoRA, QLoRA, IA3, Prompt-Tuning, P-Tuning) to put on the model."""
    data: str | None = None
    """Prompts with reference answers."""
    ignore_columns: tuple[str, ...] = ()
    """Columns of --data to leave unread, though they look like a part of what is asked."""
    metric: Literal["rouge1", "chrf"] = "rouge1"
    """How an answer is scored: ROUGE-1's F (0 to 1) or chrF (0 to 100)."""
    referral: tuple[float, ...] = (0, 20, 40, 60, 80)
    """Percentages to refer."""
    bins: int = 10
    """Bins of the calibration error."""
    rows: int | None = None
    """Prompts to ask a model, a seeded sample (default: all)."""
    max_new_tokens: int = 128
    """Longest answer in tokens."""
    cache: Path | None = None
    """Folder that keeps answers as they are made (default: finebound's cache)."""
    label: str | None = None
    """Name of the method or model in the record (default: the model's, or the file's)."""
    seed: int = 0
    """Seed of the sample and of the intervals."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for reliability.json, which `finebound compare` reads, and a model's
    responses.jsonl."""


@dataclass(frozen=True)
class _Found:
    """Answers and what the record says of them.

    ``highest`` is the best possible score, ``unit`` that of the uncertainty where it is known.
    """

    items: Sequence[Assessed]
    label: str
    source: str
    score_means: str
    highest: float = 1.0
    tokens: TokenPredictions | None = None
    unit: str | None = None
    notes: Sequence[str] = ()


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="evaluate reliability")
    return finish(evaluate(options), options)


def evaluate(options: Options) -> Evaluated:
    """Its result and how it is shown. Raises InputError for options that do not fit together."""
    _check(options)
    from finebound.base.progress import bar
    from finebound.base.records import require_folder
    from llm_validation.evaluation.reliability.assessment import as_result, assess

    if options.out is not None:
        require_folder(options.out)
    inputs: dict[str, str] = {}
    if options.responses is not None:
        found = _recorded(options, inputs)
    else:
        with bar() as progress:
            found = _generated(options, inputs, progress)
    reliability = assess(
        found.items,
        highest=found.highest,
        shares=[percent / 100.0 for percent in options.referral],
        bins=options.bins,
        tokens=found.tokens,
        seed=options.seed,
    )
    summary = {
        "label": found.label,
        "source": found.source,
        "score_means": found.score_means,
        "uncertainty": {"mean": _mean_uncertainty(found.items), "unit": found.unit},
        **reliability.as_json(),
        "notes": list(found.notes),
    }
    for note in found.notes:
        print(note, file=sys.stderr)
    record = as_result(
        found.items, label=found.label, score_means=found.score_means, summary=summary
    )
    result = record.made_by(made(options, inputs))
    return Evaluated([result], summary, lambda: _print(reliability, found))


def _check(options: Options) -> None:
    require_model(options)
    require_one_source(
        options.responses, options.model, example="reliability --responses answers.jsonl"
    )
    if options.model is not None and options.data is None:
        raise InputError(
            "--model needs --data.", remedy="For example --data builtin:task-dialogue."
        )
    require_read(options.ignore_columns, options.data, flag="--data")
    if options.responses is not None and options.rows is not None:
        raise InputError("--rows is for --model.", remedy="Leave it out with --responses.")
    if not options.referral or any(not 0.0 <= percent < 100.0 for percent in options.referral):
        raise InputError(
            f"--referral is {' '.join(f'{p:g}' for p in options.referral) or 'empty'}.",
            remedy="Give percentages from 0 to below 100, for example --referral 0 20 40 60 80.",
        )
    if options.bins < 1:
        raise InputError(f"--bins is {options.bins}.", remedy="Give 1 or more.")


def _recorded(options: Options, inputs: dict[str, str]) -> _Found:
    from finebound.base.records import file_sha256
    from llm_validation.data.loading import load_dataset
    from llm_validation.evaluation.reliability.recorded import read_answers, read_scored
    from llm_validation.evaluation.utility import HIGHEST, MEANS

    label, source = options.label or options.responses.stem, str(options.responses)
    if options.data is None:
        read = read_scored(options.responses)
        inputs["responses"] = file_sha256(options.responses)
        return _Found(read.items, label, source, "score of one answer, as the file has it")
    dataset = load_dataset(options.data, ignore_columns=options.ignore_columns)
    read = read_answers(options.responses, dataset, metric=options.metric, seed=options.seed)
    inputs.update(responses=file_sha256(options.responses), data=dataset.sha256)
    return _Found(
        read.items, label, source, MEANS[options.metric], HIGHEST[options.metric], notes=read.notes
    )


def _generated(options: Options, inputs: dict[str, str], progress: Progress) -> _Found:
    from llm_validation.data.loading import load_dataset
    from llm_validation.evaluation.reliability.assessment import Assessed
    from llm_validation.evaluation.reliability.uncertainty import (
        answer_uncertainty,
        encodable,
        predict_tokens,
    )
    from llm_validation.evaluation.responses import write_responses
    from llm_validation.evaluation.translation import item_names
    from llm_validation.evaluation.utility import HIGHEST, MEANS, utility

    dataset = load_dataset(options.data, ignore_columns=options.ignore_columns)
    dataset = sample_of(dataset, options.data, rows=options.rows, seed=options.seed)
    inputs["data"] = dataset.sha256
    loaded = load_asked(options, inputs, progress=progress)
    responses = ask(loaded, dataset, options, verb="evaluate reliability", progress=progress)
    sure = answer_uncertainty(loaded, dataset, responses, progress=progress)
    tokens = None
    if references := encodable(dataset, loaded):
        tokens = predict_tokens(
            loaded.model,
            references,
            pad_id=loaded.tokenizer.pad_token_id,
            progress=progress,
            doing="predicting the references' tokens",
        )
    if options.out is not None:
        write_responses(options.out / "responses.jsonl", responses)
    scores = utility([r.text for r in responses], dataset.responses, metric=options.metric).items
    items = [
        Assessed(
            id=item,
            category=example.category,
            score=None if response.text is None else score,
            uncertainty=None if entropy != entropy else float(entropy),
            confidence=None if confidence != confidence else float(confidence),
        )
        for item, example, response, score, entropy, confidence in zip(
            item_names(dataset),
            dataset.examples,
            responses,
            scores,
            sure.entropy,
            sure.confidence,
            strict=True,
        )
    ]
    notes = []
    if failed := [r.error for r in responses if r.text is None]:
        notes.append(
            f"{len(failed)} of {len(responses)} answers could not be generated: {failed[0]}."
        )
    if cut := sum(not r.finished and r.text is not None for r in responses):
        notes.append(
            f"{cut} of {len(responses)} answers were cut at {options.max_new_tokens} tokens."
        )
    return _Found(
        items,
        options.label or loaded.name,
        dataset.source,
        MEANS[options.metric],
        HIGHEST[options.metric],
        tokens,
        "nats/token",
        notes,
    )


def _mean_uncertainty(items: Sequence[Assessed]) -> float | None:
    known = [item.uncertainty for item in items if item.uncertainty is not None]
    return sum(known) / len(known) if known else None


def _print(reliability: Reliability, found: _Found) -> None:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from finebound.base.terminal import Console

    digits = 2 if found.highest > 1.0 else 4
    table = Table(
        title=Text(f"Reliability: {found.label}, {reliability.n} answers ({found.score_means})"),
        title_justify="left",
        header_style="bold",
        box=SIMPLE,
    )
    table.add_column("referred")
    for heading in ("kept", "score", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for kept in reliability.referral.kept:
        table.add_row(f"{100 * kept.referred:g} %", str(kept.n), *_row(kept.score, digits))
    ordered = reliability.referral
    table.add_row("AUARC", "", *_row(ordered.auarc, digits), style="bold")
    table.add_row("less no ordering", "", *_row(ordered.gain, digits))
    console = Console()
    console.print(table)
    console.print(
        f"AUARC of a perfect ordering: {ordered.oracle:.{digits}f}; of none: "
        f"{ordered.random:.{digits}f}."
    )
    mean = _mean_uncertainty(found.items)
    if mean is not None:
        console.print(f"Mean uncertainty: {mean:.4g} {found.unit or ''}".rstrip() + ".")
    for what, errors in (("answers", reliability.answers), ("tokens", reliability.tokens)):
        if errors is not None:
            console.print(f"Calibration error of {what}: {'; '.join(map(_error, errors))}.")
    for count, what in (
        (reliability.failed, "failed: scored 0 and referred first"),
        (reliability.unmeasured, "have no uncertainty: referred first"),
    ):
        if count:
            console.print(f"{count} of {reliability.n} answers {what}.")


def _row(found: Interval, digits: int) -> tuple[str, str]:
    return (
        f"{found.estimate:.{digits}f}",
        f"{found.lower:.{digits}f} to {found.upper:.{digits}f}",
    )


def _error(found: Calibration) -> str:
    error: Any = found.error
    return (
        f"{error.estimate:.3f} ({error.lower:.3f} to {error.upper:.3f}) "
        f"in bins of equal {found.binning}"
    )
