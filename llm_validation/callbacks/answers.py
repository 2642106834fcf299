"""The aligned model's own answers to probes: asked once, kept in a file, taken apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from finebound.base.errors import InputError
from finebound.base.integrity import as_written, read_record, sealed
from finebound.base.progress import Progress, silent
from finebound.base.records import to_json, write_atomically
from llm_validation.data.encoding import Encoded
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.evaluation.hazards.probes import load_probes, probes_sha256, sampled
from llm_validation.forecast.stored_answers import StoredAnswers, store_answers
from llm_validation.models.loading import LoadedModel, load_model, on_device

_AGAIN = "Remove the file: the answers are then asked anew."
_KIND = "base answers"
_SAME = 0.1  # nats per token by which precision may move a likelihood
_CHECKED = 8  # answers

Answers: TypeAlias = StoredAnswers | str | Path
"""Stored answers, or the file that ``base_answers`` keeps them in."""


def base_answers(
    model: str | Path | LoadedModel,
    probes: str | Path = "builtin:pairs",
    *,
    per_category: int | None = None,
    seed: int = 0,
    file: str | Path | None = None,
    progress: Progress = silent,
) -> StoredAnswers:
    """Ask the aligned model every probe once, at temperature 1: call it before the fine-tune.

    ``model`` is a folder or an id, ``probes`` a set or a file as ``finebound evaluate hazards``
    takes it, ``per_category`` a limit on harmful and on harmless probes of each category. ``file``
    keeps the answers: a script that starts again, after a kill, reads them and asks nothing.
    Raises InputError for a file that holds answers of another model or to other probes.
    """
    found = load_probes(probes)
    if per_category is not None:
        found = sampled(found, per_category, seed=seed)
    asked = {
        "model": model.name if isinstance(model, LoadedModel) else str(model),
        "probes": probes_sha256(found.probes),
        "seed": seed,
    }
    place = None if file is None else Path(file)
    if place is not None and place.is_file():
        content = _read(place)
        if content["asked"] != asked:
            names = [name for name in asked if content["asked"].get(name) != asked[name]]
            raise InputError(
                f"The file holds answers that were asked otherwise: another {', '.join(names)}.",
                remedy="Give another file, or remove this one.",
                file=place,
            )
        return _from_record(content, place)
    loaded = model if isinstance(model, LoadedModel) else on_device(load_model(model))
    stored = store_answers(loaded, found.probes, seed=seed, progress=progress)
    if place is not None:
        write_answers(stored, place, asked=asked)
    return stored


def write_answers(stored: StoredAnswers, file: Path, *, asked: dict[str, Any]) -> None:
    """Write answers with their tokens, whole or not at all; ``asked`` says of whom and what."""
    rows = [
        {
            "id": probe.id,
            "prompt": probe.prompt,
            "category": probe.category,
            "harmful": probe.harmful,
            "answer": answer,
            "refused": bool(refused),
            "log_likelihood": float(likelihood),
            "tokens": row.input_ids,
            "supervised": np.flatnonzero(row.supervised),
        }
        for probe, answer, refused, likelihood, row in zip(
            stored.probes,
            stored.answers,
            stored.refused,
            stored.log_likelihood,
            stored.rows,
            strict=True,
        )
    ]
    record = {"kind": _KIND, "asked": asked, "answered_by": stored.answered_by, "rows": rows}
    write_atomically(file, to_json(sealed(record), indent=None) + "\n")


def read_answers(answers: Answers) -> StoredAnswers:
    """The answers themselves, or those that ``base_answers`` kept in a file. Raises InputError."""
    if isinstance(answers, StoredAnswers):
        return answers
    return _from_record(_read(Path(answers)), Path(answers))


def _read(file: Path) -> dict[str, Any]:
    content = read_record(file, remedy=_AGAIN)
    if content.get("kind") != _KIND:
        raise InputError("The file holds no stored answers.", remedy=_AGAIN, file=file)
    return content


def _from_record(content: dict[str, Any], file: Path) -> StoredAnswers:
    with as_written(content, file, remedy=_AGAIN):
        rows = content["rows"]
        return StoredAnswers(
            probes=tuple(Probe(r["id"], r["prompt"], r["category"], r["harmful"]) for r in rows),
            answers=tuple(r["answer"] for r in rows),
            rows=tuple(_encoded(r["tokens"], r["supervised"]) for r in rows),
            refused=np.array([r["refused"] for r in rows], dtype=bool),
            harmful=np.array([r["harmful"] for r in rows], dtype=bool),
            log_likelihood=np.array([r["log_likelihood"] for r in rows]),
            answered_by=content["answered_by"],
        )


def _encoded(tokens: Sequence[int], supervised: Sequence[int]) -> Encoded:
    mask = np.zeros(len(tokens), dtype=bool)
    mask[supervised] = True
    return Encoded(np.array(tokens, dtype=np.int32), mask)


def taken(stored: StoredAnswers, places: np.ndarray) -> StoredAnswers:
    """The answers at ``places`` ``[m]``, in that order."""
    return replace(
        stored,
        probes=tuple(stored.probes[i] for i in places),
        answers=tuple(stored.answers[i] for i in places),
        rows=tuple(stored.rows[i] for i in places),
        refused=stored.refused[places],
        harmful=stored.harmful[places],
        log_likelihood=stored.log_likelihood[places],
    )


def apart(
    stored: StoredAnswers, *, steering: float, seed: int, harmful: bool = True
) -> tuple[StoredAnswers, ...]:
    """The answers to harmful probes (or to look-alikes), those for steering and for certifying.

    A probe's side and its place in the order follow from the hash of its text and the seed: the
    same text, however it is spaced or capitalised, is never on both sides.
    """
    order, sides = [], []
    for probe in stored.probes:
        text = " ".join(probe.prompt.casefold().split())
        digest = hashlib.sha256(f"{seed}:{text}".encode()).digest()
        sides.append(int.from_bytes(digest[:8], "big") < steering * 2.0**64)
        order.append(digest[8:])
    places = np.array(sorted(range(len(order)), key=order.__getitem__), dtype=int)
    places = places[stored.harmful[places] == harmful]
    side = np.array(sides)[places]
    return taken(stored, places[side]), taken(stored, places[~side])


def require_the_same_model(stored: StoredAnswers, model: Any, *, pad_id: int) -> None:
    """Raises InputError where ``model`` is not the one that gave the answers."""
    some = taken(stored, np.flatnonzero(stored.harmful)[:_CHECKED])
    if not some.rows:
        raise InputError(
            "no stored answer is to a harmful probe, so there is no safety to watch.",
            remedy="Ask harmful probes too.",
        )
    fall = some.log_likelihood - some.likelihoods(model, pad_id=pad_id)
    tokens = sum(int(row.supervised.sum()) for row in some.rows)
    if abs(fall.sum()) > _SAME * tokens:
        raise InputError(
            "the model that is to be trained is not the one that gave the stored answers, "
            f"{stored.answered_by}: they are {fall.sum() / tokens:+.2f} nats per token less "
            "likely under it.",
            remedy="Ask the model that the training starts from (base_answers), with the same "
            "chat template.",
        )


def pad_id_of(processing_class: Any) -> int:
    """A token to fill rows with; what is filled is not read."""
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    found = getattr(tokenizer, "pad_token_id", None)
    return 0 if found is None else int(found)
