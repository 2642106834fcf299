"""The runs of a grid: what each trains on what, and how; their ids and hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finebound.base.errors import InputError
from finebound.base.records import to_json
from finebound.results.strategies import strategy_label
from llm_validation.data.builtin.regimes import harmful_count
from llm_validation.experiments.entries import Block, Experiment, Mixed
from llm_validation.training.plan import TrainingPlan, plan_from_dict

_LATE_ROWS = (("drop_unusable", False), ("ignore_columns", []), ("turns", "all"))


@dataclass(frozen=True)
class RunConfig:
    """One run of a grid: what is trained on what, and how.

    ``id`` is unique in the grid and safe as a folder's name; ``sha256`` is that of everything
    the configuration says about this run. ``given`` are the plan's settings that are not
    defaults, ``plan`` all of them.
    """

    id: str
    task: str
    proxy: str | None
    method: str
    seed: int
    plan: TrainingPlan
    sha256: str

    @property
    def given(self) -> dict[str, Any]:
        return self.plan.given()

    @property
    def label(self) -> str:
        """The strategy for people."""
        return strategy_label(self.plan.as_dict()["strategy"])


def expand(experiment: Experiment) -> list[RunConfig]:
    """Every run of the grid once, in the order of its blocks.

    Raises InputError for a task, proxy or method that the experiment does not define, for a share
    of harmful rows that leaves no row of one kind, and for plans that contradict themselves.
    """
    runs: dict[str, RunConfig] = {}
    for block in experiment.grid:
        methods = block.methods or tuple(experiment.methods)
        _defined("task", block.tasks, experiment.tasks)
        _defined("proxy", block.proxies, experiment.proxies)
        _defined("method", methods, experiment.methods)
        for task in block.tasks:
            _mixable(experiment, task)
            for method in methods:
                for strategy in block.strategies():
                    for proxy in _proxies_for(strategy, block):
                        for seed in block.seeds:
                            run = _run(experiment, task, proxy, method, seed, strategy)
                            runs.setdefault(run.id, run)
    if not runs:
        raise InputError(
            "the grid holds no run.",
            remedy="Give a block unconstrained, lam, epsilon, radius, hybrid, soft, "
            "constrained_sft, lisa or asft.",
        )
    return list(runs.values())


def find_run(runs: Sequence[RunConfig], run_id: str) -> RunConfig:
    """The run of this id. Raises InputError when there is none."""
    for run in runs:
        if run.id == run_id:
            return run
    raise InputError(
        f"the experiment has no run {run_id!r}.",
        remedy="Use one of the ids that `finebound validate CONFIG --dry-run` lists.",
    )


def plan_of(runs: Sequence[RunConfig]) -> list[dict[str, Any]]:
    """What a dry run tells of every run, without loading anything."""
    return [
        {
            "id": run.id,
            "status": "planned",
            "strategy": run.label,
            "task": run.task,
            "proxy": run.proxy,
            "method": run.method,
            "seed": run.seed,
            "steps": run.plan.steps,
            "rows_a_step": run.plan.rows_per_step,
            "configuration_sha256": run.sha256,
        }
        for run in runs
    ]


def alignment_plan(experiment: Experiment) -> TrainingPlan | None:
    """The plan that makes theta_s; None where the model as it is is theta_s."""
    if experiment.alignment is None:
        return None
    settings = dict(experiment.alignment)
    _refuse(settings, ("strategy", "seed", "max_length"), "alignment")
    return plan_from_dict(
        {"seed": experiment.seed, "max_length": experiment.rows.max_length, **settings}
    )


def _run(
    experiment: Experiment,
    task: str,
    proxy: str | None,
    method: str,
    seed: int,
    strategy: dict[str, Any],
) -> RunConfig:
    settings = dict(experiment.training)
    _refuse(settings, ("strategy", "method", "seed", "max_length"), "training")
    if "proxy_batch_size" in settings and not needs_proxy(strategy):
        del settings["proxy_batch_size"]
    plan = plan_from_dict(
        {
            "training_sets_at": "all",
            "checkpoint_every": 0,
            **settings,
            **experiment.methods[method].as_plan(),
            "strategy": strategy,
            "seed": seed,
            "max_length": experiment.rows.max_length,
        }
    )
    _checkpoints_are_measured(experiment, plan)
    _alignment_is_there(experiment, plan)
    middle = [part for part in (proxy, method) if part is not None]
    name = "_".join([task, _strategy_id(strategy), *middle, f"s{seed}"])
    content = experiment.model_dump(mode="json")
    about = {
        "model": content["model"],
        "safety": content["safety"],
        "alignment": content["alignment"],
        # What came later is there only where it is given: older runs know nothing of it.
        "rows": {n: v for n, v in content["rows"].items() if (n, v) not in _LATE_ROWS},
        "data_seed": content["seed"],
        "task": content["tasks"][task],
        "proxy": None if proxy is None else content["proxies"][proxy],
        # An unconstrained run is measured on every proxy's rows at its end.
        "measured_proxies": content["proxies"] if strategy["kind"] == "none" else None,
        "plan": plan.as_dict(),
        # Absent without one: older runs know nothing of it.
        **({} if experiment.adapter is None else {"adapter": content["adapter"]}),
    }
    digest = hashlib.sha256(to_json(_numbers_alike(about)).encode()).hexdigest()
    return RunConfig(name, task, proxy, method, seed, plan, digest)


def _checkpoints_are_measured(experiment: Experiment, plan: TrainingPlan) -> None:
    """Raises InputError for behaviour at a step whose losses are not measured."""
    asked = experiment.behaviour and experiment.behaviour.checkpoints
    for fraction in asked.at if asked else ():
        if round(fraction * plan.steps) not in plan.evaluation_steps:
            raise InputError(
                f"behaviour.checkpoints.at names {fraction:g}, and the losses are not measured "
                "there.",
                remedy="Name it in training.evaluate_at too.",
            )


def _alignment_is_there(experiment: Experiment, plan: TrainingPlan) -> None:
    """Raises InputError for a strategy that compares the models before and after the alignment."""
    if plan.needs_alignment and experiment.alignment is None and experiment.adapter is None:
        raise InputError(
            "asft penalises what lies outside of the alignment, and this experiment starts from "
            "the model as it is: the model before its alignment is not known.",
            remedy="Give the base as model and the aligned model's adapter as adapter, or leave "
            "asft out.",
        )


def _numbers_alike(value: Any) -> Any:
    """16 and 16.0 are one setting, however a file writes it."""
    if isinstance(value, Mapping):
        return {key: _numbers_alike(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers_alike(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def needs_proxy(strategy: Mapping[str, Any]) -> bool:
    """Whether this strategy trains on rows of the proxy."""
    return strategy["kind"] in ("loss", "hybrid", "lisa")


def _proxies_for(strategy: Mapping[str, Any], block: Block) -> tuple[str | None, ...]:
    if needs_proxy(strategy) or strategy.get("fisher"):
        if not block.proxies:
            raise InputError(
                f"a block has the strategy {strategy_label(strategy)!r} and no proxies.",
                remedy="Name the block's proxies.",
            )
        return block.proxies
    return (None,)


_KEYS = {
    "lam": "lam",
    "epsilon": "eps",
    "radius": "r",
    "strength": "k",
    "beta": "b",
    "first": "f",
    "early": "e",
    "alignment_steps": "a",
    "task_steps": "t",
    "rho": "rho",
}


def _strategy_id(strategy: Mapping[str, Any]) -> str:
    parts = [f"{short}{strategy[key]:.12g}" for key, short in _KEYS.items() if key in strategy]
    fisher = ["fisher"] if strategy.get("fisher") else []
    exact = ["exact"] if strategy.get("projector") == "exact" else []
    return "-".join([strategy["kind"], *fisher, *exact, *parts])


def _mixable(experiment: Experiment, task: str) -> None:
    given = experiment.tasks[task]
    if not isinstance(given, Mixed):
        return
    try:
        harmful_count(given.share, experiment.rows.task)
    except ValueError as error:
        raise InputError(
            f"the task {task} is {error}.",
            remedy="Raise rows.task, or name the other dataset alone as the task.",
        ) from None


def _defined(what: str, names: tuple[str, ...], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(
                f"the grid names the {what} {name!r}, which the experiment does not define.",
                remedy=f"Defined are {', '.join(known) or 'none'}.",
            )


def _refuse(settings: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    homes = {
        "strategy": "the grid's blocks",
        "method": "methods",
        "seed": "the grid's seeds (of the data and the alignment: seed)",
        "max_length": "rows.max_length",
    }
    for name in names:
        if name in settings:
            raise InputError(
                f"{name} is given in {where}.", remedy=f"It belongs into {homes[name]}."
            )
