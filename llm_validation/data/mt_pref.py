"""MT-Pref as the translation study uses it: into English, the source text alone as the request."""

from __future__ import annotations

import re
from dataclasses import replace

from finebound.errors import InputError
from llm_validation.data.dataset import Dataset

LANGUAGES = ("German", "Italian", "French", "Portuguese", "Spanish")
"""The source languages that the study keeps."""

_MARKUP = "<|im_end|>"
_RELEASED = re.compile(r"translate the following \w+ source text to \w+:", re.IGNORECASE)
_INTO_ENGLISH = re.compile(
    r"translate the following (?P<language>\w+) source text to English:\s*"
    r"(?P=language):\s*(?P<text>.*?)\s*English:",
    re.DOTALL | re.IGNORECASE,
)
_TURN_ENDS = ("<|im_end|>", "<|endoftext|>", "</s>")


def is_released(dataset: Dataset) -> bool:
    """Whether rows are MT-Pref's as released: its instruction within another model's markup."""
    return any(
        _MARKUP in example.prompt and _RELEASED.search(example.prompt)
        for example in dataset.examples
    )


def x_to_english(dataset: Dataset) -> Dataset:
    """MT-Pref's rows that translate one of ``LANGUAGES`` into English, the bare source as prompt.

    Of rows in the released wording ("Translate the following German source text to English: ...")
    the language becomes the category, and other pairs are left out, which ``source`` counts; rows
    whose prompt is the bare source already stay as they are. Raises InputError where none is left.
    """
    kept = []
    for example in dataset.examples:
        found = _INTO_ENGLISH.search(example.prompt)
        if found is None:
            if _MARKUP not in example.prompt and not _RELEASED.search(example.prompt[:200]):
                kept.append(example)
            continue
        language, text = found["language"].capitalize(), found["text"]
        response = _without_turn_end(example.response)
        if language in LANGUAGES and text and response:
            kept.append(
                replace(
                    example,
                    prompt=text,
                    messages=(("user", text),),
                    response=response,
                    rejected=example.rejected and _without_turn_end(example.rejected),
                    category=language,
                )
            )
    if not kept:
        raise InputError(
            f"no row translates {', '.join(LANGUAGES)} into English.",
            remedy="Give MT-Pref, or rows with the source as prompt and English as response.",
            file=dataset.source,
        )
    dropped = len(dataset) - len(kept)
    source = dataset.source + (f" ({dropped} rows of other pairs left out)" if dropped else "")
    return Dataset.of(kept, name=dataset.name, source=source)


def _without_turn_end(text: str) -> str:
    text = text.strip()
    for end in _TURN_ENDS:
        text = text.removesuffix(end).rstrip()
    return text
