"""Answers that the aligned model gives itself: the proxy whose teacher is the aligned model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from finebound.errors import InputError
from finebound.progress import Progress, silent
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding import prompt_text

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel

_BATCH = 16


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
    import torch

    model, tokenizer = loaded.model, loaded.tokenizer
    texts = [prompt_text(example.messages, tokenizer) for example in prompts.examples]
    order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), i))
    batches = [order[i : i + _BATCH] for i in range(0, len(order), _BATCH)]
    device = next(model.parameters()).device
    answers: dict[int, str] = {}
    stops = _stop_tokens(loaded)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for batch in progress(batches, "answering the proxy's prompts"):
            rows = [tokenizer(texts[i], add_special_tokens=False)["input_ids"] for i in batch]
            width = max(map(len, rows))
            pad = tokenizer.pad_token_id
            ids = np.array([[pad] * (width - len(row)) + row for row in rows])
            mask = np.array([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            out = model.generate(
                input_ids=torch.from_numpy(ids).to(device),
                attention_mask=torch.from_numpy(mask).to(device),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                repetition_penalty=1.0,
                max_new_tokens=max_new_tokens,
                pad_token_id=pad,
                eos_token_id=sorted(stops),
            )
            for i, tokens in zip(batch, out[:, width:].tolist(), strict=True):
                end = next((k for k, token in enumerate(tokens) if token in stops), None)
                if end is not None:
                    text = tokenizer.decode(tokens[:end], skip_special_tokens=True).strip()
                    answers[i] = text
    examples = [
        Example(example.prompt, answers[i], example.messages, category=example.category)
        for i, example in enumerate(prompts.examples)
        if answers.get(i)
    ]
    if len(examples) < 2:
        raise InputError(
            f"the aligned model finished {len(examples)} of {len(prompts)} answers within "
            f"{max_new_tokens} tokens.",
            remedy="Raise max_new_tokens of the self-generated proxy, or align for longer.",
        )
    return Dataset.of(examples, name=prompts.name, source=f"answers of {loaded.name}")


def _stop_tokens(loaded: LoadedModel) -> frozenset[int]:
    """What ends an answer: the configuration's tokens and the one that the template writes."""
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    stops = {configured} if isinstance(configured, int) else set(configured or ())
    return frozenset({*stops, loaded.tokenizer.eos_token_id} - {None})
