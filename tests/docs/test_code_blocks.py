"""Every code block of README and docs does what it says."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest
from architectures import write_lora, write_pair
from code_blocks import ROOT, Block, blocks_of, parse, run

from theory.evaluation import STATEMENTS
from theory.statement import discover

# A file that a page says to add to one of these packages is found there, as if it were.
GROWING = (
    "llm_validation.evaluation.kinds",
    "llm_validation.defences",
    "theory",
    "theory.symbolic.text",
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_BLOCKS = {str(page.relative_to(ROOT)): found for page in PAGES if (found := blocks_of(page))}


@pytest.fixture
def own_statements():
    """Statements that a page adds are gone after it."""
    before = dict(STATEMENTS)
    yield
    STATEMENTS.clear()
    STATEMENTS.update(before)


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_the_blocks_of_a_page(page, tmp_path, monkeypatch, tiny_model_folder, own_statements):
    monkeypatch.chdir(tmp_path)
    text = "".join(block.code for block in WITH_BLOCKS[page])
    if "base-model" in text and "save_pretrained" not in text:
        base, aligned = write_pair("llama", tmp_path)
        base.rename("base-model")
        write_lora(aligned.rename("my-model"), Path("my-adapter"))
    elif "my-model" in text:
        shutil.copytree(tiny_model_folder, "my-model")
    for name in GROWING:
        added = tmp_path / Path(*name.split("."))
        package = importlib.import_module(name)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(added)])
    names = {"__name__": "a_page"}
    for block in WITH_BLOCKS[page]:
        run(block, names)
        if "file" in block.comments:
            discover()  # as a process does that starts with the file there


def test_many_pages_have_blocks():
    assert len(WITH_BLOCKS) >= 8
    reasons = [
        b.comments["not run"]
        for found in WITH_BLOCKS.values()
        for b in found
        if "not run" in b.comments
    ]
    assert all(len(reason) > 8 for reason in reasons)


@pytest.mark.parametrize(
    "code",
    ["finebound estimate --safety a.jsonl --tusk b.jsonl", "finebound evaluate refusal --of x"],
)
def test_a_wrong_command_line_is_found(code):
    with pytest.raises(SystemExit):
        run(Block("sh", code, {"not run": "a test of the test"}), {})


def test_a_failing_command_and_an_unknown_program_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        run(Block("sh", "finebound bound nowhere.json --strategy loss --lam 1"), {})
    with pytest.raises(pytest.fail.Exception, match="no test runs"):
        run(Block("sh", "curl example.org"), {})
    assert parse(["bound", "x.json", "--strategy", "loss", "--lam", "1"])
