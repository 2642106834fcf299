"""Options that evaluations share, each declared once, and checks of those that go together.

An evaluation's options are a frozen dataclass of these: its fields are the options of the command,
the settings of ``finebound.evaluate`` and what the manifest of a record names. A message names an
option in backquotes; the command line says --its-name there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from finebound.base.errors import InputError
from llm_validation.models.placement import Placement

DetectorName = Literal["rules", "keywords-47", "keywords-29"]
Engine = Literal["transformers", "vllm"]


@dataclass(frozen=True, kw_only=True)
class Output:
    """What becomes of the numbers; every evaluation has these."""

    label: str | None = None
    """Name of the method or model in the record (default: the model's, or the file's)."""
    seed: int = 0
    """Seed of samples, drawn answers and intervals."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for its record, which `finebound compare` reads, and a model's responses.jsonl."""


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """What may happen at most; the exit code says whether it is kept."""

    budget: tuple[str, ...] = ()
    """At most so many points of 100: harmful-compliance=5, over-refusal=5, degenerate=5."""


@dataclass(frozen=True, kw_only=True)
class Model(Placement):
    """The model that is asked or measured."""

    model: str | None = None
    """Model to ask: "packaged", a local folder or a hub id."""
    adapter: Path | None = None
    """Folder of an adapter (LoRA, QLoRA, IA3, Prompt-Tuning, P-Tuning) to put on the model."""


@dataclass(frozen=True, kw_only=True)
class Answers(Model):
    """A model that writes answers."""

    max_new_tokens: int = 256
    """Longest answer in tokens."""
    cache: Path | None = None
    """Folder that keeps answers as they are made (default: finebound's cache)."""


@dataclass(frozen=True, kw_only=True)
class Generation(Answers):
    """Answers that another engine may write too."""

    engine: Engine = "transformers"
    """What generates: vLLM, where it is installed, is faster on a GPU."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How answers are labelled."""

    detector: DetectorName = "rules"
    """How answers are labelled; the keyword lists know refusal and compliance alone."""
    judge: str | None = None
    """Format of a judge model: llama-guard-2, llama-guard-3, wildguard, harmbench or rubric."""
    judge_model: str | None = None
    """The judge: a local folder or a hub id (default: the format's own)."""


def require_one_source(
    recorded: object, model: object, *, example: str, name: str = "responses"
) -> None:
    """Raises InputError unless either recorded answers or a model is given."""
    if (recorded is None) == (model is None):
        raise InputError(
            f"give either `{name}` or `model`.",
            remedy=f"For example: {example}.",
        )


def require_read(columns: object, data: object, *, name: str) -> None:
    """Raises InputError for columns to ignore without a dataset whose columns are read."""
    if columns and data is None:
        raise InputError(
            f"`ignore_columns` is for the columns of `{name}`.",
            remedy=f"Leave it out, or add `{name}`.",
        )


def require_model(options: object) -> None:
    """Raises InputError for an adapter without its base, or a placement that vLLM would ignore."""
    placed = [f.name for f in fields(Placement) if getattr(options, f.name, f.default) != f.default]
    if placed and getattr(options, "engine", None) == "vllm":
        raise InputError(
            f"`{placed[0]}` is about a model that transformers loads, and `engine` is vllm.",
            remedy="Leave one of them out.",
        )
    if getattr(options, "adapter", None) is not None and getattr(options, "model", None) is None:
        raise InputError(
            "`adapter` is for `model`.",
            remedy="Name the model that the adapter was trained on as `model`, or leave it out.",
        )
