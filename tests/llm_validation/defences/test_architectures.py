"""Every method on many architectures, against whole models: names in files are not modules."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from finebound.base.errors import InputError
from llm_validation.defences.alignment import open_alignment
from llm_validation.defences.lora_file import read_adapter
from llm_validation.defences.lora_scaling import LoraScaling
from llm_validation.defences.repair import repair
from llm_validation.defences.resta import Resta
from llm_validation.defences.safe_lora import SafeLora
from llm_validation.defences.safe_merge import SafeMerge
from llm_validation.defences.selection import Selection
from llm_validation.defences.splora import SPLoRA
from llm_validation.defences.weights import WeightFolder
from tests.builders.architectures import ARCHITECTURES, TARGETS, write_lora, write_pair

ALL = Selection(threshold=2.0)


def weights(model: Path, adapter: Path | None = None) -> dict[str, torch.Tensor]:
    """Every parameter of the model by its own name, the adapter merged in by plain PEFT."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    found = AutoModelForCausalLM.from_pretrained(model)
    if adapter is not None:
        found = PeftModel.from_pretrained(found, adapter).merge_and_unload()
    return {name: p.detach() for name, p in found.named_parameters()}


def defended(method, pair, adapter, out, **more):
    """The report and the changes of all weights by the result, as plain PEFT loads it."""
    result, report = repair(method, adapter, base=pair[0], aligned=pair[1], **more)
    out.mkdir()
    result.write(out)
    base = weights(pair[0])
    return report, {name: w - base[name] for name, w in weights(pair[0], out).items()}


class Case:
    def __init__(self, architecture: str, folder: Path) -> None:
        self.folder = folder
        self.pair = write_pair(architecture, folder)
        targets = TARGETS.get(architecture, ("q_proj", "v_proj"))
        self.adapter = write_lora(self.pair[0], folder / "adapter", targets=targets)
        self.safe = write_lora(self.pair[0], folder / "safe", targets=targets, seed=6)
        base = weights(self.pair[0])
        self.v = {n: w - base[n] for n, w in weights(self.pair[1]).items()}
        self.updates, self.safe_updates = (
            {n: w - base[n] for n, w in weights(self.pair[0], a).items()}
            for a in (self.adapter, self.safe)
        )
        self.transposed = architecture == "gpt2"

    def run(self, method, **more):
        return defended(method, self.pair, self.adapter, self.folder / method.name, **more)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(request, tmp_path_factory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp(request.param))


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return float((found - expected).norm()) <= 1e-5 * max(float(expected.norm()), 1e-3)


def test_parameters_are_what_loading_the_model_gives(case):
    for folder, role in zip(case.pair, ("base", "aligned"), strict=True):
        expected = weights(folder)
        with WeightFolder(folder, role=role) as found:
            assert found.names >= expected.keys()
            for name, weight in expected.items():
                assert found.shape(name) == tuple(weight.shape)
                assert torch.equal(found.read(name).float(), weight), name


def test_resta_adds_the_vector_where_peft_can_and_says_what_is_left_out(case):
    report, changes = case.run(Resta(alpha=0.5))
    held = whole = 0.0
    for name, v in case.v.items():
        added = changes[name] - case.updates[name]
        whole += float(v.double().square().sum())
        if added.any():
            held += float(added.double().square().sum()) / 0.25
            assert close(added, 0.5 * v), name
    share = math.sqrt(held / whole)
    assert report.details["kept"] == pytest.approx(share, abs=1e-4)
    left = report.details["left_out"]
    assert bool(left) == (share < 0.999)
    assert math.sqrt(share**2 + sum(part**2 for part in left.values())) == pytest.approx(1.0)
    for name in list(left)[:6]:
        assert any(name in note for note in report.notes)


def test_safe_lora_projects_on_the_side_of_the_outputs(case):
    report, changes = case.run(SafeLora(selection=ALL))
    assert all(module.changed for module in report.modules)
    for name, update in case.updates.items():
        v = case.v[name]
        if update.any():
            v, update = (v.T, update.T) if case.transposed else (v, update)
            expected = v @ v.T / v.norm() @ update
            assert close(changes[name].T if case.transposed else changes[name], expected), name
        else:
            assert not changes[name].any()


def test_the_other_methods_change_the_updates_as_they_say(case):
    _, changes = case.run(LoraScaling(alpha=0.25))
    assert all(close(changes[n], 0.25 * update) for n, update in case.updates.items())
    _, changes = case.run(SafeMerge(selection=ALL), safe_adapter=case.safe)
    for name, update in case.updates.items():
        assert close(changes[name], 0.8 * update + 0.2 * case.safe_updates[name]), name
    report, changes = case.run(SPLoRA(selection=Selection(count=1)))
    (gone,) = [module.name for module in report.modules if module.changed]
    for name, update in case.updates.items():
        assert close(changes[name], 0.0 * update if name == f"{gone}.weight" else update), name


@pytest.mark.parametrize(
    ("architecture", "flag"), [("llama", True), ("gpt2", False), ("gpt2", True)]
)
def test_the_layers_class_decides_whatever_the_flag_says(tmp_path, architecture, flag):
    """Square modules pass every check of shapes."""
    base, aligned = pair = write_pair(architecture, tmp_path)
    square = r".*attn\.c_proj" if architecture == "gpt2" else ["q_proj"]
    adapter = write_lora(base, tmp_path / "adapter", targets=square, fan_in_fan_out=flag)
    _, changes = defended(SafeLora(selection=ALL), pair, adapter, tmp_path / "out")
    before, after = weights(base), weights(aligned)
    updates = {n: w - before[n] for n, w in weights(base, adapter).items()}
    for name, update in updates.items():
        if update.any():
            v = after[name] - before[name]
            v, update = (v.T, update.T) if architecture == "gpt2" else (v, update)
            expected = v @ v.T / v.norm() @ update
            assert close(changes[name].T if architecture == "gpt2" else changes[name], expected)


