"""One run of a grid: theta_s loaded, fine-tuned, measured; its record is the last file written."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from finebound.base.errors import InputError, tell
from finebound.base.integrity import (
    FILES,
    Damaged,
    changed,
    hashes_of,
    read_record,
    require_unchanged,
    sealed,
)
from finebound.base.progress import Progress, silent
from finebound.base.records import to_json, write_atomically
from finebound.base.writing import remove
from finebound.results.evaluation import EvaluationResult
from llm_validation.experiments.alignment_pair import alignment_pair
from llm_validation.experiments.answers import FILE as ANSWERS
from llm_validation.experiments.answers import (
    Answer,
    answer_prompts,
    prompts_of_a_run,
    read_answers,
)
from llm_validation.experiments.behaviour import FOLDER as BEHAVIOUR
from llm_validation.experiments.behaviour import (
    checkpoint_folder,
    checkpoint_steps,
    evaluate_checkpoint,
    evaluate_run,
    is_complete,
    read_records,
    start_folder,
)
from llm_validation.experiments.config import RunConfig
from llm_validation.experiments.datasets import SAFETY, held_out, proxy_set, task_set
from llm_validation.experiments.prepare import Prepared, losses_on
from llm_validation.measure.losses import Losses
from llm_validation.training.evaluation import AGAIN, read_evaluations, write_evaluation
from llm_validation.training.record import (
    CHECKPOINTS,
    EVALUATIONS,
    OF_A_RUN,
    RUN,
    TRAIN_PROXY,
    TRAIN_TASK,
    FinetuneRun,
    read_run,
)
from theory.resampling import ratio_of_sums

RUNS, RECORD, AFTER = "runs", "record.json", "after"
_FILES = (RUN, *OF_A_RUN, AFTER, ANSWERS, BEHAVIOUR)
"""What a finished run leaves beside its record."""


def run_folder(out: Path, run_id: str) -> Path:
    """The run's folder inside ``out``. Raises InputError for an id that would leave it."""
    runs = (out / RUNS).absolute()
    folder = runs / run_id
    if not run_id or folder.resolve().parent != runs.resolve() or run_id in (".", ".."):
        raise InputError(
            f"the run {run_id!r} would be written outside of the experiment's folder.",
            remedy="Use the ids that `finebound validate CONFIG --dry-run` lists.",
        )
    return folder


def execute(run: RunConfig, prepared: Prepared, *, progress: Progress = silent) -> None:
    """Fine-tune theta_s under the run's plan, measure, and write ``record.json`` last.

    A run that was interrupted goes on at its last checkpoint; one that is finished is only asked
    for the behaviour that it lacks. Raises InputError for a folder that holds another
    configuration's run, and for a fine-tune that fails.
    """
    from llm_validation.training.finetune import finetune

    folder = run_folder(prepared.out, run.id)
    known = _known(run, prepared)
    started = time.time()
    loaded = prepared.load_aligned()
    sets = prepared.sets
    _write_start(run, prepared, folder / EVALUATIONS)
    with alignment_pair(run, prepared, progress=progress) as pair:
        finished = finetune(
            loaded,
            sets[task_set(run.task)],
            None if run.proxy is None else sets[proxy_set(run.proxy)],
            run.plan,
            out=folder,
            monitors={name: sets[name] for name in monitored(run)},
            alignment=pair,
            visit=partial(
                evaluate_checkpoint, run=run, prepared=prepared, folder=folder, progress=progress
            ),
            progress=progress,
        )
    others = [] if run.proxy or run.plan.strategy is not None else _proxies(prepared)
    if SAFETY not in monitored(run):
        others.append(SAFETY)
    if others and known is None and finished.model is not None:
        found = {
            name: losses_on(
                finished.model, sets[name], progress=progress, doing=f"measuring {name}"
            )
            for name in others
        }
        write_evaluation(folder / AFTER, finished.steps_done, found)
    generations = prepared.experiment.generations
    if generations is not None and finished.model is not None:
        if known is None:
            remove(folder / ANSWERS)  # nothing says whose it is
        answer_prompts(
            finished.model,
            prompts_of_a_run(sets[held_out(SAFETY)], generations.prompts),
            generations,
            folder / ANSWERS,
            progress=progress,
            doing="answering safety prompts",
        )
    if finished.model is not None:
        about = {"run": run.id, "step": finished.steps_done, "of": trained_from(finished.document)}
        evaluate_run(finished.model, run, prepared, folder, about=about, progress=progress)
    if known is not None:
        keep_behaviour(folder)
        return
    record = {
        **_about(run, prepared),
        "given": run.given,
        "plan": run.plan.as_dict(),
        "seconds": time.time() - started,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        FILES: hashes_of(folder, _FILES),
    }
    write_atomically(folder / RECORD, to_json(sealed(record)) + "\n")


