"""Configurations as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from llm_validation.training.configurations import TrainingFile, read_training


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    def write(content: str, name: str = "train.yaml") -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(content), encoding="utf-8")
        return file

    return write


@pytest.fixture
def read(write) -> Callable[..., TrainingFile]:
    """The configuration of a text."""
    return lambda content, name="train.yaml": read_training(write(content, name))
