"""What all runs of a grid share: their rows, the aligned model, the self-generated proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError, tell
from finebound.base.integrity import (
    FILES,
    Damaged,
    as_written,
    hashes_of,
    read_record,
    require_unchanged,
    sealed,
)
from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed, to_json, write_atomically
from finebound.base.writing import remove
from llm_validation.audit.audit import audit
from llm_validation.audit.sentences import sentences
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.data.loading import require_rows
from llm_validation.data.reading import reading_as_json
from llm_validation.evaluation.self_generated import answer_with
from llm_validation.experiments.answers import (
    ALIGNED,
    BASE,
    answer_prompts,
    rates,
    read_answers,
)
from llm_validation.experiments.config import Experiment, SelfGenerated, alignment_plan
from llm_validation.experiments.datasets import (
    SAFETY,
    draw_sets,
    held_out,
    proxy_set,
    read_set,
    short_enough,
    task_set,
    write_sets,
)
from llm_validation.measure.losses import Losses, measure_losses
from llm_validation.models.loading import LoadedModel, load_model, on_device, source_folder
from llm_validation.models.tuned import adapter_sha256
from llm_validation.training.evaluation import TOKENS_PER_BATCH, write_evaluation

if TYPE_CHECKING:
    from llm_validation.training.alignment import AlignedModel

PREPARED, DATA, START = "prepared.json", "data", "start"
_MADE = (DATA, START, BASE, ALIGNED)
_AGAIN = "Start the experiment again with `finebound validate`: it makes that anew."


@dataclass(frozen=True)
class Prepared:
    """An experiment that can run: rows by name, where theta_s is, and the record of both.

    ``vocabulary`` is the number of tokens the model can answer with, ``log`` of which no loss of
    a uniform answer exceeds.
    """

    experiment: Experiment
    out: Path
    sets: dict[str, Dataset]
    aligned: Path
    aligned_sha256: str
    vocabulary: int
    document: dict[str, Any]

    def load_aligned(self) -> LoadedModel:
        """theta_s, freshly loaded. Raises InputError when the folder's model is another one."""
        loaded = load_model(self.aligned)
        if loaded.sha256 != self.aligned_sha256:
            raise InputError(
                "the aligned model is not the one that this experiment began with.",
                remedy="Remove the folder: the experiment makes it again.",
                file=self.aligned,
            )
        return loaded

    def start(self, name: str) -> Losses:
        """Row losses of a set at theta_s."""
        from llm_validation.training.evaluation import read_evaluations

        found = read_evaluations(self.out / START).get(0, {})
        if name not in found:
            raise Damaged(
                f"there are no losses of {name} on the aligned model.",
                remedy=_AGAIN,
                file=self.out / START,
            )
        return found[name]


