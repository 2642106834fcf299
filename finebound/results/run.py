"""One fine-tune: its record, and what the files beside it hold of its training and its bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from finebound.base.integrity import read_record, require_unchanged
from finebound.results.comparison import ComparedBound
from finebound.results.experiment import DoneRun, ExperimentResult
from finebound.results.result import Known, Manifest, Number, Part, Result

_REMEDY = "Give the folder OUT/runs/ID of an experiment that `finebound validate` finished."
_READ = _RUN, _STEPS, _ANSWERS = ("run.json", "steps.json", "answers.jsonl")
ALIGNED = Path("answers") / "aligned.jsonl"
"""Of the aligned model, in the experiment's folder."""


class GivenAnswer(Part):
    """An answer to a safety prompt and its label; ``text`` None where none was generated."""

    prompt: str
    category: str | None
    text: str | None
    label: str
    error: str | None = None


class Training(Part):
    """What ``run.json`` says of the machine that trained."""

    manifest: Manifest
    device: str
    peak_memory_bytes: Number


class Measured(Part):
    """A judged run: its entry in ``validate.json`` and what its own files hold.

    ``compared`` are the bounds at the end of training, ``curves`` the columns of ``steps.json`` by
    name, one number per step, ``answers`` each with the aligned model's.
    """

    entry: DoneRun
    compared: list[ComparedBound]
    curves: dict[str, list[Known]]
    answers: list[tuple[GivenAnswer | None, GivenAnswer]]
    training: Training


class RunResult(Result):
    """What a finished run leaves: what made it, and the hashes of its files.

    ``measured`` is read from the files beside; None where it was not.
    """

    kind: ClassVar[str] = "run"
    file: ClassVar[str] = "record.json"
    sealed: ClassVar[bool] = True

    id: str
    configuration_sha256: str
    aligned_sha256: str
    sets: dict[str, str]
    given: dict[str, Any]
    plan: dict[str, Any]
    seconds: Number
    finished: str
    files: dict[str, str] = Field(default={})
    measured: Annotated[SkipJsonSchema[Measured | None], Field(exclude=True)] = None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The result of the folder OUT/runs/ID, or of its record alone. Raises InputError.

        Of a folder ``measured`` is read too. Raises Damaged where a file is not what was written.
        """
        found, folder = super().load(path), Path(path).absolute()
        if not folder.is_dir():
            return found
        read = {name: found.files[name] for name in _READ if name in found.files}
        require_unchanged(folder, read, remedy="Make the run again.")
        out = folder.parent.parent
        if not (out / ExperimentResult.file).is_file():
            return found
        experiment = ExperimentResult.load(out)
        entry = next((run for run in experiment.done if run.id == found.id), None)
        measured = None if entry is None else _measured(folder, out, entry, experiment)
        return found.model_copy(update={"measured": measured})

    def summary(self) -> str:
        """What the run changed, then which gates it fails."""
        if self.measured is None:
            return f"{self.id}: trained; its experiment is not judged yet"
        entry = self.measured.entry
        failed = ", ".join(entry.failed_gates)
        return (
            f"{self.id}: change in safety loss {entry.safety.told()}, capability gained "
            f"{entry.capability.told()} nats/token on held-out rows\n"
            + (f"It fails {failed}." if failed else "It passes every gate.")
        )


def _measured(folder: Path, out: Path, entry: DoneRun, experiment: ExperimentResult) -> Measured:
    trained = read_record(folder / _RUN, remedy=_REMEDY)
    aligned = {answer.prompt: answer for answer in _answers(out / ALIGNED)}
    training = {name: trained["result"][name] for name in ("device", "peak_memory_bytes")}
    return Measured(
        entry=entry,
        compared=[
            c for c in experiment.compared or () if c.run == entry.id and c.step == entry.steps
        ],
        curves=read_record(folder / _STEPS, remedy=_REMEDY),
        answers=[(aligned.get(a.prompt), a) for a in _answers(folder / _ANSWERS)],
        training=Training(manifest=trained["manifest"], **training),
    )


def _answers(file: Path) -> list[GivenAnswer]:
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [GivenAnswer(**json.loads(line)) for line in lines]
