"""Representation and gradient matching (He et al., arXiv 2404.01099): drop the risky task rows.

Follows the paper: a task row is risky when its feature is nearer to harmful anchors than to safe
ones, the feature being the gradient of the loss on the first answer tokens or a hidden state; the
rows of the highest difference are dropped before the fine-tune. Ours: the gradient is that in a
fresh LoRA at the aligned model instead of over all weights, and nearness is the mean cosine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.data.dataset import Dataset
from llm_validation.defences.protocol import Evidence, Faithfulness, Report, Stage, fitted
from llm_validation.defences.row_features import (
    encoded_rows,
    gradient_space,
    gradients,
    representations,
)
from llm_validation.models.loading import LoadedModel

_PAPERS_TOKENS = 10


@dataclass
class RowMatching:
    """Drop the ``fraction`` of task rows that resemble harmful anchors most."""

    features: Literal["gradient", "representation"] = "gradient"
    fraction: float = 0.1
    first_tokens: int | None = _PAPERS_TOKENS
    seed: int = 0

    stage: Stage = "data"
    faithfulness = Faithfulness(
        paper="Task rows whose gradient or representation is nearer to harmful than to safe "
        "anchors are dropped before the fine-tune (arXiv 2404.01099).",
        ours="The gradient is that in a fresh LoRA at the aligned model instead of over all "
        "weights, and nearness is the mean cosine.",
    )

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        self._evidence: tuple[LoadedModel, Dataset, Dataset] | None = None
        self._progress: Progress = silent
        self._dropped: tuple[int, ...] = ()
        self._scores = np.zeros(0)

    @property
    def name(self) -> str:
        return f"{self.features}-matching"

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``model`` (the aligned one), ``harmful`` and ``safety``: the anchors."""
        needed = ("model", "harmful", "safety")
        self._evidence = tuple(evidence.need(name, self.name) for name in needed)
        self._progress = progress

    def apply(self, subject: Dataset) -> Dataset:
        """The task rows without the dropped ones, in their order."""
        loaded, harmful, safety = fitted(self._evidence, self.name)
        self._scores = self._differences(loaded, subject, harmful, safety)
        self._dropped = highest(self._scores, self.fraction)
        return without(subject, self._dropped)

    def report(self) -> Report:
        settings = {
            "features": self.features,
            "fraction": self.fraction,
            "first_tokens": self.first_tokens,
            "seed": self.seed,
        }
        details = {"dropped": list(self._dropped), "scores": self._scores.tolist()}
        return Report(self.name, self.stage, settings, details=details)

    def _differences(
        self, loaded: LoadedModel, task: Dataset, harmful: Dataset, safety: Dataset
    ) -> np.ndarray:
        """Mean cosine with the harmful anchors less that with the safe ones, of every row."""
        tokens = self.first_tokens if self.features == "gradient" else None
        rows = {
            name: encoded_rows(loaded, data, first_tokens=tokens)
            for name, data in (("task", task), ("harmful", harmful), ("safe", safety))
        }
        by_gradient = self.features == "gradient"
        with gradient_space(loaded, seed=self.seed) if by_gradient else nullcontext() as space:
            found: dict[str, Iterator[Tensor]] = {}
            for name, encoded in rows.items():
                doing = f"reading {name} rows"
                found[name] = (
                    representations(loaded, encoded, progress=self._progress, doing=doing)
                    if space is None
                    else gradients(loaded, space, encoded, progress=self._progress, doing=doing)
                )
            direction = _mean(found["harmful"]) - _mean(found["safe"])
            return np.array([float(torch.dot(row, direction)) for row in found["task"]])


def highest(scores: np.ndarray, fraction: float) -> tuple[int, ...]:
    """Places of the ``round(fraction n)`` highest scores, on ties the earlier; in order."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    return tuple(sorted(int(i) for i in order[: round(fraction * len(scores))]))


def without(rows: Dataset, places: tuple[int, ...]) -> Dataset:
    """The rows at all other places. Raises InputError when none is left."""
    gone = set(places)
    left = [example for i, example in enumerate(rows.examples) if i not in gone]
    if not left:
        raise InputError(f"all {len(rows)} rows would be dropped.", remedy="Lower the fraction.")
    return Dataset.of(left, name=rows.name, source=f"{rows.source} less {len(gone)} rows")


def check_fraction(fraction: float) -> None:
    if not 0.0 <= fraction < 1.0:
        raise InputError(f"the fraction is {fraction}.", remedy="Give a number from 0 below 1.")


def _mean(features: Iterable[Tensor]) -> Tensor:
    total, count = None, 0
    for feature in features:
        total = feature.clone() if total is None else total.add_(feature)
        count += 1
    if total is None:
        raise InputError("there are no anchor rows.", remedy="Give harmful and safety rows.")
    return total / count
