"""The chosen option in a new file beside the person's own, which our reader then reads as it."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from made_outlooks import option, outlook

from finebound.base.errors import InputError
from finebound.results.outlook import PlanSetting
from llm_validation.data.dataset import Dataset
from llm_validation.data.loading import load_dataset
from llm_validation.estimation import safety_rows
from llm_validation.estimation import write_config as module
from llm_validation.estimation.choice import choose
from llm_validation.estimation.safety_rows import SafetyRows, rows_of
from llm_validation.estimation.write_config import write_config
from llm_validation.training.configurations import plan_for, read_training

AXOLOTL = """
    # my run
    base_model: org/chat   # the aligned one
    chat_template: llama3
    datasets:
      - path: support.jsonl   # ours
        type: chat_template

    # what is trained
    adapter: lora
    lora_r: 16
    lora_alpha: 32
    sequence_len: 512
    micro_batch_size: 2
    gradient_accumulation_steps: 4
    num_epochs: 3
    learning_rate: 2e-4"""
LLAMA_FACTORY = """
    ### model
    model_name_or_path: org/chat
    stage: sft
    finetuning_type: lora
    lora_rank: 16

    ### data
    dataset: support
    template: qwen
    learning_rate: 1.0e-4
    max_steps: 400  # enough
    per_device_train_batch_size: 8
"""
TRL = """
    # trl sft --config
    model_name_or_path: org/chat
    dataset_name: org/rows
    dataset_train_split: train
    use_peft: true
    lora_r: 16
    max_length: 256
    num_train_epochs: 1