def test_names_of_an_older_version_are_the_models_own(tmp_path):
    """Gemma 3's language model was language_model.model, and is model.language_model."""
    pair = write_pair("gemma3", tmp_path)
    adapter = write_lora(pair[0], tmp_path / "adapter", targets=TARGETS["gemma3"])
    file = adapter / "adapter_model.safetensors"
    old = {
        key.replace(".model.language_model.", ".language_model.model."): value
        for key, value in load_file(file).items()
    }
    assert old.keys() != load_file(file).keys()
    save_file(old, file, metadata={"format": "pt"})
    _, changes = defended(LoraScaling(alpha=0.5), pair, adapter, tmp_path / "out")
    base = weights(pair[0])
    updates = {n: w - base[n] for n, w in weights(pair[0], adapter).items()}
    assert any(update.any() for update in updates.values())
    assert all(close(changes[name], 0.5 * update) for name, update in updates.items())


@pytest.mark.parametrize("settings", [
    {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 3}},
    {"use_rslora": True},
])  # fmt: skip
def test_ranks_and_scales_of_single_modules_stay(tmp_path, settings):
    pair = write_pair("llama", tmp_path)
    adapter = write_lora(pair[0], tmp_path / "adapter", **settings)
    _, changes = defended(Resta(alpha=0.5), pair, adapter, tmp_path / "out")
    base, aligned = weights(pair[0]), weights(pair[1])
    updates = {n: w - base[n] for n, w in weights(pair[0], adapter).items()}
    for name, update in updates.items():
        assert close(changes[name], update + 0.5 * (aligned[name] - base[name])), name


@pytest.mark.parametrize(
    ("architecture", "targets", "settings", "word"),
    [
        ("llama", ["q_proj"], {"use_dora": True}, "DoRA"),
        ("llama", ["q_proj"], {"bias": "all"}, "biases"),
        ("llama", ["q_proj"], {"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ("llama", ["q_proj", "embed_tokens"], {}, "embed_tokens"),
        ("mixtral", ["q_proj"], {"target_parameters": ["mlp.experts.down_proj"]}, "parameters"),
    ],
)
def test_other_adapters_are_refused_by_name(tmp_path, architecture, targets, settings, word):
    pair = write_pair(architecture, tmp_path)
    adapter = write_lora(pair[0], tmp_path / "adapter", targets=targets, **settings)
    with pytest.raises(InputError, match=word) as caught:
        repair(LoraScaling(), adapter, base=pair[0], aligned=pair[1])
    assert caught.value.remedy


def test_what_peft_would_not_load_is_not_written(tmp_path):
    """PEFT reads up_proj on a DeepSeek as its experts, also where the layer is dense."""
    pair = write_pair("deepseek_v3", tmp_path)
    adapter = write_lora(pair[0], tmp_path / "adapter", targets=["q_b_proj"])
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    for side, shape in (("A", (4, 32)), ("B", (48, 4))):
        tensors[f"base_model.model.model.layers.0.mlp.up_proj.lora_{side}.weight"] = torch.ones(
            shape
        )
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="PEFT does not load"):
        repair(LoraScaling(), adapter, base=pair[0], aligned=pair[1])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("model.layers.0.mlp.experts", "Experts"), ("model.layers.0.mlp.gate", "Router")],
)
def test_experts_and_routers_are_no_linear_modules(tmp_path, name, kind):
    pair = write_pair("mixtral", tmp_path)
    adapter = write_lora(pair[0], tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    a, b = torch.ones(4, 32), torch.ones(4, 4)
    key = f"base_model.model.{name}"
    tensors = load_file(file) | {f"{key}.lora_A.weight": a, f"{key}.lora_B.weight": b}
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=rf"{name}.*no linear module.*{kind}"):
        repair(LoraScaling(), adapter, base=pair[0], aligned=pair[1])


def test_an_adapter_that_aligned_a_model_of_transposed_layers(tmp_path):
    base, _ = write_pair("gpt2", tmp_path)
    adapter = read_adapter(write_lora(base, tmp_path / "adapter", targets=["c_attn"]))
    aligning = write_lora(base, tmp_path / "aligning", targets=["c_fc"], seed=8)
    before, after = weights(base), weights(base, aligning)
    with open_alignment(base, aligning) as alignment:
        for name in before:
            found = alignment.parameter_difference(name)
            torch.testing.assert_close(found, after[name] - before[name], rtol=1e-4, atol=1e-5)
        added = alignment.others(adapter)
        assert {m.name.rpartition(".")[2] for m in added} == {"c_fc"}


def test_asfts_penalty_on_transposed_layers(tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from llm_validation.defences.asft import AlignmentPenalty, _require_aligned
    from llm_validation.models.adapters import lora_factors

    base, aligned = write_pair("gpt2", tmp_path)
    adapter = write_lora(aligned, tmp_path / "adapter", targets=["c_attn", "c_fc"])
    before, after = weights(base), weights(aligned)
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(aligned), adapter, is_trainable=True
    )
    expected = 0.0
    for f in lora_factors(model):
        name = f"{f.name.removeprefix('base_model.model.')}.weight"
        v = (after[name] - before[name]).T.double()
        update = f.scaling * f.b.detach().double() @ f.a.detach().double()
        expected += 0.7 * float((update - v @ (v.T @ update) / v.norm()).square().sum())
    with open_alignment(base, aligned) as alignment:
        _require_aligned(model, alignment)
        penalty = AlignmentPenalty(model, alignment, strength=0.7)
    assert penalty.add_gradient().item() == pytest.approx(expected, rel=1e-5)
