"""What SafetyMonitor adds to a fine-tune: processor time inside it, and tokens counted.

``python -m benchmarks.monitor_overhead [--steps 40] [--hidden 256] [--layers 4]``. A small random
Llama is trained by ``transformers.Trainer`` on 8 rows a step, as long as the packaged model's rows
are (``--row-tokens``, counted with ``--count``); 64 stored answers are read four times. Processor
seconds of a step, of a check and of the check at the start, within one run, give what ten checks
add to 500 steps. Target: at most 3 % over plain training.
``--count`` counts the tokens of the built-in task and probes with the packaged tokenizer and trains
nothing.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from llm_validation.callbacks.monitor import SafetyMonitor
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded, collate, encode
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.evaluation.hazards.probes import builtin_pairs
from llm_validation.forecast.stored_answers import PREFIX, StoredAnswers
from llm_validation.measure.losses import measure_losses
from llm_validation.measure.shared_prefix import prefix_batches

ANSWERS, ROWS_A_STEP, STEPS = 64, 8, 500
VOCABULARY, CHECKS = 512, 4
REFUSAL = "I'm sorry, but I can't help with that. " * 3


@dataclass(frozen=True)
class Options:
    """Sizes of the model and of the rows."""

    steps: int = 40
    hidden: int = 256
    layers: int = 4
    row_tokens: int = 110
    answer_tokens: int = 60
    count: bool = False


class Timed(SafetyMonitor):
    """The monitor, and the processor seconds that it takes at the start and afterwards."""

    at_start = seconds = 0.0

    def on_train_begin(self, *arguments: Any, **given: Any) -> None:
        start = time.process_time()
        super().on_train_begin(*arguments, **given)
        self.at_start = time.process_time() - start

    def on_step_end(self, *arguments: Any, **given: Any) -> None:
        start = time.process_time()
        super().on_step_end(*arguments, **given)
        self.seconds += time.process_time() - start


def random_rows(n: int, length: int, supervised: int, rng: np.random.Generator) -> list[Encoded]:
    """Rows of ``length`` tokens, give or take a quarter; the last ``supervised`` count."""
    rows = []
    for size in rng.integers(3 * length // 4, 5 * length // 4 + 1, n):
        mask = np.zeros(size, dtype=bool)
        mask[-supervised:] = True
        rows.append(Encoded(rng.integers(0, VOCABULARY, size).astype(np.int32), mask))
    return rows


def stored(model: Any, rows: list[Encoded]) -> StoredAnswers:
    """These rows as answers to harmful probes that the model gave."""
    return StoredAnswers(
        probes=tuple(Probe(str(i), str(i), "random") for i in range(len(rows))),
        answers=("",) * len(rows),
        rows=tuple(rows),
        refused=np.ones(len(rows), dtype=bool),
        harmful=np.ones(len(rows), dtype=bool),
        log_likelihood=-measure_losses(model, rows, pad_id=0).token_sum,
        answered_by="a random model",
    )


def measured(options: Options) -> dict[str, float]:
    """Processor seconds of a step and of a check, and what the monitor adds to 500 steps."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=options.hidden,
        intermediate_size=3 * options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=8,
        max_position_embeddings=512,
    )
    model = LlamaForCausalLM(config)
    answers = stored(model, random_rows(ANSWERS, options.answer_tokens, PREFIX, rng))
    monitor = Timed(answers, every=1 / CHECKS)
    train = random_rows(512, options.row_tokens, options.row_tokens // 2, rng)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder,
                max_steps=options.steps,
                per_device_train_batch_size=ROWS_A_STEP,
                use_cpu=not torch.cuda.is_available(),
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,
            ),
            train_dataset=train,  # type: ignore[arg-type]
            data_collator=lambda rows: collate(rows, 0),
            callbacks=[monitor],
        )
        start = time.process_time()
        trainer.train()
        whole = time.process_time() - start
    step = (whole - monitor.at_start - monitor.seconds) / options.steps
    check = monitor.seconds / CHECKS
    return {
        "parameters": model.num_parameters(),
        "seconds_a_step": step,
        "seconds_a_check": check,
        "seconds_at_the_start": monitor.at_start,
        "over_plain_training": (monitor.at_start + 10 * check) / (STEPS * step),
    }


def counted(options: Options) -> dict[str, float]:
    """Tokens of both, with a token that is only read as a third or as half of one trained on."""
    from llm_validation.data.loading import load_dataset
    from llm_validation.models.loading import load_tokenizer
    from llm_validation.models.packaged import packaged_model_folder

    tokenizer = load_tokenizer(packaged_model_folder())
    task = encode(
        load_dataset("builtin:task-general"), tokenizer, max_length=512, on_long="truncate"
    )
    probes = [probe.prompt for probe in builtin_pairs().probes if probe.harmful][:ANSWERS]
    answers = encode(
        Dataset.of([(prompt, REFUSAL) for prompt in probes], name="probes"),
        tokenizer,
        max_length=512,
    )
    # What all begin with (the system prompt) is read once a batch; a row's last token is not read.
    rows = [row.beginning(PREFIX) for row in answers]
    batches = prefix_batches(rows, tokens=2048, shared=True)
    read = 10 * sum(
        sum(map(len, batch.prefixes)) + sum(len(rest) - 1 for rest in batch.rests(rows))
        for batch in batches
    )
    trained = STEPS * ROWS_A_STEP * float(np.mean([len(row) for row in task]))
    return {
        "tokens_a_training_row": trained / (STEPS * ROWS_A_STEP),
        "tokens_a_stored_answer": read / (10 * ANSWERS),
        "over_full_fine_tuning": read / 3 / trained,
        "over_lora": read / 2 / trained,
    }


if __name__ == "__main__":
    chosen = tyro.cli(Options)
    print(json.dumps(counted(chosen) if chosen.count else measured(chosen), indent=2))
