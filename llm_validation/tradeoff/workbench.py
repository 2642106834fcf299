"""Where points are made: theta_s in memory, a run's weights put on it, defended, measured, kept."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError, tell
from finebound.base.integrity import (
    FILES,
    Damaged,
    hashes_of,
    read_record,
    require_unchanged,
    sealed,
)
from finebound.base.records import file_sha256, staged_folder, to_json, write_atomically
from finebound.results.strategies import settings_label
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.defences.alignment import Alignment
from llm_validation.defences.lora_file import WEIGHTS, LoraAdapter, read_adapter
from llm_validation.defences.protocol import Evidence
from llm_validation.defences.trials import Trial
from llm_validation.experiments.answers import FILE as ANSWERS
from llm_validation.experiments.answers import (
    Answer,
    answer_prompts,
    prompts_of_a_run,
    read_answers,
)
from llm_validation.experiments.config import Generations
from llm_validation.experiments.datasets import SAFETY, held_out, task_set
from llm_validation.experiments.prepare import Prepared, losses_on, on_device
from llm_validation.experiments.run import Measured
from llm_validation.experiments.statistics import Pair
from llm_validation.models.adapters import load_adapter
from llm_validation.models.loading import LoadedModel, load_model
from llm_validation.tradeoff.grid_points import budget_of, family_of
from llm_validation.tradeoff.points import Point
from llm_validation.tradeoff.retraining import train_defended
from llm_validation.training.evaluation import read_evaluations, write_evaluation
from llm_validation.training.record import ADAPTER

POINTS, TRAINED, RECORD = "points", "trained", "point.json"
_SAME = 1e-3
"""Nats per token by which a run's saved weights may differ from its record."""


class NotApplicable(InputError):
    """A defence does not apply to a run, or not at this strength; the others go on."""


@contextmanager
def _applying() -> Iterator[None]:
    """What a defence refuses is no fault of the comparison's input."""
    try:
        yield
    except InputError as error:
        raise NotApplicable(
            error.what, remedy=error.remedy, file=error.file, row=error.row
        ) from error


