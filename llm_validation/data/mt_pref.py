"""MT-Pref as the translation study uses it: into English, the source text alone as the request."""

from __future__ import annotations

import re
from dataclasses import replace

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset, LeftOut

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
    kept, others = [], []
    for row, example in enumerate(dataset.examples, 1):
        found = _INTO_ENGLISH.search(example.prompt)
        if found is None:
            if _MARKUP not in example.prompt and not _RELEASED.search(example.prompt[:200]):
                kept.append(example)
                continue
        elif found["language"].capitalize() in LANGUAGES and found["text"]:
            response = _without_turn_end(example.response)
            if response:
                kept.append(
                    replace(
                        example,
                        prompt=found["text"],
                        messages=(("user", found["text"]),),
                        response=response,
                        rejected=example.rejected and _without_turn_end(example.rejected),
                        category=found["language"].capitalize(),
                    )
                )
                continue
        others.append(example.origin[1] if example.origin else row)
    if not kept:
        raise InputError(
            f"no row translates {', '.join(LANGUAGES)} into English.",
            remedy="Give MT-Pref, or rows with the source as prompt and English as response.",
            file=dataset.source,
        )
    source, reading = dataset.source, dataset.reading
    if others:
        source += f" ({len(others)} rows of other pairs left out)"
        gone = LeftOut("the row is of another pair of languages", tuple(others))
        reading = replace(reading, left_out=(*reading.left_out, gone))
    return Dataset.of(kept, name=dataset.name, source=source, reading=reading)


def _without_turn_end(text: str) -> str:
    text = text.strip()
    for end in _TURN_ENDS:
        text = text.removesuffix(end).rstrip()
    return text
