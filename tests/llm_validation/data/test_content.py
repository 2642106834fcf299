"""The reader of the YAML files that stand beside the code."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from llm_validation.data.content import content


def test_lists_are_tuples_and_a_file_is_read_once(tmp_path):
    (tmp_path / "words.yaml").write_text("a: [[x, 1], {b: [y]}]\n", encoding="utf-8")
    found = content(str(tmp_path / "module.py"), "words.yaml")
    assert found == {"a": (("x", 1), {"b": ("y",)})}
    assert content(str(tmp_path / "module.py"), "words.yaml") is found


def test_a_file_can_make_nothing_but_data(tmp_path):
    (tmp_path / "words.yaml").write_text("!!python/object/apply:os.getcwd []\n", encoding="utf-8")
    with pytest.raises(yaml.YAMLError, match="python"):
        content(str(tmp_path / "module.py"), "words.yaml")


def test_importing_a_module_reads_no_file():
    modules = (
        "data.builtin.text_sets",
        "data.builtin.code_task",
        "data.builtin.dialogue_task",
        "data.builtin.translation_task",
        "data.builtin.identity_task",
        "data.builtin.reviews_task",
        "data.builtin.extraction_task",
        "data.builtin.arithmetic_task",
        "evaluation.fairness.builtin",
        "evaluation.hazards.probes",
        "evaluation.refusal.classifier",
        "evaluation.refusal.keywords",
    )
    code = "".join(f"import llm_validation.{module}\n" for module in modules)
    code += "from llm_validation.data.content import content\nprint(content.cache_info().misses)"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed == "0\n"
