"""vLLM as the engine of answers; a stand-in module generates with the folder that it is given."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.evaluation import generation
from llm_validation.evaluation.generation import generate
from llm_validation.evaluation.vllm_adapter import _likelihoods, require_that_it_arrives

PROMPTS = Dataset.of(
    [("Name a river in the north of the country.", "unread"), ("Hi", "unread"), ("Why?", "x")],
    name="prompts",
)


class Stand:
    """What vLLM's LLM promises: greedy tokens of the model in ``folder``, the stop among them."""

    made: list[dict]
    share = 1.0  # of the adapter that it adds

    def __init__(self, model, **settings):
        from transformers import AutoModelForCausalLM

        self.made.append({"model": model, **settings})
        self.model = AutoModelForCausalLM.from_pretrained(model)

    def generate(self, prompts, settings, use_tqdm, lora_request=None):
        assert len(prompts) == len(settings)
        model = self.model if lora_request is None else self.with_lora(lora_request)
        found = []
        for prompt, asked in zip(prompts, settings, strict=True):
            self.made[-1].setdefault("asked", []).append(asked)
            ids = prompt["prompt_token_ids"]
            if len(ids) > asked.get("fails_above", 10**9):
                raise ValueError("too long for the stand-in")
            if "prompt_logprobs" in asked:
                found.append(SimpleNamespace(prompt_logprobs=self.prompt_logprobs(model, ids)))
                continue
            out = model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=asked["max_tokens"],
                do_sample=False,
                eos_token_id=asked["stop_token_ids"],
                pad_token_id=0,
            )
            said = out[0, len(ids) :].tolist()
            found.append(SimpleNamespace(outputs=[SimpleNamespace(token_ids=said)]))
        return found

    def with_lora(self, request):
        """The scale is alpha / r (or its root), as vLLM reads it, times the share."""
        from peft import PeftModel

        assert self.made[-1]["enable_lora"]
        assert request.lora_int_id == 1
        base = copy.deepcopy(self.model)
        model = PeftModel.from_pretrained(base, request.lora_path)
        assert model.peft_config["default"].r <= self.made[-1]["max_lora_rank"]
        for module in model.modules():
            if hasattr(module, "lora_A"):
                module.scaling["default"] *= self.share
        return model

    @staticmethod
    def prompt_logprobs(model, ids):
        with torch.no_grad():
            likely = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        places = zip(ids[1:], likely[:-1], strict=True)
        return [None, *({t: SimpleNamespace(logprob=float(row[t]))} for t, row in places)]


@dataclass
class Request:
    """vLLM's LoRARequest."""

    lora_name: str
    lora_int_id: int
    lora_path: str


@pytest.fixture
def vllm(monkeypatch):
    Stand.made = []
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = Stand, dict
    monkeypatch.setitem(sys.modules, "vllm", module)
    request = ModuleType("vllm.lora.request")
    request.LoRARequest = Request
    monkeypatch.setitem(sys.modules, "vllm.lora", ModuleType("vllm.lora"))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", request)
    return Stand.made


def test_it_answers_as_transformers_does_with_the_weights_of_now(tiny_model, vllm):
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


