"""What a person says of one fine-tune: the options of ``finebound finetune``, declared once.

They are the settings of ``finebound.finetune`` too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OneRun:
    """One fine-tune of a model as it is; None is what was left out.

    ``lam`` weighs the proxy's loss, or that of the safety rows where there is no proxy; both
    ``lam`` and ``radius`` are a hybrid. ``epochs`` do not count the held-out rows.
    """

    model: str | None = None
    """The aligned model: "packaged", a local folder or a hub id."""
    adapter: str | None = None
    """The model's own LoRA or IA3 adapter, merged into it first."""
    task: str | None = None
    """Rows to fine-tune on: a file, builtin:NAME, hf:owner/name[:split] or a catalogue name."""
    safety: str | None = None
    """Rows that safety is measured on (default: the built-in safety set)."""
    proxy: str | None = None
    """Safety rows that are trained on beside the task, weighted by --lam (default with --lam: the
    rows of --safety)."""
    method: Literal["lora", "qlora", "full", "ia3", "prompt-tuning", "p-tuning"] = "lora"
    """What is trained."""
    rank: int | None = None
    """Of a LoRA (default: 8)."""
    alpha: float | None = None
    """Of a LoRA (default: twice the rank)."""
    targets: tuple[str, ...] | None = None
    """Modules that are adapted (default: q_proj v_proj; all-linear where there are none)."""
    objective: Literal["sft", "dpo"] | None = None
    """Supervised answers, or preference pairs (default: sft)."""
    beta: float | None = None
    """Of DPO (default: 0.1)."""
    epochs: float | None = None
    """Passes over the task's training rows (default: 1)."""
    steps: int | None = None
    """Optimiser steps, instead of --epochs."""
    batch_size: int = 8
    """Task rows of a whole optimiser step."""
    gradient_accumulation: int = 1
    """Parts that a step is cut into; changes memory alone."""
    learning_rate: float | None = None
    """Default: 2e-4 for lora and qlora, 2e-5 for full, 3e-3 for ia3, 3e-2 for prompt-tuning, 1e-3
    for p-tuning; a twentieth of that with dpo."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Of the learning rate, after the warm-up."""
    warmup: int = 0
    """Steps in which the learning rate rises from 0."""
    weight_decay: float = 0.0
    """AdamW's."""
    max_length: int | None = None
    """Longest row in tokens; longer ones are left out (default: the model's context)."""
    lam: float | None = None
    """Weight of the safety rows' loss: a loss constraint."""
    radius: float | None = None
    """Largest change of the weights, in their norm: a parameter constraint."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What is computed in; auto: bfloat16 where the machine has the instructions for it."""
    rows: int | None = None
    """Most task rows to train on, a seeded sample (default: all but the held-out ones)."""
    held_out: int = 48
    """Rows of task and safety that are only measured on, at most half of each."""
    drop_unusable: bool = False
    """Leave out rows that cannot be read as an example instead of refusing the file."""
    ignore_columns: tuple[str, ...] = ()
    """Columns to leave unread, though they look like a part of what is asked or answered."""
    skip: tuple[Literal["landscape", "forecast", "answers"], ...] = ()
    """What is not measured: the constants of some bounds, the forecasts, the answers."""
    seed: int = 0
    """Seed of samples and of the training."""