def is_unchanged(folder: Path) -> bool:
    """Whether a run is finished and every file is as its record says."""
    try:
        return not changed(folder, read_record(folder / RECORD, remedy=AGAIN).get(FILES, {}))
    except Damaged:
        return False


def keep_behaviour(folder: Path) -> None:
    """Add the hashes of what was evaluated since to a finished run's record."""
    record = read_record(folder / RECORD, remedy=AGAIN)
    if FILES in record:
        trained = {k: v for k, v in record[FILES].items() if not k.startswith(f"{BEHAVIOUR}/")}
        files = trained | hashes_of(folder, [BEHAVIOUR])
        if files != record[FILES]:
            write_atomically(folder / RECORD, to_json(sealed(record | {FILES: files})) + "\n")


def _known(run: RunConfig, prepared: Prepared) -> dict[str, Any] | None:
    """The run's record if it has one and is whole. What is damaged is removed, to be made again."""
    folder = run_folder(prepared.out, run.id)
    try:
        record = check_folder(run, prepared)
        if (folder / RUN).is_file():
            begun = read_record(folder / RUN, remedy=AGAIN)
            require_unchanged(folder, begun.get(FILES, {}), remedy=AGAIN)
        told = [] if record is None else changed(folder, record.get(FILES, {}))
    except Damaged as error:
        record, told = None, [f"{error.file}: {error.what}"]
    if not told:
        return record
    ends = f"{BEHAVIOUR}/"
    if record is not None and all(
        name.startswith(ends) and not name.startswith(f"{ends}step-") for name in told
    ):
        remove(folder / BEHAVIOUR)  # the model that is asked is there
        return record
    tell(f"{folder}: {told[0].rstrip('.')}. The run is made again.")
    for name in (RECORD, CHECKPOINTS, *_FILES):
        remove(folder / name)
    return None


def _write_start(run: RunConfig, prepared: Prepared, folder: Path) -> None:
    """theta_s's losses, the same for every run; the run measures only the held-out safety rows.

    Those two measurements have to agree (the gate "init only"). A run that starts elsewhere
    measures its own start on all sets.
    """
    if (folder.parent / RUN).exists() or not run.plan.method.starts_at_theta_s:
        return
    names = {name: name for name in (SAFETY, *monitored(run))} | {TRAIN_TASK: task_set(run.task)}
    if run.proxy is not None:
        names[TRAIN_PROXY] = proxy_set(run.proxy)
    del names[held_out(SAFETY)]
    write_evaluation(folder, 0, {name: prepared.start(known) for name, known in names.items()})


def monitored(run: RunConfig) -> tuple[str, ...]:
    """Names of the sets that a run measures at every checkpoint besides what it is trained on.

    The safety rows of theta_s are a training set: measured as often as the plan says of those.
    """
    always = (held_out(SAFETY), held_out(task_set(run.task)))
    return (SAFETY, *always) if run.plan.training_sets_at == "all" else always


def is_done(run: RunConfig, prepared: Prepared) -> bool:
    """Whether the run's record is there, and all the behaviour that the experiment asks for.

    Raises InputError when it is another configuration's.
    """
    behaviour = run_folder(prepared.out, run.id) / BEHAVIOUR
    return is_whole(run, prepared) and is_complete(prepared, behaviour)


