"""Damaged adapters and models: one paragraph, never a traceback."""

import json
import random
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_validation.defences.lora_scaling import LoraScaling
from llm_validation.defences.repair import repair
from llm_validation.defences.resta import Resta
from llm_validation.defences.safe_lora import SafeLora
from tests.builders.architectures import write_lora, write_pair
from tests.builders.fuzz import mutated_bytes, mutated_value, refusal

CASES = 24


@pytest.fixture(scope="module", params=["llama", "mixtral"])
def whole(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    base, aligned = write_pair(request.param, folder)
    adapter = write_lora(base, folder / "adapter", rank_pattern={"v_proj": 2})
    (adapter / "README.md").unlink(missing_ok=True)
    return {"base": base, "aligned": aligned, "adapter": adapter}


@pytest.fixture
def copies(whole, tmp_path):
    return {role: shutil.copytree(path, tmp_path / role) for role, path in whole.items()}


def run(folders, method):
    return repair(method, folders["adapter"], base=folders["base"], aligned=folders["aligned"])


def attempt(folders, number, tmp_path):
    """Repair with one of the methods; what it makes can be written."""

    def act():
        method = (LoraScaling(), SafeLora(any_base=True), Resta(any_base=True))[number % 3]
        adapter, report = run(folders, method)
        place = tmp_path / f"out-{number}"
        place.mkdir()
        adapter.write(place)
        json.dumps(report.as_json())

    return refusal(act)


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("adapter", "adapter_config.json"),
        ("base", "config.json"),
        ("aligned", "config.json"),
    ],
)
def test_mutated_settings(copies, tmp_path, role, name):
    file = copies[role] / name
    content = file.read_bytes()
    value = json.loads(content)
    refused = 0
    for number in range(CASES):
        rng = random.Random(f"{role} {name} {number}")
        if number % 2:
            file.write_bytes(mutated_bytes(content, rng))
        else:
            text = json.dumps(mutated_value(value, rng))
            file.write_bytes(text.encode("utf-8", "surrogatepass"))
        refused += attempt(copies, number, tmp_path) is not None
    assert refused > CASES // 6


@pytest.mark.parametrize(
    ("role", "name"),
    [("adapter", "adapter_model.safetensors"), ("aligned", "model.safetensors")],
)
def test_damaged_weights(copies, tmp_path, role, name):
    file = copies[role] / name
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    refused = 0
    for number in range(CASES):
        rng = random.Random(f"{role} {name} {number}")
        if number % 3 == 0:
            damaged = content[: rng.randrange(len(content))]
        elif number % 3 == 1:  # within the names, shapes and places
            damaged = mutated_bytes(content[:header], rng) + content[header:]
        else:
            damaged = mutated_bytes(content, rng)
        file.write_bytes(damaged)
        refused += attempt(copies, number, tmp_path) is not None
    assert refused > CASES // 3


def test_wrong_shapes_types_and_names(copies, tmp_path):
    file = copies["adapter"] / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(key for key in tensors if "lora_B" in key)
    odd = {
        "empty": torch.zeros(0, 4),
        "no rank": torch.zeros(32, 0),
        "vector": torch.ones(32),
        "three": torch.ones(2, 32, 4),
        "transposed": torch.ones(4, 32),
        "integers": torch.ones(32, 4, dtype=torch.int8),
        "eight bits": torch.ones(32, 4).to(torch.float8_e4m3fn),
        "complex": torch.ones(32, 4, dtype=torch.complex64),
        "yes or no": torch.ones(32, 4, dtype=torch.bool),
        "infinite": torch.full((32, 4), torch.inf),
    }
    for number, tensor in enumerate(odd.values()):
        save_file({**tensors, name: tensor}, file, metadata={"format": "pt"})
        assert attempt(copies, number, tmp_path) is not None, name
    for number, key in enumerate(("x", "base_model.model.lora_A.weight", "lora_B.weight", "")):
        save_file({**tensors, key: torch.ones(4, 32)}, file, metadata={"format": "pt"})
        assert attempt(copies, 100 + number, tmp_path) is not None, key


@pytest.mark.parametrize(
    "settings",
    [
        {"rank_pattern": {"[": 4}},
        {"alpha_pattern": ["q_proj"]},
        {"lora_alpha": 1e308},
        {"lora_alpha": float("nan")},
        {"lora_alpha": True},
        {"r": "4"},
        {"r": 4.5},
        {"r": 0},
        {"peft_type": ["LORA"]},
        {"bias": 3},
        {"task_type": "NOTHING"},
        {"use_rslora": "no", "lora_alpha": None},
    ],
)
def test_settings_that_say_nothing(copies, tmp_path, settings):
    file = copies["adapter"] / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    assert attempt(copies, 0, tmp_path) is not None


@pytest.mark.parametrize("role", ["adapter", "base"])
def test_settings_too_deep_to_read(copies, tmp_path, role):
    name = "adapter_config.json" if role == "adapter" else "config.json"
    (copies[role] / name).write_text("[" * 5_000)
    assert attempt(copies, 0, tmp_path) is not None


@pytest.mark.parametrize(
    "places",
    [None, [], 3, {}, {"a": 1}, {"a": "../x.safetensors"}, {"a": "model.safetensors"}],
)
def test_malformed_weight_maps(copies, tmp_path, places):
    folder = copies["base"]
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert attempt(copies, 1, tmp_path) is not None
