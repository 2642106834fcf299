"""``finebound evaluate loss``: nats per token of a model on a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError
from finebound.cli.evaluations import Evaluated, finish, made
from finebound.cli.evaluations.asking import load_asked, sample_of, say
from finebound.cli.options import parse

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset
    from llm_validation.data.encoding import Encoded
    from llm_validation.estimation.model_side import LossSummary
    from llm_validation.measure.losses import Losses


@dataclass(frozen=True)
class Options:
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
    adapter: Path | None = None
    """Folder of an adapter (LoRA, QLoRA, IA3, Prompt-Tuning, P-Tuning) to put on the model."""
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
    label: str | None = None
    """Name of the method or model in the record (default: the model's)."""
    seed: int = 0
    """Seed of the sample and of the bootstrap."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for loss.json, which `finebound compare` reads."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="evaluate loss")
    return finish(evaluate(options), options)


def evaluate(options: Options) -> Evaluated:
    """Its result and how it is shown. Raises InputError for options that do not fit together."""
    if not 0.0 < options.failure_probability < 1.0:
        raise InputError(
            f"--failure-probability is {options.failure_probability:g}.",
            remedy="Give a number between 0 and 1.",
        )
    if options.drop_long and options.truncate:
        raise InputError(
            "--drop-long and --truncate are given.",
            remedy="Long rows are left out or cut: give one.",
        )
    import numpy as np

    from finebound.base.progress import bar
    from finebound.base.records import require_folder, spawn_seed
    from llm_validation.data.encoding import encode_noted
    from llm_validation.data.loading import load_dataset
    from llm_validation.data.reading import reading_lines, readings_as_json
    from llm_validation.estimation.model_side import summarise
    from llm_validation.measure.losses import measure_losses
    from llm_validation.models.virtual_tokens import virtual_tokens

    if options.out is not None:
        require_folder(options.out)
    whole = load_dataset(
        options.data,
        drop_unusable=options.drop_unusable,
        ignore_columns=options.ignore_columns,
    )
    dataset = sample_of(whole, options.data, rows=options.rows, seed=options.seed)
    inputs = {"data": dataset.sha256}
    with bar() as progress:
        loaded = load_asked(options, inputs, progress=progress)
        room = loaded.context_length - virtual_tokens(loaded.model)
        max_length = min(options.max_length or room, room)
        on_long = "drop" if options.drop_long else "truncate" if options.truncate else "error"
        encoding = encode_noted(
            dataset,
            loaded.tokenizer,
            max_length=max_length,
            on_long=on_long,
            turns=options.turns,
        )
        encoded = encoding.rows
        losses = measure_losses(
            loaded.model,
            encoded,
            pad_id=loaded.tokenizer.pad_token_id,
            progress=progress,
            doing=f"measuring losses on {dataset.name}",
        )
    vocabulary = int(loaded.model.get_output_embeddings().weight.shape[0])
    found = summarise(
        losses,
        rows_of=len(whole),
        loss_range=2.0 * float(np.log(vocabulary)),
        p=options.failure_probability,
        rng=np.random.default_rng(spawn_seed(options.seed, "loss")),
    )
    notes = [*loaded.notes, *encoding.notes]
    say([*reading_lines({"the": whole}), *encoding.notes])  # the model's are said
    summary = _summary(found, options.label or loaded.name, dataset) | {
        "turns": options.turns,
        "dropped": len(encoding.dropped),
        "cut": len(encoding.cut),
        "notes": notes,
        "reading": readings_as_json({"data": whole}),
    }
    record = _record(dataset, encoded, losses, summary).made_by(made(options, inputs))
    return Evaluated([record], summary, lambda: _print(found, options, summary["label"], dataset))


def _print(found: LossSummary, options: Options, label: str, dataset: Dataset) -> None:
    print(
        f"{label} on {dataset.name}: {found.per_token:.4f} nats per token "
        f"({found.bootstrap.lower:.4f} to {found.bootstrap.upper:.4f}), "
        f"{found.per_sequence:.2f} per answer; {found.rows} of {found.rows_of} rows, "
        f"{found.tokens_a_row:.1f} tokens each."
    )
    print(
        f"Mean over rows {found.bernstein.estimate:.4f}; of the population "
        f"{found.bernstein.lower:.4f} to {found.bernstein.upper:.4f} with probability "
        f"{1 - options.failure_probability:g} (T14; no row above {found.loss_range:.1f})."
    )


def _summary(found: LossSummary, label: str, dataset: Dataset) -> dict[str, Any]:
    return {
        "label": label,
        "source": dataset.source,
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


def _record(
    dataset: Dataset, encoded: Sequence[Encoded], losses: Losses, summary: dict[str, Any]
) -> Any:
    from finebound.results.evaluation import EvaluationResult, ScoredItem
    from llm_validation.evaluation.responses import prompt_ids

    names = prompt_ids(dataset.prompts)
    items = tuple(
        ScoredItem(
            id=names[row.row - 1],
            category=dataset.examples[row.row - 1].category,
            score=float(total / count),
            tokens=int(count),
        )
        for row, total, count in zip(encoded, losses.token_sum, losses.token_count, strict=True)
    )
    return EvaluationResult(
        evaluation="loss",
        label=summary["label"],
        score_means="nats per token of the answer; lower is better",
        items=items,
        summary=summary,
    )
