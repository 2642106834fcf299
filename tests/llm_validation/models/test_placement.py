"""Large models: offloaded, rounded while they are read, and with activations computed twice."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from finebound.base.errors import InputError
from llm_validation.models import placement as module
from llm_validation.models.loading import load_model
from llm_validation.models.placement import Placement
from llm_validation.models.quantisation import FourBit, quantisation_of, quantise

IDS = torch.arange(24).reshape(2, 12)
AUTO = Placement(device_map="auto")


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS, use_cache=False).logits


def allow(monkeypatch, count: int) -> None:
    monkeypatch.setattr("llm_validation.models.memory.allowed_bytes", lambda *_: count)


def test_what_does_not_fit_lies_on_the_disk_and_is_read_alike(
    tiny_model_folder, monkeypatch, tmp_path
):
    plain = load_model(tiny_model_folder)
    size = sum(p.nbytes for p in plain.model.parameters())
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(module.tempfile, "tempdir", None)
    allow(monkeypatch, int(0.8 * size))
    spread = load_model(tiny_model_folder, placement=AUTO, whole=False)
    assert {p.device.type for p in spread.model.parameters()} == {"cpu", "meta"}
    assert torch.equal(logits(spread.model), logits(plain.model))
    assert spread.sha256 == plain.sha256
    del spread
    gc.collect()
    assert not list(tmp_path.glob("finebound-offload-*"))


def test_gradients_of_offloaded_weights_are_refused_and_so_are_offloaded_embeddings(
    tiny_model_folder, monkeypatch
):
    size = sum(p.nbytes for p in load_model(tiny_model_folder).model.parameters())
    allow(monkeypatch, int(0.8 * size))
    with pytest.raises(InputError, match="gradients and adapters need"):
        load_model(tiny_model_folder, placement=AUTO)
    allow(monkeypatch, 8_000)
    with pytest.raises(InputError, match="embeddings"):
        load_model(tiny_model_folder, placement=AUTO, whole=False)


def test_where_everything_fits_nothing_is_offloaded(tiny_model_folder):
    spread = load_model(tiny_model_folder, placement=AUTO)
    assert {p.device.type for p in spread.model.parameters()} == {"cpu"}


@pytest.fixture(scope="session")
def wide_folder(tiny_model_folder: Path, tmp_path_factory) -> Path:
    """The tiny tokenizer with a model as wide as blocks of 64."""
    loaded = load_model(tiny_model_folder)
    config = loaded.model.config
    config.update({"hidden_size": 64, "intermediate_size": 128, "head_dim": 16})
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wide")
    LlamaForCausalLM(config).save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def test_a_model_rounded_while_it_is_read_is_the_one_that_is_rounded_after(wide_folder):
    read = load_model(wide_folder, placement=Placement(load_in="4bit"))
    exact = load_model(wide_folder)
    after = quantise(exact.model, FourBit()).eval()
    assert torch.equal(logits(read.model), logits(after))
    assert quantisation_of(read.model) == FourBit()
    assert {n for n, p in read.model.named_parameters() if p.requires_grad} == set()
    assert read.sha256 != exact.sha256
    assert "NF4" in read.notes[-1]
    quantise(read.model, FourBit())  # qlora on it changes nothing
    with pytest.raises(InputError, match="quantised already"):
        quantise(read.model, FourBit(compute="bf16"))


def test_memory_of_rounded_weights_is_foreseen(wide_folder, monkeypatch):
    tables = 268 * 64 * 4
    allow(monkeypatch, tables + 60_000)
    with pytest.raises(InputError, match="float32"):
        load_model(wide_folder)
    load_model(wide_folder, placement=Placement(load_in="4bit"))


def test_checkpointing_changes_no_gradient_and_keeps_less(tiny_model_folder):
    found = []
    for checkpointing in (False, True):
        way = Placement(activation_checkpointing=checkpointing)
        model = load_model(tiny_model_folder, placement=way, attention="eager").model
        kept = 0

        def keep(tensor):
            nonlocal kept
            kept += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(IDS, labels=IDS, use_cache=False).loss
        weight = model.model.layers[0].self_attn.q_proj.weight
        (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), weight)
        assert not model.training
        found.append((loss, gradient, second, kept, json.dumps(sorted(model.state_dict()))))
    plain, twice = found
    assert torch.equal(plain[0], twice[0])
    for mine, theirs in zip(plain[1:3], twice[1:3], strict=True):
        torch.testing.assert_close(mine, theirs)
    assert twice[3] < 0.5 * plain[3]
    assert plain[4] == twice[4]


def test_a_checkpointed_model_answers_with_its_cache_and_can_be_copied(tiny_model_folder):
    import copy

    way = Placement(activation_checkpointing=True)
    model = load_model(tiny_model_folder, placement=way).model
    plain = load_model(tiny_model_folder).model
    ends = [m.generate(IDS, max_new_tokens=4, do_sample=False) for m in (model, plain)]
    assert torch.equal(*ends)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.model.layers[0].mlp.down_proj.weight.zero_()
    assert torch.equal(logits(model), logits(plain))
    assert not torch.equal(logits(copied), logits(plain))


def test_a_model_without_layers_cannot_compute_them_twice():
    with pytest.raises(InputError, match="no layers"):
        module.checkpoint_activations(torch.nn.Linear(2, 2))


def test_what_a_placement_cannot_serve_is_rejected():
    from llm_validation.estimation.request import Request
    from llm_validation.evaluation.kinds.refusal import Options
    from llm_validation.evaluation.options import require_model

    with pytest.raises(InputError, match="bounds need gradients"):
        Request("builtin:task-general", safety="builtin:safety", model="packaged", load_in="4bit")
    with pytest.raises(InputError, match="`device_map` is about a model that transformers"):
        require_model(Options(model="packaged", engine="vllm", device_map="auto"))
    require_model(Options(model="packaged", device_map="auto"))