def prepare(
    experiment: Experiment,
    out: Path,
    *,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Prepared:
    """Draw the rows, align the model (or read it from the cache), answer the proxy's prompts.

    With ``alignment`` null nothing is trained: the model as it is, with its adapter merged if it
    has one, is theta_s. Everything is written into ``out``, and made only once. Raises InputError
    when ``out`` holds an experiment with another model, other rows or another alignment.
    """
    from llm_validation.training.alignment import align

    plan = alignment_plan(experiment)
    start_from = _load_start(experiment, cache=cache, progress=progress)
    base = start_from.model
    sets = draw_sets(experiment, base)
    identity = {
        "model": base.sha256,
        "alignment": None if plan is None else plan.as_dict(),
        "sets": {name: dataset.sha256 for name, dataset in sorted(sets.items())},
        "generated": {
            role: proxy.model_dump()
            for role, proxy in experiment.proxies.items()
            if isinstance(proxy, SelfGenerated)
        },
    }
    known = _known(out, identity)
    if known is not None:
        return read_prepared(experiment, out)
    audits = _audited(experiment, sets, progress)
    aligned = None
    if plan is not None:
        # Before the alignment, which trains the model in place.
        _answer(on_device(base), experiment, sets, out / BASE, progress)
        aligned = align(
            base,
            sets[SAFETY],
            plan,
            cache=cache,
            monitors={held_out(SAFETY): sets[held_out(SAFETY)]},
            progress=progress,
        )
    theta_s = on_device(base if aligned is None else aligned.model)
    for role, proxy in experiment.proxies.items():
        if isinstance(proxy, SelfGenerated):
            answered = answer_with(
                theta_s,
                sets[proxy_set(role)],
                max_new_tokens=proxy.max_new_tokens,
                seed=spawn_seed(experiment.seed, f"answers of {role}"),
                progress=progress,
            )
            # The model's own answers may be longer than those they replace.
            limit = experiment.rows.max_length or theta_s.context_length
            sets[proxy_set(role)] = short_enough(answered, theta_s, limit)
            require_rows(sets[proxy_set(role)], role=proxy_set(role))
    _answer(theta_s, experiment, sets, out / ALIGNED, progress)
    write_sets(sets, out / DATA)
    start = {
        name: losses_on(
            theta_s, dataset, progress=progress, doing=f"measuring {name} on the aligned model"
        )
        for name, dataset in sets.items()
    }
    write_evaluation(out / START, 0, start)
    document = {
        "identity": identity,
        "model": start_from.named,
        "aligned": {
            "as_it_is": aligned is None,
            "folder": str(start_from.folder if aligned is None else aligned.folder),
            "sha256": theta_s.sha256,
            **_losses_of_alignment(aligned, start),
            "answers": {
                when: (found := rates(read_answers(out / file))) and found.to_dict()
                for when, file in (("before", BASE), ("after", ALIGNED))
            },
        },
        "audit": audits,
        "vocabulary": theta_s.vocabulary,
        "sets": {
            name: {
                "source": dataset.source,
                "reading": reading_as_json(dataset.reading),
                "sha256": dataset.sha256,
                "rows": len(dataset),
                "loss_at_theta_s": start[name].per_token,
                "tokens": int(start[name].token_count.sum()),
            }
            for name, dataset in sets.items()
        },
    }
    document[FILES] = hashes_of(out, _MADE)
    write_atomically(out / PREPARED, to_json(sealed(document)) + "\n")
    return _of(experiment, out, sets, document)


def _audited(
    experiment: Experiment, sets: Mapping[str, Dataset], progress: Progress
) -> dict[str, Any]:
    """The audit of every task's training rows as plain values, by task; what matters is told."""
    found = {}
    for task in experiment.tasks:
        audited = audit(sets[task_set(task)], progress=progress)
        for one in sentences(audited, role=task):
            if one.severity != "note":
                tell(f"{task}: {one.sentence}")
        found[task] = audited.to_dict()
    return found


@dataclass(frozen=True)
class _Start:
    """The model that an experiment begins with, where it is, and what the record calls it."""

    model: LoadedModel
    folder: Path
    named: dict[str, Any]


def _load_start(experiment: Experiment, *, cache: Path | None, progress: Progress) -> _Start:
    """The configured model, with its own adapter merged where it has one."""
    from llm_validation.training.alignment import merge_adapter

    model = load_model(experiment.model, progress=progress)
    named = {"name": model.name, "sha256": model.sha256}
    if experiment.adapter is None:
        folder = source_folder(experiment.model, progress=progress)
        return _Start(model, folder.absolute(), named)
    adapter = source_folder(experiment.adapter, progress=progress)
    merged, folder = merge_adapter(model, adapter, cache=cache)
    return _Start(merged, folder, {**named, "adapter_sha256": adapter_sha256(adapter)})


def _losses_of_alignment(
    aligned: AlignedModel | None, start: Mapping[str, Losses]
) -> dict[str, Any]:
    """What the alignment stage changed; of a model as it is its losses twice and no gradient."""
    if aligned is None:
        now = {name: start[name].per_token for name in (SAFETY, held_out(SAFETY))}
        return {
            "safety_loss": [now[SAFETY]] * 2,
            "held_out_safety_loss": [now[held_out(SAFETY)]] * 2,
            "gradient_norm": None,
            "gradient_norm_upper": None,
        }
    return {
        "safety_loss": [aligned.safety_loss_before, aligned.safety_loss_after],
        "held_out_safety_loss": aligned.held_out[held_out(SAFETY)],
        "gradient_norm": aligned.gradient_norm,
        "gradient_norm_upper": aligned.gradient_norm_upper,
    }


def read_prepared(experiment: Experiment, out: Path) -> Prepared:
    """What ``prepare`` left in ``out``, without loading a model. Raises InputError if nothing."""
    document = _read(out)
    if document is None:
        raise InputError(
            "the folder holds no prepared experiment.",
            remedy="Start it with `finebound validate`.",
            file=out,
        )
    require_unchanged(out, document.get(FILES, {}), remedy=_AGAIN)
    with as_written(document, out / PREPARED, remedy=_AGAIN):
        known = {
            name: (entry["source"], entry["sha256"]) for name, entry in document["sets"].items()
        }
        sets = {
            name: read_set(out / DATA, name, source=source) for name, (source, _) in known.items()
        }
        prepared = _of(experiment, out, sets, document)
    for name, dataset in sets.items():
        if dataset.sha256 != known[name][1]:
            raise InputError(
                "the rows are not those that the experiment began with.",
                remedy="Give another folder as `out`, or remove this one.",
                file=out / DATA / f"{name}.jsonl",
            )
    return prepared


def losses_on(
    loaded: LoadedModel,
    dataset: Dataset,
    *,
    progress: Progress = silent,
    doing: str = "measuring losses",
) -> Losses:
    """Row losses of a model on a set that was drawn for it."""
    encoded = encode(dataset, loaded.tokenizer, max_length=loaded.context_length)
    return measure_losses(
        loaded.model,
        encoded,
        pad_id=loaded.pad_id,
        tokens_per_batch=TOKENS_PER_BATCH,  # as a run measures: padding changes the last digits
        progress=progress,
        doing=doing,
    )


def _answer(
    loaded: LoadedModel,
    experiment: Experiment,
    sets: dict[str, Dataset],
    file: Path,
    progress: Progress,
) -> None:
    if experiment.generations is not None:
        prompts = sets[held_out(SAFETY)]
        answer_prompts(
            loaded,
            prompts,
            experiment.generations,
            file,
            progress=progress,
            doing=f"answering {prompts.name} {file.stem}",
        )


def _of(
    experiment: Experiment, out: Path, sets: dict[str, Dataset], document: dict[str, Any]
) -> Prepared:
    return Prepared(
        experiment=experiment,
        out=out,
        sets=sets,
        aligned=Path(document["aligned"]["folder"]),
        aligned_sha256=document["aligned"]["sha256"],
        vocabulary=document["vocabulary"],
        document=document,
    )


def _known(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record in ``out`` if it is of this experiment and its aligned model is still there.

    Removes what is damaged, with a word on stderr: it is made again.
    """
    try:
        document = _read(out)
        if document is None:
            return None
        with as_written(document, out / PREPARED, remedy=_AGAIN):
            aligned = Path(document["aligned"]["folder"])
            is_whole = _is_of(out, document["identity"], json.loads(to_json(identity)))
        require_unchanged(out, document.get(FILES, {}), remedy=_AGAIN)
    except Damaged as error:
        tell(f"{error.file}: {error.what} It is made again.")
        for name in _MADE:
            remove(out / name)
        return None
    return document if is_whole and aligned.is_dir() else None


def _is_of(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the record has all of this experiment; InputError where it is another's."""
    for part in ("model", "alignment", "generated"):
        if old[part] != new[part]:
            raise _another(out, part if part != "generated" else "self-generated proxy")
    for name, sha256 in new["sets"].items():
        if old["sets"].get(name, sha256) != sha256:
            raise _another(out, f"rows of {name}")
    # A task or proxy was added: measure its start too.
    return not set(new["sets"]) - set(old["sets"])


def _another(out: Path, what: str) -> InputError:
    return InputError(
        f"the folder holds an experiment of another configuration: its {what} differs.",
        remedy="Give another folder as `out`, or the configuration that it was begun with.",
        file=out,
    )


def _read(out: Path) -> dict[str, Any] | None:
    file = out / PREPARED
    return read_record(file, remedy=_AGAIN) if file.is_file() else None
