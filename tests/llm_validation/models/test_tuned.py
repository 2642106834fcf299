"""Adapters on their base: identity, what is damaged, what cannot be asked; models on the GPU."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PrefixTuningConfig, get_peft_model

from finebound.base.errors import InputError
from llm_validation.models.adapters import attach_lora
from llm_validation.models.loading import LoadedModel, load_model, on_device
from llm_validation.models.tuned import adapter_sha256, with_adapter


@pytest.fixture
def adapter(tiny_model: LoadedModel, tmp_path: Path) -> Path:
    """A saved LoRA whose update is not zero."""
    wrapped = attach_lora(tiny_model.model, rank=2, alpha=4, targets=("q_proj",), seed=0)
    for name, weights in wrapped.named_parameters():
        if "lora_B" in name:
            weights.data.fill_(0.5)
    wrapped.save_pretrained(tmp_path / "my-lora")
    return tmp_path / "my-lora"


def edit(folder: Path, **changes: object) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_tuned_model_has_its_own_name_and_hash(adapter: Path, tiny_model_folder: Path) -> None:
    base = load_model(tiny_model_folder)
    tuned = with_adapter(base, adapter)
    assert tuned.name == "tiny-llama + my-lora"
    assert tuned.sha256 != base.sha256
    assert not tuned.model.training
    assert tuned.sha256 == with_adapter(load_model(tiny_model_folder), adapter).sha256


def test_the_hash_is_of_the_content(adapter: Path, tmp_path: Path) -> None:
    there = Path(shutil.copytree(adapter, tmp_path / "there"))
    edit(there, base_model_name_or_path="elsewhere")
    assert adapter_sha256(there) == adapter_sha256(adapter)
    edit(there, lora_alpha=8.0)
    assert adapter_sha256(there) != adapter_sha256(adapter)
    edit(there, lora_alpha=4)
    assert adapter_sha256(there) == adapter_sha256(adapter)
    (there / "base_quantisation.json").write_text('{"double_quant": false}')
    assert adapter_sha256(there) != adapter_sha256(adapter)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"peft_type": "FOO"}, "cannot be read: KeyError"),
        ({"target_modules": ["c_attn"]}, "does not fit the model: Target modules"),
        ({"r": 3}, r"does not fit the model: size mismatch for [^:]*lora_A"),
        (b"{", "not readable JSON"),
        (None, "cannot be read: SafetensorError"),
    ],
)
def test_what_is_damaged_is_said(adapter: Path, tiny_model_folder: Path, damage, says) -> None:
    if damage is None:
        (adapter / "adapter_model.safetensors").write_bytes(b"cut")
    elif isinstance(damage, bytes):
        (adapter / "adapter_config.json").write_bytes(damage)
    else:
        edit(adapter, **damage)
    with pytest.raises(InputError, match=says):
        with_adapter(load_model(tiny_model_folder), adapter)


def test_keys_that_match_no_module_are_not_left_away(
    adapter: Path, tiny_model_folder: Path
) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    deeper = {
        key.replace("layers.0.", "layers.40."): value.clone()
        for key, value in weights.items()
        if "layers.0." in key
    }
    save_file({**weights, **deeper}, adapter / "adapter_model.safetensors")
    with pytest.raises(InputError, match=rf"{len(deeper)} of the adapter's keys are left over"):
        with_adapter(load_model(tiny_model_folder), adapter)


def test_virtual_tokens_in_every_layer_are_refused(
    tiny_model: LoadedModel, tiny_model_folder: Path, tmp_path: Path
) -> None:
    config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    get_peft_model(tiny_model.model, config).save_pretrained(tmp_path / "prefix")
    with pytest.raises(InputError, match="PREFIX_TUNING, whose virtual tokens are no embeddings"):
        with_adapter(load_model(tiny_model_folder), tmp_path / "prefix")


class StandIn:
    """A model that only says where it is; it needs no GPU to move there."""

    def __init__(self, device: str) -> None:
        self.device, self.moved = torch.device(device), []

    def parameters(self):
        yield self

    def to(self, device: str) -> None:
        self.moved.append(device)


@pytest.mark.parametrize(
    ("available", "at", "moved"),
    [(True, "cpu", ["cuda"]), (False, "cpu", []), (True, "cuda:1", [])],
)
def test_a_model_goes_to_the_gpu_where_there_is_one(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch, available, at, moved
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    loaded = replace(tiny_model, model=StandIn(at))
    assert on_device(loaded) is loaded
    assert loaded.model.moved == moved
