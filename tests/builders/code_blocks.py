"""The code blocks of a Markdown file, and what a comment before one says of it.

``<!-- file: NAME -->``: the block is that file's content. ``<!-- not run: REASON -->``: its
commands are parsed and not run. ``<!-- exit: N -->``: the exit code of its last command.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?P<comments>(?:^[ ]*<!--.*?-->\s*\n)*)^```(?P<language>[\w{}-]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SHOWN = {"text", "{toctree}", "math"}


@dataclass(frozen=True)
class Block:
    """A code block: its language, its code, and what comments before it say."""

    language: str
    code: str
    comments: dict[str, str] = field(default_factory=dict)

    @property
    def commands(self) -> list[list[str]]:
        """The words of every command."""
        lines = re.sub(r"\\\n", " ", self.code).splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks_of(file: Path) -> list[Block]:
    """Every block of a Markdown file but those that only show something."""
    text = file.read_text(encoding="utf-8")
    found = [
        Block(
            block["language"] or "sh",
            block["code"],
            dict(re.findall(r"<!-- ([\w ]+): (.*?) -->", block["comments"])),
        )
        for block in _BLOCK.finditer(text)
    ]
    assert text.count("\n```") == 2 * len(found), f"{file}: a fence that is not read"
    return [b for b in found if b.language not in _SHOWN or "file" in b.comments]


def run(block: Block, names: dict[str, Any]) -> None:
    """Do what the block says in the current folder; ``names`` are those of the Python before."""
    if "file" in block.comments:
        path = Path(block.comments["file"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, encoding="utf-8")
    elif block.language == "python":
        code = compile(block.code, "the page", "exec")
        if "not run" not in block.comments:
            exec(code, names)
    else:
        assert block.language == "sh", f"a block of {block.language} is neither run nor a file"
        *before, last = block.commands
        for command in before:
            _command(command, block, 0)
        _command(last, block, int(block.comments.get("exit", 0)))


def _command(words: list[str], block: Block, code: int) -> None:
    program, *arguments = words
    match program.removeprefix(".venv/bin/"):
        case "finebound" if "not run" in block.comments:
            parse(arguments)
        case "finebound":
            from finebound.cli import main

            assert main(arguments) == code, words
        case "accelerate" | "axolotl":  # test_other_tools runs what they are given
            assert "not run" in block.comments, words
        case "lm_eval" | "inspect":  # test_harness_tools runs them
            assert "not run" in block.comments, words
        case "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert f"\n{arguments[0]}: " in makefile, words
        case "pip":
            assert arguments[0] == "install", words
        case "python" if arguments[0] == "-m":
            assert import_module(arguments[1]), words
        case "python":
            assert (ROOT / arguments[0]).is_file(), words
        case _:
            pytest.fail(f"no test runs {words}")


def parse(arguments: list[str]) -> object:
    """The options of a command line of finebound, as its verb reads them."""
    from finebound.cli.options import parse as parse_options

    verb, *rest = arguments
    module = f"finebound.cli.{verb.replace('-', '_')}"
    if verb == "evaluate":
        kind, *rest = rest
        module = f"llm_validation.evaluation.kinds.{kind}"
    elif verb == "defend" and "--compare" in rest:
        module = "finebound.cli.defend_compare"
    return parse_options(import_module(module).Options, rest, verb=verb)
