"""The contract of ``finebound defend``: weights and configurations in, a plain PEFT folder out."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import finebound as fb
from finebound.base.errors import InputError
from finebound.cli import main
from finebound.results.tradeoff import DefendResult

NAMES = [
    f"model.layers.{i}.{n}" for i in range(2) for n in ("self_attn.q_proj", "self_attn.v_proj")
]
FIELDS = {"name", "distance", "cosine", "projector_norm", "score", "changed"}


def write(path: Path, content) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def folders(tiny_model_folder, tmp_path) -> dict[str, Path]:
    """A base, an aligned model and an adapter of it; nothing but weights and configurations."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    weights = load_file(tiny_model_folder / "model.safetensors")
    config = json.loads((tiny_model_folder / "config.json").read_text())
    made = {}
    for role in ("base", "aligned"):
        made[role] = tmp_path / role
        made[role].mkdir()
        write(made[role] / "config.json", config)
        save_file(weights, made[role] / "model.safetensors")
        for name in NAMES:
            d_out, d_in = weights[f"{name}.weight"].shape
            weights[f"{name}.weight"] = weights[f"{name}.weight"] + 0.05 * normal(
                d_out, 4
            ) @ normal(4, d_in)
    made["adapter"] = tmp_path / "adapter"
    made["adapter"].mkdir()
    tensors = {}
    for name in NAMES:
        d_out, d_in = weights[f"{name}.weight"].shape
        tensors[f"base_model.model.{name}.lora_A.weight"] = normal(2, d_in)
        tensors[f"base_model.model.{name}.lora_B.weight"] = 0.1 * normal(d_out, 2)
    save_file(tensors, made["adapter"] / "adapter_model.safetensors")
    adapter = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(made["aligned"]),
        "r": 2,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "v_proj"],
    }
    write(made["adapter"] / "adapter_config.json", adapter)
    return made


def defend(capsys, folders, *arguments):
    given = [folders["adapter"], "--base", folders["base"], "--aligned", folders["aligned"]]
    code = main(["defend", *(str(a) for a in (*given, *arguments))])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def fingerprint(*roots: Path) -> dict[str, str]:
    files = [file for root in roots for file in sorted(root.rglob("*")) if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("method", ["splora", "safe-lora"])
def test_the_contract(capsys, folders, tmp_path, method):
    before = fingerprint(*folders.values())
    out = tmp_path / "out"
    code, printed, _ = defend(capsys, folders, "--method", method, "--out", out, "--json")
    assert code == 0
    found = json.loads(printed)
    assert [m["name"] for m in found["modules"]] == NAMES
    base, aligned = (load_file(folders[r] / "model.safetensors") for r in ("base", "aligned"))
    factors = load_file(folders["adapter"] / "adapter_model.safetensors")
    for entry in found["modules"]:
        assert entry.keys() == FIELDS
        name = entry["name"]
        v = (aligned[f"{name}.weight"] - base[f"{name}.weight"]).double()
        b, a = (factors[f"base_model.model.{name}.lora_{x}.weight"].double() for x in "BA")
        update, c = 4.0 * b @ a, v @ v.T / v.norm()
        assert entry["distance"] == pytest.approx(float((c @ update - update).norm()), rel=1e-5)
        cosine = torch.cosine_similarity((c @ update).flatten(), update.flatten(), dim=0)
        assert entry["cosine"] == pytest.approx(float(cosine), rel=1e-5)
        norm = float(torch.linalg.matrix_norm(c, 2))
        assert entry["projector_norm"] == pytest.approx(norm, rel=1e-5)
    assert fingerprint(*folders.values()) == before
    assert {f.name for f in out.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "defend.json"
    }  # fmt: skip
    assert json.loads((out / "defend.json").read_text())["modules"] == found["modules"]
    result = DefendResult.load(out)
    again = result.save(tmp_path / "again")
    assert again.read_bytes() == (out / "defend.json").read_bytes()
    assert repr(result).startswith(f"<DefendResult: {method} (")
    assert list(result.to_frame()["module"]) == NAMES
    assert len(result.plot().axes) == 4
    with pytest.raises(InputError, match=r"'defend' in version 1: modules.0.verdict"):
        DefendResult.of(result.to_dict() | {"modules": [found["modules"][0] | {"verdict": 1}]})
    kept = load_file(out / "adapter_model.safetensors")
    changed = {m["name"] for m in found["modules"] if m["changed"]}
    for key, tensor in factors.items():
        name = key.removeprefix("base_model.model.").partition(".lora_")[0]
        if name not in changed:
            assert torch.equal(kept[key], tensor)
        elif method == "splora":
            assert key not in kept
    manifest = found["manifest"]
    assert manifest["given"]["method" if method != "splora" else "out"]
    assert set(manifest["inputs"]) == {"adapter", "adapter_config", "base", "aligned"}


@pytest.mark.parametrize(
    ("rule", "changed"),
    [(["--count", "3"], 3), (["--keep", "0.75"], 1), (["--threshold", "1e9"], 0)],
)
def test_selections(capsys, folders, rule, changed):
    code, printed, _ = defend(capsys, folders, *rule, "--json")
    assert code == 0
    assert sum(m["changed"] for m in json.loads(printed)["modules"]) == changed


def test_the_table_names_every_module_and_what_pruning_saves(capsys, folders, tmp_path):
    code, printed, _ = defend(capsys, folders, "--count", "2", "--out", tmp_path / "out")
    assert code == 0
    text = " ".join(printed.split())
    assert "2 of 4 modules changed" in text
    assert "4 -> 2 modules" in text
    assert "saving is zero" in text
    assert "Written:" in text


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "lora-scaling", "--alpha", "0.3"],
        ["--method", "lora-scaling", "--radius", "0.1"],
        ["--method", "resta", "--alpha", "0.2", "--rank", "4"],
        ["--method", "safe-merge", "--safe-adapter", "SAFE", "--weight", "0.5"],
        ["--method", "safe-lora", "--projector", "exact", "--count", "1"],
        ["--method", "splora", "--released", "--count", "1"],
        ["--method", "splora", "--null", "across-modules", "--count", "1"],
    ],
)
def test_every_method_writes_an_adapter_that_is_read_again(capsys, folders, tmp_path, options):
    if "across-modules" in options:  # four modules of two shapes are too few
        code, _, told = defend(capsys, folders, *options)
        assert code == 2
        assert "random-update" in told
        return
    safe = tmp_path / "safe"
    shutil.copytree(folders["adapter"], safe)
    options = [safe if o == "SAFE" else o for o in options]
    out = tmp_path / "out"
    code, printed, _ = defend(capsys, folders, *options, "--out", out, "--json")
    assert code == 0
    assert any(m["changed"] for m in json.loads(printed)["modules"])
    again = {**folders, "adapter": out}
    code, printed, _ = defend(capsys, again, "--threshold", "1e9", "--json")
    assert code == 0
    assert len(json.loads(printed)["modules"]) == 4


