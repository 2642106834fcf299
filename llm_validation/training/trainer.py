"""Hugging Face's ``Trainer`` with a loss of two streams, normalised by tokens over the whole step.

Everything else (optimiser, schedule, clipping, mixed precision, DDP, FSDP, checkpoints) is the
Trainer's own. One of its batches is one optimiser step here; a step's micro-batches are cut in
``training_step``, so that a step which runs out of memory can be made again in smaller ones.
"""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils.memory import should_reduce_batch_size
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from finebound.base.errors import InputError
from finebound.base.writing import as_disk_error, cannot_write, remove, sync_folder, sync_tree
from llm_validation.models.virtual_tokens import virtual_tokens
from llm_validation.training.alternation import ProximalTerm
from llm_validation.training.checkpoints import checkpoints, seal_checkpoint
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.streams import (
    PROXY,
    TASK,
    Collate,
    StepRow,
    Streams,
    collate_rows,
    micro_batches,
)
from llm_validation.training.terms import Penalty, TaskLoss

_KEPT_CHECKPOINTS = 2
PARTIAL = ".partial"
_TRAINED = "trained.safetensors"


def training_arguments(plan: TrainingPlan, folder: Path) -> TrainingArguments:
    """The Trainer's own settings for this plan; checkpoints go to ``folder``."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=plan.steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=plan.learning_rate,
        lr_scheduler_type=plan.schedule_name,
        lr_scheduler_kwargs=dict(plan.schedule_options) or None,
        warmup_steps=plan.warmup,
        weight_decay=plan.weight_decay,
        max_grad_norm=plan.clip or 0.0,
        bf16=plan.precision == "bf16",
        activation_checkpointing=plan.gradient_checkpointing,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps" if plan.checkpoint_every else "no",
        save_steps=plan.checkpoint_every or plan.steps,
        seed=plan.seed,
        data_seed=plan.seed,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=False,
        average_tokens_across_devices=False,
        disable_tqdm=True,
        report_to=[],
    )


class ConstraintTrainer(Trainer):
    """Minimises ``task loss + lam * proxy loss (+ penalty)``, each a mean over its own tokens.

    The sums of token losses are divided by the supervised tokens of that stream in the whole
    step, over all micro-batches and processes; how a step is cut changes only rounding. A
    ``task_loss`` takes the place of the task's; a step of proxy rows alone has them at weight 1.
    ``lam`` may be changed between steps. Every step leaves one entry with ``objective`` in
    ``state.log_history``. Checkpoints are of the run ``of``. Raises InputError for a loss or
    gradient that is not finite, for a step that does not fit into memory row by row, and for a
    checkpoint that cannot be written.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: TrainingPlan,
        streams: Streams,
        *,
        pad_id: int,
        checkpoints: Path,
        penalty: Penalty | None = None,
        callbacks: list[TrainerCallback] | None = None,
        collate: Collate = collate_rows,
        of: str = "",
    ) -> None:
        sgd = {"lr": plan.learning_rate, "momentum": plan.momentum}
        adamw = {"lr": plan.learning_rate, "betas": plan.betas}
        super().__init__(
            model=model,
            args=training_arguments(plan, checkpoints),
            callbacks=callbacks,
            optimizer_cls_and_kwargs=(torch.optim.SGD, sgd)
            if plan.optimizer == "sgd"
            else (torch.optim.AdamW, adamw),
        )
        self.remove_callback(PrinterCallback)
        self.loss_is_scaled_for_ga = True
        self.plan, self.streams, self.penalty = plan, streams, penalty
        self.task_loss: TaskLoss | None = None
        self.pad_id, self.collate, self.of = pad_id, collate, of
        self.lam = plan.lam
        self.micro_batches = plan.gradient_accumulation
        self.step_record: dict[str, float] = {}
        self._weights = {TASK: 0.0, PROXY: 0.0}
        world = self.accelerator.num_processes
        if plan.rows_per_step < world * plan.gradient_accumulation:
            raise InputError(
                f"a step has {plan.rows_per_step} rows, too few for {world} processes with "
                f"{plan.gradient_accumulation} micro-batches each.",
                remedy="Raise batch_size, or lower gradient_accumulation or the processes.",
            )

    def get_train_dataloader(self) -> DataLoader:
        """The steps' numbers: what is in a step follows from its number."""
        steps: Any = range(self.args.max_steps)
        return DataLoader(steps, collate_fn=lambda steps: {"step": steps[0]})

    def training_step(
        self, model: nn.Module, inputs: dict[str, int], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward over one whole optimiser step; the objective's value."""
        rows = self.streams.rows(inputs["step"])
        tokens = {stream: self.streams.tokens(rows, stream) for stream in (TASK, PROXY)}
        units = tokens[TASK]
        if self.task_loss is not None:
            units = self.task_loss.units(sum(row.stream == TASK for row in rows), units)
        lam = self.lam if units else 1.0
        world = self.accelerator.num_processes
        # Gradients are averaged over the processes, and the loss is a sum over them.
        self._weights = {
            TASK: world / units if units else 0.0,
            PROXY: world * lam / tokens[PROXY] if tokens[PROXY] else 0.0,
        }
        while (sums := self._accumulate(model, rows)) is None:
            self._halve(rows)
        if world > 1:
            torch.distributed.all_reduce(sums)
        # One transfer a step: the sums and the penalty together.
        penalty = self.penalty.add_gradient() if self.penalty else sums.new_zeros(())
        task, proxy, *extras, penalised = torch.stack([*sums, penalty]).tolist()
        self.step_record, objective = {}, penalised
        if units:
            mean = task / units
            objective += mean
            self.step_record = {"task_loss": mean}
            if self.task_loss is not None:
                self.step_record = self.task_loss.record(
                    mean, extras, units=units, tokens=tokens[TASK]
                )
        if tokens[PROXY]:
            self.step_record |= {"proxy_loss": proxy / tokens[PROXY]}
            self.step_record |= {"lam": lam} if units else {}
            objective += lam * proxy / tokens[PROXY]
        if self.penalty:
            self.step_record["penalty"] = penalised
        self.step_record |= {"objective": objective, "micro_batches": self.micro_batches}
        if not math.isfinite(objective):
            raise _diverged("loss", objective, self.state.global_step + 1)
        return torch.tensor(objective, device=self.args.device)

    def _accumulate(self, model: nn.Module, rows: list[StepRow]) -> Tensor | None:
        """Gradients of a step; its sums of task and proxy losses, further those of ``task_loss``.

        None when it ran out of memory.
        """
        extras = 0 if self.task_loss is None else self.task_loss.extras
        self._sums = torch.zeros(2 + extras, dtype=torch.float64, device=self.args.device)
        parts = micro_batches(
            rows,
            count=self.micro_batches,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        try:
            for i, part in enumerate(parts):
                last = i == len(parts) - 1
                with nullcontext() if last else self.accelerator.no_sync(model):
                    super().training_step(model, self.collate(part, self.pad_id))
        except RuntimeError as error:
            # One process cannot make its step again while the others wait for its gradients.
            if not should_reduce_batch_size(error) or self.accelerator.num_processes > 1:
                raise
            return None
        return self._sums

    def _halve(self, rows: list[StepRow]) -> None:
        """Twice as many micro-batches of half the rows; the effective batch stays."""
        cast(nn.Module, self.model_wrapped).zero_grad()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.micro_batches >= len(rows):
            raise InputError(
                "the device runs out of memory even with one row at a time.",
                remedy="Lower max_length, train a LoRA of lower rank, set gradient_checkpointing "
                "or precision bf16, or use a device with more memory.",
            )
        self.micro_batches = min(2 * self.micro_batches, len(rows))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """The weighted sum of the micro-batch's token losses."""
        targets, is_proxy = inputs["targets"], inputs["is_proxy"]
        losses = nn.functional.cross_entropy(
            self._supervised_logits(model, inputs).float(), targets, reduction="none"
        )
        with torch.no_grad():
            exact = losses.double()
            proxy = (exact * is_proxy).sum()
        if self.task_loss is not None:
            task, extras = self.task_loss(losses, inputs)
            found = [task.detach(), proxy, *extras]
            self._sums += torch.stack([value.double() for value in found])
            of_proxy = (losses * is_proxy).sum()
            return self._weights[TASK] * task + self._weights[PROXY] * of_proxy
        self._sums += torch.stack([exact.sum() - proxy, proxy])
        weights = torch.where(is_proxy, self._weights[PROXY], self._weights[TASK])
        return (losses * weights).sum()

    def _supervised_logits(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Logits ``[m, V]`` at the supervised positions: the output layer sees no others."""
        positions, length = inputs["positions"], inputs["input_ids"].shape[1]

        def selected(values: Tensor) -> Tensor:
            # Virtual tokens come before the row's own.
            values = values[:, values.shape[1] - length :]
            return values.reshape(-1, values.shape[-1]).index_select(0, positions)

        head = self.accelerator.unwrap_model(model).get_output_embeddings()
        handle = head.register_forward_pre_hook(
            lambda _, args: (selected(args[0]).unsqueeze(0), *args[1:])
        )
        try:
            logits = model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
            ).logits
        finally:
            handle.remove()
        return logits[0]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: the Trainer would ask the step's number for its tokens."""
        return 0

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> float:
        found: Any = super()._get_grad_norm(model, grad_norm=grad_norm)
        norm = float(found)
        # Before the optimiser's step, so that the weights are still good.
        if not math.isfinite(norm):
            raise _diverged("gradient's norm", norm, self.state.global_step + 1)
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the step's record to the Trainer's own entry of every step."""
        if "loss" in logs:
            # The Trainer rounds nothing but sums in float32; the record has the exact value.
            logs.pop("loss")
            logs |= self.step_record
            for callback in self.callback_handler.callbacks:
                logs |= getattr(callback, "step", {})
        super().log(logs, start_time)

    def _get_output_dir(self, trial: Any) -> str:
        return str(Path(self.args.output_dir or "") / PARTIAL)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write beside, then rename: a checkpoint that has its name is whole."""
        folder = Path(self.args.output_dir or "")
        name = f"checkpoint-{self.state.global_step}"
        with disk_errors(folder, folder / PARTIAL):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                remove(folder / name)
                own = cast(nn.Module, self.model)
                if virtual_tokens(own):
                    # An adapter's file holds the virtual tokens and not what makes them.
                    save_file(_trained(own), folder / PARTIAL / name / _TRAINED)
                if isinstance(self.penalty, ProximalTerm):
                    self.penalty.save(folder / PARTIAL / name)
                seal_checkpoint(folder / PARTIAL / name, of=self.of)
                sync_tree(folder / PARTIAL / name)
                os.replace(folder / PARTIAL / name, folder / name)
                sync_folder(folder)
                for old in checkpoints(folder)[:-_KEPT_CHECKPOINTS]:
                    remove(old)
            self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        folder = Path(resume_from_checkpoint)
        if isinstance(self.penalty, ProximalTerm):
            self.penalty.load(folder)
        file = folder / _TRAINED
        if not file.is_file():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = load_file(file)
        with torch.no_grad():
            for name, parameter in _trained(cast(nn.Module, model or self.model)).items():
                parameter.copy_(saved[name])


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


@contextmanager
def disk_errors(folder: Path, partial: Path) -> Iterator[None]:
    """A disk that is full in the middle of a write leaves what was there before, nothing else."""
    try:
        yield
    except Exception as error:
        disk = as_disk_error(error)
        if disk is None:
            raise
        remove(partial)
        raise cannot_write(folder, disk) from error


def _diverged(what: str, value: float, step: int) -> InputError:
    return InputError(
        f"training diverged: the {what} at step {step} is {value}.",
        remedy="Lower the learning rate or the clip, or warm up for longer; the steps before are "
        "kept in the run's folder.",
    )
