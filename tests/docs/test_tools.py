"""The README's table of tools: every line is held by a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLE = README.split("## Where you already work")[1].split("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith(("| tool", "|---"))
]
TOOLS = (
    "transformers", "TRL", "axolotl", "LLaMA-Factory", "Unsloth", "vLLM", "lm-evaluation-harness",
    "inspect_ai", "accelerate", "FSDP", "Ray", "GitHub Actions", "TensorBoard", "trackio", "W&B",
    "MLflow",
)  # fmt: skip


def test_every_tool_has_a_row():
    named = " ".join(row[0] for row in ROWS)
    assert [tool for tool in TOOLS if tool not in named] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_line_is_held_by_a_test_that_is_there(row):
    tool, line, held = row
    assert "`" in line
    ((file, function),) = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", held)
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert function in names, tool
    assert held.startswith(("itself", "a stand-in", "a dry run", "own copies", "its commands",
                            "transformers' own"))  # fmt: skip
