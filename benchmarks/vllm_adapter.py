"""A LoRA by vLLM and by transformers on a GPU: do they answer alike, and how long does each take?

``python -m benchmarks.vllm_adapter --model MODEL --adapter FOLDER [--prompts 256]`` on a machine
with a GPU and ``pip install vllm``. Without ``--adapter`` a random LoRA is put on the model, large
enough to change what it says. Before vLLM answers, a probe checks that the adapter arrives. Then it
prints: seconds of each engine, the share of greedy answers that are alike, and the share that the
adapter changed at all (where that is near 0, likeness says nothing).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from llm_validation.evaluation.generation import Response, generate
from llm_validation.evaluation.hazards.probes import builtin_pairs
from llm_validation.evaluation.options import Engine
from llm_validation.models.adapters import attach_lora
from llm_validation.models.loading import LoadedModel, load_model, on_device
from llm_validation.models.tuned import with_adapter


@dataclass(frozen=True)
class Options:
    """What is asked of which model."""

    model: str = "packaged"
    adapter: Path | None = None
    prompts: int = 256
    max_new_tokens: int = 64
    bfloat16: bool = True


def random_lora(loaded: LoadedModel) -> LoadedModel:
    """The model with a LoRA on the attention's projections that changes many answers."""
    torch.manual_seed(0)
    targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    model: Any = attach_lora(loaded.model, rank=16, alpha=32, targets=targets, seed=0)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.02)
    return replace(loaded, model=model)


def measured(options: Options) -> dict[str, float]:
    """Seconds and likeness, as the module says."""
    loaded = load_model(options.model)
    adapter = options.adapter
    loaded = on_device(random_lora(loaded) if adapter is None else with_adapter(loaded, adapter))
    prompts = [[("user", p.prompt)] for p in builtin_pairs().probes][: options.prompts]
    seconds: dict[str, float] = {}

    def answers(engine: Engine) -> list[Response]:
        start = time.perf_counter()
        found = generate(
            loaded,
            prompts,
            max_new_tokens=options.max_new_tokens,
            bfloat16=options.bfloat16,
            engine=engine,
        )
        seconds[engine] = time.perf_counter() - start
        return found

    plain = answers("transformers")
    fast = answers("vllm")
    model: Any = loaded.model
    with model.disable_adapter():
        without = answers("transformers")

    def alike(one: list[Response], other: list[Response]) -> float:
        return sum(a.text == b.text for a, b in zip(one, other, strict=True)) / len(one)

    return {
        "seconds_transformers": seconds["transformers"],
        "seconds_vllm_with_start": seconds["vllm"],
        "alike": alike(plain, fast),
        "changed_by_the_adapter": 1.0 - alike(plain, without),
    }


if __name__ == "__main__":
    print(json.dumps(measured(tyro.cli(Options)), indent=2))
