"""PEFT's adapter_config.json as a training method."""

from __future__ import annotations

import json

import pytest
import torch
from peft import IA3Config, LoraConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model

from finebound.base.errors import InputError
from llm_validation.training.configurations import plan_for, read_training
from llm_validation.training.methods import IA3, Lora, PromptTuning, PTuning

NAME = "adapter_config.json"
CONFIGS = {
    "lora": (
        LoraConfig(r=4, lora_alpha=12, target_modules=["k_proj"], task_type="CAUSAL_LM"),
        Lora(rank=4, alpha=12, targets=("k_proj",)),
    ),
    "all linear": (
        LoraConfig(r=64, lora_alpha=128, target_modules="all-linear"),
        Lora(rank=64, alpha=128, targets=("all-linear",)),
    ),
    "defaults": (LoraConfig(), Lora(rank=8, alpha=8, targets=("q_proj", "v_proj"))),
    "ia3": (
        IA3Config(target_modules=["v_proj", "fc"], feedforward_modules=["fc"]),
        IA3(targets=("fc", "v_proj"), feedforward=("fc",)),
    ),
    "prompt": (PromptTuningConfig(num_virtual_tokens=12), PromptTuning(tokens=12)),
    "prompt of a text": (
        PromptTuningConfig(
            num_virtual_tokens=9,
            prompt_tuning_init="TEXT",
            prompt_tuning_init_text="Answer politely.",
            tokenizer_name_or_path="m",
        ),
        PromptTuning(tokens=9, init="text", text="Answer politely."),
    ),
    "p-tuning": (
        PromptEncoderConfig(num_virtual_tokens=7, encoder_hidden_size=32),
        PTuning(tokens=7, hidden=32),
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_peft_saves_is_read(tmp_path, name):
    config, method = CONFIGS[name]
    config.base_model_name_or_path = "org/chat"
    config.save_pretrained(tmp_path)
    for path in (tmp_path, tmp_path / NAME):
        training = read_training(path)
        assert training.format == "PEFT adapter"
        assert training.model == "org/chat"
        found = plan_for(training, 8).method
        if isinstance(found, IA3):  # peft saves names in no order
            found = IA3(tuple(sorted(found.targets)), found.feedforward)
        assert found == method
        assert training.not_modelled == ()
        assert [key.name for key in training.assumed] == ["steps"]


def test_a_rank_stabilised_lora_has_pefts_own_scale(tmp_path):
    config = LoraConfig(r=16, lora_alpha=24, use_rslora=True, target_modules=["0"])
    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(20, 20)), config)
    config.save_pretrained(tmp_path)
    method = plan_for(read_training(tmp_path), 8).method
    scale = model.base_model.model[0].scaling["default"]
    assert method.alpha / method.rank == pytest.approx(scale) == pytest.approx(24 / 4)


def test_what_a_plain_lora_has_not_is_named(tmp_path):
    LoraConfig(
        r=8,
        lora_alpha=16,
        lora_dropout=0.1,
        use_dora=True,
        bias="all",
        init_lora_weights="pissa",
        rank_pattern={"q_proj": 4},
        modules_to_save=["lm_head"],
        target_modules=r".*\.self_attn\.(q|v)_proj",
    ).save_pretrained(tmp_path)
    training = read_training(tmp_path)
    assert {key.name for key in training.not_modelled} == {
        "lora_dropout", "use_dora", "bias", "init_lora_weights",
        "rank_pattern", "modules_to_save", "target_modules",
    }  # fmt: skip
    assert plan_for(training, 8).method.targets == ("all-linear",)


def test_paths_of_modules_are_told_by_their_last_names(read):
    targets = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "v_proj"]
    content = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": targets}
    training = read(json.dumps(content), NAME)
    assert plan_for(training, 8).method.targets == ("q_proj", "v_proj")
    assert [key.name for key in training.not_modelled] == ["target_modules"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"peft_type": "ADALORA"}, "peft_type is 'ADALORA', of which there is no forecast"),
        ({"peft_type": "PROMPT_TUNING"}, "num_virtual_tokens is not given"),
        ({"peft_type": "LORA", "r": 0}, "r is 0"),
        ({"peft_type": "LORA", "r": 8, "target_modules": [1]}, r"target_modules is \[1\]"),
        ({"peft_type": "LORA", "lora_alpha": True}, "lora_alpha is True"),
        (
            {
                "peft_type": "IA3",
                "target_modules": ["v_proj"],
                "feedforward_modules": ["down_proj"],
            },
            "feedforward modules down_proj are none of its targets",
        ),
    ],
)
def test_an_adapter_that_cannot_be_read(read, content, says):
    with pytest.raises(InputError, match=says) as error:
        read(json.dumps(content), NAME)
    assert error.value.file.endswith(NAME)
