"""Losses of every monitored row during a run, saved as arrays for paired intervals later."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils.memory import should_reduce_batch_size

from finebound.errors import InputError
from finebound.progress import Progress, silent
from finebound.records import write_atomically
from llm_validation.data.encoding import Encoded
from llm_validation.measure.losses import Losses, measure_losses

if TYPE_CHECKING:
    from llm_validation.training.trainer import ConstraintTrainer

TOKENS_PER_BATCH = 2048


class Evaluator:
    """Measures row losses of the model in training, in full precision, and keeps them in files.

    ``sets`` are encoded rows by name; ``every`` names those measured at every evaluation, the
    others only at the first and the last. What an earlier start of the run measured is kept.
    """

    def __init__(
        self,
        trainer: ConstraintTrainer,
        sets: Mapping[str, Sequence[Encoded]],
        *,
        every: Sequence[str],
        folder: Path,
        progress: Progress = silent,
    ) -> None:
        self.trainer, self.sets, self.every = trainer, sets, tuple(every)
        self.folder, self.progress = folder, progress
        self.tokens_per_batch = TOKENS_PER_BATCH
        self.found = read_evaluations(folder)
        trainer.accelerator.wait_for_everyone()

    def at(self, step: int, *, is_end: bool = False) -> dict[str, Losses]:
        """Row losses of every set after ``step`` steps: measured now unless they are known."""
        names = list(self.sets) if step == 0 or is_end else list(self.every)
        known = self.found.setdefault(step, {})
        if missing := [name for name in names if name not in known]:
            self.found[step] = {**known, **{name: self.losses(name) for name in missing}}
            if self.trainer.is_world_process_zero():
                write_evaluation(self.folder, step, self.found[step])
        return self.found[step]

    def losses(self, name: str) -> Losses:
        """Row losses of one set under the weights as they are."""
        rows, trainer = self.sets[name], self.trainer
        world = trainer.accelerator.num_processes
        if world == 1 or trainer.is_fsdp_enabled:
            # Sharded weights are gathered by all processes together, so all do the same.
            return self._measured(rows, name)
        share = range(trainer.accelerator.process_index, len(rows), world)
        part = self._measured([rows[i] for i in share], name) if share else None
        parts: list[Losses | None] = [None] * world
        torch.distributed.all_gather_object(parts, part)
        sums, counts = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
        for rank, found in enumerate(parts):
            if found is not None:
                sums[rank::world], counts[rank::world] = found.token_sum, found.token_count
        return Losses(sums, counts)

    def _measured(self, rows: Sequence[Encoded], name: str) -> Losses:
        while True:
            try:
                with _full_precision(self.trainer.model):
                    return measure_losses(
                        self.trainer.model,
                        rows,
                        pad_id=self.trainer.pad_id,
                        tokens_per_batch=self.tokens_per_batch,
                        progress=self.progress,
                        doing=f"measuring {name}",
                    )
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
            if self.tokens_per_batch <= max(map(len, rows)):
                raise InputError(
                    f"the device runs out of memory measuring one row of {name} at a time.",
                    remedy="Lower max_length, or use a device with more memory.",
                )
            self.tokens_per_batch //= 2
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def write_evaluation(folder: Path, step: int, losses: Mapping[str, Losses]) -> Path:
    """Write ``step-N.npz`` with ``<set>/token_sum`` and ``<set>/token_count``, whole or not."""
    arrays = {}
    for name, found in losses.items():
        arrays[f"{name}/token_sum"] = found.token_sum
        arrays[f"{name}/token_count"] = found.token_count
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return write_atomically(folder / f"step-{step:06d}.npz", buffer.getvalue())


def read_evaluations(folder: Path) -> dict[int, dict[str, Losses]]:
    """Every evaluation of a run: step, then the set's name."""
    evaluations = {}
    for file in sorted(folder.glob("step-*.npz")):
        with np.load(file, allow_pickle=False) as arrays:
            names = dict.fromkeys(key.rpartition("/")[0] for key in arrays)
            evaluations[int(file.stem.rpartition("-")[2])] = {
                name: Losses(arrays[f"{name}/token_sum"], arrays[f"{name}/token_count"])
                for name in names
            }
    return evaluations


@contextmanager
def _full_precision(model: torch.nn.Module) -> Iterator[None]:
    """Without accelerate's mixed precision, which it puts around the model's ``forward``."""
    original = model.__dict__.get("_original_forward")
    if original is None:
        yield
        return
    mixed = model.forward
    model.forward = original
    try:
        yield
    finally:
        model.forward = mixed
