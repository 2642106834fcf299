"""Labels made anew: where a detector's rules have changed, kept answers are read again by them.

No model is asked, so a run's checkpoints, whose weights are gone, follow too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError
from finebound.base.progress import silent
from finebound.base.records import to_json
from finebound.results.evaluation import EvaluationResult
from llm_validation.data.dataset import Dataset
from llm_validation.evaluation.generation import Response
from llm_validation.evaluation.responses import align, prompt_ids, read_responses
from llm_validation.experiments.behaviour import FOLDER, key_of, write_part
from llm_validation.experiments.behaviour_parts import RESPONSES, AskedModel
from llm_validation.experiments.run import RUNS, is_unchanged, keep_behaviour

if TYPE_CHECKING:
    from llm_validation.experiments.behaviour_settings import Behaviour
    from llm_validation.experiments.prepare import Prepared

RULES = "rules"
_OF_THE_ANSWERS = ("refusal", "hazards")
_OF_THE_MODEL = ("check_loss", "run", "step", "of")


def relabel(prepared: Prepared) -> list[Path]:
    """Label kept answers by the rules of now wherever the records are by others; the records.

    Records that were asked for otherwise, by a judge model, or whose answers are gone stay. A run
    that was whole before is whole afterwards.
    """
    settings = prepared.experiment.behaviour
    if settings is None:
        return []
    changed = []
    unchanged = [run for run in sorted((prepared.out / RUNS).glob("*")) if is_unchanged(run)]
    for folder in _folders(prepared.out):
        for part in _OF_THE_ANSWERS:
            if part not in settings.parts:
                continue
            key = key_of(prepared, settings, part)
            # Answers to other prompts than are asked now are asked for again.
            with suppress(InputError):
                changed += _relabel(prepared, settings, folder, part, key)
    for run in unchanged:
        if any(path.is_relative_to(run) for path in changed):
            keep_behaviour(run)
    return changed


def _relabel(
    prepared: Prepared, settings: Behaviour, folder: Path, part: str, key: dict[str, Any]
) -> list[Path]:
    old = EvaluationResult.load(folder / f"{part}.json")
    known = old.report.get("key")
    if known == json.loads(to_json(key)) or _asked(known) != _asked(key):
        return []
    kept = _KeptAnswers(None, prepared, settings, folder, old.label, silent)
    shared = {name: old.report[name] for name in _OF_THE_MODEL if name in old.report}
    made_from = {"aligned": prepared.aligned_sha256}
    return write_part(getattr(kept, part)(), part, prepared, folder, key, shared, made_from)


def _asked(key: Any) -> Any:
    """A record's key without the rules that labelled its answers."""
    if not isinstance(key, dict) or not isinstance(key.get("settings"), dict):
        return None
    return {**key, "settings": {k: v for k, v in key["settings"].items() if k != RULES}}


def _folders(out: Path) -> Iterator[Path]:
    for place in (out / FOLDER, *sorted(out.glob(f"runs/*/{FOLDER}"))):
        yield from sorted(found.parent for found in place.rglob(RESPONSES))


class _KeptAnswers(AskedModel):
    """The parts of a model that is gone, from the answers that it gave."""

    def _answers(self, prompts: Dataset, max_new_tokens: int, part: str) -> list[Response]:
        found = align(
            read_responses(self.folder / RESPONSES / f"{part}.jsonl"),
            prompts.prompts,
            ids=prompt_ids(prompts.prompts),
        )
        return [Response(item.prompt, item.response) for item in found.items]
