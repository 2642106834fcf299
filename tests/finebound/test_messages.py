"""What the library says names its arguments; flags are the command line's words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from finebound.cli.options import with_flags
from llm_validation.estimation.request import Request

ROOT = Path(__file__).parents[2]
LIBRARY = [
    *("finebound/base", "finebound/results", "sims", "theory"),
    *(f"llm_validation/{room}" for room in ("audit", "data", "defences", "estimation")),
    *(f"llm_validation/{room}" for room in ("evaluation", "experiments", "forecast", "measure")),
    *(f"llm_validation/{room}" for room in ("models", "tradeoff", "training")),
]
# What they write is to be typed: how an option is carried out, what made a defended adapter.
WRITES_COMMANDS = {
    "llm_validation/defences/trials.py",
    "llm_validation/estimation/applying.py",
    "llm_validation/tradeoff/workbench.py",
}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
COMMAND = re.compile(r"`[^`]*`")
FOREIGN = {"--repo-type", "--revision", "--include", "--local-dir", "--porcelain"}  # hf, git


def messages(source: str) -> Iterator[tuple[int, str]]:
    """Every text of a program but its docstrings, with its line; what is filled in is left out."""
    tree = ast.parse(source)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = [part for part in node.values if isinstance(part, ast.Constant)]
            skipped.update(map(id, parts))
            yield node.lineno, "".join(str(part.value) for part in parts)
        elif isinstance(node, ast.Constant) and id(node) not in skipped:
            yield node.lineno, str(node.value)


def flags_in(source: str) -> list[tuple[int, str]]:
    """The flags in its messages that stand in no whole command."""
    return [
        (line, flag)
        for line, text in messages(source)
        for flag in FLAG.findall(COMMAND.sub("", text))
        if flag not in FOREIGN
    ]


@pytest.mark.parametrize("folder", LIBRARY)
def test_no_message_of_the_library_names_a_flag(folder):
    sources = {
        file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted((ROOT / folder).rglob("*.py"))
    }
    assert sources
    found = [
        f"{name}:{line}: {flag}"
        for name, source in sources.items()
        if name not in WRITES_COMMANDS and "ArgumentParser(" not in source  # a command itself
        for line, flag in flags_in(source)
    ]
    assert not found


def test_a_flag_is_found_wherever_it_stands():
    source = (
        '"""Of --a-docstring nothing is said."""\n'
        'one = "Give --max-length."\n'
        'two = f"Give {one} as --out, or run `finebound doctor --json`."\n'
        'three = "hf download --repo-type dataset"\n'
    )
    assert flags_in(source) == [(2, "--max-length"), (3, "--out")]


def test_the_command_line_says_the_argument_as_its_flag():
    said = with_flags("Raise `max_length`, or leave `nothing` out.", Request)
    assert said == "Raise --max-length, or leave `nothing` out."
