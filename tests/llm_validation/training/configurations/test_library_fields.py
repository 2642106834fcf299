"""Every field that the installed libraries have is read, or named as one that changes nothing or is
not modelled: a new version of a library breaks this test and not the user."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields

import pytest
import yaml
from peft import IA3Config, LoraConfig, PromptEncoderConfig, PromptTuningConfig
from transformers import TrainingArguments
from trl import DPOConfig, ModelConfig, ScriptArguments, SFTConfig

from llm_validation.training.configurations import axolotl, read, reading
from llm_validation.training.configurations.reading import read_table, unknown_to

CASES = {
    "TrainingArguments": (TrainingArguments, {}),
    "SFTConfig": (SFTConfig, {}),
    "DPOConfig": (DPOConfig, {}),
    "ModelConfig": (ModelConfig, {"use_peft": True, "max_length": 8, "learning_rate": 1}),
    "ModelConfig without an adapter": (ModelConfig, {"max_length": 8, "learning_rate": 1}),
    "ScriptArguments": (ScriptArguments, {"max_length": 8, "learning_rate": 1}),
    "LoraConfig": (LoraConfig, {"peft_type": "LORA"}),
    "IA3Config": (IA3Config, {"peft_type": "IA3"}),
    "PromptTuningConfig": (
        PromptTuningConfig,
        {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3, "prompt_tuning_init": "RANDOM"},
    ),
    "PromptEncoderConfig": (
        PromptEncoderConfig,
        {
            "peft_type": "P_TUNING",
            "num_virtual_tokens": 3,
            "encoder_reparameterization_type": "MLP",
        },
    ),
}
TABLES = ("trainer", "trl", "peft", "axolotl", "llama_factory")


@pytest.mark.parametrize("case", CASES)
def test_no_field_is_unknown_and_no_default_changes_the_forecast(write, case):
    library, more = CASES[case]
    defaults = {f.name: None if f.default is MISSING else f.default for f in fields(library)}
    assert len(defaults) >= 6
    # What PEFT saves of an enumeration is its name, as in `more`.
    file = write(json.dumps(defaults | more), "args.json")
    training = read.read_training(file)
    unknown = {unknown_to(name) for name in ("TRL", "transformers", "PEFT")}
    assert [key.name for key in training.unread if key.what in unknown] == []
    assert [key.name for key in training.not_modelled if key.name not in more] == (
        ["lora_dropout"] if case == "ModelConfig" else []
    )


@pytest.mark.parametrize("table", TABLES)
def test_a_table_names_each_key_once(table):
    text = (reading._TABLES / f"{table}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    names = content["nothing"].split()
    names += [key for keys in content["changes"].values() for key in keys]
    assert len(names) == len(set(names)) > 20
    assert all(what.endswith(".") for what in content["changes"])


def test_no_key_is_both_read_and_in_a_table(write):
    """A key that is read and listed too would be explained by a sentence that nobody sees."""
    import llm_validation.training.configurations.reading as module

    known: dict[str, set[str]] = {}
    sort = module.Reading.sort_the_rest

    def spy(self):
        known.setdefault(self.library, set()).update(self.known)
        return sort(self)

    texts = {
        "axolotl": "base_model: m\nlearning_rate: 1\nadapter: lora\nlora_r: 1\nlora_alpha: 1",
        "llama_factory": "template: x\nstage: dpo",
        "trl": "beta: 0.1\nuse_peft: true",
        "peft": "peft_type: LORA",
    }
    module.Reading.sort_the_rest = spy
    try:
        for text in texts.values():
            read.read_training(write(text))
    finally:
        module.Reading.sort_the_rest = sort
    libraries = {
        "axolotl": ("axolotl",),
        "LLaMA-Factory": ("trainer", "llama_factory"),
        "TRL": ("trainer", "trl"),
        "PEFT": ("peft",),
    }
    assert known.keys() == libraries.keys()
    for library, tables in libraries.items():
        listed = {key for table in tables for part in read_table(table) for key in part}
        assert known[library] & listed == set()


def test_the_marks_of_the_formats_are_of_one_format_each():
    ours = set(axolotl.MARKS)
    assert not ours & set(read.llama_factory.MARKS)
    assert not ours & set(read.huggingface.MARKS)
    assert not ours & {field.name for field in fields(SFTConfig)}
    assert not set(read.llama_factory.MARKS) & {field.name for field in fields(DPOConfig)}
