"""The one way to ask: a model for its answers, kept as they are made, or a judge for verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from llm_validation.data.dataset import Dataset
    from llm_validation.evaluation.generation import Response, Turns
    from llm_validation.evaluation.judges import Judgement
    from llm_validation.evaluation.options import Answers, Model
    from llm_validation.evaluation.registry import Work
    from llm_validation.models.loading import LoadedModel

RESPONSES = "responses.jsonl"
_HOW = ("max_new_tokens", "temperature", "top_p", "system", "seed", "bfloat16", "engine")


def load_asked(options: Model, work: Work) -> LoadedModel:
    """The model of the options with its adapter, if any, on the GPU where there is one.

    The hashes of both become inputs of the record, what the adapter changed a note. Raises
    InputError as ``load_model`` and ``with_adapter``.
    """
    from llm_validation.models.loading import load_model, on_device
    from llm_validation.models.tuned import adapter_sha256, with_adapter

    assert options.model is not None, "the options name no model"
    # An adapter that is not there is said before gigabytes are loaded.
    adapter = None if options.adapter is None else adapter_sha256(options.adapter)
    loaded = load_model(
        options.model, placement=options, whole=adapter is not None, progress=work.progress
    )
    work.inputs["model"] = loaded.sha256
    if adapter is not None and options.adapter is not None:
        work.inputs["adapter"] = adapter
        loaded = with_adapter(loaded, options.adapter)
    work.notes += loaded.notes
    return on_device(loaded)


def ask(
    loaded: LoadedModel,
    prompts: Dataset | Sequence[Turns],
    options: Answers,
    work: Work,
    *,
    ids: Sequence[str] | None = None,
    doing: str = "answering prompts",
) -> list[Response]:
    """One answer to every prompt as the options say; in their folder ``out`` as responses.jsonl.

    Raises InputError for settings out of range.
    """
    out = getattr(options, "out", None)
    try:
        return answers_of(
            loaded,
            prompts,
            file=None if out is None else out / RESPONSES,
            ids=ids,
            cache=options.cache,
            progress=work.progress,
            doing=doing,
            **{name: getattr(options, name) for name in _HOW if hasattr(options, name)},
        )
    except ValueError as error:
        raise InputError(f"{error}.", remedy="See the help of this evaluation.") from None


def answers_of(
    loaded: LoadedModel,
    prompts: Dataset | Sequence[Turns],
    *,
    file: Path | None = None,
    ids: Sequence[str] | None = None,
    cache: Path | None = None,
    progress: Progress,
    doing: str,
    **how: Any,
) -> list[Response]:
    """One answer to every prompt; ``how`` are the further settings of ``generate``.

    ``cache`` keeps each answer as it is made (default: finebound's). ``file`` then holds all, with
    their ``ids`` where given. Raises ValueError for settings out of range.
    """
    from llm_validation.evaluation.generation import generate
    from llm_validation.evaluation.responses import write_responses

    found = generate(
        loaded, prompts, cache=cache or answer_cache(), progress=progress, doing=doing, **how
    )
    if file is not None:
        write_responses(file, found, ids=ids)
    return found


def answer_cache() -> Path:
    """Where answers are kept if no other folder is named."""
    from llm_validation.models.packaged import cache_folder

    return cache_folder() / "answers"


def notes_on(answers: Sequence[Response], max_new_tokens: int) -> list[str]:
    """How many answers could not be generated or were cut."""
    notes = []
    if failed := [answer.error for answer in answers if answer.text is None]:
        notes.append(
            f"{len(failed)} of {len(answers)} answers could not be generated: {failed[0]}."
        )
    if cut := sum(not answer.finished and answer.text is not None for answer in answers):
        notes.append(f"{cut} of {len(answers)} answers were cut at {max_new_tokens} tokens.")
    return notes


def sample_of(dataset: Dataset, data: str | Path, *, rows: int | None, seed: int) -> Dataset:
    """A seeded sample of ``rows`` rows, all where that is None. Raises InputError beyond them."""
    if rows is None:
        return dataset
    if not 1 <= rows <= len(dataset):
        raise InputError(
            f"`rows` is {rows}, and {data} has {len(dataset)} rows.",
            remedy="Give a number from 1 to that.",
        )
    return dataset.take(rows, seed)


def require_judge(judge: str | None) -> None:
    """Raises InputError for a judge that is not known, before a model is loaded."""
    from llm_validation.evaluation.judges import JUDGES

    if judge is not None and judge not in JUDGES:
        raise InputError(f"there is no judge {judge!r}.", remedy=f"Use one of {', '.join(JUDGES)}.")


def verdicts(
    judge: str,
    pairs: Sequence[tuple[str, str | None]],
    work: Work,
    *,
    model: str | None = None,
    cache: Path | None = None,
) -> list[Judgement]:
    """The verdict of a judge on every ``(prompt, response)``: on what follows the reasoning.

    ``judge`` is the name of a format, ``model`` the model if it is not the format's own; its hash
    becomes an input of the record. A thought that was cut has no answer to judge. Raises InputError
    for a judge that is not known.
    """
    from llm_validation.evaluation.judges import JUDGES, local_judge
    from llm_validation.evaluation.refusal.reasoning import spoken
    from llm_validation.models.loading import load_model, on_device

    require_judge(judge)
    form = JUDGES[judge]
    loaded = on_device(load_model(model or form.model, progress=work.progress))
    work.inputs["judge"] = loaded.sha256
    asked = [(prompt, spoken(response)) for prompt, response in pairs]
    return local_judge(form, loaded, cache=cache or answer_cache())(asked, progress=work.progress)
