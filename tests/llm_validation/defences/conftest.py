"""A tiny base, its aligned version, and adapters in PEFT's plain format, built in the process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

BLOCKS, D, D_KV, D_MLP, VOCABULARY = 3, 24, 8, 40, 48
SHAPES = {
    "self_attn.q_proj": (D, D),
    "self_attn.k_proj": (D_KV, D),
    "self_attn.v_proj": (D_KV, D),
    "mlp.up_proj": (D_MLP, D),
    "mlp.down_proj": (D, D_MLP),
}
MODULES = [f"model.layers.{i}.{name}" for i in range(BLOCKS) for name in SHAPES]


def shape_of(module: str) -> tuple[int, int]:
    return SHAPES[module.partition(".layers.")[2].partition(".")[2]]


def normal(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


@pytest.fixture(scope="session")
def modules() -> dict[str, tuple[int, int]]:
    """Every linear module of ``models`` that adapters adapt, and its ``(d_out, d_in)``."""
    return {name: shape_of(name) for name in MODULES}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a base Llama with GQA and biases, and of it after an alignment of rank 3."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("defended")
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=D,
        intermediate_size=D_MLP,
        num_hidden_layers=BLOCKS,
        num_attention_heads=3,
        num_key_value_heads=1,
        attention_bias=True,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "base")
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for name in MODULES:
            d_out, d_in = shape_of(name)
            weight = model.get_submodule(name).weight
            weight += 0.1 * normal(rng, d_out, 3) @ normal(rng, 3, d_in)
    model.save_pretrained(folder / "aligned")
    return folder / "base", folder / "aligned"


@pytest.fixture
def write_adapter(tmp_path: Path, models: tuple[Path, Path]) -> Callable[..., Path]:
    """``write_adapter(name, factors=..., **config)``: an adapter of ``aligned`` in PEFT's format.

    ``factors`` maps modules to ``(b, a)``; by default random ones of rank 2 in every module.
    """

    def write(name: str = "adapter", *, factors=None, seed: int = 5, **settings) -> Path:
        rng = np.random.default_rng(seed)
        if factors is None:
            factors = {
                m: (0.1 * normal(rng, shape_of(m)[0], 2), normal(rng, 2, shape_of(m)[1]))
                for m in MODULES
            }
        folder = tmp_path / name
        folder.mkdir()
        tensors = {}
        for module, (b, a) in factors.items():
            tensors[f"base_model.model.{module}.lora_A.weight"] = a.clone()
            tensors[f"base_model.model.{module}.lora_B.weight"] = b.clone()
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": str(models[1]),
            "r": 2,
            "lora_alpha": 4,
            "target_modules": sorted({m.rpartition(".")[2] for m in factors}),
            "lora_dropout": 0.0,
            "bias": "none",
            "inference_mode": True,
        }
        (folder / "adapter_config.json").write_text(json.dumps(config | settings))
        return folder

    return write


@pytest.fixture
def alignment(models: tuple[Path, Path]):
    """The open alignment of ``models``."""
    from llm_validation.defences.alignment import open_alignment

    with open_alignment(*models) as found:
        yield found


@pytest.fixture
def dense_v(models: tuple[Path, Path]) -> dict[str, torch.Tensor]:
    """``W_aligned - W_base`` of every module, float64."""
    base, aligned = (load_file(folder / "model.safetensors") for folder in models)
    return {m: (aligned[f"{m}.weight"].double() - base[f"{m}.weight"].double()) for m in MODULES}
