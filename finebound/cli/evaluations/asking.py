"""A model's answers to an evaluation's prompts, with the options that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finebound.errors import InputError

if TYPE_CHECKING:
    from finebound.progress import Progress
    from llm_validation.data.dataset import Dataset
    from llm_validation.evaluation.generation import Response, Turns
    from llm_validation.models.loading import LoadedModel


class AskingOptions(Protocol):
    """How long answers may be, and the folder that keeps them (None: finebound's cache)."""

    max_new_tokens: int
    cache: Path | None


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
