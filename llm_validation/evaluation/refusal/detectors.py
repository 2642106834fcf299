"""The detectors by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.evaluation.refusal.keywords import by_29_keywords, by_47_keywords
from llm_validation.evaluation.refusal.labels import Label

DEFAULT = "rules"
DETECTORS: dict[str, Callable[[str, str | None], Label]] = {
    DEFAULT: classify,
    "keywords-47": by_47_keywords,
    "keywords-29": by_29_keywords,
}
"""Name -> ``(prompt, response) -> Label``. The keyword lists give refusal, compliance or error."""

_SOURCES = {
    DEFAULT: (
        "classifier.py",
        "english.py",
        "gibberish.py",
        "languages.py",
        "languages.yaml",
        "reasoning.py",
        "structure.py",
        "substance.py",
    )
}


@cache
def rules_of(detector: str) -> str:
    """The start of the SHA-256 of a detector's source: labels of other rules are other labels."""
    digest = hashlib.sha256()
    for name in _SOURCES.get(detector, ("keywords.py",)):
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]
