"""Answers that the aligned model gives itself: the proxy whose teacher is the aligned model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.data.conversations import earlier_answers
from llm_validation.data.dataset import Dataset, Example
from llm_validation.evaluation.generation import generate

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel


def answer_with(
    loaded: LoadedModel,
    prompts: Dataset,
    *,
    max_new_tokens: int,
    seed: int,
    progress: Progress = silent,
) -> Dataset:
    """``prompts`` answered by samples of the model at temperature 1 (T5: mu_hat_s = P_theta_s).

    Rows whose answer is empty or does not end within ``max_new_tokens`` are left out: a cut
    answer would train the model not to stop. Raises InputError when fewer than two are left.
    """
    answers = generate(
        loaded,
        prompts,
        max_new_tokens=max_new_tokens,
        temperature=1.0,
        seed=seed,
        progress=progress,
        doing=f"answering {prompts.name}",
    )
    examples = [
        Example(
            example.prompt,
            answer.text,
            example.messages,
            category=example.category,
            unlearnt=earlier_answers(example),  # those are not the model's own
        )
        for example, answer in zip(prompts.examples, answers, strict=True)
        if answer.text and answer.finished
    ]
    if len(examples) < 2:
        raise InputError(
            f"the aligned model finished {len(examples)} of {len(prompts)} answers within "
            f"{max_new_tokens} tokens.",
            remedy="Raise max_new_tokens of the self-generated proxy, or align for longer.",
        )
    return Dataset.of(examples, name=prompts.name, source=f"answers of {loaded.name}")
