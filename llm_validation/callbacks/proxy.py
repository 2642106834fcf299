"""The loss constraint on any Trainer: safety rows enter each step with the weight lambda."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState

from finebound.base.errors import InputError
from llm_validation.callbacks.answers import pad_id_of
from llm_validation.callbacks.monitor import held_out_rows
from llm_validation.callbacks.reporting import calling_trainer, log
from llm_validation.data.dataset import Dataset
from llm_validation.measure.supervised import SupervisedBatch, supervised_count
from llm_validation.training.streams import PROXY, Stream
from theory.strategy import LossConstraint


class ProxyLoss(TrainerCallback):
    """Adds ``lam`` times the loss of safety rows to what the Trainer minimises.

    Before each step it leaves the gradient of ``lam * proxy loss`` (nats per token over the
    step's ``batch_size`` rows) in the parameters, and the Trainer's own backward adds to it; so
    clipping, the optimiser and the schedule see the sum, whatever the Trainer's own loss is: that
    of SFT, of DPO, or another. The Trainer's logged loss stays its own; ``proxy/loss`` is logged
    beside it. ``rows`` are a dataset or its name; which rows a step sees follows from its number
    and ``seed``, so a resumed run goes on with them. A step costs as many rows more. Raises
    InputError under DeepSpeed, which keeps gradients to itself.
    """

    def __init__(
        self, rows: Dataset | str | Path, *, lam: float, batch_size: int = 8, seed: int = 0
    ) -> None:
        try:
            checked = LossConstraint(lam=lam)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"a lambda of {lam!r}: {error}", remedy="Give a number from 0."
            ) from error
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}.", remedy="Give at least one row a step.")
        self.rows, self.lam = rows, float(checked.lam)  # type: ignore[arg-type]
        self.batch_size, self.seed = batch_size, seed
        self.stream: Stream | None = None
        self.loss = torch.zeros(())

    def on_train_begin(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: PreTrainedModel,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Encode the rows as the Trainer's tokenizer writes them."""
        if calling_trainer().accelerator.distributed_type == DistributedType.DEEPSPEED:
            raise InputError(
                "DeepSpeed keeps the gradients to itself, so no proxy loss can be added.",
                remedy="Train without it, or mix the rows into the training set (mixed_dataset).",
            )
        encoded = held_out_rows(self.rows, model, processing_class)
        if self.batch_size < args.world_size:
            raise InputError(
                f"batch_size is {self.batch_size}, with {args.world_size} processes.",
                remedy="Give at least a row to each process.",
            )
        self.stream = Stream(PROXY, tuple(encoded), self.batch_size, self.seed)

    def on_step_begin(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: PreTrainedModel,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Leave the gradient of the weighted proxy loss in the parameters."""
        assert self.stream is not None
        chosen = [self.stream.encoded[i] for i in self.stream.indices(state.global_step)]
        tokens = sum(map(supervised_count, chosen))
        mine = chosen[args.process_index :: args.world_size]
        batch = SupervisedBatch.of(mine, args.device, pad_id_of(processing_class))
        model.train()
        loss = batch.token_losses(batch.logits(model)).sum() / tokens
        # Gradients are averaged over the processes, and the loss is a sum over them.
        calling_trainer().accelerator.backward(self.lam * args.world_size * loss)
        self.loss = loss.detach()

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        """Log the proxy's loss where the Trainer logs."""
        if control.should_log:
            if args.world_size > 1:
                torch.distributed.all_reduce(self.loss)
            log(control, {"proxy/loss": float(self.loss), "proxy/lambda": self.lam})