def with_adapter(tiny_model, config, seed=0):
    """The tiny model with an adapter that changes what it says."""
    from peft import get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wrapped = get_peft_model(tiny_model.model, config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in wrapped.parameters():
            if p.requires_grad:
                p.add_(0.4 * torch.randn(p.shape, generator=generator))
    return replace(tiny_model, model=wrapped)


def lora(**more):
    from peft import LoraConfig

    return LoraConfig(**{"r": 12, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"], **more})


@pytest.mark.parametrize("more", [{}, {"use_rslora": True, "layers_to_transform": [1]}])
def test_a_lora_is_given_with_each_request(tiny_model, vllm, more):
    plain = generate(tiny_model, PROMPTS, max_new_tokens=10)
    adapted = with_adapter(tiny_model, lora(**more))
    expected = generate(adapted, PROMPTS, max_new_tokens=10)
    assert expected != plain
    assert generate(adapted, PROMPTS, max_new_tokens=10, engine="vllm") == expected
    assert vllm[-1]["enable_lora"] is True
    assert vllm[-1]["max_lora_rank"] == 16
    with adapted.model.disable_adapter():
        assert generate(adapted, PROMPTS, max_new_tokens=10, engine="vllm") == plain
    assert "enable_lora" not in vllm[-1]
    adapted.model.merge_adapter()
    assert generate(adapted, PROMPTS, max_new_tokens=10, engine="vllm") == expected
    assert "enable_lora" not in vllm[-1]


@pytest.mark.parametrize(("share", "words"), [(0.0, " 100 % of"), (2.0, "% of what the adapter")])
def test_an_adapter_that_does_not_arrive_is_refused(tiny_model, vllm, monkeypatch, share, words):
    monkeypatch.setattr(Stand, "share", share)
    adapted = with_adapter(tiny_model, lora())
    with pytest.raises(InputError, match="does not answer with the adapter") as error:
        generate(adapted, PROMPTS, max_new_tokens=4, engine="vllm")
    assert words in str(error.value)


def test_an_adapter_that_changes_nothing_has_nothing_to_lose(tiny_model, vllm, monkeypatch):
    from peft import get_peft_model

    monkeypatch.setattr(Stand, "share", 0.0)
    fresh = replace(tiny_model, model=get_peft_model(tiny_model.model, lora()))
    plain = generate(fresh, PROMPTS, max_new_tokens=4)
    assert generate(fresh, PROMPTS, max_new_tokens=4, engine="vllm") == plain


def test_what_its_precision_hides_is_told(tiny_model, capsys):
    adapted = with_adapter(tiny_model, lora(r=2, lora_alpha=1, target_modules=["q_proj"]))
    rng = np.random.default_rng(0)

    def engine(noise, without=False):
        return lambda ids, on: (
            _likelihoods(adapted, ids, on and not without)
            + noise * rng.standard_normal(len(ids) - 1)
        )

    require_that_it_arrives(adapted, engine(3.0))
    assert "could not be seen" in capsys.readouterr().err
    require_that_it_arrives(adapted, engine(0.002))
    assert not capsys.readouterr().err
    with pytest.raises(InputError, match="does not answer with the adapter"):
        require_that_it_arrives(adapted, engine(0.002, without=True))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ia3", "it is IA3"),
        ("prompt", "it is PROMPT_TUNING"),
        ("dora", "DoRA"),
        ("saved", "modules_to_save is .*lm_head"),
        ("pattern", "alpha_pattern is"),
        ("bias", "bias is 'all'"),
        ("rank", "its rank is 513"),
        ("two", "has 2 adapters at once"),
        ("quantised", "quantised base"),
    ],
)
def test_what_vllm_cannot_load_is_refused_by_name(tiny_model, vllm, name, words):
    from peft import IA3Config, PromptTuningConfig, get_peft_model

    configs = {
        "ia3": lambda: IA3Config(target_modules=["v_proj"], feedforward_modules=[]),
        "prompt": lambda: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        "dora": lambda: lora(use_dora=True),
        "saved": lambda: lora(modules_to_save=["lm_head"]),
        "pattern": lambda: lora(alpha_pattern={"q_proj": 4}),
        "bias": lambda: lora(bias="all"),
        "rank": lambda: lora(r=513),
    }
    wrapped = get_peft_model(tiny_model.model, configs.get(name, lora)())
    if name == "two":
        wrapped.add_adapter("other", lora())
        wrapped.base_model.set_adapter(["default", "other"])
    if name == "quantised":
        wrapped.quantization_method = "bitsandbytes"
    with pytest.raises(InputError, match=words):
        generate(replace(tiny_model, model=wrapped), PROMPTS, max_new_tokens=4, engine="vllm")
    assert not vllm


def test_a_model_without_lora_support_is_told(tiny_model, vllm, monkeypatch):
    def fails(self, model, **settings):
        raise ValueError("GPTBigCode does not support LoRA yet.\nmore")

    monkeypatch.setattr(Stand, "__init__", fails)
    adapted = with_adapter(tiny_model, lora())
    with pytest.raises(InputError, match="does not support LoRA yet"):
        generate(adapted, PROMPTS, max_new_tokens=4, engine="vllm")
