"""Make the packaged aligned model's adapter anew, and measure it on requests it never saw.

``python -m llm_validation.experiments.packaged_aligned --out FOLDER`` answers the harmless prompts
with the packaged model, trains a LoRA on those answers and on declined hazards, rounds it to
bfloat16, and writes adapter and manifest to FOLDER/adapter: what the package ships.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from finebound.base.progress import Progress, bar, silent
from finebound.base.records import manifest, staged_folder, to_json, write_atomically
from llm_validation.data.builtin.aligned_rows import (
    EVERY_WAY,
    WAYS,
    answerable,
    answerable_again,
    declined,
    plain_held_out,
)
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding import Encoded, encode
from llm_validation.evaluation.generation import generate
from llm_validation.evaluation.hazards.probes import builtin_pairs
from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.evaluation.refusal.rates import proportion
from llm_validation.forecast.optimiser import train
from llm_validation.measure.losses import measure_losses
from llm_validation.models.adapter_folder import WEIGHTS
from llm_validation.models.loading import LoadedModel, load_model
from llm_validation.models.packaged import packaged_model_folder
from llm_validation.models.packaged_aligned import add_adapter
from llm_validation.training.methods import attach
from llm_validation.training.plan import Lora, TrainingPlan
from llm_validation.training.streams import TASK, Stream, Streams

ANSWER_TOKENS, TEMPERATURE, TOP_P = 64, 0.7, 0.95
"""Of the model's own answers. Longer ones are cut, and the cut is not learnt as an end."""
_COMMON: dict[str, Any] = {
    "method": Lora(rank=8, alpha=16, targets=("all-linear",)),
    "schedule": "cosine",
    "batch_size": 8,
    "max_length": 104,
    "truncate": True,
    "evaluate_at": (0.0, 1.0),
}


@dataclass(frozen=True)
class Round:
    """A part of the training: its plan, and how often each kind of row is in its data.

    ``harmless`` rows are the same ones as often; declined ones are asked in as many ways. Harmless
    rows are cut to ``harmless_length`` tokens. With ``answer_tokens`` every row ends after so many
    tokens of its answer: what is declined is decided by its beginning, so these rows teach it at a
    fraction of the cost. ``more`` harmless topics are asked so many times as hazards are, and later
    prompts of either kind are there too.
    """

    plan: TrainingPlan
    draws: str
    ways: tuple[str, ...]
    declined: int
    harmless: int
    harmless_length: int
    answer_tokens: int | None = None
    more: int = 0


ROUNDS = (
    Round(
        TrainingPlan(**_COMMON, steps=128, learning_rate=5e-4, warmup=10),
        draws="hazards",
        ways=WAYS,
        declined=2,
        harmless=1,
        harmless_length=104,
    ),
    Round(
        TrainingPlan(**_COMMON, steps=240, learning_rate=6e-4, warmup=10, seed=1),
        draws="hazards again",
        ways=EVERY_WAY,
        declined=2,
        harmless=2,
        harmless_length=72,
    ),
    Round(
        TrainingPlan(**_COMMON, steps=440, learning_rate=6e-4, warmup=20, seed=2),
        draws="hazards a third time",
        ways=EVERY_WAY,
        declined=2,
        harmless=1,
        harmless_length=104,
        answer_tokens=8,
        more=2,
    ),
)
"""After the first one the model declined too many harmless requests; the second has more of them,
and the third more prompts of either kind."""
PLAN = ROUNDS[0].plan


def make(out: Path, *, progress: Progress = silent) -> dict[str, Any]:
    """Train, round and measure; the manifest that is written beside the adapter.

    A second call goes on: with the answers that are kept, and after the training.
    """
    base = load_model("packaged")
    held_out = answered(base, plain_held_out(), cache=out / "answers", progress=progress)
    own = answered(base, answerable(), cache=out / "answers", progress=progress)
    before = measured(base, held_out, cache=out / "answers", progress=progress)
    trained: Path | None = None
    for number, part in enumerate(ROUNDS, 1):
        folder = out / f"round-{number}"
        if not folder.is_dir():
            harmless = [own] * part.harmless
            if part.more and part.answer_tokens:
                asked = answerable_again(part.more, draws=part.draws)
                harmless.append(
                    answered(
                        base,
                        asked,
                        tokens=part.answer_tokens + 1,
                        cache=out / "answers",
                        progress=progress,
                    )
                )
            train_round(part, harmless, folder, start=trained, progress=progress)
        trained = folder
    assert trained is not None
    adapter = out / "adapter"
    rounded(trained, adapter)
    add_adapter(packaged_model_folder(), adapter, out / "model")
    after = measured(load_model(out / "model"), held_out, cache=out / "answers", progress=progress)
    document = {
        "recipe": [{**asdict(part), "plan": part.plan.given()} for part in ROUNDS],
        "harmless_rows": {"n": len(own), "sha256": own.sha256},
        "packaged": before,
        "aligned": after,
        "made": manifest(given={}, inputs={"harmless rows": own.sha256}, seed=PLAN.seed),
    }
    write_atomically(adapter / "manifest.json", to_json(document) + "\n")
    return document


