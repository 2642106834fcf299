"""Published and plain predictors that read only the data, or the model's hidden states on them.

Each gives a score whose order alone means something: the more alike safety and task data, the
more safety is expected to be lost. They describe a pair of datasets, so every lambda and radius
on one pair has the same score; that is what they say, and ranking counts it as a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from finebound.results.forecasts import Prediction
from llm_validation.data.encoding import Encoded, collate, token_budget_batches
from llm_validation.forecast.world import (
    FORWARD_ONLY,
    Role,
    World,
    check_finite,
    total_tokens,
)
from llm_validation.measure.clusters import embedding_clusters
from llm_validation.measure.texts import TextPair, inverse_document_frequency, tfidf
from llm_validation.models.embedding import embedder
from llm_validation.training.plan import TrainingPlan

ROWS = 64
"""Rows of each dataset that a predictor reads."""
TOP_K = 10
CAPABILITY_AXES = 8


@dataclass(frozen=True)
class Score:
    """A predictor that is one number. ``source`` is where it comes from (arXiv or a package)."""

    name: str
    source: str
    score: Callable[[World, TrainingPlan], float]
    cost: Callable[[World, TrainingPlan], float]
    shared: Callable[[World, TrainingPlan], dict[Role, float]] = lambda world, plan: {}

    def predict(self, world: World, plan: TrainingPlan) -> Prediction:
        """The score as a ``Prediction`` without a unit or an interval."""
        return Prediction(
            name=self.name,
            safety_change=check_finite(float(self.score(world, plan)), self.name),
            task_change=None,
            interval_90=None,
            cost_tokens=self.cost(world, plan),
            is_score=True,
            details={},
            shared_tokens={str(role): n for role, n in self.shared(world, plan).items()},
        )


def data_baselines() -> list[Score]:
    """Every predictor of this module."""
    return [
        Score("prompt embeddings' cosine", "common practice", prompt_cosine, _cost_of_prompts),
        Score("n-gram overlap", "common practice", ngram_overlap, lambda world, plan: 0.0),
        Score("last-token similarity", "2506.05346", last_token_similarity, _cost_of_rows),
        Score("cluster divergence", "common practice", cluster_similarity, _cost_of_prompts),
        Score("safety direction in capability", "2603.00047", principal_angle, _cost_of_rows),
    ]


def prompt_cosine(world: World, plan: TrainingPlan) -> float:
    """Mean cosine of a safety and a task prompt; embeddings are the model's mean hidden states."""
    safety, task = (_unit(_prompt_embeddings(world, role)) for role in ("safety", "task"))
    return float(safety.mean(axis=0) @ task.mean(axis=0))


def ngram_overlap(world: World, plan: TrainingPlan) -> float:
    """Mean TF-IDF cosine of word 1- and 2-grams of a safety and a task prompt, all rows."""
    pair = TextPair.of(world.safety.prompts, world.task.prompts)
    rows = tfidf(pair.ngrams, inverse_document_frequency(pair.ngrams))
    safety, task = rows[pair.safety].mean(axis=0), rows[pair.task].mean(axis=0)
    return float(np.asarray(safety).ravel() @ np.asarray(task).ravel())


def last_token_similarity(world: World, plan: TrainingPlan) -> float:
    """Mean cosine of each task example with its 10 closest safety examples (2506.05346).

    The feature is the final hidden state of the answer's last token, as there. That paper uses
    the similarity to *select* data; here the mean over the task rows scores the pair of sets.
    """
    safety, task = (_unit(hidden_states(world, role, "answer")) for role in ("safety", "task"))
    cosines = np.sort(task @ safety.T, axis=1)
    return float(cosines[:, -TOP_K:].mean())


def cluster_similarity(world: World, plan: TrainingPlan) -> float:
    """Minus the Jensen-Shannon divergence (nats) of the prompts' k-means histograms.

    Clusters of the model's prompt embeddings, fitted on one half of the rows and counted on the
    other (T15's measure of context overlap).
    """
    measure = embedding_clusters(
        _prompt_embeddings(world, "safety"), _prompt_embeddings(world, "task"), seed=world.seed
    )
    p, q = measure.image_masses
    middle = 0.5 * (p + q)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(m > 0, m * np.log(m / middle), 0.0) for m in (p, q)]
    return -0.5 * float(sum(part.sum() for part in parts))


def principal_angle(world: World, plan: TrainingPlan) -> float:
    """``cos^2`` of the angle between the safety direction and the capability subspace (2603.00047).

    That paper's alignment tax rate, in representation space: the final hidden state of the
    prompt's last token. Approximated here, as it prescribes no estimator: the safety direction is
    the first principal axis of the safety prompts (their harmful-harmless axis, if that is what
    they differ in most), the capability subspace the first 8 of the task prompts.
    """
    safety, task = (hidden_states(world, role, "prompt") for role in ("safety", "task"))
    direction = _axes(safety, 1)
    subspace = _axes(task, CAPABILITY_AXES)
    return float(((subspace @ direction.T) ** 2).sum())


def hidden_states(world: World, role: Role, where: Literal["prompt", "answer"]) -> np.ndarray:
    """Final hidden states ``[n, d]`` at the last token of every row's prompt or answer, float64."""
    return world.once(
        role,
        ("hidden", world.max_length),
        lambda: _read(world, world.sample(role, ROWS, part="hidden")),
    )[where]


def _read(world: World, encoded: Sequence[Encoded]) -> dict[str, np.ndarray]:
    model = world.model.model
    device = next(model.parameters()).device
    places = {
        "prompt": [int(row.supervised[1:].argmax()) for row in encoded],
        "answer": [int(np.flatnonzero(row.supervised)[-1]) for row in encoded],
    }
    found = {where: np.zeros((len(encoded), model.config.hidden_size)) for where in places}
    with torch.no_grad():
        for batch in token_budget_batches(encoded, tokens=2048):
            tensors = collate([encoded[i] for i in batch], world.pad_id)
            # The body alone: no logits over the vocabulary.
            hidden = model.base_model(
                input_ids=tensors["input_ids"].to(device),
                attention_mask=tensors["attention_mask"].to(device),
                use_cache=False,
            ).last_hidden_state.double()
            for where, at in places.items():
                picked = hidden[torch.arange(len(batch)), [at[i] for i in batch]]
                found[where][batch] = picked.cpu().numpy()
    return found


def _prompt_embeddings(world: World, role: Role) -> np.ndarray:
    def make() -> np.ndarray:
        rows = world.sample(role, ROWS, part="prompts")
        prompts = [world.dataset(role).examples[row.row - 1].prompt for row in rows]
        return embedder(world.model)(prompts).astype(np.float64)

    return world.once(role, ("prompt embeddings", world.max_length), make)


def _cost_of_rows(world: World, plan: TrainingPlan) -> float:
    rows = [world.sample(role, ROWS, part="hidden") for role in ("safety", "task")]
    return FORWARD_ONLY * sum(map(total_tokens, rows))


def _cost_of_prompts(world: World, plan: TrainingPlan) -> float:
    rows = [world.sample(role, ROWS, part="prompts") for role in ("safety", "task")]
    return FORWARD_ONLY * sum(int((~row.supervised).sum()) for part in rows for row in part)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


def _axes(rows: np.ndarray, count: int) -> np.ndarray:
    """The first principal axes ``[count, d]``."""
    return np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:count]
