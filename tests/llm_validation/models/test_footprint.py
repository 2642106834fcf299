"""Counted bytes and operations of a step beside what PyTorch keeps and does in one."""

from __future__ import annotations

import pytest

from finebound.base.errors import InputError
from llm_validation.models.footprint import Footprint, Shape, footprint

ROWS, LENGTH, SUPERVISED, RANK = 3, 40, 50, 6


def config_of(**changes):
    from transformers import LlamaConfig

    sizes = {
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 97,
        "tie_word_embeddings": False,
    }
    return LlamaConfig(**sizes | changes)


def model_of(trained: str, base: str, attention: str = "sdpa"):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    from llm_validation.models.quantisation import FourBit, quantise

    torch.manual_seed(0)
    model = LlamaForCausalLM._from_config(config_of(), attn_implementation=attention)
    if base == "bf16":
        model.to(torch.bfloat16)
    if base == "nf4":
        model = quantise(model, FourBit(compute="bf16"))
    if trained == "adapter":
        targets = [n for n, m in model.named_modules() if "layers" in n and hasattr(m, "weight")]
        targets = [name for name in targets if name.endswith("_proj")]
        model = get_peft_model(model, LoraConfig(r=RANK, target_modules=targets))
    return model.train()


def loss_of(model, compute: str):
    """As the trainer has it: the output layer sees supervised positions alone."""
    import torch

    whole = model.get_base_model() if hasattr(model, "peft_config") else model
    ids = torch.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % 97
    with torch.autocast("cpu", torch.bfloat16, enabled=compute == "bf16"):
        hidden = whole.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = whole.lm_head(hidden.reshape(-1, 64)[torch.arange(SUPERVISED)])
    return torch.nn.functional.cross_entropy(logits.float(), ids.reshape(-1)[:SUPERVISED])


def kept_bytes(model, compute: str) -> int:
    """Bytes of all that the forward pass keeps, but the parameters; a storage counts once."""
    import torch

    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss_of(model, compute)
    return sum(size for size, _ in kept.values())


def counted(trained: str, base: str, compute: str, **more) -> Footprint:
    return footprint(
        Shape.of(config_of()),
        trained=trained,
        base=base,
        compute=compute,
        rows=ROWS,
        length=LENGTH,
        supervised=SUPERVISED,
        rank=RANK,
        **more,
    )


@pytest.mark.parametrize(
    ("trained", "base", "compute"),
    [
        ("full", "fp32", "fp32"),
        ("full", "fp32", "bf16"),
        ("adapter", "fp32", "fp32"),
        ("adapter", "fp32", "bf16"),
        ("adapter", "bf16", "bf16"),
        ("adapter", "nf4", "bf16"),
    ],
)
def test_a_forward_pass_keeps_what_is_counted(trained, base, compute):
    found = counted(trained, base, compute)
    kept = kept_bytes(model_of(trained, base), compute)
    expected = found.activations + found.casts + found.logits / 2  # no gradient of logits yet
    # Of an adapter the first layer's norm, and the weights before it, need nothing.
    assert kept == pytest.approx(expected, rel=0.01 if trained == "full" else 0.04)


def test_with_checkpointing_the_forward_pass_keeps_one_vector_per_token_and_layer():
    model = model_of("full", "fp32")
    model.gradient_checkpointing_enable({"use_reentrant": True})
    plain, less = (counted("full", "fp32", "fp32", checkpointing=c) for c in (False, True))
    # One of three layers whole, and 3 vectors: so much less has it than three layers.
    layer = (plain.activations - less.activations + 3 * ROWS * LENGTH * 64 * 4) / 2
    kept = kept_bytes(model, "fp32")
    assert kept == pytest.approx(less.activations - layer + less.logits / 2, rel=0.03)
    assert less.activations < plain.activations / 2


@pytest.mark.parametrize(("trained", "base"), [("full", "fp32"), ("adapter", "bf16")])
def test_weights_gradients_and_moments_are_those_of_a_step(trained, base):
    import torch

    model = model_of(trained, base)
    some = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(some)
    loss_of(model, "bf16").backward()
    optimiser.step()
    found = counted(trained, base, "bf16")
    assert found.weights == sum(p.nbytes for p in model.parameters())
    assert found.gradients == sum(p.grad.nbytes for p in some)
    moments = [v for state in optimiser.state.values() for k, v in state.items() if k != "step"]
    assert found.optimiser == sum(v.nbytes for v in moments)


def test_four_bit_weights_are_those_that_bitsandbytes_holds():
    model = model_of("adapter", "nf4")
    held = 0
    for parameter in model.parameters():
        held += parameter.nbytes
        state = getattr(parameter, "quant_state", None)
        held += 0 if state is None else state.absmax.nbytes + state.state2.absmax.nbytes
    assert counted("adapter", "nf4", "bf16").weights == pytest.approx(held, rel=0.01)


@pytest.mark.parametrize("trained", ["full", "adapter"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_operations_are_those_that_pytorch_counts(trained, checkpointing):
    from torch.utils.flop_counter import FlopCounterMode

    model = model_of(trained, "fp32", "eager")
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": True})
        model.enable_input_require_grads()
    with FlopCounterMode(display=False) as counter:
        loss_of(model, "fp32").backward()
    found = counted(trained, "fp32", "fp32", checkpointing=checkpointing).operations
    assert counter.get_total_flops() == pytest.approx(
        found, rel=1e-9 if trained == "full" else 0.03
    )


def test_a_shape_has_as_many_weights_as_its_model(tiny_model_folder):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(tiny_model_folder)
    shape = Shape.of(config)
    model = AutoModelForCausalLM.from_config(config)
    assert shape.linear + shape.other == sum(p.numel() for p in model.parameters())


def test_shards_are_the_fewest_that_fit():
    found = counted("full", "fp32", "fp32")
    assert found.gpus(found.total) == 1
    free = found.activations + found.logits
    for each in (free + found.states / 2, free + found.states / 2.5):
        count = found.gpus(each)
        assert count is not None
        assert found.states / count + free <= each < found.states / (count - 1) + free
    assert found.gpus(free) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trained": "full", "base": "nf4", "rows": 1, "length": 8}, "stored in nf4"),
        ({"trained": "full", "rows": 1, "length": 0}, "0 tokens"),
        ({"trained": "full", "rows": 1, "length": 8, "supervised": 9}, "9 of them supervised"),
    ],
)
def test_what_cannot_be_is_rejected(settings, said):
    with pytest.raises(InputError, match=said):
        footprint(Shape.of(config_of()), **settings)


def test_another_family_is_named_and_not_counted():
    from transformers import GPT2Config, MixtralConfig

    for config in (GPT2Config(), MixtralConfig()):
        with pytest.raises(InputError, match="not counted"):
            Shape.of(config)
