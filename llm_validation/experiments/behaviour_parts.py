"""One model of an experiment, asked each part: its answers, and what they are worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.base.errors import InputError
from finebound.base.progress import Progress
from finebound.results.evaluation import EvaluationResult, ScoredItem
from llm_validation.data.builtin.requests import HARMLESS
from llm_validation.data.dataset import Dataset
from llm_validation.evaluation.asking import answers_of
from llm_validation.evaluation.registry import Work
from llm_validation.experiments.behaviour_settings import (
    HELD_OUT,
    Behaviour,
    HazardsPart,
    RefusalPart,
)
from llm_validation.experiments.datasets import SAFETY, held_out, task_set
from llm_validation.measure.texts import normalise

if TYPE_CHECKING:
    from llm_validation.evaluation.generation import Response
    from llm_validation.evaluation.hazards.probes import ProbeSet
    from llm_validation.experiments.prepare import Prepared
    from llm_validation.models.loading import LoadedModel

RESPONSES, LOOK_ALIKES = "responses", "look-alikes"


class AskedModel:
    """One model, asked each part; the methods are called as the parts are.

    Each needs its part in ``settings``. ``loaded`` is None only where ``_answers`` asks nobody.
    """

    def __init__(
        self,
        loaded: LoadedModel | None,
        prepared: Prepared,
        settings: Behaviour,
        folder: Path,
        label: str,
        progress: Progress,
    ) -> None:
        self.loaded, self.prepared, self.settings = loaded, prepared, settings
        self.folder, self.label, self.progress = folder, label, progress
        self.seed = prepared.experiment.seed

    def refusal(self) -> list[EvaluationResult]:
        """Harmful prompts refused; harmless ones declined, in whole or in part."""
        from llm_validation.evaluation.refusal.labelling import label_all, scored
        from llm_validation.evaluation.refusal.labels import unknown_notes
        from llm_validation.evaluation.responses import prompt_ids

        part = self.settings.refusal
        assert part is not None
        prompts = self._refusal_prompts(part)
        answers = self._answers(prompts, part.max_new_tokens, "refusal")
        pairs = [(p, answer.text) for p, answer in zip(prompts.prompts, answers, strict=True)]
        labels = label_all(pairs, self.settings.detector)
        items: dict[bool, list[ScoredItem]] = {True: [], False: []}
        for name, example, pair, label in zip(
            prompt_ids(prompts.prompts), prompts.examples, pairs, labels, strict=True
        ):
            harmless = example.category == HARMLESS
            found = scored(name, example.category, pair, label, harmless=harmless)
            items[harmless].append(found)
        if not items[False]:
            raise InputError(
                f"no prompt of {prompts.source} is harmful.",
                remedy=f"Refusal is of harmful prompts; those of the category {HARMLESS!r} are "
                "over-refusal. Give other prompts.",
            )
        source = {"source": prompts.source, "notes": unknown_notes(labels)}
        return [
            EvaluationResult(
                evaluation=name,
                label=self.label,
                score_means=means,
                items=tuple(items[harmless]),
                summary=source,
                share=True,
            )
            for name, means, harmless in (
                (LOOK_ALIKES, "1 = a harmless prompt declined", True),
                ("refusal", "1 = a harmful prompt refused", False),
            )
            if items[harmless]
        ]

    def _refusal_prompts(self, part: RefusalPart) -> Dataset:
        from llm_validation.evaluation.prompts import load_prompts
        from llm_validation.experiments.answers import prompts_of_a_run

        if part.prompts == HELD_OUT:
            found = self.prepared.sets[held_out(SAFETY)]
        else:
            found = self._unseen(load_prompts(part.prompts))
        if part.rows is not None:
            found = prompts_of_a_run(found, min(part.rows, len(found)))
        return found

    def hazards(self) -> list[EvaluationResult]:
        """Safe answers by category, and over-refusal."""
        from llm_validation.evaluation.hazards.judging import judged
        from llm_validation.evaluation.hazards.scores import as_results, score
        from llm_validation.evaluation.refusal.labels import unknown_notes

        part = self.settings.hazards
        assert part is not None
        probes = self._probes(part)
        prompts = Dataset.of([(p.prompt, "") for p in probes.probes], name="hazards")
        answers = self._answers(prompts, part.max_new_tokens, "hazards")
        texts = [answer.text for answer in answers]
        outcomes = judged(
            probes,
            texts,
            Work(self.progress),
            detector=self.settings.detector,
            by=part.judge,
            model=part.judge_model,
        )
        found = score(probes, outcomes)
        if found.total is None:
            raise InputError(
                f"no probe of {probes.source} is harmful.", remedy="Give harmful probes too."
            )
        summary = {
            **found.as_json(),
            "source": probes.source,
            "judge": part.judge,
            "notes": unknown_notes([one.outcome for one in outcomes]),
        }
        return as_results(probes, outcomes, texts, label=self.label, summary=summary)

    def _probes(self, part: HazardsPart) -> ProbeSet:
        from llm_validation.evaluation.hazards.probes import load_probes, sampled

        probes = load_probes(part.probes)
        chosen = []
        for harmful, count in ((True, part.a_category), (False, part.harmless)):
            own = replace(probes, probes=tuple(p for p in probes.probes if p.harmful == harmful))
            kept = own if count is None else sampled(own, count, seed=self.seed)
            chosen += kept.probes
        return replace(probes, probes=tuple(chosen))

    def bbq(self) -> list[EvaluationResult]:
        """Accuracy and bias by dimension and context."""
        from llm_validation.evaluation.fairness.answering import answered
        from llm_validation.evaluation.fairness.items import sampled
        from llm_validation.evaluation.fairness.loading import load_items
        from llm_validation.evaluation.fairness.record import as_result
        from llm_validation.evaluation.fairness.scores import score

        part = self.settings.bbq
        assert part is not None
        items = load_items(part.data, exclusions="study")
        if part.a_cell is not None:
            items = sampled(items, part.a_cell, seed=self.seed)

        def respond(prompts: list[str]) -> list[str | None]:
            asked = Dataset.of([(prompt, "") for prompt in prompts], name="bbq")
            return [a.text for a in self._answers(asked, part.max_new_tokens, "bbq")]

        by_letter = part.by == "generation"
        assert self.loaded is not None
        found = answered(
            items, self.loaded, respond=respond if by_letter else None, progress=self.progress
        )
        scores = score(found.items, found.predictions or (), seed=self.seed)
        summary = {**scores.as_json(), "by": part.by, "source": items.source}
        return [as_result(found, label=self.label, summary=summary)]

    def translation(self) -> list[EvaluationResult]:
        """chrF into English."""
        from llm_validation.evaluation.translation import as_result, load_test_set, score

        part = self.settings.translation
        assert part is not None
        if part.data in self.prepared.experiment.tasks:
            test_set = self.prepared.sets[held_out(task_set(part.data))]
        else:
            test_set = self._unseen(load_test_set(part.data, instruction=part.instruction))
        if part.rows is not None and part.rows < len(test_set):
            test_set = test_set.take(part.rows, self.seed)
        answers = self._answers(test_set, part.max_new_tokens, "translation")
        texts = [answer.text for answer in answers]
        found = score(test_set, texts, seed=self.seed)
        summary = {**found.as_json(), "source": test_set.source}
        return [as_result(test_set, texts, found, label=self.label, summary=summary)]

    def _answers(self, prompts: Dataset, max_new_tokens: int, part: str) -> list[Response]:
        from llm_validation.evaluation.responses import prompt_ids

        assert self.loaded is not None
        return answers_of(
            self.loaded,
            prompts,
            file=self.folder / RESPONSES / f"{part}.jsonl",
            ids=prompt_ids(prompts.prompts),
            progress=self.progress,
            doing=f"answering {part}",
            max_new_tokens=max_new_tokens,
            system=self.settings.system,
        )

    def _unseen(self, dataset: Dataset) -> Dataset:
        """Without the prompts that a training set of the experiment holds."""
        seen = {
            normalise(prompt)
            for name, trained in self.prepared.sets.items()
            if not name.endswith(f".{HELD_OUT}")
            for prompt in trained.prompts
        }
        kept = [e for e in dataset.examples if normalise(e.prompt) not in seen]
        if not kept:
            raise InputError(
                f"every prompt of {dataset.source} is in a training set of the experiment.",
                remedy="Evaluate on rows that no run is trained on.",
            )
        left_out = len(dataset) - len(kept)
        source = dataset.source + (f" ({left_out} prompts trained on left out)" if left_out else "")
        return Dataset.of(kept, name=dataset.name, source=source)
