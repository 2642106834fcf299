"""Model and task data of an estimate, as its training file names them."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from finebound.base.checks import Checks
from finebound.base.errors import InputError
from finebound.base.progress import silent
from llm_validation.estimation.pipeline import load_datasets, read_inputs
from llm_validation.estimation.plan import inputs_of, plan_notes
from llm_validation.estimation.request import Request

AXOLOTL = """
    base_model: ./model
    chat_template: llama3
    datasets:
      - path: support.jsonl
        type: alpaca
    adapter: lora
    lora_r: 4
    lora_alpha: 8
    micro_batch_size: 2
    learning_rate: 1e-4
    num_epochs: 2
"""
LLAMA_FACTORY = """
    model_name_or_path: org/chat
    stage: sft
    finetuning_type: lora
    dataset: support, manners
    template: qwen
    learning_rate: 1e-4
"""


def rows(start: int, stop: int) -> str:
    made = [{"prompt": f"Question {n}?", "response": f"Answer {n}."} for n in range(start, stop)]
    return "\n".join(map(json.dumps, made))


@pytest.fixture
def files(tmp_path) -> Path:
    """A folder with the data, the model's place and two training files."""
    (tmp_path / "model").mkdir()
    (tmp_path / "support.jsonl").write_text(rows(0, 5))
    (tmp_path / "manners.jsonl").write_text(rows(5, 9))
    (tmp_path / "axolotl.yaml").write_text(dedent(AXOLOTL))
    (tmp_path / "llama.yaml").write_text(dedent(LLAMA_FACTORY))
    info = {name: {"file_name": f"{name}.jsonl"} for name in ("support", "manners")}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    return tmp_path


def test_what_the_file_names_is_taken_and_told(files):
    request = Request(training=str(files / "axolotl.yaml"))
    inputs = inputs_of(request)
    assert inputs.tasks == (str(files / "support.jsonl"),)
    assert inputs.request.model == str(files / "model")
    said = plan_notes(inputs)
    assert said[0].startswith("The task data are those of ")
    assert said[1].startswith("The model is that of ")
    assert "has the chat template llama3" in said[2]
    datasets = load_datasets(inputs.request, silent, tasks=inputs.tasks)
    assert datasets["task"].prompts == [f"Question {n}?" for n in range(5)]


def test_what_is_asked_for_wins(files):
    task = str(files / "manners.jsonl")
    inputs = inputs_of(Request(training=str(files / "axolotl.yaml"), task=task, model="packaged"))
    assert (inputs.tasks, inputs.request.model) == ((task,), "packaged")
    assert not any("those of" in said or "that of" in said for said in inputs.taken)
    # Texts alone are still measured where safety data and no model are given.
    texts = Request(training=str(files / "axolotl.yaml"), safety="builtin:safety")
    assert inputs_of(texts).request.model is None


def test_rows_of_several_datasets_are_taken_together(files):
    inputs = inputs_of(Request(training=str(files / "llama.yaml"), model="packaged"))
    datasets = load_datasets(inputs.request, silent, tasks=inputs.tasks)
    assert datasets["task"].prompts == [f"Question {n}?" for n in range(9)]
    assert datasets["task"].name == "support + manners"


def test_a_name_of_the_hub_that_is_not_here_is_one_clear_message(tmp_path):
    file = tmp_path / "axolotl.yaml"
    hub = dedent(AXOLOTL).replace("./model", "org/no-chat").replace("support.jsonl", "org/no-rows")
    file.write_text(hub)
    with pytest.raises(InputError) as error:
        read_inputs(inputs_of(Request(training=str(file))), Checks(), silent)
    said = str(error.value)
    assert said.count("2 things are wrong") == 1
    for words in ("hf download org/no-rows", "hf download org/no-chat", "`task` names another"):
        assert words in said
    assert "`model` names another" in said


@pytest.mark.parametrize(
    ("missing", "says"), [("datasets", "names no task data"), ("base_model", "names no model")]
)
def test_a_file_that_names_too_little_is_told(files, missing, says):
    kept = {"datasets": "datasets:\n  - path: support.jsonl\n    type: alpaca\n"}
    text = dedent(AXOLOTL).replace(kept.get(missing, "base_model: ./model\n"), "")
    (files / "axolotl.yaml").write_text(text)
    with pytest.raises(InputError, match=says) as error:
        inputs_of(Request(training=str(files / "axolotl.yaml")))
    assert error.value.file == str(files / "axolotl.yaml")
    with pytest.raises(InputError, match="`task` is missing"):
        Request(model="packaged")
