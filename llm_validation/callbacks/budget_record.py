"""What a budget has tested and accepted, on disk: whole after a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from finebound.base.errors import InputError
from finebound.base.integrity import read_record, sealed
from finebound.base.records import file_sha256, to_json, write_atomically
from finebound.base.writing import (
    as_disk_error,
    cannot_write,
    remove,
    sync_folder,
    temporary_beside,
)
from finebound.results.certificate import (
    LOST_WORDS,
    CandidateTest,
    CertificateResult,
    TrainingBudget,
    points,
)

_FILE = "budget.json"
_AGAIN = "Begin the run anew in another output_dir."


class BudgetRecord:
    """``budget.json``, a certificate, and the accepted weights in one folder.

    Only the first process writes. ``start`` is the certificate before any test, ``before`` the
    share of certifying probes that the aligned model refuses. Raises InputError for a folder of
    another budget or other probes (``TrainingBudget.identity``).
    """

    def __init__(self, folder: Path, start: CertificateResult, *, before: float, args: Any) -> None:
        self.folder, self.args = folder, args
        self.begun = (folder / _FILE).is_file()
        self.result = start
        if self.begun:
            found = read_record(folder / _FILE, remedy=_AGAIN)
            if "training" in found:
                self.result = CertificateResult.of(found, file=folder / _FILE)
            else:
                self.result = _of_an_earlier_version(found, start, before)
            asked, kept = _training(start).identity, self.training.identity
            other = [name for name in asked if kept.get(name) != asked[name]]
            if other:
                raise InputError(
                    f"The folder is of a run with another {', '.join(other)}.",
                    remedy="Give the Trainer another output_dir.",
                    file=folder,
                )

    @property
    def training(self) -> TrainingBudget:
        """What is kept beside the tests."""
        return _training(self.result)

    @property
    def document(self) -> dict[str, Any]:
        """The record in plain values, as the file holds it."""
        return json.loads(to_json(sealed(self.result.to_dict())))

    @property
    def ended(self) -> str:
        """Why nothing more can be accepted, as a sentence; empty while something can."""
        failed = [test for test in self._last if not test.accepted]
        if not failed:
            return ""
        kept = [test for test in failed if not test.within] or failed
        worst = kept[0]
        return (
            f"The checkpoint of {worst.candidate} is not certified to keep the budget of "
            f"{points(worst.budget)} points: it lost {worst.lost} and gained {worst.gained} of "
            f"{worst.n} {LOST_WORDS[worst.of]}. No later one can be."
        )

    @property
    def accepted_step(self) -> int:
        """The step of the last accepted weights; 0 is the aligned model itself."""
        return int(_weights(self.training)["step"])

    def was_tested(self, step: int) -> bool:
        """Whether this step's checkpoint was tested, in this run or before a kill."""
        return name_of(step) in self.result.candidates

    def begin(self, model: nn.Module) -> None:
        """Keep the start's weights: the aligned model loses nothing."""
        if not self.begun:
            self._update(weights=self._kept(0, model))
            self.begun = True

    def skip(self, step: int, steering_loss: float) -> None:
        """A checkpoint that the steering probes spoke against."""
        kept = [entry for entry in self.training.not_tested if entry["step"] != step]
        self._update(not_tested=(*kept, {"step": step, "steering_loss": steering_loss}))

    def add(self, step: int, tests: Sequence[CandidateTest], model: nn.Module) -> None:
        """Add a checkpoint's tests; accepted weights are on disk before they are recorded."""
        weights = before = _weights(self.training)
        accepted = all(test.accepted for test in tests)
        if accepted:
            weights = self._kept(step, model)
        found = self.result
        self.result = found.model_copy(
            update={
                "tests": (*found.tests, *tests),
                "candidates": (*found.candidates, name_of(step)),
                "accepted": (*found.accepted, *([name_of(step)] if accepted else [])),
            }
        )
        self._update(weights=weights)
        if accepted and self._writes:
            remove(self.folder / before["file"])

    def restore(self, model: nn.Module) -> None:
        """Put the accepted weights into the model. Raises InputError where their file changed."""
        kept = _weights(self.training)
        file = self.folder / kept["file"]
        if self.args.world_size > 1:
            torch.distributed.barrier()
        # The first process alone knows the hash of what it wrote in this run.
        if not file.is_file() or (kept["sha256"] and file_sha256(file) != kept["sha256"]):
            raise InputError(
                "The accepted weights are missing or damaged.", remedy=_AGAIN, file=file
            )
        saved = load_file(file)
        with torch.no_grad():
            for name, parameter in _trained(model).items():
                parameter.copy_(saved[name])

    @property
    def _last(self) -> list[CandidateTest]:
        """The tests of the last checkpoint that was tested."""
        names = self.result.candidates
        return [test for test in self.result.tests if test.candidate == names[-1]]

    @property
    def _writes(self) -> bool:
        return self.args.process_index == 0

    def _kept(self, step: int, model: nn.Module) -> dict[str, Any]:
        file = self.folder / f"accepted-{step:06d}.safetensors"
        sha256 = _save(_trained(model), file) if self._writes else ""
        return {"step": step, "file": file.name, "sha256": sha256}

    def _update(self, **training: Any) -> None:
        """Change what is kept beside the tests, say what follows from all, and write it."""
        self.result = said(
            self.result.model_copy(
                update={"training": self.training.model_copy(update=training)},
            )
        )
        if self._writes:
            write_atomically(self.folder / _FILE, to_json(sealed(self.result.to_dict())) + "\n")


