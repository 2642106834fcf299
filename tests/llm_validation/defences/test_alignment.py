"""Base, aligned model and adapter must belong together; their weights are read one at a time."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from finebound.base.errors import InputError
from llm_validation.defences.alignment import open_alignment
from llm_validation.defences.layers import layers
from llm_validation.defences.lora_file import read_adapter


@pytest.fixture
def copies(models, tmp_path):
    """Copies of the base and the aligned model that a test may damage."""
    made = []
    for name, folder in zip(("base", "aligned"), models, strict=True):
        shutil.copytree(folder, tmp_path / "models" / name)
        made.append(tmp_path / "models" / name)
    return made


def edit_config(folder, **entries):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def edit_weights(folder, change):
    file = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)


def measure(folders, adapter):
    with open_alignment(*folders) as alignment:
        return [layer.report() for layer in layers(read_adapter(adapter), alignment)]


def test_every_module_has_the_dense_distance_and_cosine(models, write_adapter, dense_v):
    folder = write_adapter()
    found = {m.name: m for m in measure(models, folder)}
    assert found.keys() == dense_v.keys()
    for module in read_adapter(folder).modules:
        v = dense_v[module.name]
        c = v @ v.T / v.norm()
        update = module.scaling * module.b.double() @ module.a.double()
        report = found[module.name]
        assert report.distance == pytest.approx(float((c @ update - update).norm()), rel=1e-5)
        cosine = (c @ update * update).sum() / ((c @ update).norm() * update.norm())
        assert report.cosine == pytest.approx(float(cosine), rel=1e-5)
        norm = float(torch.linalg.matrix_norm(c, 2))
        assert report.projector_norm == pytest.approx(norm, rel=1e-5)


def test_distance_and_cosine_are_the_fast_projectors_whichever_decides(models, write_adapter):
    adapter = read_adapter(write_adapter())
    with open_alignment(*models) as alignment:
        fast = [layer.report() for layer in layers(adapter, alignment)]
        exact = list(layers(adapter, alignment, projector="exact"))
    assert [layer.report() for layer in exact] == fast
    assert all(layer.cosine != layer.fast.cosine for layer in exact)


def test_shards_and_half_precision_give_the_same(models, write_adapter, tmp_path):
    from transformers import AutoModelForCausalLM

    adapter = write_adapter()
    whole = measure(models, adapter)
    sharded = []
    for folder in models:
        model = AutoModelForCausalLM.from_pretrained(folder)
        model.save_pretrained(tmp_path / folder.name, max_shard_size="8KB")
        sharded.append(tmp_path / folder.name)
        assert len(list(sharded[-1].glob("*.safetensors"))) > 1
    assert measure(sharded, adapter) == whole
    half = []
    for folder in models:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        model.save_pretrained(tmp_path / f"{folder.name}-half")
        half.append(tmp_path / f"{folder.name}-half")
    assert [m.distance for m in measure(half, adapter)] == pytest.approx(
        [m.distance for m in whole], rel=0.05
    )


def test_the_adapter_that_aligned_is_an_alignment(models, write_adapter, tmp_path):
    """``V = scaling B A``; a module that it does not have has no alignment."""
    generator = torch.Generator().manual_seed(1)
    name = "model.layers.1.self_attn.k_proj"
    b, a = torch.randn(8, 2, generator=generator), torch.randn(2, 24, generator=generator)
    aligning = write_adapter("aligning", factors={name: (b, a)})
    merged = tmp_path / "merged"
    shutil.copytree(models[0], merged)
    adapter = write_adapter(base_model_name_or_path=str(merged))
    edit_weights(merged, lambda t: t[f"{name}.weight"].add_(0.1))
    with pytest.raises(InputError, match="another base"):
        measure((models[0], aligning), adapter)
    edit_weights(merged, lambda t: t[f"{name}.weight"].sub_(0.1).add_(2.0 * b @ a))
    found = {m.name: m for m in measure((models[0], aligning), adapter)}
    v = 2.0 * b.double() @ a.double()
    norm = float(torch.linalg.matrix_norm(v, 2) ** 2 / v.norm())
    assert found[name].projector_norm == pytest.approx(norm, rel=1e-5)
    others = [m for m in found.values() if m.name != name]
    assert {m.projector_norm for m in others} == {0.0}
    assert all(np.isnan(m.cosine) for m in others)


def test_gpt2_stores_its_weights_transposed(tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=12, n_layer=1, n_head=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config)
        model.save_pretrained(tmp_path / "base")
        weight = model.transformer.h[0].attn.c_attn.weight  # [d_in, d_out]
        change = 0.1 * torch.randn_like(weight)
        with torch.no_grad():
            weight += change
        model.save_pretrained(tmp_path / "aligned")
        lora = LoraConfig(
            r=2, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False
        )
        get_peft_model(model, lora).save_pretrained(tmp_path / "adapter")
    (report,) = measure((tmp_path / "base", tmp_path / "aligned"), tmp_path / "adapter")
    (module,) = read_adapter(tmp_path / "adapter").modules
    v = change.T.double()
    c, update = v @ v.T / v.norm(), module.scaling * module.b.double() @ module.a.double()
    assert report.distance == pytest.approx(float((c @ update - update).norm()), rel=1e-5)


class TestBadInput:
    def refused(self, folders, adapter, word):
        with pytest.raises(InputError, match=word) as caught:
            measure(folders, adapter)
        assert caught.value.remedy
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("entry", "value"), [("hidden_size", 32), ("num_hidden_layers", 4), ("vocab_size", 49)]
    )
    def test_models_of_different_shapes(self, copies, write_adapter, entry, value):
        edit_config(copies[0], **{entry: value})
        self.refused(copies, write_adapter(), f"different shapes: {entry} is {value}")

    def test_a_weight_of_another_shape(self, copies, write_adapter):
        name = "model.layers.0.mlp.up_proj.weight"
        edit_weights(copies[1], lambda t: t.update({name: t[name][:8].contiguous()}))
        self.refused(copies, write_adapter(), r"aligned model's .*up_proj.weight is \[8, 24\]")

    def test_an_adapter_of_other_shapes(self, models, write_adapter):
        name = "model.layers.0.self_attn.q_proj"
        other = write_adapter(factors={name: (torch.ones(32, 2), torch.ones(2, 32))})
        self.refused(models, other, "trained on another base")

    def test_an_adapter_of_modules_that_the_model_does_not_have(self, models, write_adapter):
        name = "transformer.h.0.attn.c_attn"
        other = write_adapter(factors={name: (torch.ones(24, 2), torch.ones(2, 24))})
        self.refused(models, other, "no weight of transformer")

    def test_an_adapter_of_another_name(self, models, write_adapter):
        adapter = write_adapter(base_model_name_or_path="owner/another-model")
        self.refused(models, adapter, r"another base: .*owner/another-model")
        with open_alignment(*models) as alignment:
            assert list(layers(read_adapter(adapter), alignment, any_base=True))

    @pytest.mark.parametrize("name", [None, "", "owner/aligned", "/gone/elsewhere/base"])
    def test_a_name_that_fits_or_none(self, models, write_adapter, name):
        assert measure(models, write_adapter(base_model_name_or_path=name))

    def test_another_folder_is_compared_by_its_weights(self, models, copies, write_adapter):
        copy = copies[1].rename(copies[1].parent / "moved")
        adapter = write_adapter(base_model_name_or_path=str(copy))
        assert measure(models, adapter)
        edit_weights(copy, lambda t: t["model.layers.2.mlp.down_proj.weight"].add_(1e-3))
        self.refused(models, adapter, "another base")

    def test_a_quantised_model(self, copies, write_adapter):
        edit_config(copies[0], quantization_config={"quant_method": "bitsandbytes"})
        self.refused(copies, write_adapter(), "base model is quantised.*bitsandbytes")

    def test_weights_in_integers(self, copies, write_adapter):
        name = "model.layers.0.self_attn.k_proj.weight"
        edit_weights(copies[1], lambda t: t.update({name: t[name].char()}))
        self.refused(copies, write_adapter(), "aligned model is quantised.*I8")

    def test_the_same_model_twice(self, models, write_adapter):
        self.refused((models[1], models[1]), write_adapter(), "no direction of alignment")

    def test_numbers_that_are_not_finite(self, copies, write_adapter):
        edit_weights(copies[1], lambda t: t["model.layers.0.mlp.up_proj.weight"].fill_(torch.inf))
        adapter = write_adapter(base_model_name_or_path=str(copies[1]))
        self.refused(copies, adapter, "not finite")

    def test_folders_that_hold_no_model(self, models, write_adapter, tmp_path):
        adapter = write_adapter()
        self.refused((tmp_path / "nowhere", models[1]), adapter, "no such folder")
        (tmp_path / "empty").mkdir()
        self.refused((models[0], tmp_path / "empty"), adapter, r"no config\.json")

    def test_weights_that_are_missing_or_cut(self, copies, write_adapter):
        adapter = write_adapter()
        weights = copies[0] / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:2000])
        self.refused(copies, adapter, "cannot be read")
        weights.unlink()
        self.refused(copies, adapter, "only .safetensors are read")
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
        (copies[0] / "model.safetensors.index.json").write_text(json.dumps(index))
        self.refused(copies, adapter, "model-00001-of-00002.safetensors is missing")


class TestTokenizers:
    def write(self, folder, vocabulary, added=()):
        tokens = [{"content": token, "id": number} for token, number in added]
        content = {"model": {"type": "BPE", "vocab": vocabulary}, "added_tokens": tokens}
        (folder / "tokenizer.json").write_text(json.dumps(content))

    def test_another_vocabulary(self, copies, write_adapter):
        self.write(copies[0], {"a": 0, "b": 1})
        adapter = write_adapter()
        assert measure(copies, adapter)  # one has none: nothing to compare
        self.write(copies[1], {"a": 1, "b": 0})
        with pytest.raises(InputError, match="different tokenizers: the vocabulary"):
            measure(copies, adapter)

    @pytest.mark.parametrize(
        ("added", "fits"),
        [
            ([("</s>", 2)], True),
            ([("</s>", 2), ("<|turn|>", 3)], True),
            ([("</s>", 3)], False),
            ([("<pad>", 2)], False),
        ],
    )
    def test_added_tokens_may_be_more_but_not_others(self, copies, write_adapter, added, fits):
        self.write(copies[0], {"a": 0, "b": 1}, [("</s>", 2)])
        self.write(copies[1], {"a": 0, "b": 1}, added)
        if fits:
            assert measure(copies, write_adapter())
        else:
            with pytest.raises(InputError, match="different tokenizers: the id"):
                measure(copies, write_adapter())

    def test_old_files_are_compared_by_their_bytes(self, copies, write_adapter):
        for folder, content in zip(copies, (b"one", b"two"), strict=True):
            (folder / "tokenizer.model").write_bytes(content)
        with pytest.raises(InputError, match=r"tokenizer\.model is another"):
            measure(copies, write_adapter())
