"""``finebound evaluate loss``: nats per token of a model on a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError
from llm_validation.evaluation.asking import load_asked, sample_of
from llm_validation.evaluation.options import Model, Output
from llm_validation.evaluation.registry import Evaluation, Work

if TYPE_CHECKING:
    from finebound.results.estimate import ModelLoss
    from finebound.results.evaluation import ScoredItem
    from llm_validation.data.dataset import Dataset
    from llm_validation.data.encoding import OnLong


@dataclass(frozen=True, kw_only=True)
class Options(Output, Model):
    """The loss of a model on the answers of a dataset: nats per token, with intervals over rows.

    The bootstrap interval (95 %) is for the tokens of all answers together. The second one (T14)
    covers the population's mean over rows with probability 1 - p, if no row's mean loss leaves the
    range that it names.

    Example: finebound evaluate loss --model packaged --data builtin:safety --rows 64
    """

    data: str
    """Dataset with prompts and answers."""
    model: str = "packaged"
    """Model to measure: "packaged", a local folder or a hub id."""
    drop_unusable: bool = False
    """Leave out rows that cannot be read as an example instead of refusing the file."""
    ignore_columns: tuple[str, ...] = ()
    """Columns to leave unread, though they look like a part of what is asked or answered."""
    rows: int | None = None
    """Rows to measure, a seeded sample (default: all)."""
    max_length: int | None = None
    """Longest row in tokens (default: the model's context)."""
    turns: Literal["all", "last"] = "all"
    """Which assistant turns are counted: every one, as trainers learn them, or the last."""
    drop_long: bool = False
    """Leave out rows with more tokens than fit."""
    truncate: bool = False
    """Keep the first tokens of rows with more than fit, as trainers do."""
    failure_probability: float = 0.05
    """Of the second interval."""


def evaluate(options: Options, work: Work) -> Evaluation:
    """The loss of every row, and over all with two intervals."""
    if not 0.0 < options.failure_probability < 1.0:
        raise InputError(
            f"`failure_probability` is {options.failure_probability:g}.",
            remedy="Give a number between 0 and 1.",
        )
    if options.drop_long and options.truncate:
        raise InputError(
            "`drop_long` and `truncate` are given.",
            remedy="Long rows are left out or cut: give one.",
        )
    import numpy as np

    from finebound.base.records import spawn_seed
    from finebound.results.evaluation import EvaluationResult
    from llm_validation.data.encoding import encode_noted
    from llm_validation.data.loading import load_dataset
    from llm_validation.data.reading import reading_lines, readings_as_json
    from llm_validation.measure.loss_summary import summarise
    from llm_validation.measure.losses import measure_losses
    from llm_validation.models.virtual_tokens import virtual_tokens

    whole = load_dataset(
        options.data,
        drop_unusable=options.drop_unusable,
        ignore_columns=options.ignore_columns,
    )
    dataset = sample_of(whole, options.data, rows=options.rows, seed=options.seed)
    work.inputs["data"] = dataset.sha256
    loaded = load_asked(options, work)
    room = loaded.context_length - virtual_tokens(loaded.model)
    on_long: OnLong = "drop" if options.drop_long else "truncate" if options.truncate else "error"
    encoding = encode_noted(
        dataset,
        loaded.tokenizer,
        max_length=min(options.max_length or room, room),
        on_long=on_long,
        turns=options.turns,
    )
    losses = measure_losses(
        loaded.model,
        encoding.rows,
        pad_id=loaded.pad_id,
        progress=work.progress,
        doing=f"measuring losses on {dataset.name}",
    )
    found = summarise(
        losses,
        rows_of=len(whole),
        loss_range=2.0 * float(np.log(loaded.vocabulary)),
        p=options.failure_probability,
        rng=np.random.default_rng(spawn_seed(options.seed, "loss")),
    )
    work.notes += [*reading_lines({"the": whole}), *encoding.notes]
    label = options.label or loaded.name
    summary = {
        "label": label,
        "source": dataset.source,
        **_as_json(found),
        "failure_probability": options.failure_probability,
        "turns": options.turns,
        "dropped": len(encoding.dropped),
        "cut": len(encoding.cut),
        "notes": [*loaded.notes, *encoding.notes],
        "reading": readings_as_json({"data": whole}),
    }
    places = [row.row - 1 for row in encoding.rows]
    record = EvaluationResult(
        evaluation="loss",
        label=label,
        score_means="nats per token of the answer; lower is better",
        items=_items(dataset, places, losses.token_sum.tolist(), losses.token_count.tolist()),
        summary=summary,
    )
    return Evaluation([record], summary)


def _as_json(found: ModelLoss) -> dict[str, Any]:
    return {
        "per_token": found.per_token,
        "per_token_interval": [found.bootstrap.lower, found.bootstrap.upper],
        "per_sequence": found.per_sequence,
        "mean_over_rows": found.bernstein.estimate,
        "population_interval": [found.bernstein.lower, found.bernstein.upper],
        "loss_range": found.loss_range,
        "tokens_a_row": found.tokens_a_row,
        "rows": found.rows,
        "rows_of": found.rows_of,
        "unit": "nats/token",
    }


def _items(
    dataset: Dataset, places: list[int], sums: list[float], counts: list[int]
) -> tuple[ScoredItem, ...]:
    """The loss of each row, by the name of its prompt."""
    from finebound.results.evaluation import ScoredItem
    from llm_validation.evaluation.responses import prompt_ids

    names = prompt_ids(dataset.prompts)
    return tuple(
        ScoredItem.model_validate(
            {
                "id": names[place],
                "category": dataset.examples[place].category,
                "score": total / count,
                "tokens": count,
            }
        )
        for place, total, count in zip(places, sums, counts, strict=True)
    )