def is_whole(run: RunConfig, prepared: Prepared) -> bool:
    """Whether the run's record is there, and every file is as it says; damage is told on stderr.

    Raises InputError when it is another configuration's.
    """
    try:
        record = check_folder(run, prepared)
        if record is not None:
            folder = run_folder(prepared.out, run.id)
            require_unchanged(folder, record.get(FILES, {}), remedy=AGAIN)
    except Damaged as error:
        tell(f"{error.file}: {error.what} It is made again.", once=True)
        return False
    return record is not None


def trained_from(document: dict[str, Any]) -> dict[str, Any]:
    """What a run's ``run.json`` says of the model that it ended with: identity and base."""
    model = document.get("model", {})
    return {
        "run_sha256": document.get("sha256"),
        "base": document["identity"]["model"],
        "base_quantisation": model.get("base_quantisation"),
    }


def check_folder(run: RunConfig, prepared: Prepared) -> dict[str, Any] | None:
    """The run's record, if it has one. Raises InputError when it is another configuration's.

    Raises Damaged where the record itself is.
    """
    folder = run_folder(prepared.out, run.id)
    file = folder / RECORD
    if not file.is_file():
        _check_begun(folder / RUN, run, prepared)
        return None
    record = read_record(file, remedy=AGAIN)
    about = json.loads(to_json(_about(run, prepared)))
    _refuse_other([name for name, value in about.items() if record.get(name) != value], file)
    return record


