"""Tiny seeded models of many architectures, their aligned versions, and LoRA adapters by PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VOCABULARY = 64
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
}  # fmt: skip
_GEMMA = _SIZES | {
    "head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8,
    "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip
_VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _SIZES),
    "gpt2": ("GPT2Config", {
        "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64,
        "bos_token_id": 0, "eos_token_id": 1,
    }),
    "mixtral": ("MixtralConfig", _SIZES | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2_moe": ("Qwen2MoeConfig", _SIZES | {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
        "shared_expert_intermediate_size": 24,
    }),
    "qwen3_moe": ("Qwen3MoeConfig", _SIZES | {
        "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    }),
    "deepseek_v3": ("DeepseekV3Config", _SIZES | {
        "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
        "topk_group": 1, "moe_intermediate_size": 24, "first_k_dense_replace": 1,
        "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4,
        "v_head_dim": 8,
    }),
    "phi3": ("Phi3Config", _SIZES),
    "falcon": ("FalconConfig", {
        "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "bos_token_id": 0, "eos_token_id": 1,
    }),
    "opt": ("OPTConfig", {
        "vocab_size": VOCABULARY, "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64,
        "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
    }),
    "gpt_neox": ("GPTNeoXConfig", {
        "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 64,
        "bos_token_id": 0, "eos_token_id": 1,
    }),
    "gemma2": ("Gemma2Config", _SIZES | {"head_dim": 8, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3Config", {
        "text_config": _GEMMA, "vision_config": _VISION, "mm_tokens_per_image": 4,
        "image_token_index": 5, "boi_token_index": 6, "eoi_token_index": 7,
    }),
}  # fmt: skip
ARCHITECTURES = tuple(_CONFIGS)
TARGETS: dict[str, str | list[str]] = {
    "gpt2": ["c_attn"],
    "phi3": ["qkv_proj", "down_proj"],
    "falcon": ["query_key_value"],
    "opt": ["q_proj", "fc1"],
    "gpt_neox": ["query_key_value"],
    "deepseek_v3": ["q_b_proj", "o_proj"],
    "gemma3": r".*language_model.*\.(q_proj|v_proj)",
}
"""Modules that ``write_lora`` adapts; q_proj and v_proj where none are named."""


def build(architecture: str, *, seed: int = 0) -> PreTrainedModel:
    """The model with seeded random weights, float32."""
    import torch
    import transformers

    kind, settings = _CONFIGS[architecture]
    config = getattr(transformers, kind)(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if architecture == "gemma3":
            return transformers.Gemma3ForConditionalGeneration(config).eval()
        return transformers.AutoModelForCausalLM.from_config(config).eval()


def shift(model: PreTrainedModel, *, seed: int = 9) -> None:
    """Move every inner matrix a little, in place: the alignment."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    outside = ("embed", "wte", "wpe", "lm_head", "vision")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and not any(part in name for part in outside):
                parameter += 0.05 * torch.randn(parameter.shape, generator=draw)


def write_pair(architecture: str, folder: Path) -> tuple[Path, Path]:
    """The base and its aligned version, as ``save_pretrained`` writes them."""
    model = build(architecture)
    model.save_pretrained(folder / "base")
    shift(model)
    model.save_pretrained(folder / "aligned")
    return folder / "base", folder / "aligned"


def write_lora(
    base: Path,
    folder: Path,
    *,
    targets: str | Sequence[str] = ("q_proj", "v_proj"),
    seed: int = 5,
    **settings: Any,
) -> Path:
    """A LoRA of rank 4 with random factors on a saved model, written by PEFT."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    given = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"} | settings
    chosen = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(target_modules=chosen, **given)
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=draw))
    wrapped.save_pretrained(folder)
    return folder
