"""``finebound evaluate translation``: chrF of translations, of a file or of a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finebound.base.errors import InputError
from finebound.cli.evaluations import Evaluated, finish, made, require_one_source
from finebound.cli.evaluations.asking import ask, load_asked, require_model
from finebound.cli.options import parse

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from llm_validation.data.dataset import Dataset
    from llm_validation.evaluation.translation import Chrf, TranslationScores


@dataclass(frozen=True)
class Options:
    """chrF of translations into English (sacrebleu: beta 2, character n-grams to 6).

    --model translates the prompts of --data: "builtin" (the held-out sixth of
    builtin:task-translation), mt-pref (its held-out sixth), a folder with tatoeba.deu-eng.deu,
    tatoeba.deu-eng.eng, ..., or any dataset of prompts and reference translations. --responses
    scores translations made elsewhere (prompt and response, or as lm-eval, LLaMA-Factory and others
    write them), each prompt of --data once.

    A translation that failed counts as empty. Intervals: 95 %, bootstrap over items.

    Example: finebound evaluate translation --model packaged --rows 40 --out out

    Example: finebound evaluate translation --responses lora.jsonl --data builtin --json
    """

    responses: Path | None = None
    """File with prompt and response."""
    model: str | None = None
    """Model to ask: "packaged", a local folder or a hub id."""
    adapter: Path | None = None
    """Folder of an adapter (LoRA, QLoRA, IA3, Prompt-Tuning, P-Tuning) to put on the model."""
    data: str = "builtin"
    """Prompts with reference translations."""
    ignore_columns: tuple[str, ...] = ()
    """Columns of --data to leave unread, though they look like a part of what is asked."""
    instruction: str | None = None
    """Wraps the source texts, with {text} and perhaps {language} in it (default: the data's own
    prompts; MT-Pref's and Tatoeba's are bare sources)."""
    rows: int | None = None
    """Prompts to ask a model, a seeded sample (default: all)."""
    max_new_tokens: int = 256
    """Longest translation in tokens."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What generates: vLLM, where it is installed, is faster on a GPU."""
    cache: Path | None = None
    """Folder that keeps answers as they are made (default: finebound's cache)."""
    label: str | None = None
    """Name of the method or model in the record (default: the model's, or the file's)."""
    seed: int = 0
    """Seed of the sample and of the intervals."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for translation.json, which `finebound compare` reads, and a model's
    responses.jsonl."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="evaluate translation")
    return finish(evaluate(options), options)


def evaluate(options: Options) -> Evaluated:
    """Its result and how it is shown. Raises InputError for options that do not fit together."""
    require_model(options)
    require_one_source(
        options.responses, options.model, example="translation --model packaged --rows 40"
    )
    from finebound.base.progress import bar
    from finebound.base.records import require_folder
    from llm_validation.evaluation.translation import as_result, load_test_set, score

    if options.out is not None:
        require_folder(options.out)
    test_set = load_test_set(
        options.data, instruction=options.instruction, ignore_columns=options.ignore_columns
    )
    inputs = {"data": test_set.sha256}
    if options.responses is not None:
        translations, label = _recorded(options, test_set, inputs)
    else:
        test_set = _sample(test_set, options)
        with bar() as progress:
            translations, label = _generated(options, test_set, inputs, progress)
    scores = score(test_set, translations, seed=options.seed)
    summary = {**scores.as_json(), "label": label, "source": test_set.source}
    record = as_result(test_set, translations, scores, label=label, summary=summary)
    result = record.made_by(made(options, inputs))
    return Evaluated([result], summary, lambda: _print(scores, label))


def _sample(test_set: Dataset, options: Options) -> Dataset:
    if options.rows is None:
        return test_set
    if not 1 <= options.rows <= len(test_set):
        raise InputError(
            f"--rows is {options.rows}, and {options.data} has {len(test_set)} prompts.",
            remedy="Give a number from 1 to that.",
        )
    return test_set.take(options.rows, options.seed)


def _recorded(
    options: Options, test_set: Dataset, inputs: dict[str, str]
) -> tuple[list[str | None], str]:
    from finebound.base.records import file_sha256
    from llm_validation.evaluation.responses import align, read_responses

    if options.rows is not None:
        raise InputError("--rows is for --model.", remedy="Leave it out with --responses.")
    recorded = read_responses(options.responses)
    inputs["responses"] = file_sha256(options.responses)
    recorded = align(recorded, test_set.prompts, expected=test_set.source)
    for note in recorded.notes:
        print(note, file=sys.stderr)
    return [item.response for item in recorded.items], options.label or options.responses.stem


def _generated(
    options: Options, test_set: Dataset, inputs: dict[str, str], progress: Progress
) -> tuple[list[str | None], str]:
    from llm_validation.evaluation.responses import write_responses

    loaded = load_asked(options, inputs, progress=progress)
    verb = "evaluate translation"
    found = ask(
        loaded,
        test_set,
        options,
        verb=verb,
        progress=progress,
        engine=options.engine,
        doing="translating",
    )
    if options.out is not None:
        write_responses(options.out / "responses.jsonl", found)
    return [answer.text for answer in found], options.label or loaded.name


def _print(scores: TranslationScores, label: str) -> None:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from finebound.base.terminal import Console

    table = Table(
        title=Text(f"Translation into English: {label}"),
        title_justify="left",
        header_style="bold",
        box=SIMPLE,
    )
    table.add_column("from")
    for heading in ("n", "chrF", "95 %", "failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for language, found in scores.languages.items():
        table.add_row(Text(language), *_row(found))
    table.add_row("all", *_row(scores.total), style="bold")
    Console().print(table)


def _row(found: Chrf) -> list[str]:
    c = found.corpus
    return [str(found.n), f"{c.estimate:.1f}", f"{c.lower:.1f} to {c.upper:.1f}", str(found.failed)]
