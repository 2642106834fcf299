"""Losses of every monitored row during a run, saved as arrays for paired intervals later."""

from __future__ import annotations

import gc
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from accelerate.utils.memory import should_reduce_batch_size

from finebound.base.errors import InputError
from finebound.base.integrity import Damaged, as_written
from finebound.base.progress import Progress, silent
from finebound.base.records import write_atomically
from llm_validation.data.encoding import Encoded, token_budget_batches
from llm_validation.measure.losses import Losses, measure_losses
from llm_validation.measure.supervised import SupervisedBatch
from llm_validation.models.rope import rope_switch

if TYPE_CHECKING:
    from llm_validation.training.trainer import ConstraintTrainer

TOKENS_PER_BATCH = 2048
AGAIN = "Remove the run's folder and start the experiment again: it makes the run anew."
T = TypeVar("T")


class Evaluator:
    """Measures row losses of the model in training, in full precision, and keeps them in files.

    ``sets`` are encoded rows by name; ``every`` names those measured at every evaluation, the
    others only at the first and the last. What an earlier start of the run measured is read where
    the file is ``kept``; ``keep`` is called with every file that is written.
    """

    def __init__(
        self,
        trainer: ConstraintTrainer,
        sets: Mapping[str, Sequence[Encoded]],
        *,
        every: Sequence[str],
        folder: Path,
        progress: Progress = silent,
        keep: Callable[[Path], object] = lambda file: None,
        kept: Callable[[Path], bool] = lambda file: True,
    ) -> None:
        self.trainer, self.sets, self.every = trainer, sets, tuple(every)
        self.folder, self.progress = folder, progress
        self.keep, self.kept = keep, kept
        self.tokens_per_batch = TOKENS_PER_BATCH
        self.found = read_evaluations(folder, kept)
        trainer.accelerator.wait_for_everyone()

    def at(self, step: int, *, is_end: bool = False) -> dict[str, Losses]:
        """Row losses of every set after ``step`` steps: measured now unless they are known."""
        names = list(self.sets) if step == 0 or is_end else list(self.every)
        known = self.found.setdefault(step, {})
        if missing := [name for name in names if name not in known]:
            self.found[step] = {**known, **{name: self.losses(name) for name in missing}}
            if self.trainer.is_world_process_zero():
                self.keep(write_evaluation(self.folder, step, self.found[step]))
        return self.found[step]

    def losses(self, name: str) -> Losses:
        """Row losses of one set under the weights as they are."""
        rows = self.sets[name]
        parts = self._by_process(name, measure_losses)
        sums, counts = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
        for rank, found in enumerate(parts):
            if found is not None:
                share = slice(rank, None, len(parts))
                sums[share], counts[share] = found.token_sum, found.token_count
        return Losses(sums, counts)

    def token_losses(self, name: str) -> list[np.ndarray]:
        """The losses of every row's supervised tokens, nats ``[tokens]``, under these weights."""
        parts = self._by_process(name, measure_token_losses)
        found: list[np.ndarray] = [np.empty(0)] * len(self.sets[name])
        for rank, part in enumerate(parts):
            if part is not None:
                found[rank :: len(parts)] = part
        return found

    def _by_process(self, name: str, measure: Callable[..., T]) -> list[T | None]:
        """What every process measures of its rows; None where it has none."""
        rows, trainer = self.sets[name], self.trainer
        world = trainer.accelerator.num_processes
        if world == 1 or trainer.is_fsdp_enabled:
            # Sharded weights are gathered by all processes together, so all do the same.
            return [self._measured(rows, name, measure)]
        share = range(trainer.accelerator.process_index, len(rows), world)
        part = self._measured([rows[i] for i in share], name, measure) if share else None
        parts: list[T | None] = [None] * world
        torch.distributed.all_gather_object(parts, part)
        return parts

    def _measured(self, rows: Sequence[Encoded], name: str, measure: Callable[..., T]) -> T:
        while True:
            try:
                model: Any = self.trainer.model
                with _full_precision(model):
                    return measure(
                        model,
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


def measure_token_losses(
    model: torch.nn.Module,
    encoded: Sequence[Encoded],
    *,
    pad_id: int,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    progress: Progress = silent,
    doing: str = "measuring tokens",
) -> list[np.ndarray]:
    """The loss of every supervised token of each row, nats float64 ``[tokens]``, in float32."""
    device = next(model.parameters()).device
    found: list[np.ndarray] = [np.empty(0)] * len(encoded)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            batches = token_budget_batches(
                encoded, tokens=tokens_per_batch, apart_at=rope_switch(model)
            )
            for indices in progress(batches, doing):
                batch = SupervisedBatch.of([encoded[i] for i in indices], device, pad_id)
                losses = batch.token_losses(batch.logits(model)).double().cpu()
                counts = batch.rows.bincount(minlength=len(indices)).tolist()
                for index, part in zip(indices, losses.split(counts), strict=True):
                    found[index] = part.numpy()
    finally:
        model.train(was_training)
    return found


def write_evaluation(folder: Path, step: int, losses: Mapping[str, Losses]) -> Path:
    """Write ``step-N.npz`` with ``<set>/token_sum`` and ``<set>/token_count``, whole or not."""
    arrays = {}
    for name, found in losses.items():
        arrays[f"{name}/token_sum"] = found.token_sum
        arrays[f"{name}/token_count"] = found.token_count
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return write_atomically(folder / f"step-{step:06d}.npz", buffer.getvalue())


def read_evaluations(
    folder: Path, kept: Callable[[Path], bool] = lambda file: True
) -> dict[int, dict[str, Losses]]:
    """Every evaluation of a run that is ``kept``: step, then the set's name.

    Raises Damaged for a file that cannot be read.
    """
    evaluations = {}
    for file in filter(kept, sorted(folder.glob("step-*.npz"))):
        arrays = read_arrays(file)
        with as_written(arrays, file, remedy=AGAIN):
            names = dict.fromkeys(key.rpartition("/")[0] for key in arrays)
            evaluations[int(file.stem.rpartition("-")[2])] = {
                name: Losses(arrays[f"{name}/token_sum"], arrays[f"{name}/token_count"])
                for name in names
            }
    return evaluations


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file of a run. Raises Damaged where it cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # a damaged archive makes anything of its reader
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Damaged(f"cannot be read: {what}.", remedy=AGAIN, file=file) from error


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
