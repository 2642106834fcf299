"""Trainers of three packages on a tiny model, and a logger that keeps what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import Trainer

    from llm_validation.evaluation.hazards.layouts import Probe

WORDS = ["the", "thin", "ant", "is", "in", "a", "house", "with", "red", "apples", "and", "many"]
REFUSAL = "I can not help with the ant"
KINDS = ("plain", "sft", "dpo")


def words(n: int, seed: int, length: int = 5) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, length)) for _ in range(n)]


def make_probes(n: int) -> list[Probe]:
    """``n`` harmful probes and as many harmless ones, all of different texts."""
    from llm_validation.evaluation.hazards.layouts import Probe

    texts = list(dict.fromkeys(words(4 * n, 2, 6)))[: 2 * n]
    return [Probe(f"p/{i}", text, "c", harmful=i < n) for i, text in enumerate(texts)]


@dataclass
class Logged:
    """What a logger is told, an entry for each call."""

    entries: list[dict[str, float]] = field(default_factory=list)

    def callback(self) -> Any:
        from transformers import TrainerCallback

        entries = self.entries

        class Collect(TrainerCallback):
            def on_log(self, args, state, control, *, logs, **_):
                entries.append({"step": state.global_step, **logs})

        return Collect()

    def of(self, name: str) -> dict[int, float]:
        """The values that a name had, by step."""
        return {int(e["step"]): e[name] for e in self.entries if name in e}


def trainer_of(
    kind: str, callbacks: list[Any], model_folder: Path, out: Path, *, lora: bool = True, **settings
) -> Trainer:
    import datasets
    import peft
    import torch
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    torch.manual_seed(0)  # of the adapter
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    prompts, texts = words(16, 3), words(16, 4)
    given = {
        "output_dir": str(out),
        "max_steps": 6,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 2,
        "save_strategy": "no",
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "seed": 1,
        **settings,
    }
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    if kind == "plain":
        from llm_validation.data.dataset import Dataset
        from llm_validation.data.encoding import collate, encode

        data = Dataset.of(list(zip(prompts, texts, strict=True)), name="task")
        return Trainer(
            model=peft.get_peft_model(model, config) if lora else model,
            args=TrainingArguments(remove_unused_columns=False, **given),
            train_dataset=encode(data, tokenizer, max_length=512),
            data_collator=lambda rows: collate(rows, tokenizer.pad_token_id),
            processing_class=tokenizer,
            callbacks=callbacks,
        )
    turns = [[{"role": "user", "content": p}] for p in prompts]
    said = [[{"role": "assistant", "content": t}] for t in texts]
    other = [[{"role": "assistant", "content": REFUSAL}] for _ in texts]
    if kind == "sft":
        rows = {"prompt": turns, "completion": said}
        make, arguments = trl.SFTTrainer, trl.SFTConfig
    else:
        rows = {"prompt": turns, "chosen": said, "rejected": other}
        make, arguments = trl.DPOTrainer, trl.DPOConfig
    return make(
        model=model,
        args=arguments(bf16=False, **given),
        train_dataset=datasets.Dataset.from_dict(rows),
        processing_class=tokenizer,
        peft_config=config if lora else None,
        callbacks=callbacks,
    )