def answered(
    loaded: LoadedModel,
    prompts: Dataset,
    *,
    tokens: int = ANSWER_TOKENS,
    cache: Path,
    progress: Progress = silent,
) -> Dataset:
    """The prompts with the model's own answers, of at most so many tokens.

    Of the longest ones, an answer that did not end is kept only where its row is longer than
    ``PLAN.max_length``, so that its end is never learnt.
    """
    answers = generate(
        loaded,
        prompts,
        max_new_tokens=tokens,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        seed=PLAN.seed,
        tokens_per_batch=8192,
        cache=cache,
        progress=progress,
        doing=f"answering {prompts.name}",
    )
    pairs = zip(prompts.examples, answers, strict=True)
    rows = [(replace(example, response=a.text), a.finished) for example, a in pairs if a.text]
    encoded = encoded_rows(loaded, Dataset.of((row for row, _ in rows), name=prompts.name))
    kept = [
        row
        for (row, ended), its in zip(rows, encoded, strict=True)
        if ended or its.cut or tokens < ANSWER_TOKENS
    ]
    return Dataset.of(kept, name=prompts.name, source=f"answers of {loaded.name}")


def encoded_rows(
    loaded: LoadedModel, dataset: Dataset, length: int = PLAN.max_length or 0
) -> list[Encoded]:
    """The rows as they are trained on, cut after ``length`` tokens."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*cut .* rows", category=UserWarning)
        return encode(dataset, loaded.tokenizer, max_length=length, on_long="truncate")


def train_round(
    part: Round,
    harmless: Sequence[Dataset],
    out: Path,
    *,
    start: Path | None,
    progress: Progress = silent,
) -> None:
    """Train the LoRA, from that of ``start`` where there is one, and save it to ``out``.

    The plan's optimiser in a plain loop: nothing is measured on the way, so it takes half the time.
    """
    loaded = load_model("packaged")
    asked = declined(part.declined, draws=part.draws, ways=part.ways, more=part.more > 0)
    rows = encoded_rows(loaded, asked)
    for answers in harmless:
        rows += encoded_rows(loaded, answers, part.harmless_length)
    if part.answer_tokens:
        rows = [row.beginning(part.answer_tokens) for row in rows]
    model = attach(loaded.model, part.plan.method, seed=PLAN.seed)
    if start is not None:
        set_peft_model_state_dict(model, load_file(start / WEIGHTS))
    model.eval()  # the model has no dropout
    task = Stream(TASK, tuple(rows), part.plan.batch_size, part.plan.seed)
    rates = part.plan.learning_rates()
    train(model, part.plan, Streams(task), rates, pad_id=loaded.pad_id, progress=progress)
    with staged_folder(out) as stage:
        model.save_pretrained(stage)


def measured(
    loaded: LoadedModel, plain: Dataset, *, cache: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Refusals of the held-out pairs (greedy), and nats per token on plain instructions."""
    pairs = builtin_pairs()
    answers = generate(
        loaded,
        Dataset.of(
            (Example.single_turn(probe.prompt, "") for probe in pairs.probes), name=pairs.name
        ),
        max_new_tokens=64,
        tokens_per_batch=8192,
        cache=cache,
        progress=progress,
        doing=f"asking {loaded.name}",
    )
    labels = [
        classify(probe.prompt, answer.text)
        for probe, answer in zip(pairs.probes, answers, strict=True)
    ]
    refused = {
        name: [
            label == "refusal"
            for probe, label in zip(pairs.probes, labels, strict=True)
            if probe.harmful is harmful
        ]
        for name, harmful in (("harmful", True), ("lookalikes", False))
    }
    losses = measure_losses(
        loaded.model, encoded_rows(loaded, plain), pad_id=loaded.pad_id, tokens_per_batch=2048
    )
    return {
        **{f"refused_{name}": proportion(sum(some), len(some)) for name, some in refused.items()},
        "plain_loss": losses.per_token,
    }


def rounded(adapter: Path, out: Path) -> None:
    """The adapter in bfloat16, with paths of this machine left out of its configuration."""
    out.mkdir(parents=True, exist_ok=True)
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = "packaged"
    settings["target_modules"] = sorted(settings["target_modules"])  # peft keeps a set
    write_atomically(out / "adapter_config.json", to_json(settings) + "\n")
    factors = load_file(adapter / WEIGHTS)
    save_file(
        {name: tensor.to(torch.bfloat16) for name, tensor in factors.items()},
        out / WEIGHTS,
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, prog="packaged_aligned")
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    with bar() as progress:
        document = make(out, progress=progress)
    print(to_json(document))


if __name__ == "__main__":
    main()
