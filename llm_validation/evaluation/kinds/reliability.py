"""``finebound evaluate reliability``: the most uncertain answers referred, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finebound.base.errors import InputError
from llm_validation.evaluation.asking import ask, load_asked, notes_on, sample_of
from llm_validation.evaluation.options import Answers, Output, require_one_source, require_read
from llm_validation.evaluation.registry import Evaluation, Work

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset
    from llm_validation.evaluation.generation import Response
    from llm_validation.evaluation.reliability.assessment import Assessed
    from llm_validation.evaluation.reliability.uncertainty import TokenPredictions
    from llm_validation.models.loading import LoadedModel


@dataclass(frozen=True, kw_only=True)
class Options(Output, Answers):
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


def evaluate(options: Options, work: Work) -> Evaluation:
    """Scores by how many answers are referred, and errors of calibration."""
    _check(options)
    from llm_validation.evaluation.reliability.assessment import as_result, assess

    if options.responses is not None:
        found = _recorded(options.responses, options, work)
    else:
        found = _generated(options, work)
    reliability = assess(
        found.items,
        highest=found.highest,
        shares=[percent / 100.0 for percent in options.referral],
        bins=options.bins,
        tokens=found.tokens,
        seed=options.seed,
    )
    known = [item.uncertainty for item in found.items if item.uncertainty is not None]
    mean = sum(known) / len(known) if known else None
    summary = {
        "label": found.label,
        "source": found.source,
        "score_means": found.score_means,
        "uncertainty": {"mean": mean, "unit": found.unit},
        **reliability.as_json(),
        "notes": list(found.notes),
    }
    work.notes += found.notes
    record = as_result(
        found.items, label=found.label, score_means=found.score_means, summary=summary
    )
    return Evaluation([record], summary)


def _check(options: Options) -> None:
    require_one_source(
        options.responses,
        options.model,
        example="`finebound evaluate reliability --responses answers.jsonl`",
    )
    if options.model is not None and options.data is None:
        raise InputError("`model` needs `data`.", remedy="For example builtin:task-dialogue.")
    require_read(options.ignore_columns, options.data, name="data")
    if options.responses is not None and options.rows is not None:
        raise InputError("`rows` is for `model`.", remedy="Leave it out with `responses`.")
    if not options.referral or any(not 0.0 <= percent < 100.0 for percent in options.referral):
        raise InputError(
            f"`referral` is {' '.join(f'{p:g}' for p in options.referral) or 'empty'}.",
            remedy="Give percentages from 0 to below 100, for example 0 20 40 60 80.",
        )
    if options.bins < 1:
        raise InputError(f"`bins` is {options.bins}.", remedy="Give 1 or more.")


def _recorded(file: Path, options: Options, work: Work) -> _Found:
    from finebound.base.records import file_sha256
    from llm_validation.data.loading import load_dataset
    from llm_validation.evaluation.reliability.recorded import read_answers, read_scored
    from llm_validation.evaluation.utility import HIGHEST, MEANS

    label, source = options.label or file.stem, str(file)
    if options.data is None:
        read = read_scored(file)
        work.inputs["responses"] = file_sha256(file)
        return _Found(read.items, label, source, "score of one answer, as the file has it")
    dataset = load_dataset(options.data, ignore_columns=options.ignore_columns)
    read = read_answers(file, dataset, metric=options.metric, seed=options.seed)
    work.inputs.update(responses=file_sha256(file), data=dataset.sha256)
    return _Found(
        read.items, label, source, MEANS[options.metric], HIGHEST[options.metric], notes=read.notes
    )


def _generated(options: Options, work: Work) -> _Found:
    from llm_validation.data.loading import load_dataset
    from llm_validation.evaluation.reliability.uncertainty import encodable, predict_tokens
    from llm_validation.evaluation.utility import HIGHEST, MEANS

    assert options.data is not None
    dataset = load_dataset(options.data, ignore_columns=options.ignore_columns)
    dataset = sample_of(dataset, options.data, rows=options.rows, seed=options.seed)
    work.inputs["data"] = dataset.sha256
    loaded = load_asked(options, work)
    responses = ask(loaded, dataset, options, work)
    items = _assessed(loaded, dataset, responses, options, work)
    tokens = None
    if references := encodable(dataset, loaded):
        tokens = predict_tokens(
            loaded.model,
            references,
            pad_id=loaded.pad_id,
            progress=work.progress,
            doing="predicting the references' tokens",
        )
    return _Found(
        items,
        options.label or loaded.name,
        dataset.source,
        MEANS[options.metric],
        HIGHEST[options.metric],
        tokens,
        "nats/token",
        notes_on(responses, options.max_new_tokens),
    )


def _assessed(
    loaded: LoadedModel,
    dataset: Dataset,
    responses: Sequence[Response],
    options: Options,
    work: Work,
) -> list[Assessed]:
    from llm_validation.evaluation.reliability.assessment import Assessed
    from llm_validation.evaluation.reliability.uncertainty import answer_uncertainty
    from llm_validation.evaluation.translation import item_names
    from llm_validation.evaluation.utility import utility

    sure = answer_uncertainty(loaded, dataset, responses, progress=work.progress)
    scores = utility([r.text for r in responses], dataset.responses, metric=options.metric).items
    return [
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
