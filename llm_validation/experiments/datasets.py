"""An experiment's rows: training sets and held-out ones, whose prompts no training set holds."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError, tell
from finebound.base.records import write_atomically
from llm_validation.data.builtin.regimes import mix
from llm_validation.data.conversations import last_answers
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding import encode
from llm_validation.data.loading import (
    load_with_columns,
    require_columns,
    require_different,
    require_rows,
)
from llm_validation.data.reading import reading_lines
from llm_validation.experiments.config import ORIGINAL, Experiment, Mixed, SelfGenerated
from llm_validation.measure.texts import normalise

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel, Reader

SAFETY, HELD_OUT = "safety", "held-out"
_OF_THE_TEMPLATE = ("tools", "turn_fields", "unlearnt")


def task_set(task: str) -> str:
    """The name of a task's training rows among the experiment's sets."""
    return f"task.{task}"


def proxy_set(role: str) -> str:
    """The name of a proxy's rows."""
    return f"proxy.{role}"


def held_out(name: str) -> str:
    """The name of the held-out rows beside a training set."""
    return f"{name}.{HELD_OUT}"


def draw_sets(experiment: Experiment, model: LoadedModel | Reader) -> dict[str, Dataset]:
    """Training and held-out rows of safety and tasks, and every proxy's rows, by name.

    Whole prompts are drawn, by a hash of the prompt, so that a prompt which two datasets share is
    drawn from both or from neither, as far as their sizes allow; no training set holds a
    held-out prompt. A mixed task holds out benign rows alone and is mixed from what is left,
    always of ``rows.task`` rows; its regimes are nested (``regimes.mix``), not drawn by prompts'
    hashes. A self-generated proxy has its prompts' dataset with the answers still to be replaced.
    Fewer rows than asked for are used where there are no more. Raises InputError for datasets that
    cannot be read, are equal, or have too few rows.
    """
    rows, seed = experiment.rows, experiment.seed
    limit = rows.max_length or model.context_length

    columns: dict[str, tuple[str, ...]] = {}

    @cache
    def usable(ref: str, role: str) -> Dataset:
        whole, columns[ref] = load_with_columns(
            ref,
            role=role,
            drop_unusable=rows.drop_unusable,
            ignore_columns=rows.ignore_columns,
        )
        for line in reading_lines({role: whole}):
            tell(line)
        if rows.turns == "last":
            whole = last_answers(whole)
        return short_enough(whole, model, limit)

    whole = {SAFETY: usable(experiment.safety, "safety")}
    mixed: dict[str, tuple[Mixed, Dataset]] = {}
    for task, ref in experiment.tasks.items():
        name = task_set(task)
        if isinstance(ref, Mixed):
            mixed[name] = ref, usable(ref.harmful, "harmful rows")
            require_different(whole[SAFETY], mixed[name][1])
            benign = usable(ref.benign, "benign rows")
        else:
            benign = usable(ref, f"task {task}")
        require_different(whole[SAFETY], benign)
        whole[name] = benign
    sets: dict[str, Dataset] = {}
    kept_out: set[str] = set()
    for name, dataset in whole.items():
        most = min(rows.held_out, len(dataset) // 2)
        part = _draw(dataset, most, salt=f"{seed}/held out", name=held_out(name))
        kept_out.update(map(normalise, part.prompts))
        sets[held_out(name)] = part
    for name, dataset in whole.items():
        count = rows.safety if name == SAFETY else rows.task
        if name in mixed:
            regime, harmful = mixed[name]
            benign, harmful = _without(dataset, kept_out), _without(harmful, kept_out)
            found = mix(benign, harmful, regime.share, rows=count, seed=seed)
            sets[name] = Dataset.of(found.examples, name=name, source=found.source)
        else:
            sets[name] = _draw(dataset, count, salt=f"{seed}/train", name=name, without=kept_out)
    for role, ref in experiment.proxies.items():
        name = proxy_set(role)
        if role == "original":
            if ref != ORIGINAL:
                raise InputError(
                    f"the proxy original is {ref!r}.",
                    remedy=f'Write "{ORIGINAL}": it stands for the very rows of the alignment.',
                )
            sets[name] = sets[SAFETY]
            continue
        ref = ref.prompts if isinstance(ref, SelfGenerated) else ref
        dataset = usable(ref, f"proxy {role}")
        sets[name] = _draw(dataset, rows.proxy, salt=f"{seed}/train", name=name, without=kept_out)
    require_columns(rows.ignore_columns, columns)
    for name, dataset in sets.items():
        require_rows(dataset, role=name)
    return sets


def short_enough(dataset: Dataset, model: LoadedModel | Reader, limit: int) -> Dataset:
    """The rows of at most ``limit`` tokens."""
    with warnings.catch_warnings():
        # Told in the record: rows of the dataset and rows used.
        warnings.filterwarnings("ignore", ".*dropped .* rows with more than", UserWarning)
        kept = {
            row.row for row in encode(dataset, model.tokenizer, max_length=limit, on_long="drop")
        }
        if any(example.rejected for example in dataset.examples):
            kept &= _with_short_rejected(dataset, model, limit)
    return Dataset.of(
        (example for row, example in enumerate(dataset.examples, 1) if row in kept),
        name=dataset.name,
        source=dataset.source,
        reading=dataset.reading,
    )


def _with_short_rejected(dataset: Dataset, model: LoadedModel | Reader, limit: int) -> set[int]:
    """Numbers of the rows whose rejected answer fits too, or that have none.

    A preference set then has the same rows for DPO and for supervised fine-tuning.
    """
    rejected = Dataset.of(
        (replace(e, response=e.rejected or e.response) for e in dataset.examples),
        name=dataset.name,
        source=dataset.source,
    )
    return {row.row for row in encode(rejected, model.tokenizer, max_length=limit, on_long="drop")}


def _draw(
    dataset: Dataset, rows: int, *, salt: str, name: str, without: Iterable[str] = ()
) -> Dataset:
    """The first ``rows`` rows in the order of their prompts' hashes, without some prompts."""
    allowed = _without(dataset, without).examples

    def place(index: int) -> tuple[str, int]:
        prompt = normalise(allowed[index].prompt).encode("utf-8", "surrogatepass")
        return hashlib.sha256(salt.encode() + b"\n" + prompt).hexdigest(), index

    drawn = sorted(range(len(allowed)), key=place)[:rows]
    return Dataset.of(
        (allowed[i] for i in sorted(drawn)),
        name=name,
        source=dataset.source,
        reading=dataset.reading,
    )


def _without(dataset: Dataset, prompts: Iterable[str]) -> Dataset:
    """The rows whose normalised prompt is none of these."""
    left_out = frozenset(prompts)
    return Dataset.of(
        (e for e in dataset.examples if normalise(e.prompt) not in left_out),
        name=dataset.name,
        source=dataset.source,
    )


def write_sets(sets: Mapping[str, Dataset], folder: Path) -> None:
    """Every set as JSON Lines, from which ``read_set`` makes the same content again."""
    for name, dataset in sets.items():
        lines = (json.dumps(_plain(example)) for example in dataset.examples)
        write_atomically(folder / f"{name}.jsonl", "".join(f"{line}\n" for line in lines))


def read_set(folder: Path, name: str, *, source: str) -> Dataset:
    """A set that ``write_sets`` wrote. Raises InputError when it is not there."""
    file = folder / f"{name}.jsonl"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        examples = [
            Example(**{name: _frozen(value) for name, value in plain.items()})
            for plain in map(json.loads, lines)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the experiment's rows cannot be read: {error}.",
            remedy="Start the experiment again: it writes them.",
            file=file,
        ) from None
    return Dataset.of(examples, name=name, source=source)


def _plain(example: Example) -> dict[str, object]:
    return {
        "prompt": example.prompt,
        "response": example.response,
        "messages": example.messages,
        "rejected": example.rejected,
        "category": example.category,
        # Absent where there is nothing: older sets know none of it.
        **{name: value for name in _OF_THE_TEMPLATE if (value := getattr(example, name))},
    }


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
