"""The callbacks as a section of another tool's configuration asks for them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState

from finebound.base.errors import InputError, tell
from llm_validation.callbacks.answers import base_answers, read_answers
from llm_validation.callbacks.asking import in_training
from llm_validation.callbacks.budget import SafetyBudget
from llm_validation.callbacks.forecast import SafetyForecast
from llm_validation.callbacks.monitor import SafetyMonitor
from llm_validation.callbacks.proxy import ProxyLoss
from llm_validation.callbacks.radius import RadiusConstraint
from llm_validation.callbacks.reporting import calling_trainer, tokenizer_of
from llm_validation.data.dataset import Dataset
from llm_validation.forecast.stored_answers import StoredAnswers

_FILE = Path("finebound", "base-answers.json")
_CONSTRAINTS = {"radius": RadiusConstraint, "proxy": ProxyLoss}
_WATCHERS = {"monitor": SafetyMonitor, "forecast": SafetyForecast, "budget": SafetyBudget}
_ALONE = {"radius": "radius", "budget": "budget"}  # `budget: 0.05` says `budget: {budget: 0.05}`


class _Asking(BaseModel):
    """Where the aligned model's answers lie, or how it is asked for them."""

    model_config = ConfigDict(extra="forbid")

    answers: Path | None = None
    probes: str = "builtin:pairs"
    per_category: int | None = None
    seed: int = 0


def callbacks_of(settings: Mapping[str, Any] | None = None) -> list[TrainerCallback]:
    """Callbacks for a Trainer's constructor, from plain values such as a section of YAML.

    ``monitor``, ``forecast``, ``budget``, ``radius`` and ``proxy`` hold the arguments of their
    callbacks; ``true`` means those by default, a number the budget or the radius itself. Without
    any of them there is a monitor. ``answers`` is a file of ``base_answers``. Without it the
    Trainer's model is asked when its training begins, and the answers are kept in
    ``output_dir/finebound``; ``probes``, ``per_category`` and ``seed`` are those of
    ``base_answers``. Raises InputError for an unknown key or a wrong value, by name.
    """
    content = dict(settings or {})
    if any(not isinstance(key, str) for key in content):
        raise InputError("a key of the section is no text.", remedy=_known())
    named = {key: content.pop(key) for key in [*_CONSTRAINTS, *_WATCHERS] if key in content}
    asking = _validated(_Asking, content, "")
    given = {
        name: _arguments(name, value) for name, value in named.items() if value not in (False, None)
    }
    if not named:
        given = {"monitor": {}}
    callbacks: list[TrainerCallback] = [
        made(**given[name]) for name, made in _CONSTRAINTS.items() if name in given
    ]
    watching = {name: given[name] for name in _WATCHERS if name in given}
    if not watching:
        return callbacks
    if asking.answers is not None:
        return [*callbacks, *_watchers(read_answers(asking.answers), watching)]
    return [*callbacks, AskFirst(asking, watching)]


class AskFirst(TrainerCallback):
    """Asks the model that training begins with, and hands its answers to those that watch."""

    def __init__(self, asking: _Asking, watching: Mapping[str, dict[str, Any]]) -> None:
        self.asking, self.watching = asking, dict(watching)

    def on_train_begin(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: PreTrainedModel,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Ask, or read what the run asked before a kill; the watchers are told of this event too.

        Raises InputError for a run that is resumed and never asked.
        """
        file = Path(args.output_dir) / _FILE
        if state.global_step and not file.is_file():
            raise InputError(
                "the run is resumed, and the model that it started from was not asked.",
                remedy="Begin it anew, or give its `answers`.",
                file=file,
            )
        loaded = in_training(model, tokenizer_of(processing_class, "asking the probes"))
        if not file.is_file() and args.process_index == 0:
            tell("finebound: asking the model the probes before its training.")
        answers = base_answers(
            loaded,
            self.asking.probes,
            per_category=self.asking.per_category,
            seed=self.asking.seed,
            file=file,
        )
        trainer = calling_trainer()
        for watcher in _watchers(answers, self.watching):
            trainer.add_callback(watcher)  # the Trainer's loop over its callbacks comes to it yet


def _watchers(
    answers: StoredAnswers, watching: Mapping[str, dict[str, Any]]
) -> list[TrainerCallback]:
    return [_WATCHERS[name](answers, **arguments) for name, arguments in watching.items()]


def _arguments(name: str, value: Any) -> dict[str, Any]:
    """The arguments of one callback, checked against its constructor."""
    if value is True:
        value = {}
    elif name in _ALONE and isinstance(value, int | float):
        value = {_ALONE[name]: value}
    callback = {**_CONSTRAINTS, **_WATCHERS}[name]
    parameters = inspect.signature(callback).parameters
    hints = get_type_hints(callback.__init__)
    fields: dict[str, Any] = {
        key: (_plain(hints[key]), ... if p.default is p.empty else p.default)
        for key, p in parameters.items()
        if key != "answers"
    }
    strict = create_model(callback.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    return _validated(strict, value, f"{name}.").model_dump()


def _plain(hint: Any) -> Any:
    """A type without what no file can hold."""
    if get_origin(hint) in (Union, UnionType):
        return reduce(or_, (t for t in get_args(hint) if t is not Dataset))
    return hint


def _validated(kind: type[BaseModel], content: Any, within: str) -> Any:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = within + ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            what = f"the key {key} is unknown."
        elif first["type"] == "missing":
            what = f"the key {key} is missing."
        else:
            what = f"{key.rstrip('.')} has a wrong value: {first['msg']}."
        keys = ", ".join(within + name for name in kind.model_fields)
        remedy = f"The keys here are {keys}." if within else _known()
        raise InputError(what, remedy=remedy) from None


def _known() -> str:
    keys = [*_WATCHERS, *_CONSTRAINTS, *_Asking.model_fields]
    return f"The keys of finebound are {', '.join(keys)}."
