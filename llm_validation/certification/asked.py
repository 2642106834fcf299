"""The answers of a model to probes, labelled as those of a file are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finebound.base.errors import InputError
from finebound.base.progress import Progress
from llm_validation.certification.answers import Answered
from llm_validation.certification.labels import Said, said_by
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.forecast.stored_answers import ask
from llm_validation.models.loading import LoadedModel


@dataclass(frozen=True)
class Asking:
    """How every model is asked: the same probes, temperature and random numbers."""

    probes: Sequence[Probe]
    temperature: float
    seed: int
    source: str
    progress: Progress

    def answers(self, loaded: LoadedModel, name: str) -> tuple[Answered, list[str]]:
        """The labelled answers of a model, and their texts, cut as stored answers are.

        An answer that is empty or failed is not known; InputError where all are. Models with the
        same weights give the same answers: only what the weights change is lost or gained.
        """
        texts = ask(
            loaded,
            self.probes,
            temperature=self.temperature,
            seed=self.seed,
            progress=self.progress,
        )
        if not any(text.strip() for text in texts):
            raise InputError(
                f"{name} gives no answer to any of {len(texts)} probes.",
                remedy="Its weights hold numbers that are not finite, or the fine-tune diverged: "
                "train again with a lower learning rate, or copy it again.",
            )
        said = [
            said_by(classify(probe.prompt, text)) if text.strip() else Said.NOT_KNOWN
            for probe, text in zip(self.probes, texts, strict=True)
        ]
        found = Answered(
            name=name,
            source=self.source,
            ids=[probe.id for probe in self.probes],
            prompts=[probe.prompt for probe in self.probes],
            said=np.array(said, dtype=np.int8),
            harmful=np.array([probe.harmful for probe in self.probes], dtype=np.int8),
            rows=range(1, len(self.probes) + 1),
            by_rules=True,
        )
        return found, texts
