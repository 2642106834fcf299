"""Reading LoRA in PEFT's format: scales and patterns, and what is refused by name."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from finebound.base.errors import InputError
from llm_validation.defences.factors import with_added
from llm_validation.defences.lora_file import read_adapter

Q = "model.layers.0.self_attn.q_proj"
UP = "model.layers.1.mlp.up_proj"


def factors(*modules: str, rank: int = 2) -> dict:
    sizes = {Q: (24, 24), UP: (40, 24)}
    generator = torch.Generator().manual_seed(0)
    return {
        m: (
            torch.randn(sizes[m][0], rank, generator=generator),
            torch.randn(rank, sizes[m][1], generator=generator),
        )
        for m in modules
    }


@pytest.mark.parametrize(
    ("settings", "scaling"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 4 / 2**0.5),
        ({"alpha_pattern": {"q_proj": 6}}, 3.0),
        ({"alpha_pattern": {"model.layers.1.self_attn.q_proj": 6}}, 2.0),
        ({"lora_alpha": 0.5}, 0.25),
    ],
)
def test_the_scale_is_pefts(write_adapter, settings, scaling):
    (module,) = read_adapter(write_adapter(factors=factors(Q), **settings)).modules
    assert module.scaling == pytest.approx(scaling)
    assert (module.name, module.rank, module.shape) == (Q, 2, (24, 24))


def test_a_rank_pattern_decides_rank_and_scale(write_adapter):
    given = factors(Q) | factors(UP, rank=5)
    adapter = read_adapter(write_adapter(factors=given, rank_pattern={"up_proj": 5}))
    assert {m.name: (m.rank, m.scaling) for m in adapter.modules} == {Q: (2, 2.0), UP: (5, 0.8)}


@pytest.mark.parametrize("rslora", [False, True])
def test_pefts_own_file_and_ours_of_changed_ranks_agree_in_peft(models, tmp_path, rslora):
    """What PEFT saves is read with PEFT's update, and what is written loads with ours."""
    from peft import LoraConfig, PeftModel, get_peft_model
    from peft.tuners.lora import LoraLayer
    from transformers import AutoModelForCausalLM

    def updates(model) -> dict[str, torch.Tensor]:
        layers = model.get_base_model().named_modules()
        return {n: m.get_delta_weight("default") for n, m in layers if isinstance(m, LoraLayer)}

    config = LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=["q_proj", "down_proj"],
        rank_pattern={"down_proj": 2},
        alpha_pattern={"layers.1.self_attn.q_proj": 7},
        use_rslora=rslora,
        init_lora_weights=False,
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(models[1]), config)
    model.save_pretrained(tmp_path / "peft")
    expected = updates(model)
    adapter = read_adapter(tmp_path / "peft")
    assert adapter.names == sorted(expected)  # fewer than ten blocks
    for m in adapter.modules:
        torch.testing.assert_close(m.scaling * (m.b @ m.a), expected[m.name])
    # Another rank and with it another alpha in every second module.
    b, a = torch.ones(24, 1), {m.name: torch.full((1, m.shape[1]), 0.5) for m in adapter.modules}
    changed = [with_added(m, b, a[m.name]) for m in adapter.modules[::2]]
    (tmp_path / "ours").mkdir()
    adapter.replaced(changed).write(tmp_path / "ours")
    again = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(models[1]), tmp_path / "ours"
    )
    found = updates(again)
    for i, m in enumerate(adapter.modules):
        added = b @ a[m.name] if i % 2 == 0 else 0.0
        torch.testing.assert_close(found[m.name], expected[m.name] + added)
    assert found.keys() == expected.keys()


def test_modules_come_in_the_order_of_their_numbers(write_adapter):
    names = [f"model.layers.{i}.self_attn.q_proj" for i in (10, 2, 1)]
    one = factors(Q)[Q]
    adapter = read_adapter(write_adapter(factors=dict.fromkeys(names, one)))
    assert adapter.names == sorted(names, key=lambda n: int(n.split(".")[2]))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
        ({"bias": "lora_only"}, "biases"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"target_parameters": ["experts"]}, "target_parameters"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"r": 3}, "rank 3"),
        ({"lora_alpha": None}, "alpha None"),
    ],
)
def test_what_is_no_plain_lora_is_refused_by_name(write_adapter, settings, word):
    with pytest.raises(InputError, match=word) as caught:
        read_adapter(write_adapter(**settings))
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def edit(folder, change):
    file = folder / "adapter_model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)


KEY = f"base_model.model.{Q}"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda t: t.pop(f"{KEY}.lora_B.weight"), "lora_B of"),
        (lambda t: t.update({f"{KEY}.lora_magnitude_vector": torch.ones(24)}), "magnitude"),
        (lambda t: t.update({f"{KEY}.bias": torch.ones(24)}), "bias"),
        (lambda t: t.update({"x.lora_embedding_A": torch.ones(2, 9)}), "embedding"),
        (lambda t: t.update({f"{KEY}.lora_A.weight": torch.ones(2, 3, 1)}), "linear module"),
        (lambda t: t[f"{KEY}.lora_A.weight"].fill_(torch.nan), "not finite"),
        (lambda t: t.update({f"{KEY}.lora_A.weight": torch.ones(2, 24).char()}), "int8"),
        (lambda t: [x.zero_() for n, x in t.items() if "lora_B" in n], "zero in every module"),
    ],
)
def test_damaged_or_empty_weights(write_adapter, change, word):
    folder = write_adapter()
    edit(folder, change)
    with pytest.raises(InputError, match=word):
        read_adapter(folder)


def test_one_module_of_zeros_is_no_reason_to_refuse(write_adapter):
    folder = write_adapter()
    edit(folder, lambda t: t[f"{KEY}.lora_B.weight"].zero_())
    assert len(read_adapter(folder).modules) == 15


def test_folders_without_an_adapter(write_adapter, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_adapter(tmp_path / "nowhere")
    folder = write_adapter()
    (folder / "adapter_model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(InputError, match="cannot be read"):
        read_adapter(folder)
    (folder / "adapter_config.json").write_text("[")
    with pytest.raises(InputError, match="not readable JSON"):
        read_adapter(folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"adapter_model\.safetensors missing"):
        read_adapter(folder)
    assert json.dumps(sorted(p.name for p in folder.iterdir())) == '["adapter_config.json"]'
