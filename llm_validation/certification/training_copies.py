"""Probes that the training data hold: what is measured on them is memory, and certifies nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.audit.audit import exchanges
from llm_validation.audit.probe_copies import ProbeIndex
from llm_validation.data.loading import load_dataset
from llm_validation.measure.texts import normalise


def require_unseen(
    prompts: Sequence[str],
    training: Sequence[str | Path],
    *,
    source: str,
    progress: Progress = silent,
) -> dict[str, str]:
    """The hashes of the training data by reference, where they hold none of the probes.

    A prompt holds a probe that is the same text, but for case and white space, or nearly: Jaccard
    similarity of words and pairs of words from 0.7. Raises InputError that counts the probes found
    and names the first; ``source`` is what it calls their file.
    """
    if not prompts:
        raise InputError(
            "the probes have ids and no prompts, so training data cannot be searched for them.",
            remedy="Add each row's prompt as 'prompt'.",
            file=source,
        )
    index, same = ProbeIndex(prompts), {normalise(text): n for n, text in enumerate(prompts)}
    hashes: dict[str, str] = {}
    for ref in training:
        dataset = load_dataset(ref, role="training-data")
        hashes[str(ref)] = dataset.sha256
        found: dict[int, int] = {}
        examples = list(enumerate(dataset.examples, 1))
        for row, example in progress(examples, f"searching {ref} for probes"):
            for asked in {example.prompt, *(asked for asked, _ in exchanges(example))}:
                place = same.get(normalise(asked))
                if place is None:
                    place = index.repeated(asked)
                if place is not None:
                    found.setdefault(place, row if example.origin is None else example.origin[1])
        if found:
            place, row = min(found.items(), key=lambda item: item[1])
            raise InputError(
                f"the training data hold {len(found)} of the {len(prompts)} probes, or nearly: the "
                f"first is {_short(prompts[place])}. A model that learnt its answers is not tested "
                "by asking them.",
                remedy=f"Take these probes out of {source}, or ask others.",
                file=str(ref),
                row=row,
            )
    return hashes


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else line[:57] + "...")
