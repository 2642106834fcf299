"""The alignment stage: theta_s, a model trained on safety data to a low, measured safety loss.

Every gap of a study is measured from theta_s, and the theorems take it for a minimiser of the
safety loss. So it is made once, kept by the hash of what made it, and the norm of the gradient
that is left says how stationary it is. A model that is aligned already needs no such stage.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from peft import PeftModel

from finebound.base.errors import InputError, tell
from finebound.base.integrity import (
    FILES,
    Damaged,
    as_written,
    hashes_of,
    read_record,
    require_unchanged,
    sealed,
)
from finebound.base.progress import Progress, silent
from finebound.base.records import staged_folder, to_json, write_atomically
from finebound.base.writing import open_lock, remove, remove_abandoned
from llm_validation.data.dataset import Dataset
from llm_validation.measure.coordinates import all_weights
from llm_validation.measure.gradients import loss_and_gradient
from llm_validation.models.adapters import is_prompt_learning
from llm_validation.models.loading import LoadedModel, load_model
from llm_validation.models.packaged import cache_folder, without_bars
from llm_validation.models.quantisation import read_note
from llm_validation.models.tuned import with_adapter
from llm_validation.training.checks import encode_checked
from llm_validation.training.finetune import finetune
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.record import TRAIN_TASK, identity_of, sha256_of

_RECORD, _MODEL, _WORK = "alignment.json", "model", "run"


@dataclass(frozen=True)
class AlignedModel:
    """theta_s with what is known of it.

    ``safety_loss_before`` and ``_after`` are nats per token on all of the safety data that it was
    trained on; ``gradient_norm`` is that of the same loss over all weights at theta_s, and
    ``gradient_norm_upper`` adds one standard error of the sample. ``held_out`` gives each
    monitor's loss ``(before, after)``.
    """

    model: LoadedModel
    folder: Path
    safety_loss_before: float
    safety_loss_after: float
    gradient_norm: float
    gradient_norm_upper: float
    held_out: dict[str, tuple[float, float]]


def align(
    model: LoadedModel,
    safety: Dataset,
    plan: TrainingPlan,
    *,
    cache: str | Path | None = None,
    monitors: Mapping[str, Dataset] | None = None,
    progress: Progress = silent,
) -> AlignedModel:
    """Train ``model`` in place on ``safety`` without a constraint; the merged weights are theta_s.

    The result is kept in ``cache`` (finebound's own unless given) under the hash of model, data
    and plan: a second call reads it, a call after a kill goes on, and of two processes that want
    the same one waits for the other. Raises InputError when the plan has a constraint, when the
    safety loss did not fall (such a model is no reference for any gap), and under ``torchrun``
    unless it is there already.
    """
    if plan.strategy is not None:
        raise InputError(
            "the alignment stage trains without a constraint, and its plan has a strategy.",
            remedy="Leave the strategy out of the alignment's plan.",
        )
    if plan.objective is not None or not (
        plan.method.displaces_weights and plan.method.starts_at_theta_s
    ):
        raise InputError(
            f"the alignment stage cannot make theta_s by {plan.method.kind}"
            + (" on preferences" if plan.objective is not None else "")
            + ": its weights are those of one plain model.",
            remedy="Align with supervised answers by lora or full.",
        )
    sha256 = sha256_of(identity_of(model, safety, None, plan, dict(monitors or {})))
    folder = Path(cache or cache_folder() / "aligned").expanduser() / sha256
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not (folder / _RECORD).is_file():
        raise InputError(
            "the aligned model is not made yet, and the alignment stage runs in one process.",
            remedy="Run the alignment once without torchrun; its result is kept and shared.",
        )
    name = f"{model.name} aligned on {safety.name}"
    with _alone(folder):
        if (folder / _RECORD).is_file():
            try:
                return _read(folder, name)
            except Damaged as error:
                if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                    raise
                tell(f"{error.file}: {error.what} The model is aligned again.")
                remove(folder)
        _align_into(folder, model, safety, plan, dict(monitors or {}), progress)
        return _read(folder, name)


def merge_adapter(
    model: LoadedModel, adapter: Path, *, cache: str | Path | None = None
) -> tuple[LoadedModel, Path]:
    """``model``, changed in place, with its own adapter merged into its weights; where that is.

    The merged model is kept in ``cache`` (finebound's own unless given) under the hash of both.
    Raises InputError for an adapter that does not fit the model, and for one that no plain model
    can hold: virtual tokens, or a base in 4 bits.
    """
    how = read_note(adapter)
    together = with_adapter(model, adapter)
    if how is not None or is_prompt_learning(together.model):
        what = "is on a base in 4 bits" if how is not None else "consists of virtual tokens"
        raise InputError(
            f"the adapter {what}, and cannot be merged into the model's weights.",
            remedy="Start from a LoRA or IA3 on the exact base, or from a whole model.",
            file=adapter,
        )
    folder = Path(cache or cache_folder() / "aligned").expanduser() / f"merged-{together.sha256}"
    merged = cast(Any, together.model).merge_and_unload()
    with _alone(folder):
        if not (folder / _MODEL / "config.json").is_file():
            with staged_folder(folder / _MODEL) as stage, without_bars():
                merged.save_pretrained(stage)
                together.tokenizer.save_pretrained(stage)
    return replace(load_model(folder / _MODEL), name=together.name), folder / _MODEL


def _align_into(
    folder: Path,
    model: LoadedModel,
    safety: Dataset,
    plan: TrainingPlan,
    monitors: dict[str, Dataset],
    progress: Progress,
) -> None:
    run = finetune(
        model, safety, None, plan, out=folder / _WORK, monitors=monitors, progress=progress
    )
    before, after = run.start[TRAIN_TASK].per_token, run.end[TRAIN_TASK].per_token
    if not after < before:
        raise InputError(
            f"the alignment did not lower the safety loss: {before:.4g} nats per token before, "
            f"{after:.4g} after.",
            remedy="Train for more steps, or with another learning rate.",
            file=folder,
        )
    assert run.model is not None  # finetune gives it
    trained = run.model.model
    merged = trained.merge_and_unload() if isinstance(trained, PeftModel) else trained
    gradient = loss_and_gradient(
        merged,
        all_weights(merged),
        encode_checked(safety, model, plan, role="safety"),
        pad_id=model.pad_id,
        progress=progress,
        doing="measuring the gradient at theta_s",
    ).estimate
    with staged_folder(folder / _MODEL) as stage, without_bars():
        merged.save_pretrained(stage)
        model.tokenizer.save_pretrained(stage)
    record: dict[str, Any] = {
        "safety_loss_before": before,
        "safety_loss_after": after,
        "gradient_norm": gradient.value,
        "gradient_norm_upper": gradient.upper,
        "held_out": {
            name: (run.start[name].per_token, run.end[name].per_token) for name in monitors
        },
        "run": run.document,
        FILES: hashes_of(folder, [_MODEL]),
    }
    # Last: its presence says that everything else is there.
    write_atomically(folder / _RECORD, to_json(sealed(record)) + "\n")
    remove(run.weights)


def _read(folder: Path, name: str) -> AlignedModel:
    """theta_s from its files. Raises Damaged where they are not those that were written."""
    again = "Remove the folder: the model is aligned again."
    record = read_record(folder / _RECORD, remedy=again)
    require_unchanged(folder, record.get(FILES, {}), remedy=again)
    try:
        model = load_model(folder / _MODEL)
    except InputError as error:
        raise Damaged(error.what, remedy=again, file=error.file or folder) from error
    with as_written(record, folder / _RECORD, remedy=again):
        return AlignedModel(
            model=replace(model, name=name),
            folder=folder / _MODEL,
            safety_loss_before=float(record["safety_loss_before"]),
            safety_loss_after=float(record["safety_loss_after"]),
            gradient_norm=float(record["gradient_norm"]),
            gradient_norm_upper=float(record["gradient_norm_upper"]),
            held_out={name: tuple(pair) for name, pair in record["held_out"].items()},
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process of this machine at a time; the lock goes with a killed one."""
    with open_lock(folder.parent / f".{folder.name}.lock") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        # A killed process may have left a whole model.
        remove_abandoned(folder)
        try:
            yield
        finally:
            # By hand: a forked child may still hold the file open.
            fcntl.flock(stream, fcntl.LOCK_UN)