def _check_begun(file: Path, run: RunConfig, prepared: Prepared) -> None:
    """Raises InputError when an unfinished run in the folder is another configuration's."""
    try:
        identity = json.loads(file.read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # nothing there, or damaged
    if not isinstance(identity, dict):
        return
    mine = {
        "model": prepared.aligned_sha256,
        "task": prepared.sets[task_set(run.task)].sha256,
        "plan": json.loads(to_json(run.plan.as_dict())),
    }
    _refuse_other([name for name, value in mine.items() if identity.get(name) != value], file)


def _refuse_other(differs: list[str], file: Path) -> None:
    if differs:
        raise InputError(
            f"the folder holds a run of another configuration; what differs: {', '.join(differs)}.",
            remedy="Give another folder as `out`, or the configuration that it was begun with.",
            file=file,
        )


def _about(run: RunConfig, prepared: Prepared) -> dict[str, Any]:
    """What makes a run this run."""
    names = [SAFETY, task_set(run.task), *monitored(run)]
    names += [proxy_set(run.proxy)] if run.proxy else []
    return {
        "id": run.id,
        "configuration_sha256": run.sha256,
        "aligned_sha256": prepared.aligned_sha256,
        "sets": {name: prepared.sets[name].sha256 for name in sorted(set(names))},
    }


def _proxies(prepared: Prepared) -> list[str]:
    return [
        name
        for name in map(proxy_set, prepared.experiment.proxies)
        if name != proxy_set("original")
    ]


@dataclass(frozen=True, eq=False)
class Measured:
    """A finished run as numbers: row losses of every set at each checkpoint.

    ``losses[step][name]`` uses the experiment's names of sets; ``steps`` are the checkpoints'
    numbers of steps, 0 and the last one among them. ``losses[0]`` are theta_s's; ``own_start`` are
    those of the run before its first step where that is not theta_s (virtual tokens, a quantised
    base), else empty. ``answers`` are those to safety prompts at the end, ``behaviour`` the records
    of the end, ``checkpoint_behaviour`` those after so many steps, and ``start_behaviour`` those of
    the run's own start, by evaluation.
    ``number_formats`` are those of the trained numbers as they were saved.
    """

    run: RunConfig
    finetuned: FinetuneRun
    record: dict[str, Any]
    losses: dict[int, dict[str, Losses]]
    answers: tuple[Answer, ...] = ()
    own_start: dict[str, Losses] = field(default_factory=dict)
    behaviour: dict[str, EvaluationResult] = field(default_factory=dict)
    start_behaviour: dict[str, EvaluationResult] = field(default_factory=dict)
    checkpoint_behaviour: dict[int, dict[str, EvaluationResult]] = field(default_factory=dict)
    number_formats: tuple[str, ...] = ()

    @property
    def steps(self) -> list[int]:
        return sorted(self.losses)

    @property
    def last(self) -> int:
        return self.finetuned.steps_done

    @property
    def task(self) -> str:
        return task_set(self.run.task)

    def loss(self, step: int, name: str) -> float | None:
        """Nats per token of a set at a checkpoint, None where it was not measured."""
        found = self.losses[step].get(name)
        return None if found is None else found.per_token

    def change(self, name: str, step: int | None = None) -> float | None:
        """Loss at ``step`` (default: the end) less that at theta_s; None if not measured."""
        step = self.last if step is None else step
        now, start = self.loss(step, name), self.loss(0, name)
        return None if now is None or start is None else now - start

    def known_loss(self, step: int, name: str) -> float:
        """The same of a set that is measured there. Raises KeyError where it is not."""
        return self.losses[step][name].per_token

    def known_change(self, name: str, step: int | None = None) -> float:
        """``change`` of a set that is measured at both. Raises KeyError where it is not."""
        step = self.last if step is None else step
        return self.known_loss(step, name) - self.known_loss(0, name)

    def change_in_training(self, name: str) -> float | None:
        """Loss at the end less that before the run's own first step."""
        start = self.own_start.get(name, self.losses[0].get(name))
        now = self.loss(self.last, name)
        return None if now is None or start is None else now - start.per_token

    def displacement(self, step: int) -> float:
        """Norm of the change of the weights after ``step`` steps."""
        return 0.0 if step == 0 else float(self.finetuned.steps["displacement"][step - 1])

    def fraction(self, step: int) -> float:
        """The checkpoint as a fraction of the planned training."""
        return step / self.run.plan.steps


def read_measured(run: RunConfig, prepared: Prepared) -> Measured:
    """A finished run from its files alone."""
    folder = run_folder(prepared.out, run.id)
    record = check_folder(run, prepared)
    if record is None:
        raise InputError("the run is not finished.", remedy="Start the grid again.", file=folder)
    require_unchanged(folder, record.get(FILES, {}), remedy=AGAIN)
    if FILES not in record:
        told = "runs made before files had hashes; damage to them is not noticed."
        tell(f"{prepared.out}: {told}", once=True)
    finetuned = read_run(folder)
    after = read_evaluations(folder / AFTER)
    losses: dict[int, dict[str, Losses]] = {}
    names = {TRAIN_TASK: task_set(run.task)}
    if run.proxy is not None:
        names[TRAIN_PROXY] = proxy_set(run.proxy)
    for step, found in finetuned.evaluations.items():
        losses[step] = {names.get(name, name): value for name, value in found.items()}
        losses[step] |= after.get(step, {})
        # The original proxy is the safety rows themselves.
        if SAFETY in losses[step]:
            losses[step][proxy_set("original")] = losses[step][SAFETY]
    own_start: dict[str, Losses] = {}
    if not run.plan.method.starts_at_theta_s:
        own_start = losses[0]
        losses[0] = {name: prepared.start(name) for name in own_start if name in prepared.sets}
    for name in after.get(finetuned.steps_done, {}):
        losses[0].setdefault(name, prepared.start(name))
    start = start_folder(prepared, run)
    return Measured(
        run,
        finetuned,
        record,
        losses,
        tuple(read_answers(folder / ANSWERS)),
        own_start,
        read_records(prepared, folder / BEHAVIOUR),
        {} if start is None else read_records(prepared, start),
        {
            step: read_records(prepared, checkpoint_folder(folder, step))
            for step in checkpoint_steps(run, prepared)
        },
        number_formats(finetuned.weights),
    )


def number_formats(folder: Path) -> tuple[str, ...]:
    """The number formats of the tensors in a folder's safetensors files, by their headers."""
    found: set[str] = set()
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np") as tensors:
                found |= {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise Damaged(f"cannot be read: {error}.", remedy=AGAIN, file=file) from error
    return tuple(sorted(found))


def influence(now: Losses, start: Losses) -> np.ndarray:
    """Rows' values ``[n]`` whose mean is the change of the per-token loss and whose spread is its.

    The change is a ratio of sums over rows; these are the ratio's influence values.
    """
    change, rows = ratio_of_sums(now.token_sum - start.token_sum, start.token_count)
    return change + rows
