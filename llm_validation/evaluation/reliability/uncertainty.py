"""What a model thinks of tokens: the entropy of its prediction, and its trust in the choice."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded, encode, token_budget_batches
from llm_validation.evaluation.generation import Response, stop_tokens

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from llm_validation.models.loading import LoadedModel

_POSITIONS_IN_FLOAT64 = 64  # of a row of the vocabulary each: 25 MB at 49,152 tokens


@dataclass(frozen=True)
class TokenPredictions:
    """A model's prediction of every supervised token, row after row.

    ``rows`` int64 ``[m]``: the token's row; ``entropy`` float64 ``[m]``: of the prediction, nats;
    ``probability`` ``[m]``: given to the token itself; ``confidence`` ``[m]``: to the most likely
    token; ``hit`` bool ``[m]``: whether that is the token.
    """

    rows: np.ndarray
    entropy: np.ndarray
    probability: np.ndarray
    confidence: np.ndarray
    hit: np.ndarray


@dataclass(frozen=True)
class AnswerUncertainty:
    """Of each answer, NaN where there is none.

    ``entropy`` float64 ``[n]``: mean over its tokens, nats/token; ``confidence`` ``[n]``: mean
    probability of its tokens, in [0, 1].
    """

    entropy: np.ndarray
    confidence: np.ndarray


def predict_tokens(
    model: PreTrainedModel,
    encoded: Sequence[Encoded],
    *,
    pad_id: int,
    tokens_per_batch: int = 1024,
    progress: Progress = silent,
    doing: str = "measuring uncertainty",
) -> TokenPredictions:
    """The predictions of ``model`` at every supervised token, each row read once.

    Logits are computed at those positions only. ``tokens_per_batch`` counts padding and only trades
    memory for speed; the model's mode is left as it was. Raises InputError when a prediction is not
    finite.
    """
    import torch

    from llm_validation.measure.supervised import SupervisedBatch

    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    rows, parts = [], []
    model.eval()
    try:
        with torch.no_grad():
            batches = token_budget_batches(encoded, tokens=tokens_per_batch)
            for indices in progress(batches, doing):
                batch = SupervisedBatch.of([encoded[i] for i in indices], device, pad_id)
                rows.append(np.asarray(indices)[batch.rows.cpu().numpy()])
                parts.append(_predictions(batch.logits(model), batch.targets))
    finally:
        for module, mode in modes:
            module.training = mode
    row = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    order = np.argsort(row, kind="stable")
    entropy, probability, confidence = np.concatenate([np.zeros((3, 0)), *parts], axis=1)[:, order]
    if not np.isfinite(entropy).all():
        first = int(row[order][~np.isfinite(entropy)][0])
        raise InputError(
            f"the model's predictions on row {encoded[first].row or first + 1} are not finite.",
            remedy="Its weights are damaged or its fine-tune diverged: lower the learning rate, "
            "or copy the model again.",
        )
    return TokenPredictions(row[order], entropy, probability, confidence, probability == confidence)


def answer_uncertainty(
    loaded: LoadedModel,
    prompts: Dataset,
    responses: Sequence[Response],
    *,
    tokens_per_batch: int = 1024,
    progress: Progress = silent,
) -> AnswerUncertainty:
    """How sure the model is of its own answers, read again behind their prompts.

    ``responses`` answer ``prompts`` in its order; the end of the turn counts as a token of a
    finished answer. An answer that failed, is empty, or has no room in the context when its text
    is tokenised again (text of broken characters grows) has no uncertainty.
    """
    if len(responses) != len(prompts):
        raise ValueError(f"{len(responses)} answers to {len(prompts)} prompts")
    places = [i for i, response in enumerate(responses) if (response.text or "").strip()]
    entropy, confidence = np.full((2, len(prompts)), np.nan)
    if not places:
        return AnswerUncertainty(entropy, confidence)
    answered = Dataset.of(
        (replace(prompts.examples[i], response=responses[i].text) for i in places),
        name=prompts.name,
        source=prompts.source,
    )
    stops = stop_tokens(loaded)
    encoded, kept = [], []
    for row in encodable(answered, loaded):
        place = places[row.row - 1]
        if not responses[place].finished and row.input_ids[row.supervised][-1] in stops:
            row = _without_last(row)
        if row.supervised.any():
            encoded.append(row)
            kept.append(place)
    if encoded:
        found = predict_tokens(
            loaded.model,
            encoded,
            pad_id=loaded.pad_id,
            tokens_per_batch=tokens_per_batch,
            progress=progress,
            doing="measuring the entropy of answers",
        )
        count = np.bincount(found.rows, minlength=len(encoded))
        entropy[kept] = np.bincount(found.rows, weights=found.entropy) / count
        confidence[kept] = np.bincount(found.rows, weights=found.probability) / count
    return AnswerUncertainty(entropy, confidence)


def encodable(dataset: Dataset, loaded: LoadedModel) -> list[Encoded]:
    """The rows that fit into the context, each with its number in ``dataset``; perhaps none."""
    rows = encode(dataset, loaded.tokenizer, max_length=sys.maxsize, turns="last")
    return [row for row in rows if len(row) <= loaded.context_length]


def _without_last(row: Encoded) -> Encoded:
    supervised = row.supervised.copy()
    supervised[np.flatnonzero(supervised)[-1]] = False
    return replace(row, supervised=supervised)


def _predictions(logits: Tensor, targets: Tensor) -> np.ndarray:
    """Entropy, the target's probability, the largest one: float64 ``[3, m]``."""
    import torch

    parts = []
    for some, target in zip(
        logits.split(_POSITIONS_IN_FLOAT64), targets.split(_POSITIONS_IN_FLOAT64), strict=True
    ):
        p = some.double().softmax(-1)
        own = p.gather(-1, target[:, None])[:, 0]
        # entr(0) is 0, so tokens that are ruled out by a logit of minus infinity add nothing.
        parts.append(torch.stack([torch.special.entr(p).sum(-1), own, p.amax(-1)]))
    return torch.cat(parts, dim=1).cpu().numpy()
