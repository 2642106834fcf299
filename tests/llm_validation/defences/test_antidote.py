"""Antidote: which weights are taken back, of the adapter and of the merged model, and to what."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.defences.alignment import open_alignment
from llm_validation.defences.antidote import Antidote
from llm_validation.defences.protocol import Evidence
from llm_validation.models.adapters import attach_lora
from llm_validation.models.loading import load_model

ROWS = Dataset.of([("How?", "So."), ("What is it?", "It is that, I think.")], name="rows")
UP = "model.layers.1.mlp.up_proj"


def input_norms(loaded, name: str) -> torch.Tensor:
    """Norm of every input feature of a module over all tokens, one row at a time."""
    inputs = []
    handle = loaded.model.get_submodule(name).register_forward_pre_hook(
        lambda _, given: inputs.append(given[0][0].double())
    )
    with torch.no_grad():
        for row in encode(ROWS, loaded.tokenizer, max_length=64):
            loaded.model(torch.from_numpy(row.input_ids.astype(np.int64))[None])
    handle.remove()
    return torch.cat(inputs).norm(dim=0)


def defended(defence: Antidote, loaded, **evidence):
    defence.fit(Evidence(model=loaded, harmful=ROWS, **evidence))
    assert defence.apply(loaded) is loaded
    return defence.report()


@pytest.fixture
def aligned_and_tuned(tiny_model_folder, tmp_path):
    """An alignment of two folders and a fine-tuned model that started from its aligned side."""
    rng = torch.Generator().manual_seed(3)
    aligned = load_model(tiny_model_folder)
    with torch.no_grad():
        for parameter in aligned.model.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=rng)
    aligned.model.save_pretrained(tmp_path / "aligned")
    tuned = aligned
    before = {name: p.detach().clone() for name, p in aligned.model.named_parameters()}
    with torch.no_grad():
        for parameter in tuned.model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=rng)
    with open_alignment(tiny_model_folder, tmp_path / "aligned") as alignment:
        yield alignment, before, tuned


class TestMerged:
    def test_the_weights_of_the_highest_score_are_zero(self, tiny_model):
        model = tiny_model.model
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        norms = input_norms(tiny_model, UP)
        report = defended(Antidote(fraction=0.05), tiny_model)
        score = (before[f"{UP}.weight"].double().abs() * norms).flatten()
        zero = (model.get_submodule(UP).weight == 0).flatten()
        count = int(0.05 * zero.numel())
        assert int(zero.sum()) == count == report.details["weights_changed"][UP]
        assert score[zero].min() >= score[~zero].max() * (1 - 1e-5)
        for n, p in model.named_parameters():
            if "embed" in n or "norm" in n:
                assert torch.equal(p, before[n])

    def test_the_updates_of_the_highest_score_return_to_the_aligned_weights(
        self, aligned_and_tuned
    ):
        alignment, aligned, tuned = aligned_and_tuned
        before = {n: p.detach().clone() for n, p in tuned.model.named_parameters()}
        norms = input_norms(tuned, UP)
        report = defended(Antidote(0.2, to="aligned"), tuned, alignment=alignment)
        start, moved = aligned[f"{UP}.weight"], before[f"{UP}.weight"]
        after = tuned.model.get_submodule(UP).weight.detach()
        returned = after != moved
        assert int(returned.sum()) == int(0.2 * after.numel())
        assert report.details["weights_changed"][UP] == int(returned.sum())
        torch.testing.assert_close(after[returned], start[returned], rtol=0, atol=1e-6)
        score = (moved - start).double().abs() * norms
        assert score[returned].min() >= score[~returned].max() * (1 - 1e-3)
        assert torch.equal(tuned.model.get_input_embeddings().weight.detach(),
                           before["model.embed_tokens.weight"])  # fmt: skip
        assert report.settings["to"] == "aligned"

    def test_an_adapter_must_be_merged_first(self, tiny_model):
        wrapped = attach_lora(tiny_model.model, rank=1, alpha=1, targets=("q_proj",), seed=0)
        loaded = replace(tiny_model, model=wrapped)
        with pytest.raises(InputError, match="Merge it first"):
            Antidote().fit(Evidence(model=loaded, harmful=ROWS))


class TestAdapter:
    @pytest.fixture
    def tuned(self, tiny_model):
        wrapped = attach_lora(
            tiny_model.model, rank=4, alpha=8, targets=("q_proj", "v_proj"), seed=0
        )
        rng = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in wrapped.named_parameters():
                if "lora_B" in name:
                    parameter += 0.1 * torch.randn(parameter.shape, generator=rng)
        return replace(tiny_model, model=wrapped.eval())

    def test_the_factors_are_pruned_in_every_row_and_the_model_beneath_stays(self, tuned):
        before = {n: p.detach().clone() for n, p in tuned.model.named_parameters()}
        name = "base_model.model.model.layers.0.self_attn.q_proj"
        norms = {
            side: input_norms(tuned, f"{name}.{side}.default") for side in ["lora_A", "lora_B"]
        }
        report = defended(Antidote(0.1, of="adapter"), tuned)
        for side, columns in norms.items():
            key = f"{name}.{side}.default.weight"
            after = dict(tuned.model.named_parameters())[key]
            zero = after == 0
            # The release keeps the lowest int(0.9 columns) of every row: at rank 4 it prunes one.
            count = len(columns) - int(len(columns) * 0.9)
            assert (zero.sum(dim=1) == count).all()
            assert report.details["weights_changed"][f"{name}.{side}"] == count * len(after)
            score = before[key].double().abs() * columns
            lowest_gone = score.masked_fill(~zero, np.inf).min(dim=1).values
            highest_left = score.masked_fill(zero, -np.inf).max(dim=1).values
            assert (lowest_gone >= highest_left * (1 - 1e-5)).all()
        for n, p in tuned.model.named_parameters():
            if "lora" not in n:
                assert torch.equal(p, before[n])

    def test_a_model_without_a_lora_has_no_factors(self, tiny_model):
        with pytest.raises(InputError, match="carries no LoRA"):
            Antidote(of="adapter").fit(Evidence(model=tiny_model, harmful=ROWS))


def test_settings_and_evidence_that_do_not_do_are_refused(tiny_model):
    for fraction in (0.0, 1.0, -0.1):
        with pytest.raises(InputError, match="fraction"):
            Antidote(fraction=fraction)
    with pytest.raises(InputError, match="no aligned value"):
        Antidote(of="adapter", to="aligned")
    with pytest.raises(InputError, match="'alignment'"):
        Antidote(to="aligned").fit(Evidence(model=tiny_model, harmful=ROWS))
    with pytest.raises(ValueError, match="fit first"):
        Antidote().report()


@pytest.mark.parametrize("architecture", ["gpt2", "qwen2_moe"])
def test_transposed_layers_and_experts(tmp_path, tiny_model, architecture):
    """GPT-2's rows are inputs; a shared expert gets tokens without their rows' shape."""
    from tests.builders.architectures import build

    loaded = replace(tiny_model, model=build(architecture))
    name = "transformer.h.1.mlp.c_fc" if architecture == "gpt2" else (
        "model.layers.1.mlp.shared_expert.up_proj"
    )  # fmt: skip
    short = Dataset.of([("a", "b"), ("c", "d, c.")], name="rows")
    loaded.model.resize_token_embeddings(len(loaded.tokenizer))
    weight = loaded.model.get_submodule(name).weight
    before = weight.detach().clone()
    defence = Antidote(fraction=0.1)
    defence.fit(Evidence(model=loaded, harmful=short))
    inputs = []
    handle = loaded.model.get_submodule(name).register_forward_pre_hook(
        lambda _, given: inputs.append(given[0].reshape(-1, given[0].shape[-1]).double())
    )
    with torch.no_grad():
        for row in encode(short, loaded.tokenizer, max_length=64):
            loaded.model(torch.from_numpy(row.input_ids.astype(np.int64))[None])
    handle.remove()
    norms = torch.cat(inputs).norm(dim=0)
    defence.apply(loaded)
    score = before.double().abs() * (norms[:, None] if architecture == "gpt2" else norms)
    zero = weight.detach() == 0
    assert int(zero.sum()) == int(0.1 * before.numel())
    assert score[zero].min() >= score[~zero].max() * (1 - 1e-4)
    notes = defence.report().notes
    assert any("4 parameters" in note for note in notes) == (architecture == "qwen2_moe")