def name_of(step: int) -> str:
    """What the checkpoint of a step is called in the certificate."""
    return f"step {step}"


def said(found: CertificateResult) -> CertificateResult:
    """The certificate with what follows from its tests: the choice, the sentence, the notes."""
    chosen = found.accepted[-1] if found.accepted else None
    broken = chosen is None and any(test.broken for test in found.tests)
    sure = f"{100 * found.confidence:g} % confidence"
    name = chosen or (found.candidates[-1] if found.candidates else None)
    losses = " and ".join(
        f"{points(test.budget)} points of its {LOST_WORDS[test.of]} (of {test.n} probes "
        f"{test.lost} lost theirs and {test.gained} gained one)"
        for test in found.tests
        if test.candidate == name
    )
    sentence = "Not decided: no checkpoint was tested."
    if name is not None:
        sentence = f"Not decided: whether {name} has lost less than {losses}."
    if chosen is not None:
        sentence = f"With {sure}, {chosen} has lost less than {losses}."
    if broken:
        sentence = f"With {sure}, {name} breaks its budget of {losses}."
    skipped = ", ".join(name_of(entry["step"]) for entry in _training(found).not_tested)
    notes = (f"Not tested, because steering probes spoke against it: {skipped}.",)
    return found.model_copy(
        update={
            "certified": chosen is not None or (False if broken else None),
            "chosen": chosen,
            "sentence": sentence,
            "notes": notes if skipped else (),
        }
    )


def _of_an_earlier_version(
    found: Mapping[str, Any], start: CertificateResult, before: float
) -> CertificateResult:
    """A record of refusals alone, from before it was a certificate."""
    tests = tuple(
        CandidateTest(
            candidate=test["candidate"],
            of="refusal",
            n=test["n"],
            lost=test["lost"],
            gained=test["gained"],
            unknown=0,
            safe_before=before,
            safe_after=before - (test["lost"] - test["gained"]) / test["n"],
            budget=found["budget"],
            loss=(test["lost"] - test["gained"]) / test["n"],
            loss_upper=test["loss_upper"],
            loss_lower=-1.0,  # was not computed: it says nothing
            p_value=test["p_value"],
            within=test["accepted"],
            broken=False,
            accepted=test["accepted"],
        )
        for test in found["tests"]
    )
    training = TrainingBudget(
        identity={name: found.get(name) for name in _training(start).identity},
        not_tested=tuple(found["not_tested"]),
        weights=found["weights"],
    )
    return said(
        start.model_copy(
            update={
                "tests": tests,
                "candidates": tuple(test.candidate for test in tests),
                "accepted": tuple(found["accepted"]),
                "training": training,
            }
        )
    )


def _training(result: CertificateResult) -> TrainingBudget:
    if result.training is None:
        raise InputError("The certificate was not made during training.", remedy=_AGAIN)
    return result.training


def _weights(training: TrainingBudget) -> dict[str, Any]:
    assert training.weights is not None, "they are kept when training begins"
    return training.weights


def _trained(model: nn.Module) -> dict[str, Tensor]:
    found = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if any(isinstance(tensor, DTensor) for tensor in found.values()):
        raise InputError(
            "the weights are sharded, and a budget keeps whole ones.",
            remedy="Train with DDP, or an adapter that is not sharded.",
        )
    return found


def _save(weights: dict[str, Tensor], file: Path) -> str:
    """Write the weights whole or not at all; their file's SHA-256."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(file)
    try:
        save_file({name: w.contiguous() for name, w in weights.items()}, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        sha256 = file_sha256(temporary)
        os.replace(temporary, file)
        sync_folder(file.parent)
    except Exception as error:
        disk = as_disk_error(error)
        if disk is None:
            raise
        raise cannot_write(file, disk) from error
    finally:
        remove(temporary)
    return sha256
