"""vLLM as the engine of answers; a stand-in module generates with the folder that it is given."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.evaluation import generation
from llm_validation.evaluation.generation import generate

PROMPTS = Dataset.of(
    [("Name a river in the north of the country.", "unread"), ("Hi", "unread"), ("Why?", "x")],
    name="prompts",
)


class Stand:
    """What vLLM's LLM promises: greedy tokens of the model in ``folder``, the stop among them."""

    made: list[dict]

    def __init__(self, model, **settings):
        from transformers import AutoModelForCausalLM

        self.made.append({"model": model, **settings})
        self.model = AutoModelForCausalLM.from_pretrained(model)

    def generate(self, prompts, settings, use_tqdm):
        import torch

        assert len(prompts) == len(settings)
        found = []
        for prompt, asked in zip(prompts, settings, strict=True):
            self.made[-1].setdefault("asked", []).append(asked)
            ids = prompt["prompt_token_ids"]
            if len(ids) > asked.get("fails_above", 10**9):
                raise ValueError("too long for the stand-in")
            with torch.no_grad():
                out = self.model.generate(
                    torch.tensor([ids]),
                    attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                    max_new_tokens=asked["max_tokens"],
                    do_sample=False,
                    eos_token_id=asked["stop_token_ids"],
                    pad_token_id=0,
                )
            found.append(SimpleNamespace(outputs=[SimpleNamespace(token_ids=out[0, len(ids) :])]))
            found[-1].outputs[0].token_ids = out[0, len(ids) :].tolist()
        return found


@pytest.fixture
def vllm(monkeypatch):
    Stand.made = []
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = Stand, dict
    monkeypatch.setitem(sys.modules, "vllm", module)
    return Stand.made


def test_it_answers_as_transformers_does_with_the_weights_of_now(tiny_model, vllm):
    import torch

    with torch.no_grad():  # trained after it was loaded
        next(tiny_model.model.parameters()).add_(0.05)
    plain = generate(tiny_model, PROMPTS, max_new_tokens=10)
    assert generate(tiny_model, PROMPTS, max_new_tokens=10, engine="vllm") == plain
    (made,) = vllm
    assert made["dtype"] == "float32"
    assert made["trust_remote_code"] is False
    assert made["generation_config"] == "vllm"
    assert made["max_model_len"] == tiny_model.context_length


def test_stops_and_settings_reach_it(tiny_model, vllm, monkeypatch):
    tokens = generate(tiny_model, PROMPTS, max_new_tokens=10)[0]
    first = tiny_model.tokenizer(tokens.text, add_special_tokens=False)["input_ids"][0]
    monkeypatch.setattr(generation, "stop_tokens", lambda loaded: [first])
    cut = generate(tiny_model, PROMPTS, max_new_tokens=10, engine="vllm")
    assert cut == generate(tiny_model, PROMPTS, max_new_tokens=10)
    generate(
        tiny_model, PROMPTS, max_new_tokens=4, temperature=0.7, top_p=0.9, engine="vllm",
        bfloat16=True,
    )  # fmt: skip
    asked = vllm[-1]["asked"]
    assert {(a["temperature"], a["top_p"], a["max_tokens"]) for a in asked} == {(0.7, 0.9, 4)}
    assert len({a["seed"] for a in asked}) == len(asked)
    assert vllm[-1]["dtype"] == "bfloat16"


def test_its_answers_are_kept_apart_from_those_of_transformers(tiny_model, vllm, tmp_path):
    settings = {"max_new_tokens": 6, "cache": tmp_path}
    plain = generate(tiny_model, PROMPTS, **settings)
    assert generate(tiny_model, PROMPTS, **settings, engine="vllm") == plain
    assert len(vllm) == 1  # the kept answers are of another engine
    assert generate(tiny_model, PROMPTS, **settings, engine="vllm") == plain
    assert len(vllm) == 1
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_a_row_that_fails_is_an_error_and_the_others_are_answered(tiny_model, vllm, monkeypatch):
    monkeypatch.setattr(
        sys.modules["vllm"], "SamplingParams", lambda **asked: {**asked, "fails_above": 150}
    )
    long = Dataset.of([*PROMPTS.examples, ("word " * 60, "unread")], name="with a long one")
    found = generate(tiny_model, long, max_new_tokens=6, engine="vllm")
    assert [response.status for response in found] == ["done", "done", "done", "error"]
    assert "too long for the stand-in" in found[-1].error


def test_without_vllm_the_remedy_is_named(tiny_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match="not installed") as error:
        generate(tiny_model, PROMPTS, max_new_tokens=4, engine="vllm")
    assert "`engine` transformers" in error.value.remedy


def test_an_adapter_is_refused(tiny_model, vllm):
    from dataclasses import replace

    from peft import LoraConfig, get_peft_model

    wrapped = get_peft_model(tiny_model.model, LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(InputError, match="whole models alone"):
        generate(replace(tiny_model, model=wrapped), PROMPTS, max_new_tokens=4, engine="vllm")
    assert not vllm