def test_a_defended_folder_may_be_written_again_and_no_other(capsys, folders, tmp_path):
    out = tmp_path / "out"
    for count in ("1", "2"):
        assert defend(capsys, folders, "--count", count, "--out", out)[0] == 0
    assert len(load_file(out / "adapter_model.safetensors")) == 4
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "notes.json", [])
    again = {**folders, "adapter": out}
    for case, place in ((folders, tmp_path / "other"), (folders, folders["adapter"]), (again, out)):
        before = fingerprint(tmp_path)
        code, printed, told = defend(capsys, case, "--count", "1", "--out", place)
        assert (code, printed) == (2, "")
        assert "another folder" in told or "new folder" in told
        assert fingerprint(tmp_path) == before


def test_a_defended_adapter_still_knows_its_base(capsys, folders, tiny_model_folder, tmp_path):
    note = {"name": "aligned", "sha256": "0" * 64}
    write(folders["adapter"] / "base_model.json", note)
    out = tmp_path / "out"
    assert defend(capsys, folders, "--count", "1", "--out", out)[0] == 0
    assert json.loads((out / "base_model.json").read_text()) == note
    evaluate = ["evaluate", "refusal", "--model", str(tiny_model_folder), "--adapter", str(out)]
    assert main([*evaluate, "--prompts", "builtin:safety", "--rows", "1"]) == 2
    assert "its base_model.json has the hash 000000000000" in capsys.readouterr().err


def edit_config(folder: Path, name: str = "config.json", **entries) -> None:
    write(folder / name, json.loads((folder / name).read_text()) | entries)


def tokenizers_differ(f):
    for role, vocabulary in (("base", {"a": 0}), ("aligned", {"b": 0})):
        write(f[role] / "tokenizer.json", {"model": {"vocab": vocabulary}, "added_tokens": []})


def zero(f):
    file = f["adapter"] / "adapter_model.safetensors"
    save_file({name: torch.zeros_like(t) for name, t in load_file(file).items()}, file)


