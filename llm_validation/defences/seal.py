"""SEAL-like selection (arXiv 2410.07471): keep the task rows whose use lowers the safety loss.

SEAL learns softmax weights of the task rows by bilevel optimisation: the outer loss is that on
safety rows after training on the weighted rows. Here is its first outer step at the aligned model
only, and so no more than "SEAL-like": the derivative of the safety loss with respect to a row's
weight after one gradient step is ``-<g_row, g_safety>``, and the rows of the lowest product are
dropped. Gradients are those in a fresh LoRA, every row's at norm 1, so that long or hard rows do
not win by size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from finebound.base.progress import Progress, silent
from llm_validation.data.dataset import Dataset
from llm_validation.defences.protocol import Evidence, Faithfulness, Report, Stage, fitted
from llm_validation.defences.row_features import encoded_rows, gradient_space, gradients
from llm_validation.defences.row_matching import check_fraction, highest, without
from llm_validation.measure.gradients import loss_and_gradient
from llm_validation.models.loading import LoadedModel


@dataclass
class SealLike:
    """Drop the ``fraction`` of task rows whose gradient agrees least with the safety rows'."""

    fraction: float = 0.2
    seed: int = 0

    name = "seal-like"
    stage: Stage = "data"
    faithfulness = Faithfulness(
        paper="Task rows are weighted by bilevel optimisation: the outer loss is that on safety "
        "rows after training on the weighted rows (arXiv 2410.07471).",
        ours="Its first outer step at the aligned model only, so no more than SEAL-like; every "
        "row's gradient at norm 1, so that long or hard rows do not win by size.",
    )

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        self._evidence: tuple[LoadedModel, Dataset] | None = None
        self._progress: Progress = silent
        self._dropped: tuple[int, ...] = ()
        self._scores = np.zeros(0)

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``model`` (the aligned one) and ``safety``, at least two rows."""
        self._evidence = tuple(evidence.need(name, self.name) for name in ("model", "safety"))
        self._progress = progress

    def apply(self, subject: Dataset) -> Dataset:
        """The task rows without the dropped ones, in their order."""
        loaded, safety = fitted(self._evidence, self.name)
        task, safe = (encoded_rows(loaded, data, first_tokens=None) for data in (subject, safety))
        with gradient_space(loaded, seed=self.seed) as space:
            direction = loss_and_gradient(
                loaded.model,
                space,
                safe,
                pad_id=loaded.pad_id,
                progress=self._progress,
                doing="gradient of the safety rows",
            ).gradient
            rows = gradients(
                loaded, space, task, progress=self._progress, doing="gradients of task rows"
            )
            self._scores = np.array([float(torch.dot(row, direction)) for row in rows])
        self._dropped = highest(-self._scores, self.fraction)
        return without(subject, self._dropped)

    def report(self) -> Report:
        details = {"dropped": list(self._dropped), "scores": self._scores.tolist()}
        settings = {"fraction": self.fraction, "seed": self.seed}
        return Report(self.name, self.stage, settings, details=details)