"""
JSON = '{\n  "output_dir": "out",\n  "max_steps": 400,\n  "learning_rate": 0.0002\n}\n'
FILES = {"axolotl.yaml": AXOLOTL, "llama.yaml": LLAMA_FACTORY, "trl.yaml": TRL, "args.json": JSON}
ANSWERS = [(f"Request {n}?", f"Answer {n}.") for n in range(5)]
ROWS = 400


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The files, their data, and answers that no model has to be asked for."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(dedent(text).lstrip("\n"))
    row = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
    (tmp_path / "data").mkdir()
    for name in ("support.jsonl", "data/support.jsonl"):
        (tmp_path / name).write_text(f"{json.dumps(row)}\n" * ROWS)
    info = {"support": {"file_name": "support.jsonl", "formatting": "sharegpt"}}
    (tmp_path / "data/dataset_info.json").write_text(json.dumps(info))
    answers = SafetyRows(Dataset.of(ANSWERS, name="answers"))
    monkeypatch.setattr(safety_rows, "answered_anew", lambda found, progress: answers)
    return tmp_path


def written(folder: Path, name: str, kind: str, value: float | None, **parts):
    """The file with this option, what was told, and its text before and after."""
    one = option(kind, value, f"do {kind} {value}", 0.93, (0.91, 0.97), 0.3, 0.9, "kept")
    found = outlook(options=(one,), **parts)
    used = found.datasets["task"].model_copy(update={"rows": ROWS, "rows_of": ROWS})
    found = found.model_copy(
        update={
            "request": {"training": str(folder / name), "model": "org/chat"},
            "datasets": {**found.datasets, "task": used},
        }
    )
    to = folder / f"safe{Path(name).suffix}"
    made = write_config(found, choose(found, {"refusal": 5.0}), to)
    return to, made, (folder / name).read_text(), to.read_text() if to.exists() else ""


def strategy_of(file: Path) -> dict[str, object]:
    return plan_for(read_training(file), ROWS).as_dict()["strategy"]


@pytest.mark.parametrize("name", FILES)
def test_fewer_steps(folder, name):
    to, made, before, after = written(folder, name, "steps", 75.0)
    assert made.files == (to,)
    assert plan_for(read_training(to), ROWS).steps == 75
    old, new = (plan_for(read_training(folder / n), ROWS).as_dict() for n in (name, to.name))
    assert {key for key in new if new[key] != old[key]} <= {"steps", "warmup"}
    if name == "args.json":
        assert after == before.replace("400", "75")  # keys in their order
    else:
        kept = [line for line in before.splitlines() if "max_steps" not in line]
        assert [line for line in after.splitlines() if line in kept][: len(kept)] == kept
        assert "# finebound: do steps 75" in after
    assert "93 % [91, 97] of harmful probes refused" in made.notes[0]


@pytest.mark.parametrize("name", ["axolotl.yaml", "llama.yaml"])
def test_a_radius_and_a_lambda_are_sections_of_the_callbacks(folder, name):
    to, made, _, _ = written(folder, name, "radius", 0.75)
    assert strategy_of(to) == {"kind": "parameter", "radius": 0.75}
    assert "plugins" not in {key.name for key in read_training(to).not_modelled}
    to.unlink()
    to, made, _, after = written(folder, name, "lambda", 0.5)
    assert strategy_of(to) == {"kind": "loss", "lam": 0.5}
    rows = load_dataset(yaml.safe_load(after)["finebound"]["proxy"]["rows"])
    assert list(zip(rows.prompts, rows.responses, strict=True)) == ANSWERS
    assert any("plugin" in note or "finebound.llamafactory" in note for note in made.notes)


@pytest.mark.parametrize(("name", "share"), [("axolotl.yaml", 0.1), ("llama.yaml", 0.03)])
def test_a_mix_is_one_dataset_more_with_its_share_of_rows(folder, name, share):
    to, made, _, after = written(folder, name, "mix", share)
    training = read_training(to)
    assert len(training.tasks) == 2
    task, safety = (load_dataset(ref) for ref in training.tasks)
    assert len(task) == ROWS
    assert len(safety) / (len(safety) + len(task)) == pytest.approx(share, abs=2e-3)
    assert set(zip(safety.prompts, safety.responses, strict=True)) == set(ANSWERS)
    if name == "axolotl.yaml":
        entries = yaml.safe_load(after)["datasets"]
        assert entries[1] == {**entries[0], "path": entries[1]["path"], "ds_type": "json"}
        # More rows are more steps: 3 epochs of 444 rows in steps of 8.
        assert plan_for(training, len(task) + len(safety)).steps == 167
        assert after.index("    ds_type") < after.index("# what is trained")
    else:
        assert (folder / "data/dataset_info.json").read_text().count("finebound") == 0
        assert any("max_steps is as it was" in note for note in made.notes)


def test_a_mix_of_trl_is_its_own_mixture(folder):
    to, made, _, after = written(folder, "trl.yaml", "mix", 0.1)
    assert read_training(to).tasks == ("hf:org/rows:train", str(folder / "safe.safety.jsonl"))
    assert "# finebound: dataset_name was org/rows" in after
    assert "TRL needs the same columns" in made.notes[2]


def test_safety_data_that_were_given_are_what_is_mixed_in(folder):
    pair = {"prompt": "A?", "response": "No."}
    turns = ["user", "assistant", "user", "assistant"]
    talk = {"messages": [{"role": role, "content": f"{role}."} for role in turns]}
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, [pair])))
    (folder / "talks.jsonl").write_text("\n".join(map(json.dumps, [talk])))
    found = outlook().model_copy(update={"request": {"safety": str(folder / "mine.jsonl")}})
    assert json.loads(rows_of(found).lines(safety_rows.instruction))["output"] == "No."
    found = found.model_copy(update={"request": {"safety": str(folder / "talks.jsonl")}})
    with pytest.raises(InputError, match="no row of one question"):
        rows_of(found)


@pytest.mark.parametrize(("kind", "value"), [("scale", 0.5), ("radius", 0.2), ("mix", 0.1)])
def test_what_the_file_cannot_say_is_told(folder, kind, value):
    to, made, before, after = written(folder, "args.json", kind, value)
    assert json.loads(after) == json.loads(before)
    told = " ".join(made.notes)
    said = {"scale": "lora_alpha", "radius": "RadiusConstraint(0.2)", "mix": "names no data"}
    assert said[kind] in told
    if kind != "mix":
        to.unlink()
        _, _, _, after = written(folder, "trl.yaml", kind, value)
        comments = "\n".join(line for line in after.splitlines() if line.startswith("# finebound"))
        assert said[kind] in comments


def test_a_smaller_rank_keeps_its_ratio_to_alpha(folder):
    to, _, _, _ = written(folder, "axolotl.yaml", "rank", 8.0)
    method = plan_for(read_training(to), ROWS).method
    assert (method.rank, method.alpha) == (8, 16)


def test_nothing_is_written_where_nothing_changes_or_no_option_is_left(folder):
    to, made, _, _ = written(folder, "axolotl.yaml", "none", None)
    assert (made.files, to.exists()) == ((), False)
    flags = (PlanSetting(name="steps", value=9, source="--steps, instead of 3 (num_epochs)"),)
    _, made, _, _ = written(folder, "axolotl.yaml", "steps", 4.0, plan=flags)
    assert "flags that this file does not hold: steps 9" in made.notes[-1]


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("axolotl.yaml", "is there already"),
        ("elsewhere/new.yaml", "in another folder"),
        ("new.json", "another suffix"),
    ],
)
def test_a_place_that_cannot_be_written_is_rejected_before_any_work(folder, to, says):
    with pytest.raises(InputError, match=says):
        module.require_place(folder / "axolotl.yaml", folder / to)
    with pytest.raises(InputError, match="needs `training`"):
        module.require_place(None, folder / to)


def test_a_file_that_cannot_be_added_to_is_told(folder):
    (folder / "axolotl.yaml").write_text("{base_model: m, learning_rate: 1, micro_batch_size: 1}")
    to, _, _, _ = written(folder, "axolotl.yaml", "steps", 3.0)
    assert plan_for(read_training(to), ROWS).steps == 3
    to.unlink()
    block = "base_model: m\nlearning_rate: 1\nmax_steps: >-\n  30\n"
    (folder / "axolotl.yaml").write_text(block)
    with pytest.raises(InputError, match=r"cannot be changed.*several lines"):
        written(folder, "axolotl.yaml", "steps", 3.0)
    assert not to.exists()
