"""A run's trained weights in its folder: written whole, and read back onto the model."""

from __future__ import annotations

from dataclasses import replace

from peft import PeftModel

from finebound.base.writing import remove, sync_folder, sync_tree
from llm_validation.models.adapter_base import write_base
from llm_validation.models.adapters import load_adapter
from llm_validation.models.loading import LoadedModel, load_model
from llm_validation.models.quantisation import quantise, write_note
from llm_validation.training.methods import base_of
from llm_validation.training.record import (
    ADAPTER,
    WEIGHTS,
    FinetuneRun,
    RunFolder,
    read_run,
    sha256_of,
)
from llm_validation.training.trainer import ConstraintTrainer, disk_errors


def save_weights(trainer: ConstraintTrainer, run: RunFolder, source: LoadedModel) -> None:
    """Adapter or whole model as safetensors; written beside, then renamed."""
    plan = trainer.plan
    name = ADAPTER if isinstance(trainer.model, PeftModel) else WEIGHTS
    partial = run.folder / f".{name}.partial"
    if run.main:
        remove(partial)
    trainer.accelerator.wait_for_everyone()
    with disk_errors(run.folder, partial):
        trainer.save_model(str(partial))
        if run.main:
            # The Trainer's pickle of its own settings: run.json has them, as text.
            (partial / "training_args.bin").unlink(missing_ok=True)
            if name == WEIGHTS:
                source.tokenizer.save_pretrained(partial)
            if (how := base_of(plan.method, plan.precision)) is not None:
                write_note(partial, how)
            if name == ADAPTER:
                write_base(partial, name=source.name, sha256=source.sha256)
            sync_tree(partial)
            final = run.folder / name
            remove(final)
            partial.rename(final)
            sync_folder(run.folder)


def finished_run(run: RunFolder, model: LoadedModel) -> FinetuneRun:
    """A run that was done before, with its model: ``model`` is what it was trained from."""
    found = read_run(run.folder)
    if found.weights.name == ADAPTER:
        how = base_of(found.plan.method, found.plan.precision)
        base = model.model if how is None else quantise(model.model, how)
        trained = load_adapter(base, found.weights)
    else:
        trained = load_model(found.weights).model
    loaded = replace(
        model,
        model=trained.eval(),
        name=f"{model.name} + {run.folder.name}",
        sha256=sha256_of(found.document["identity"]),
    )
    return replace(found, model=loaded)
