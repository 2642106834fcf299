"""The certificate of a model and what was trained on it: both are asked the same probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import manifest
from finebound.results.certificate import CertificateResult, StoredCheck
from finebound.results.result import Manifest
from llm_validation.certification.answers import Answered
from llm_validation.certification.asked import Asking
from llm_validation.certification.budgets import (
    ALL,
    OVER_REFUSAL,
    REFUSAL,
    Budget,
    require_confidence,
)
from llm_validation.certification.certificate import assumptions, result_of
from llm_validation.certification.checkpoints import checkpoints_in, is_adapter
from llm_validation.certification.judging import judge
from llm_validation.certification.scaling import (
    ADAPTER,
    at_scale,
    checked_scales,
    name_of,
    split_probes,
    sweep,
    write_scaled,
)
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.data.loading import load_dataset
from llm_validation.defences.lora_file import read_adapter
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.evaluation.hazards.probes import load_probes
from llm_validation.measure.losses import measure_losses
from llm_validation.models.adapter_base import base_note
from llm_validation.models.adapters import require_adapter
from llm_validation.models.loading import LoadedModel, load_model, on_device
from llm_validation.models.tuned import adapter_settings, adapter_sha256, with_adapter

PathName = Literal["given", "scale", "checkpoints"]
Write = Callable[[Path], None]
_TASK_ROWS = 128
_GREEDY = (
    "At temperature 0 a model has one answer to each probe, so nats buy nothing of it (T21) and "
    "stored answers say nothing of another model (T22): every scale is asked, and only answers "
    "certify (T23, T24)."
)
_NOT_ONE = "Stored answers are read at temperature 1 alone (T22), so every scale is asked."


def certify_models(
    base: str,
    adapters: Sequence[str | Path],
    *,
    path: PathName,
    budgets: Sequence[Budget],
    confidence: float,
    training_data: Sequence[str | Path] = (),
    probes: str = "builtin:pairs",
    rows: int | None = None,
    temperature: float = 1.0,
    scales: Sequence[float] = (),
    task: str | None = None,
    seed: int = 0,
    given: Mapping[str, Any],
    progress: Progress = silent,
) -> tuple[CertificateResult, Write | None]:
    """The certificate of adapters on ``base``, of one at several scales, or of checkpoints.

    Candidates are asked in their order, up to the first that does not keep every budget. Also
    returned is what writes the chosen scale's adapter into the folder of the certificate; None
    where none is chosen or no scale was searched. Raises InputError for what does not belong
    together, before a model is loaded where that can be told.
    """
    require_confidence(confidence)
    folders = _folders(adapters, path)
    if not 0.0 <= temperature < float("inf"):
        raise InputError(f"`temperature` is {temperature}.", remedy="Give 0 or more; 1 is usual.")
    if scales and path != "scale":
        raise InputError("`scales` are for `path` scale.", remedy="Leave them out, or add it.")
    steps = checked_scales(scales) if path == "scale" else ()
    plain = read_adapter(folders[0]) if path == "scale" else None
    asked = _probes(probes, budgets, rows=rows, seed=seed)
    inputs: dict[str, str] = {}
    if training_data:
        from llm_validation.certification.training_copies import require_unseen

        prompts = [probe.prompt for probe in asked]
        inputs |= require_unseen(prompts, training_data, source=probes, progress=progress)
    for folder in folders:
        if is_adapter(folder):
            inputs[str(folder)] = adapter_sha256(folder)
    rows_of_task = None
    if task is not None:
        rows_of_task = load_dataset(task, role="task")
        rows_of_task = rows_of_task.take(min(_TASK_ROWS, len(rows_of_task)), seed)
        inputs[task] = rows_of_task.sha256
    reference = on_device(load_model(base, progress=progress))
    inputs["base"] = reference.sha256
    for folder in folders:
        if is_adapter(folder):  # one of another base is told before anything is asked
            base_note(reference, folder, adapter_settings(folder))
    notes = list(reference.notes)
    tuned = None
    if path == "scale":
        tuned = on_device(with_adapter(load_model(base, progress=progress), folders[0]))
        notes += [note for note in tuned.notes if note not in notes]
    asking = partial(Asking, temperature=temperature, seed=seed, source=probes, progress=progress)
    stored: list[StoredCheck] = []
    certifying = asked
    if tuned is not None and temperature == 1.0:
        steering, certifying = split_probes(asked)
        stored, steps = sweep(
            reference, tuned, steps, budgets, asking=asking(steering), confidence=confidence
        )
    elif tuned is not None:
        notes.append(_GREEDY if temperature == 0.0 else _NOT_ONE)
    ask = asking(certifying)
    before, _ = ask.answers(reference, reference.name)
    loss = None if rows_of_task is None else _task_loss(rows_of_task)
    start = None if loss is None else loss(reference)
    # One model at a time; the reference is not asked again.
    del reference
    candidates = (
        _scaled(tuned, steps)
        if tuned is not None
        else _trained(base, folders, progress=progress, notes=notes)
    )
    after: list[Answered] = []
    gains: dict[str, float] = {}
    judged = None
    for candidate in candidates:
        with candidate.ready() as loaded:
            answers, _ = ask.answers(loaded, candidate.name)
            after.append(answers)
            judged = judge(before, after, budgets, confidence=confidence)
            if candidate.name not in judged.accepted:
                break
            if loss is not None and start is not None:
                gains[candidate.name] = start - loss(loaded)
    if gains:
        judged = judge(before, after, budgets, confidence=confidence, capability=gains)
    assert judged is not None, "there is a candidate"
    names = [one.name for one in after]
    if left := len(list(candidates)):
        notes.append(
            f"The test ended with {names[-1]}: {left} more were not asked, and none is accepted."
        )
    write = None
    if plain is not None and judged.chosen is not None:
        chosen = next(scale for scale in steps if name_of(scale) == judged.chosen)
        write = partial(write_scaled, adapter=plain, scale=chosen)
    result = result_of(
        judged,
        budgets,
        confidence=confidence,
        reference=before.name,
        candidates=tuple(names),
        path=path,
        probes=f"{len(certifying)} probes of {probes}"
        + (f", {len(asked) - len(certifying)} more steered" if stored else ""),
        assumptions=assumptions(
            labels=[
                "finebound's refusal classifier labels the first tokens of an answer, and was not "
                "tuned on these probes."
            ],
            candidates=len(names),
            answers=f"In use the models answer as here: at temperature {temperature:g}, with their "
            "own chat template and no other system prompt.",
        ),
        stored=tuple(stored),
        capability=gains or None,
        adapter=None if write is None else ADAPTER,
        notes=notes,
        manifest=Manifest(**manifest(given=given, inputs=inputs, seed=seed)),
    )
    return result, write


@dataclass(frozen=True)
class _Candidate:
    name: str
    ready: Callable[[], Any]


def _scaled(tuned: LoadedModel, scales: Sequence[float]) -> Iterator[_Candidate]:
    for scale in scales:
        yield _Candidate(name_of(scale), partial(at_scale, tuned, scale))


def _trained(
    base: str, folders: Sequence[Path], *, progress: Progress, notes: list[str]
) -> Iterator[_Candidate]:
    names = [folder.resolve().name for folder in folders]
    for folder, name in zip(folders, names, strict=True):
        unique = name if names.count(name) == 1 else str(folder)
        yield _Candidate(unique, partial(_loaded, base, folder, progress=progress, notes=notes))


@contextmanager
def _loaded(
    base: str, folder: Path, *, progress: Progress, notes: list[str]
) -> Iterator[LoadedModel]:
    if is_adapter(folder):
        loaded = with_adapter(load_model(base, progress=progress), folder)
    else:
        loaded = load_model(folder, progress=progress)
    notes += [note for note in loaded.notes if note not in notes]
    yield on_device(loaded)


def _folders(adapters: Sequence[str | Path], path: PathName) -> list[Path]:
    folders = [Path(folder).expanduser() for folder in adapters]
    if not folders:
        raise InputError("`adapter` is missing.", remedy="Give what was trained on `base`.")
    if path != "given" and len(folders) > 1:
        raise InputError(
            f"`path` {path} takes one `adapter`, and {len(folders)} are given.",
            remedy="Give one, or leave `path` out.",
        )
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("an `adapter` is given twice.", remedy="Give each once.")
    if path == "checkpoints":
        folders = checkpoints_in(folders[0])
    for folder in folders:
        if path != "checkpoints" or is_adapter(folder):
            require_adapter(folder)
    return folders


def _probes(
    ref: str, budgets: Sequence[Budget], *, rows: int | None, seed: int
) -> tuple[Probe, ...]:
    """The probes that the budgets are about, a seeded sample of ``rows``."""
    import numpy as np

    of = {budget.of for budget in budgets}
    found = [
        probe
        for probe in load_probes(ref).probes
        if ALL in of or (REFUSAL if probe.harmful else OVER_REFUSAL) in of
    ]
    if len({" ".join(probe.prompt.split()) for probe in found}) < len(found):
        raise InputError(
            "a probe stands there twice, and repeated ones are not independent.",
            remedy="Keep one row of each probe.",
            file=ref,
        )
    if rows is None:
        return tuple(found)
    if not 1 <= rows <= len(found):
        raise InputError(
            f"`rows` is {rows}, and {ref} has {len(found)} probes of this kind.",
            remedy="Give a number from 1 to that.",
        )
    places = np.sort(np.random.default_rng(seed).permutation(len(found))[:rows])
    return tuple(found[place] for place in places)


def _task_loss(dataset: Dataset) -> Callable[[LoadedModel], float]:
    """The loss of a model on the task rows, nats per token."""

    def loss(loaded: LoadedModel) -> float:
        encoded = encode(
            dataset, loaded.tokenizer, max_length=loaded.context_length, on_long="truncate"
        )
        return measure_losses(loaded.model, encoded, pad_id=loaded.pad_id).per_token

    return loss
