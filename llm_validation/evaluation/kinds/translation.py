"""``finebound evaluate translation``: chrF of translations, of a file or of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.base.errors import InputError
from llm_validation.evaluation.asking import ask, load_asked, sample_of
from llm_validation.evaluation.options import Generation, Output, require_one_source
from llm_validation.evaluation.registry import Evaluation, Work

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class Options(Output, Generation):
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
    data: str = "builtin"
    """Prompts with reference translations."""
    ignore_columns: tuple[str, ...] = ()
    """Columns of --data to leave unread, though they look like a part of what is asked."""
    instruction: str | None = None
    """Wraps the source texts, with {text} and perhaps {language} in it (default: the data's own
    prompts; MT-Pref's and Tatoeba's are bare sources)."""
    rows: int | None = None
    """Prompts to ask a model, a seeded sample (default: all)."""


def evaluate(options: Options, work: Work) -> Evaluation:
    """chrF of the translations, each item's own and the corpus's."""
    require_one_source(
        options.responses,
        options.model,
        example="`finebound evaluate translation --model packaged --rows 40`",
    )
    from llm_validation.evaluation.translation import as_result, load_test_set, score

    test_set = load_test_set(
        options.data, instruction=options.instruction, ignore_columns=options.ignore_columns
    )
    work.inputs["data"] = test_set.sha256
    if options.responses is not None:
        translations, label = _recorded(options.responses, options, test_set, work)
    else:
        test_set = sample_of(test_set, options.data, rows=options.rows, seed=options.seed)
        loaded = load_asked(options, work)
        answers = ask(loaded, test_set, options, work, doing="translating")
        translations, label = [answer.text for answer in answers], options.label or loaded.name
    scores = score(test_set, translations, seed=options.seed)
    summary = {**scores.as_json(), "label": label, "source": test_set.source}
    return Evaluation(
        [as_result(test_set, translations, scores, label=label, summary=summary)], summary
    )


def _recorded(
    file: Path, options: Options, test_set: Dataset, work: Work
) -> tuple[list[str | None], str]:
    from finebound.base.records import file_sha256
    from llm_validation.evaluation.responses import align, read_responses

    if options.rows is not None:
        raise InputError("`rows` is for `model`.", remedy="Leave it out with `responses`.")
    recorded = read_responses(file)
    work.inputs["responses"] = file_sha256(file)
    recorded = align(recorded, test_set.prompts, expected=test_set.source)
    work.notes += recorded.notes
    return [item.response for item in recorded.items], options.label or file.stem
