"""What a budget has tested and accepted, on disk: whole after a kill at any moment."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
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

_FILE = "budget.json"
_AGAIN = "Begin the run anew in another output_dir."
_ASSUMPTIONS = (
    "the probes are independent draws from those that the budget is about",
    "the model was not trained on them, and they chose nothing of its training",
    "answers are drawn at temperature 1 and judged by their first tokens",
)


@dataclass(frozen=True)
class Test:
    """One checkpoint's test: probes asked, safe answers lost and gained, and the verdict.

    ``loss_upper`` is the upper confidence limit on the share of safe answers that are lost.
    """

    __test__ = False  # no test of pytest's

    candidate: str
    step: int
    n: int
    lost: int
    gained: int
    loss_upper: float
    p_value: float
    accepted: bool


class BudgetRecord:
    """``budget.json`` and the accepted weights in one folder; only the first process writes.

    ``identity`` is the budget and its probes: raises InputError for a folder of another.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], *, args: Any) -> None:
        self.folder, self.args = folder, args
        self.begun = (folder / _FILE).is_file()
        self.document: dict[str, Any] = {
            "certified": None,
            "chosen": None,
            "accepted": [],
            **identity,
            "tests": [],
            "not_tested": [],
            "weights": None,
            "status": "HIGH_PROBABILITY",
            "assumptions": list(_ASSUMPTIONS),
        }
        if self.begun:
            found = read_record(folder / _FILE, remedy=_AGAIN)
            other = [name for name in identity if found.get(name) != identity[name]]
            if other:
                raise InputError(
                    f"The folder is of a run with another {', '.join(other)}.",
                    remedy="Give the Trainer another output_dir.",
                    file=folder,
                )
            self.document = found

    @property
    def ended(self) -> str:
        """Why nothing more can be accepted, as a sentence; empty while something can."""
        tests = self.document["tests"]
        if not tests or tests[-1]["accepted"]:
            return ""
        last = tests[-1]
        return (
            f"The checkpoint of step {last['step']} is not certified to keep the budget of "
            f"{100 * self.document['budget']:g} points: it lost {last['lost']} and gained "
            f"{last['gained']} of {last['n']} safe answers. No later one can be."
        )

    @property
    def accepted_step(self) -> int:
        """The step of the last accepted weights; 0 is the aligned model itself."""
        return int(self.document["weights"]["step"])

    def was_tested(self, step: int) -> bool:
        """Whether this step's checkpoint was tested, in this run or before a kill."""
        return any(test["step"] == step for test in self.document["tests"])

    def begin(self, model: nn.Module) -> None:
        """Keep the start's weights: the aligned model loses nothing."""
        if not self.begun:
            self._keep(0, model)
            self._write()
            self.begun = True

    def skip(self, step: int, steering_loss: float) -> None:
        """A checkpoint that the steering probes spoke against."""
        kept = [entry for entry in self.document["not_tested"] if entry["step"] != step]
        self.document["not_tested"] = [*kept, {"step": step, "steering_loss": steering_loss}]
        self._write()

    def add(self, test: Test, model: nn.Module) -> None:
        """Add a test; the weights of an accepted checkpoint are on disk before it is recorded."""
        before = self.document["weights"]["file"]
        if test.accepted:
            self._keep(test.step, model)
            self.document["accepted"].append(test.candidate)
            self.document["chosen"] = test.candidate
            self.document["certified"] = True
        self.document["tests"].append(asdict(test))
        self._write()
        if test.accepted and self._writes:
            remove(self.folder / before)

    def restore(self, model: nn.Module) -> None:
        """Put the accepted weights into the model. Raises InputError where their file changed."""
        kept = self.document["weights"]
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
    def _writes(self) -> bool:
        return self.args.process_index == 0

    def _keep(self, step: int, model: nn.Module) -> None:
        file = self.folder / f"accepted-{step:06d}.safetensors"
        sha256 = ""
        if self._writes:
            sha256 = _save(_trained(model), file)
        self.document["weights"] = {"step": step, "file": file.name, "sha256": sha256}

    def _write(self) -> None:
        if self._writes:
            self.document = sealed(self.document)
            write_atomically(self.folder / _FILE, to_json(self.document) + "\n")


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