@dataclass(eq=False)
class Workbench:
    """Everything that the points of one task share; ``prompts`` None asks nothing.

    Holds one model at a time. ``base`` is the folder of the model before its alignment.
    """

    prepared: Prepared
    task: str
    base: Path
    alignment: Alignment
    out: Path
    generations: Generations | None
    harmful: Dataset | None
    _aligned: LoadedModel | None = None
    _safe: LoraAdapter | None = None

    @property
    def sets(self) -> dict[str, Dataset]:
        """The held-out rows that every point is measured on."""
        names = {"safety": held_out(SAFETY), "task": held_out(task_set(self.task))}
        return {what: self.prepared.sets[name] for what, name in names.items()}

    def from_grid(self, run: Measured, step: int, base: Measured) -> Point:
        """A checkpoint of a run of the grid, from its record; the end is asked too."""
        family = family_of(run)
        losses = {
            what: Pair(run.losses[0][data.name], run.losses[step][data.name])
            for what, data in self.sets.items()
        }
        at_end = step == run.last
        undefended = run.run.plan.strategy is None
        settings = run.run.plan.as_dict()["strategy"]
        strength = f"{run.fraction(step):.0%}" if undefended else settings_label(settings)
        if run.run.method != base.run.method:
            strength = f"{run.run.method} {strength}"
        return Point(
            id=run.run.id if at_end else f"{run.run.id}@{step}",
            method=family.method,
            family=family.name,
            strength=strength,
            stage="none" if undefended else "during",
            run=run.run.id,
            seed=run.run.seed,
            safety=losses["safety"],
            task=losses["task"],
            answers=self._answers_of(run) if at_end else None,
            budget=budget_of(run.run.plan, step, against=base),
            report={"settings": settings},
        )

    def check(self, run: Measured) -> None:
        """Measure the run's saved weights again. Raises InputError when they are not its own."""
        done = self.out / "checked" / f"{run.run.id}.json"
        sha256 = file_sha256(_weights_file(run))
        with suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(done.read_text(encoding="utf-8"))["weights"] == sha256:
                return
        with self._loaded(run) as loaded:
            data = self.sets["safety"]
            found = losses_on(loaded, data)
        recorded = run.losses[run.last][data.name].per_token
        if abs(found.per_token - recorded) > _SAME:
            raise InputError(
                f"the saved weights lose {found.per_token:.4f} nats/token on {data.name}, and the "
                f"run's record says {recorded:.4f}: they are not of this run, or of another base.",
                remedy="Remove the run's folder and start the experiment again.",
                file=run.finetuned.weights,
            )
        write_atomically(done, to_json({"weights": sha256, "loss": found.per_token}) + "\n")

    def trial(self, trial: Trial, run: Measured) -> Point:
        """The run with a defence on it: read where it was measured before, else made.

        Raises NotApplicable where the defence does not apply to the run.
        """
        folder = self.out / POINTS / f"{run.run.id}+{trial.slug}"
        key = self._key(trial, run)
        record: dict[str, Any] | None = _read_record(folder, key)
        if record is None:
            shutil.rmtree(folder, ignore_errors=True)
            make = self._train if trial.on == "plan" else self._make
            record = {"key": key} | make(trial, run, folder)
            record[FILES] = hashes_of(folder, sorted(file.name for file in folder.iterdir()))
            write_atomically(folder / RECORD, to_json(sealed(record)) + "\n")
        found = read_evaluations(folder)[0]
        start = {what: self.prepared.start(data.name) for what, data in self.sets.items()}
        answers = read_answers(folder / ANSWERS)
        return Point(
            id=folder.name,
            method=trial.method,
            family=trial.method,
            strength=trial.strength,
            stage=record["report"]["stage"],
            run=run.run.id,
            seed=run.run.seed,
            safety=Pair(start["safety"], found["safety"]),
            task=Pair(start["task"], found["task"]),
            answers=tuple(answers) or None,
            budget=record["budget"],
            report=record["report"],
            command=record["command"],
        )

    def _make(self, trial: Trial, run: Measured, folder: Path) -> dict[str, Any]:
        defence, started = trial.make(), time.perf_counter()
        rows, command, system = self.sets, None, ""
        harmful = 0
        if trial.on == "adapter":
            with _applying():
                adapter = self._adapter(run)
                safe = self._safe_adapter(adapter) if trial.needs("safe_adapter") else None
                alignment = self.alignment if trial.needs("alignment") else None
                evidence = Evidence(adapter=adapter, alignment=alignment, safe_adapter=safe)
                defence.fit(evidence)
                defended = defence.apply(adapter)
            spent = time.perf_counter() - started
            if safe is not None and not safe.folder.is_dir():
                with staged_folder(safe.folder) as stage:
                    safe.write(stage)
            command = self._command(trial, adapter, safe)
            with self._with_adapter(defended) as loaded:
                self._measure(loaded, rows, folder)
        elif trial.on in ("attached", "merged"):
            if trial.needs("harmful"):
                if self.harmful is None:
                    raise NotApplicable(
                        "it needs harmful rows, and there are none.",
                        remedy="Give some as `harmful`.",
                    )
                harmful = len(self.harmful)
            if trial.on == "attached":
                with _applying():
                    self._adapter(run)
            with self._merged(run) if trial.on == "merged" else self._loaded(run) as loaded:
                started = time.perf_counter()
                evidence = Evidence(model=loaded, harmful=self.harmful, alignment=self.alignment)
                with _applying():
                    defence.fit(evidence)
                    defended_model = defence.apply(loaded)
                spent = time.perf_counter() - started
                self._measure(defended_model, rows, folder)
        else:
            rows = {what: defence.apply(data) for what, data in rows.items()}
            system, spent = "a safety prompt in front of every request", 0.0
            with self._loaded(run) as loaded:
                with _applying():  # a longer row may not fit into the context
                    for data in rows.values():
                        encode(data, loaded.tokenizer, max_length=loaded.context_length)
                self._measure(loaded, rows, folder)
        budget = budget_of(run.run.plan, run.last, against=run)
        if harmful:
            budget["other"].append(f"{harmful} harmful rows are read")
        report = defence.report()
        needs = system
        if trial.needs("alignment"):
            needs = "the base's and the aligned weights"
        elif report.settings.get("to") == "aligned":
            needs = "the aligned weights"
        budget |= {"harmful_rows": harmful, "extra_seconds": spent, "needs": needs}
        return {"report": report.as_json(), "budget": budget, "command": command}

    def _train(self, trial: Trial, run: Measured, folder: Path) -> dict[str, Any]:
        """The run's fine-tune once more, with the defence in its plan."""
        self._aligned = None  # two whole models may not fit
        defence = trial.make()
        place = self.out / TRAINED / folder.name
        with _applying():
            loaded, budget = train_defended(defence, run, self.prepared, self.alignment, place)
        self._measure(loaded, self.sets, folder)
        return {"report": defence.report().as_json(), "budget": budget, "command": None}

    def _measure(self, loaded: LoadedModel, rows: dict[str, Dataset], folder: Path) -> None:
        found = {what: losses_on(loaded, data) for what, data in rows.items()}
        write_evaluation(folder, 0, found)
        self._ask(loaded, rows["safety"], folder / ANSWERS)

    def _ask(self, loaded: LoadedModel, safety: Dataset, file: Path) -> None:
        if self.generations is not None:
            answer_prompts(
                loaded,
                prompts_of_a_run(safety, self.generations.prompts),
                self.generations,
                file,
                doing="answering",
            )

    def _answers_of(self, run: Measured) -> tuple[Answer, ...] | None:
        """The run's own answers where they were asked for alike, else made now and kept."""
        if self.generations is None:
            return None
        if run.answers and self.prepared.experiment.generations == self.generations:
            return run.answers
        file = self.out / POINTS / run.run.id / ANSWERS
        if not file.is_file():
            with self._loaded(run) as loaded:
                self._ask(loaded, self.sets["safety"], file)
        return tuple(read_answers(file))

    def own_answers(self) -> Sequence[Answer]:
        """theta_s's answers to the same prompts; nothing where nothing is asked."""
        if self.generations is None:
            return ()
        file = self.out / POINTS / "theta_s" / ANSWERS
        if not file.is_file():
            self._ask(self.theta_s(), self.sets["safety"], file)
        return read_answers(file)

    def theta_s(self) -> LoadedModel:
        """The aligned model, loaded once; adapters that are put on it come off again."""
        if self._aligned is None:
            self._aligned = on_device(self.prepared.load_aligned())
        return self._aligned

    @contextmanager
    def _loaded(self, run: Measured) -> Iterator[LoadedModel]:
        """The run's model as it was saved."""
        weights = run.finetuned.weights
        if weights.name == ADAPTER:
            with self._on_theta_s(weights) as loaded:
                yield loaded
        else:
            self._aligned = None  # two whole models may not fit
            yield on_device(load_model(weights))

    @contextmanager
    def _on_theta_s(self, folder: Path) -> Iterator[LoadedModel]:
        loaded = self.theta_s()
        wrapped = load_adapter(loaded.model, folder)
        try:
            yield replace(loaded, model=wrapped.eval())
        finally:
            wrapped.unload()

    @contextmanager
    def _with_adapter(self, adapter: LoraAdapter) -> Iterator[LoadedModel]:
        with tempfile.TemporaryDirectory() as name:
            adapter.write(Path(name))
            with self._on_theta_s(Path(name)) as loaded:
                yield loaded

    @contextmanager
    def _merged(self, run: Measured) -> Iterator[LoadedModel]:
        """The run's model as whole weights, which may be changed."""
        self._aligned = None
        weights = run.finetuned.weights
        if weights.name != ADAPTER:
            yield on_device(load_model(weights))
            return
        loaded = self.prepared.load_aligned()
        merged = load_adapter(loaded.model, weights).merge_and_unload()
        yield on_device(replace(loaded, model=merged.eval()))

    def _adapter(self, run: Measured) -> LoraAdapter:
        if run.finetuned.weights.name != ADAPTER:
            raise InputError(
                "the run trained all weights, and this defence repairs LoRA adapters.",
                remedy="Compare an experiment whose method is a LoRA.",
                file=run.finetuned.weights,
            )
        return read_adapter(run.finetuned.weights)

    def _safe_adapter(self, like: LoraAdapter) -> LoraAdapter:
        from llm_validation.tradeoff.safe_adapter import alignment_as_adapter

        if self._safe is None:
            folder = self.out / "safe-adapter"
            self._safe = alignment_as_adapter(self.alignment, like, folder=folder)
        return self._safe

    def _command(self, trial: Trial, adapter: LoraAdapter, safe: LoraAdapter | None) -> str:
        options = trial.options if safe is None else f"{trial.options} --safe-adapter {safe.folder}"
        return (
            f"finebound defend {adapter.folder} --base {self.base} --aligned "
            f"{self.prepared.aligned} --method {trial.method} {options} --out DEFENDED"
        )

    def _key(self, trial: Trial, run: Measured) -> dict[str, Any]:
        """What makes a point this point, beside what the whole comparison is of."""
        harmful = self.harmful if trial.needs("harmful") else None
        return {
            "trial": trial.label,
            "weights": file_sha256(_weights_file(run)),
            "harmful": None if harmful is None else harmful.sha256,
        }


def _weights_file(run: Measured) -> Path:
    folder = run.finetuned.weights
    if folder.name == ADAPTER:
        return folder / WEIGHTS
    whole = folder / "model.safetensors"
    return whole if whole.is_file() else folder / "model.safetensors.index.json"


def _read_record(folder: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    if not (folder / RECORD).is_file():
        return None
    try:
        record = read_record(folder / RECORD, remedy="")
        require_unchanged(folder, record.get(FILES, {}), remedy="")
    except Damaged as error:
        tell(f"{error.file}: {error.what} The point is made again.")
        return None
    return record if record.get("key") == key else None