def other_shapes(f):
    file = f["adapter"] / "adapter_model.safetensors"
    tensors = {n: t.repeat(1, 2) if "lora_A" in n else t for n, t in load_file(file).items()}
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda f: edit_config(f["aligned"], hidden_size=99), "different shapes"),
        (tokenizers_differ, "different tokenizers"),
        (other_shapes, "another base"),
        (
            lambda f: edit_config(
                f["adapter"], "adapter_config.json", base_model_name_or_path="someone/else"
            ),
            "another base",
        ),
        (zero, "zero in every module"),
        (lambda f: edit_config(f["base"], quantization_config={"bits": 4}), "quantised"),
        (lambda f: edit_config(f["adapter"], "adapter_config.json", use_dora=True), "DoRA"),
        (lambda f: shutil.copy(f["base"] / "model.safetensors", f["aligned"]), "no direction"),
        (lambda f: shutil.rmtree(f["base"]), "no such folder"),
        (lambda f: (f["aligned"] / "model.safetensors").unlink(), "safetensors"),
    ],
)
def test_wrong_input_is_one_paragraph_and_writes_nothing(capsys, folders, tmp_path, spoil, word):
    spoil(folders)
    before = fingerprint(tmp_path)
    code, printed, told = defend(capsys, folders, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    paragraph = [line for line in told.splitlines() if line.startswith("finebound defend:")]
    assert len(paragraph) == 1
    assert word in paragraph[0]
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
    assert fingerprint(tmp_path) == before


@pytest.fixture
def hub(folders, tmp_path, monkeypatch) -> dict[str, str]:
    """The folders as repositories of a hub that does not answer, all in its cache."""
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    for role, folder in folders.items():
        stored = cache / f"models--owner--{role}"
        shutil.copytree(folder, stored / "snapshots" / ("0" * 40))
        (stored / "refs").mkdir()
        (stored / "refs" / "main").write_text("0" * 40)
    config = cache / "models--owner--adapter" / "snapshots" / ("0" * 40)
    edit_config(config, "adapter_config.json", base_model_name_or_path="owner/aligned")
    return {role: f"owner/{role}" for role in folders}


def test_ids_of_the_hub_are_what_their_folders_are(capsys, folders, hub, tmp_path):
    code, printed, _ = defend(capsys, folders, "--count", "2", "--json")
    assert code == 0
    of_folders = json.loads(printed)
    before = fingerprint(tmp_path / "hub")
    code, printed, _ = defend(capsys, hub, "--count", "2", "--out", tmp_path / "out", "--json")
    assert code == 0
    found = json.loads(printed)
    assert found["modules"] == of_folders["modules"]
    assert found["manifest"]["inputs"]["adapter"] == of_folders["manifest"]["inputs"]["adapter"]
    assert found["manifest"]["given"]["base"] == "owner/base"
    assert fingerprint(tmp_path / "hub") == before
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    # The cache itself is a source and not overwritten.
    snapshot = next((tmp_path / "hub" / "models--owner--adapter").glob("snapshots/*"))
    assert defend(capsys, hub, "--count", "2", "--out", snapshot)[0] == 2
    assert fingerprint(tmp_path / "hub") == before


@pytest.mark.parametrize("role", ["adapter", "base", "aligned"])
def test_an_id_that_is_not_to_be_had_says_how_to_get_it(capsys, folders, hub, tmp_path, role):
    given = folders | {role: f"owner/no-{role}"}
    code, printed, told = defend(capsys, given, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert f"owner/no-{role} is not on this machine" in told
    assert f"hf download owner/no-{role}" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [None, "--safe-adapter"])
def test_an_adapter_of_a_quantised_base_is_refused(capsys, folders, tmp_path, option):
    from llm_validation.models.quantisation import FourBit, write_note

    rounded = Path(shutil.copytree(folders["adapter"], tmp_path / "rounded"))
    write_note(rounded, FourBit())
    more = [] if option is None else ["--method", "safe-merge", option, rounded]
    given = folders | ({"adapter": rounded} if option is None else {})
    code, printed, told = defend(capsys, given, *more, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert "4-bit NF4 with double quantisation" in told
    assert "full precision" in told
    assert str(rounded) in told.replace("\n", "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--count", "1", "--keep", "0.5"], "exactly one"),
        (["--count", "4"], "all 4 modules"),
        (["--count", "9"], "9 modules are to be changed"),
        (["--keep", "1.5"], "keep is 1.5"),
        (["--method", "lora-scaling", "--count", "1"], "--count 1 does not belong"),
        (["--method", "safe-lora", "--alpha", "1"], "--alpha 1.0 does not belong"),
        (["--method", "safe-merge"], "--safe-adapter"),
        (["--method", "lora-scaling", "--alpha", "1", "--radius", "1"], "exclude"),
    ],
)
def test_wrong_options(capsys, folders, tmp_path, options, word):
    code, printed, told = defend(capsys, folders, *options, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert word in told
    assert not (tmp_path / "out").exists()


def test_python_gets_the_result_that_the_command_writes(capsys, folders, tmp_path):
    made = fb.defend(
        folders["adapter"], base=folders["base"], aligned=folders["aligned"], count=2,
        out=tmp_path / "python",
    )  # fmt: skip
    assert defend(capsys, folders, "--count", "2", "--out", tmp_path / "command")[0] == 0
    written = DefendResult.load(tmp_path / "command")
    assert DefendResult.load(tmp_path / "python").modules == written.modules == made.modules
    assert made.manifest.given == {"method": "splora", "count": 2}
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("python", "command")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"method": "splorra"}, "no method 'splorra'"),
        ({"alpha": 0.5}, "splora has no setting 'alpha'"),
        ({"method": "safe-merge"}, "safe-merge needs `safe_adapter`"),
        ({"keep": 0.5, "count": 1}, "exactly one of"),
    ],
)
def test_python_is_told_what_does_not_fit(folders, settings, says):
    paths = {name: folders[name] for name in ("base", "aligned")}
    with pytest.raises(InputError, match=says):
        fb.defend(folders["adapter"], **paths, **settings)
