"""The keys of transformers' ``TrainingArguments``, which TRL and LLaMA-Factory take too."""

from __future__ import annotations

from llm_validation.training.configurations.parts import (
    put_batch,
    put_length,
    put_optimizer,
    put_precision,
    put_schedule,
)
from llm_validation.training.configurations.reading import (
    Reading,
    count,
    number,
    short,
)

MARKS = (
    "per_device_train_batch_size", "num_train_epochs", "lr_scheduler_type", "max_steps",
    "output_dir", "gradient_accumulation_steps", "max_grad_norm", "warmup_ratio", "warmup_steps",
)  # fmt: skip
_MICRO = ("per_device_train_batch_size", "per_gpu_train_batch_size")


def read_trainer(reading: Reading, *, learning_rate: float, precision: str) -> None:
    """Settle what the Trainer's own keys say; ``learning_rate`` and ``precision`` are defaults."""
    rate = reading.settle("learning_rate", number(above=0), "learning_rate", default=learning_rate)
    _check_deepspeed(reading, rate)
    micro = reading.get(count(), *_MICRO) or 8
    accumulation = reading.get(count(), "gradient_accumulation_steps") or 1
    put_batch(reading, micro, accumulation, *_MICRO, "gradient_accumulation_steps")
    put_length(reading, "num_train_epochs", 3.0)
    put_schedule(reading, "lr_scheduler_type", "linear")
    put_optimizer(reading, "optim")
    put_precision(reading, precision)
    reading.settle("seed", count(0), "seed", default=42)


def _check_deepspeed(reading: Reading, rate: float) -> None:
    """Raises InputError for a DeepSpeed optimiser with a learning rate of its own."""
    said = reading.content.get("deepspeed")
    for name in ("optimizer", "params"):
        said = said.get(name) if isinstance(said, dict) else None
    other = said.get("lr") if isinstance(said, dict) else None
    if other not in (None, "auto", rate, str(rate)):
        raise reading.error(
            f"learning_rate is {rate:g} and deepspeed's optimizer has lr {short(other)}.",
            'Give one learning rate, or "auto" in deepspeed.',
        )
