"""The bibliography has every source that code and pages cite, and each where it says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "bibliography.md").read_text(encoding="utf-8")
ARXIV = re.compile(r"\b(\d{4}\.\d{5})\b")
ENTRIES = re.findall(r"^\| ([A-Z][\w-]+.*?) \| `(.+)` \|$", TEXT, flags=re.MULTILINE)


def cited() -> dict[str, str]:
    """The arXiv ids of all source and pages, each with a file that cites it."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {}
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if file.is_file() and name != "docs/bibliography.md" and not name.startswith("tests/"):
            text = file.read_text(encoding="utf-8")
            near = re.findall(r"arXiv[\s\"']+(\d{4}\.\d{5})", text)
            found |= dict.fromkeys(near, name)
    return found


def test_every_arxiv_id_that_is_cited_is_in_the_bibliography():
    found = cited()
    assert len(found) > 15
    assert {k: v for k, v in found.items() if k not in ARXIV.findall(TEXT)} == {}


@pytest.mark.parametrize(("source", "place"), ENTRIES)
def test_an_entry_is_cited_where_it_says(source, place):
    file = ROOT / place
    text = file.read_text(encoding="utf-8")
    names = [*ARXIV.findall(source), source.split(",")[0].split()[0].rstrip(".")]
    assert any(name in text for name in names), names


def test_there_are_entries():
    assert len(ENTRIES) == TEXT.count("` |\n") > 35
