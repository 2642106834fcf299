"""A judge model by the name of its format, asked about recorded or generated answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from finebound.base.errors import InputError

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from llm_validation.evaluation.judges import Judgement


class JudgeOptions(Protocol):
    """The format's name, the model (None: the format's own) and where answers are kept."""

    judge: str | None
    judge_model: str | None
    cache: Path | None


def require_judge(options: JudgeOptions) -> None:
    """Raises InputError for a judge that is not known, before a model is loaded."""
    if options.judge is None:
        return
    from llm_validation.evaluation.judges import JUDGES

    if options.judge not in JUDGES:
        raise InputError(
            f"there is no judge {options.judge!r}.", remedy=f"Use one of {', '.join(JUDGES)}."
        )


def verdicts(
    options: JudgeOptions,
    pairs: Sequence[tuple[str, str | None]],
    inputs: dict[str, str],
    progress: Progress,
) -> list[Judgement]:
    """The judge's verdict on every ``(prompt, response)``: on what follows the reasoning.

    The judge's hash goes into ``inputs``. A thought that was cut has no answer to judge.
    """
    from llm_validation.evaluation.judges import JUDGES, local_judge
    from llm_validation.evaluation.refusal.reasoning import spoken
    from llm_validation.models.loading import load_model, on_device
    from llm_validation.models.packaged import cache_folder

    require_judge(options)
    form = JUDGES[options.judge]
    loaded = on_device(load_model(options.judge_model or form.model, progress=progress))
    inputs["judge"] = loaded.sha256
    kept = options.cache or cache_folder() / "answers"
    asked = [(prompt, spoken(response)) for prompt, response in pairs]
    return local_judge(form, loaded, cache=kept)(asked, progress=progress)
