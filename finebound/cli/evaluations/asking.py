"""The model of an evaluation and its answers, with the options that all of them have."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finebound.base.errors import InputError
from finebound.base.text import printable

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from llm_validation.data.dataset import Dataset
    from llm_validation.evaluation.generation import Response, Turns
    from llm_validation.models.loading import LoadedModel


class ModelOptions(Protocol):
    """Which model, and the folder of an adapter to put on it (None: none)."""

    model: str | None
    adapter: Path | None


class AskingOptions(Protocol):
    """How long answers may be, and the folder that keeps them (None: finebound's cache)."""

    max_new_tokens: int
    cache: Path | None


def require_model(options: ModelOptions) -> None:
    """Raises InputError for an adapter without its base model."""
    if options.adapter is not None and options.model is None:
        raise InputError(
            "--adapter is for --model.",
            remedy="Name the model that the adapter was trained on with --model, or leave it out.",
        )


def load_asked(options: ModelOptions, inputs: dict[str, str], *, progress: Progress) -> LoadedModel:
    """The model of --model with the adapter of --adapter, if any, on the GPU where there is one.

    The hashes of both go into ``inputs``, which the record keeps. Raises InputError as
    ``load_model`` and ``with_adapter``.
    """
    from llm_validation.models.loading import load_model, on_device
    from llm_validation.models.tuned import adapter_sha256, with_adapter

    # An adapter that is not there is said before gigabytes are loaded.
    adapter = None if options.adapter is None else adapter_sha256(options.adapter)
    loaded = load_model(options.model, progress=progress)
    inputs["model"] = loaded.sha256
    if adapter is not None:
        inputs["adapter"] = adapter
        loaded = with_adapter(loaded, options.adapter)
        say(loaded.notes)
    return on_device(loaded)


def sample_of(dataset: Dataset, data: str | Path, *, rows: int | None, seed: int) -> Dataset:
    """A seeded sample of ``rows`` rows, all where that is None. Raises InputError beyond them."""
    if rows is None:
        return dataset
    if not 1 <= rows <= len(dataset):
        raise InputError(
            f"--rows is {rows}, and {data} has {len(dataset)} rows.",
            remedy="Give a number from 1 to that.",
        )
    return dataset.take(rows, seed)


def say(notes: Sequence[str]) -> None:
    """What a person should know about the numbers, on stderr, one line each."""
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def ask(
    loaded: LoadedModel,
    prompts: Dataset | Sequence[Turns],
    options: AskingOptions,
    *,
    verb: str,
    progress: Progress,
    **settings: Any,
) -> list[Response]:
    """One answer to every prompt; ``settings`` are the further ones of ``generate``.

    Raises InputError, which points to the help of ``verb``, for settings out of range.
    """
    from llm_validation.evaluation.generation import generate
    from llm_validation.models.packaged import cache_folder

    try:
        return generate(
            loaded,
            prompts,
            max_new_tokens=options.max_new_tokens,
            cache=options.cache or cache_folder() / "answers",
            progress=progress,
            **settings,
        )
    except ValueError as error:
        raise InputError(f"{error}.", remedy=f"See finebound {verb} --help.") from None
