"""A run's folder: its identity, its status, its steps; what a finished run gives back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from finebound.base.errors import InputError, tell
from finebound.base.integrity import (
    FILES,
    Damaged,
    as_written,
    changed,
    hashes_of,
    read_record,
    require_unchanged,
    sealed,
)
from finebound.base.records import manifest, require_folder, to_json, write_atomically
from finebound.base.writing import remove
from llm_validation.data.dataset import Dataset
from llm_validation.measure.losses import Losses
from llm_validation.models.loading import LoadedModel
from llm_validation.training.evaluation import AGAIN, read_evaluations
from llm_validation.training.methods import base_of
from llm_validation.training.plan import TrainingPlan, plan_from_dict
from llm_validation.training.precision import Precision
from llm_validation.training.terms import AlignmentPair

RUN, STEPS, EVALUATIONS, CHECKPOINTS = "run.json", "steps.json", "evaluations", "checkpoints"
ADAPTER, WEIGHTS = "adapter", "weights"
TRAIN_TASK, TRAIN_PROXY, TRAIN_REJECTED = "train/task", "train/proxy", "train/rejected"
REFERENCE = "reference"
OF_A_RUN = (STEPS, EVALUATIONS, REFERENCE, ADAPTER, WEIGHTS)
"""Files and folders that a fine-tune leaves beside its record."""


@dataclass(frozen=True, eq=False)
class FinetuneRun:
    """A finished fine-tune.

    ``steps`` are its columns, each ``[steps done]`` (NaN where a step has no value):
    ``objective, task_loss, proxy_loss, lam`` (nats per token of the step's rows, before its
    update), ``displacement`` (after its update and projection), ``grad_norm`` (before clipping),
    ``learning_rate`` and more. ``evaluations[step][name]`` are row losses of the monitors and of
    the training sets ``train/task`` and ``train/proxy``. ``document`` is ``run.json``; its
    ``result`` holds the displacement, T13's budget and the objective at both ends. ``model`` is
    the trained model, or None when only the record was read.

    With DPO ``task_loss`` is in nats per pair, and there are ``margin`` (nats), ``preferred`` (the
    share of pairs whose margin is positive) and ``chosen_loss`` (nats per token); the rejected
    answers are the set ``train/rejected``. With constrained SFT there are ``constrained_loss`` (its
    objective, nats per token) and ``token_weight`` (the mean factor on a token's gradient). Lisa's
    steps have either a ``task_loss`` or a ``proxy_loss``. ``penalty`` is what a strategy adds.
    """

    folder: Path
    plan: TrainingPlan
    document: dict[str, Any]
    steps: dict[str, np.ndarray]
    evaluations: dict[int, dict[str, Losses]]
    model: LoadedModel | None = None

    @property
    def result(self) -> dict[str, Any]:
        """What came out, as in ``run.json``."""
        return self.document["result"]

    @property
    def steps_done(self) -> int:
        """Optimiser steps taken; fewer than planned after an early stop."""
        return int(self.result["steps"])

    @property
    def start(self) -> dict[str, Losses]:
        """Row losses of every set before the first step, with the adapter in place.

        Those of theta_s, unless the method starts elsewhere (``starts_at_theta_s`` of the result).
        """
        return self.evaluations[0]

    @property
    def reference(self) -> dict[str, Losses]:
        """Row losses without the adapter (a QLoRA's base stays quantised): DPO's reference."""
        return read_evaluations(self.folder / REFERENCE).get(0, self.start)

    @property
    def end(self) -> dict[str, Losses]:
        """Row losses of every set at the end."""
        return self.evaluations[self.steps_done]

    @property
    def weights(self) -> Path:
        """The folder of the adapter, or of the whole model for a full fine-tune."""
        return self.folder / (ADAPTER if (self.folder / ADAPTER).is_dir() else WEIGHTS)


def read_run(folder: str | Path) -> FinetuneRun:
    """A finished run's record, without its model. Raises InputError when there is none."""
    folder = Path(folder)
    document = _read_document(folder)
    if document is None or document["status"] != "done":
        status = "there is no run" if document is None else f"the run is {document['status']}"
        raise InputError(f"{status} in this folder.", remedy="Start or resume it.", file=folder)
    require_unchanged(folder, document.get(FILES, {}), remedy=AGAIN)
    columns = read_record(folder / STEPS, remedy=AGAIN)
    evaluations = read_evaluations(folder / EVALUATIONS)
    with as_written(document, folder / RUN, remedy=AGAIN):
        steps = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
        plan = _plan_used(document)
        run = FinetuneRun(folder, plan, document, steps, evaluations)
        absent = {0, run.steps_done} - evaluations.keys()
    if absent:
        raise Damaged(
            f"there are no losses of step {min(absent)}.", remedy=AGAIN, file=folder / EVALUATIONS
        )
    return run


def _plan_used(document: Mapping[str, Any]) -> TrainingPlan:
    """The run's plan, with the precision that "auto" stood for where it was made."""
    asked = plan_from_dict(document["identity"]["plan"])
    used = document.get("precision", {}).get("used", asked.precision)
    return replace(asked, precision=used)


def identity_of(
    model: LoadedModel,
    task: Dataset,
    proxy: Dataset | None,
    plan: TrainingPlan,
    monitors: Mapping[str, Dataset],
    alignment: AlignmentPair | None = None,
) -> dict[str, Any]:
    """What makes a run this run: content hashes and every setting."""
    # Absent without one: older runs know nothing of it.
    pair = {} if alignment is None else {"alignment": dict(alignment.identity)}
    return {
        "model": model.sha256,
        "task": task.sha256,
        "proxy": proxy.sha256 if proxy is not None else None,
        "monitors": {name: dataset.sha256 for name, dataset in sorted(monitors.items())},
        "plan": plan.as_dict(),
        **pair,
    }


def sha256_of(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity, as 64 hex digits."""
    return hashlib.sha256(to_json(identity).encode()).hexdigest()


class RunFolder:
    """The files of one run. Only the ``main`` process writes."""

    def __init__(self, folder: Path, identity: dict[str, Any], *, main: bool = True) -> None:
        self.folder, self.identity, self.main = Path(folder), identity, main
        self.checkpoints = self.folder / CHECKPOINTS
        self.evaluations = self.folder / EVALUATIONS
        if main:
            require_folder(folder)
        found = _read_document(self.folder)
        if found is not None and found["identity"] != json.loads(to_json(identity)):
            raise InputError(
                "the folder holds a run of another configuration; what differs: "
                f"{', '.join(_differences(found['identity'], json.loads(to_json(identity))))}.",
                remedy="Give another folder, or the configuration in its run.json to go on there.",
                file=self.folder,
            )
        if found is not None and (told := changed(self.folder, found.get(FILES, {}))):
            self._start_over(told[0])
            found = None
        self.document: dict[str, Any] = found or {"status": "new", "identity": identity, FILES: {}}

    @property
    def is_new(self) -> bool:
        """Whether no start of the run has written its record yet."""
        return self.document["status"] == "new"

    @property
    def is_done(self) -> bool:
        """Whether the run needs no more work."""
        return self.document["status"] == "done"

    def begin(
        self,
        model: LoadedModel,
        plan: TrainingPlan,
        data: Mapping[str, tuple[Dataset, int]],
        *,
        given: Mapping[str, Any],
        precision: Precision,
    ) -> None:
        """Write what the run is going to do. ``data``: each set and how many rows it uses.

        ``given`` are the settings that were asked for, ``plan`` has the ``precision`` that is used.
        """
        template = model.tokenizer.get_chat_template().encode("utf-8", "surrogatepass")
        self.document |= {
            "sha256": sha256_of(self.identity),
            "precision": asdict(precision),
            "model": {
                "name": model.name,
                "sha256": model.sha256,
                "chat_template_sha256": hashlib.sha256(template).hexdigest(),
                **_quantisation(plan),
            },
            "data": {
                name: {
                    "name": dataset.name,
                    "source": dataset.source,
                    "sha256": dataset.sha256,
                    "rows": len(dataset),
                    "rows_used": used,
                }
                for name, (dataset, used) in data.items()
            },
            "manifest": manifest(
                given=given,
                inputs={name: dataset.sha256 for name, (dataset, _) in data.items()},
                seed=plan.seed,
            ),
        }
        if self.is_new and self.main:
            self.document[FILES] = hashes_of(self.folder, [EVALUATIONS])
        self.set_status("running")

    def _start_over(self, why: str) -> None:
        """Remove what a run left whose files are not those that it wrote."""
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise Damaged(f"{why}: damaged, or of another run.", remedy=AGAIN, file=self.folder)
        tell(f"{self.folder}: {why}: damaged, or of another run. The run is made again.")
        for name in (CHECKPOINTS, *OF_A_RUN):
            remove(self.folder / name)

    def has(self, file: Path) -> bool:
        """Whether the run has written the file; of a record without hashes all is believed."""
        files = self.document.get(FILES)
        return files is None or file.relative_to(self.folder).as_posix() in files

    def keep(self, *files: Path) -> None:
        """Add hashes of what the run has written to its record."""
        if self.main:
            names = [file.relative_to(self.folder).as_posix() for file in files]
            found = self.document.get(FILES) or {}
            self.document[FILES] = found | hashes_of(self.folder, names)
            self._write()

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write that the run is done, what came out, and the hashes of all that it left."""
        if self.main:
            self.document[FILES] = hashes_of(self.folder, OF_A_RUN)
        self.set_status("done", result=result)

    def _write(self) -> None:
        write_atomically(self.folder / RUN, to_json(sealed(self.document)) + "\n")

    def set_status(self, status: str, *, error: str | None = None, **more: Any) -> None:
        """Write the status: running, done, failed, cancelled or out of memory."""
        self.document |= {"status": status, "error": error, **more}
        if self.main:
            self._write()

    def give_up(self, status: str, error: BaseException) -> None:
        """``set_status`` where the disk may be full: the error itself matters more."""
        with suppress(InputError):
            self.set_status(status, error=str(error) or type(error).__name__)

    def write_steps(self, log_history: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Write ``steps.json`` and return its columns, each ``[steps]``, NaN where missing."""
        entries = [entry for entry in log_history if "objective" in entry]
        names = dict.fromkeys(key for entry in entries for key in entry if key != "epoch")
        columns = {
            name: np.array([entry.get(name, np.nan) for entry in entries], dtype=np.float64)
            for name in names
        }
        if self.main:
            write_atomically(self.folder / STEPS, to_json(columns, indent=None) + "\n")
        return columns


def _quantisation(plan: TrainingPlan) -> dict[str, Any]:
    how = base_of(plan.method, plan.precision)
    return {} if how is None else {"base_quantisation": asdict(how)}


def _read_document(folder: Path) -> dict[str, Any] | None:
    file = folder / RUN
    if not file.is_file():
        if folder.is_dir() and (folder / CHECKPOINTS).exists():
            raise InputError(
                "the folder holds checkpoints and no run.json that says of what.",
                remedy="Give another folder, or remove this one.",
                file=folder,
            )
        return None
    try:
        document = read_record(file, remedy=AGAIN)
        return document if document["status"] and document["identity"] else None
    except KeyError as error:
        raise Damaged("the run's record lacks its status.", remedy=AGAIN, file=file) from error


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            line
            for key in sorted({*old, *new})
            for line in _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    if old == new:
        return []
    short = [str(value)[:20] for value in (old, new)]
    return [f"{path} ({short[0]} there, {short[1]} now)"]
