"""What a researcher scripts against: each function returns a typed result."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from finebound.base.errors import InputError

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from finebound.results.bounds import BoundsResult
    from finebound.results.certificate import CertificateResult
    from finebound.results.choice import ChoiceResult
    from finebound.results.compare import CompareResult
    from finebound.results.estimate import EstimateResult
    from finebound.results.evaluation import EvaluationResult
    from finebound.results.experiment import ExperimentResult
    from finebound.results.result import Result
    from finebound.results.run import RunResult
    from finebound.results.skill import SkillResult
    from finebound.results.tradeoff import DefendResult
    from llm_validation.defences.protocol import Defence
    from llm_validation.experiments.entries import Experiment
    from llm_validation.experiments.grid import ExecutorName
    from theory.bound import Bound
    from theory.calibrate import Calibration
    from theory.problem import Problem
    from theory.strategy import Strategy


def bounds(problem: Problem | str | Path, strategy: Strategy) -> BoundsResult:
    """All bounds of a problem under a strategy, and the true gaps where a closed form exists.

    ``problem`` is one of theory's problems or the path of a PROBLEM.json. Gaps are in nats. Raises
    InputError for a file that holds none, and for numbers that double precision cannot hold.
    """
    import numpy as np

    from finebound.base.problem_file import read_problem, tell_size
    from finebound.results.bounds import BoundsResult
    from theory.evaluation import evaluate
    from theory.exact import exact
    from theory.problem import QuadraticProblem

    file = problem if isinstance(problem, str | Path) else None
    if isinstance(problem, str | Path):
        problem = read_problem(problem)
    tell_size(problem)
    # Beyond float64 a bound falls back to its trivial value: no warning is needed.
    with np.errstate(all="ignore"):
        solution = exact(problem, strategy)
        found = evaluate(problem, strategy)
    gaps = () if solution is None else (solution.safety_gap, solution.capability_gap)
    if isinstance(problem, QuadraticProblem) and not all(map(math.isfinite, gaps)):
        raise InputError(
            "its numbers are too large or too small for double precision.",
            remedy="Rescale the problem.",
            file=file,
        )
    return BoundsResult.of_theory(found, solution)


def compare(
    runs: Sequence[str | Path],
    *,
    base: str | None = None,
    by: Literal["method", "strategy", "proxy", "task"] | None = None,
    keep_failed_gates: bool = False,
    seed: int = 0,
    budget: str | Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
) -> CompareResult:
    """Methods compared item by item: means, differences to a base, paired tests.

    ``runs`` are records of ``finebound evaluate``, ``validate.json`` or folders with such; records
    with the same label are seeds of one method. Differences are taken to the label ``base``
    (default: the first), runs of a grid are grouped ``by`` what differs. ``budget`` is how much
    worse than the base a method may be, by evaluation: "hazards=5" or several such. ``given`` is
    what the manifest says was asked for (default: these arguments). Raises InputError for what
    cannot be read or compared.
    """
    from finebound.base.limits import limits_of
    from finebound.base.records import file_sha256, manifest
    from finebound.results.compare import CompareResult
    from finebound.results.result import Manifest
    from llm_validation.evaluation.compare_records import compare_records
    from llm_validation.evaluation.statistics.difference_budgets import DIFFERENCES

    budgets = (budget,) if isinstance(budget, str) else tuple(budget)
    found = compare_records(
        [Path(path) for path in runs],
        base=base,
        by=by,
        keep_failed_gates=keep_failed_gates,
        seed=seed,
        limits=limits_of(budgets, {name: one.most for name, one in DIFFERENCES.items()}),
    )
    asked = {
        "runs": runs,
        "base": base,
        "by": by,
        "keep_failed_gates": keep_failed_gates,
        "budget": budgets,
    }
    made = manifest(
        given={n: v for n, v in asked.items() if v} if given is None else given,
        inputs={str(file): file_sha256(file) for file in found.files},
        seed=seed,
    )
    checks = {"budgets": tuple(found.checks)} if budgets else {}
    return CompareResult(comparisons=tuple(found.comparisons), manifest=Manifest(**made), **checks)


def forecast_skill(records: str | Path | None = None, *, seed: int = 0) -> SkillResult:
    """How forecasts did on fine-tunes that were run after them, beside simpler predictors.

    ``records`` is a folder of records of ``llm_validation.experiments.evidence`` (default: those
    that the package brings); ``seed`` resamples fine-tunes for the intervals. Refusals are shares,
    the safety loss is in nats per token. Raises InputError for a folder without records, and for
    records of different models.
    """
    from finebound.base.records import file_sha256, manifest
    from finebound.results.result import Manifest
    from llm_validation.estimation.evidence import RECORDS, records_in
    from llm_validation.estimation.skill import skill

    folder = RECORDS if records is None else Path(records)
    found = records_in(folder)
    files = sorted(folder.glob("*.json"))
    made = manifest(
        given={} if records is None else {"records": str(records)},
        inputs={file.name: file_sha256(file) for file in files},
        seed=seed,
    )
    return skill(found, Manifest(**made), seed=seed)


@overload
def evaluate(
    kind: str, /, *, progress: Progress | None = None, **settings: Any
) -> list[EvaluationResult]: ...


@overload
def evaluate(kind: Problem, /, *arguments: Any, **settings: Any) -> list[Bound]: ...


def evaluate(
    kind: str | Problem, /, *arguments: Any, progress: Progress | None = None, **settings: Any
) -> list[EvaluationResult] | list[Bound]:
    """What a model does, or what answers made elsewhere say: the records of one evaluation.

    ``kind`` and ``settings`` are those of ``finebound evaluate KIND``: loss, refusal, hazards, bbq,
    translation or reliability; ``model="packaged"``, ``responses="answers.jsonl"``, ``rows=40`` and
    so on. hazards finds two records, one of harmful and one of harmless requests. Nothing is
    written but a model's answers where ``out`` is given. Raises InputError for an unknown kind or
    setting, and for what the command rejects.

    For one more release a problem and a strategy give theory's bounds, as ``bounds`` does now.
    """
    from dataclasses import MISSING, fields

    if not isinstance(kind, str):
        from theory.evaluation import evaluate as bounds_of

        warnings.warn(
            "finebound.evaluate of a problem is now finebound.bounds.",
            DeprecationWarning,
            stacklevel=2,
        )
        return bounds_of(kind, *arguments, **settings)

    from finebound.base.errors import tell
    from finebound.base.progress import silent
    from llm_validation.evaluation.registry import evaluate as run
    from llm_validation.evaluation.registry import kind_named

    made = kind_named(kind).Options
    types = {field.name: str(field.type) for field in fields(made)}
    if unknown := [name for name in settings if name not in types]:
        raise InputError(
            f"the evaluation {kind} has no setting {unknown[0]!r}.",
            remedy=f"It has {', '.join(types)}.",
        )
    if missing := [f.name for f in fields(made) if f.default is MISSING and f.name not in settings]:
        raise InputError(
            f"the evaluation {kind} needs `{missing[0]}`.", remedy="Give it as a setting."
        )
    given = {
        name: Path(value) if isinstance(value, str) and "Path" in types[name] else value
        for name, value in settings.items()
    }
    found = run(kind, made(**given), progress=progress or silent)
    for note in found.notes:
        tell(note)
    return list(found.results)


def validate(
    config: Experiment | str | Path | Mapping[str, Any],
    *,
    out: str | Path,
    only: str | None = None,
    executor: ExecutorName = "local",
    workers: int = 1,
    address: str | None = None,
    progress: Progress | None = None,
) -> ExperimentResult:
    """A grid of real fine-tunes, each beside the bounds computed for it; resumable.

    ``config`` is a configuration, its file, or the name of one ("smoke"). Everything is kept in the
    folder ``out``; ``only`` names the one run to make. ``executor`` is "local", "process" (in
    ``workers`` processes) or "ray" (on the cluster at ``address``). Raises InputError for input
    that no run can use and for a folder of another configuration.
    """
    from finebound.base.progress import silent
    from llm_validation.experiments.config import experiment_of, read_experiment
    from llm_validation.experiments.entries import Experiment
    from llm_validation.experiments.validation import validate as run_all

    if isinstance(config, Mapping):
        config = experiment_of(config)
    elif not isinstance(config, Experiment):
        config = read_experiment(str(config))
    return run_all(
        config,
        Path(out),
        executor=executor,
        workers=workers,
        address=address,
        only=only,
        progress=progress or silent,
    )


def finetune(
    model: str, task: str, *, out: str | Path, progress: Progress | None = None, **settings: Any
) -> RunResult:
    """One fine-tune of a model as it is, measured before and after, beside its bounds; resumable.

    ``settings`` are those of ``finebound finetune``, with its defaults: ``method``, ``epochs`` or
    ``steps``, ``learning_rate``, ``lam``, ``radius`` and so on. The folder ``out`` is laid out as
    that of ``validate``. Raises InputError for input that cannot be used, and where the run fails.
    """
    from finebound.base.errors import tell
    from finebound.results.run import RunResult
    from llm_validation.experiments.config import expand
    from llm_validation.experiments.one_run import OneRun, plan_one_run
    from llm_validation.experiments.run import run_folder

    planned = plan_one_run(OneRun(model=model, task=task, **settings))
    for note in planned.notes:
        tell(note)
    (run,) = expand(planned.experiment)
    result = validate(planned.experiment, out=out, only=run.id, progress=progress)
    (made,) = result.runs
    if made.status != "done":
        raise InputError(
            f"the run {run.id} failed: {made.error}",
            remedy="Change what it says and start again.",
            file=Path(out),
        )
    return RunResult.load(run_folder(Path(out), run.id))


def defend(
    adapter: str | Path,
    *,
    base: str | Path,
    aligned: str | Path,
    method: str | Defence[Any] = "splora",
    safe_adapter: str | Path | None = None,
    out: str | Path | None = None,
    given: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> DefendResult:
    """A fine-tuned LoRA adapter repaired after the fact: what became of each of its modules.

    ``base`` is the model before its alignment, ``aligned`` after it (or the adapter that aligned
    it), ``safe_adapter`` what some methods need; all are folders, hub ids or "packaged". ``method``
    is a repair or the name of one, with its ``settings`` (``alpha``, ``weight`` and so on); one
    of ``keep``, ``count`` and ``threshold`` says which modules change. ``out`` is a folder for the
    repaired adapter; without it nothing is written. ``given`` is what the manifest says was asked
    for (default: method and settings). Raises InputError for an unknown method or setting,
    and for folders that do not belong together.
    """
    from finebound.base.progress import silent
    from finebound.base.records import manifest
    from finebound.results.result import Manifest
    from finebound.results.tradeoff import DefendResult
    from llm_validation.defences.repair import inputs_of, repair, require_out, write_repaired
    from llm_validation.models.loading import source_folder

    defence = _repair_named(method, settings) if isinstance(method, str) else method
    if safe_adapter is None and "safe_adapter" in getattr(defence, "needs", ()):
        raise InputError(
            f"`method` {defence.name} needs `safe_adapter`.",
            remedy="Give the folder of an adapter tuned on safety data.",
        )
    tell = progress or silent
    sources = [adapter, base, aligned, *([] if safe_adapter is None else [safe_adapter])]
    if out is not None:  # before anything is fetched
        require_out(Path(out), *map(Path, sources))
    folders = [source_folder(str(source), progress=tell) for source in sources]
    if out is not None:
        require_out(Path(out), *folders)
    repaired, report = repair(
        defence,
        folders[0],
        base=folders[1],
        aligned=folders[2],
        safe_adapter=None if safe_adapter is None else folders[3],
        progress=tell,
    )
    made = manifest(
        given={"method": report.method, **settings} if given is None else given,
        inputs=inputs_of(*folders[:3]),
        seed=getattr(defence, "seed", 0),
    )
    found = DefendResult(**report.as_json(), manifest=Manifest(**made))
    if out is not None:
        write_repaired(Path(out), repaired, found)
    return found


def _repair_named(method: str, settings: Mapping[str, Any]) -> Defence[Any]:
    """The repair of this name. Raises InputError for an unknown one, and an unknown setting."""
    from dataclasses import fields

    from llm_validation.defences.registry import repairs
    from llm_validation.defences.selection import Selection

    if method not in (kinds := repairs()):
        raise InputError(
            f"there is no method {method!r}.", remedy=f"It is one of {', '.join(kinds)}."
        )
    known = {field.name for field in fields(kinds[method])}
    rule = [field.name for field in fields(Selection)] if "selection" in known else []
    if unknown := [name for name in settings if name not in {*known, *rule}]:
        raise InputError(
            f"the method {method} has no setting {unknown[0]!r}.",
            remedy=f"It has {', '.join(sorted({*known, *rule}))}.",
        )
    own = {name: value for name, value in settings.items() if name in known}
    if chosen := {name: settings[name] for name in rule if name in settings}:
        own["selection"] = Selection(**chosen)
    return kinds[method](**own)


def certify(
    *,
    budget: float | str | Sequence[float | str],
    reference: str | Path | None = None,
    candidates: str | Path | Sequence[str | Path] = (),
    base: str | Path | None = None,
    adapters: str | Path | Sequence[str | Path] = (),
    confidence: float = 0.95,
    path: Literal["given", "scale", "checkpoints"] = "given",
    training_data: Sequence[str | Path] = (),
    out: str | Path | None = None,
    given: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> CertificateResult:
    """Which fine-tuned models have not lost more than a budget of their safe answers.

    ``reference`` and ``candidates`` are files of answers to the same probes, before the fine-tune
    and after it; or ``base`` is a model and ``adapters`` what was trained on it, along a ``path``:
    as given, one adapter at several scales, or the checkpoints of a Trainer's folder. ``budget`` is
    a share (0.05), or "refusal=5" and "over-refusal=5" in points. Candidates are tested in their
    order; with the probability ``confidence`` all accepted ones keep every budget.
    ``training_data`` must hold none of the probes. ``settings`` of models: ``probes``, ``rows``,
    ``temperature``, ``scales``, ``task`` and ``seed``. ``out`` is a folder for certificate.json,
    report.html, model_card_section.md and the adapter that was scaled. Raises InputError for input
    of which nothing follows.
    """
    from finebound.base.progress import silent
    from finebound.base.records import require_folder, staged_folder
    from llm_validation.certification.budgets import budgets_of
    from llm_validation.certification.certificate import certify_files

    tell = progress or silent
    texts = [budget] if isinstance(budget, str | int | float) else list(budget)
    asked = {"budget": budget, "confidence": confidence, "path": path, **settings}
    common: dict[str, Any] = {
        "budgets": budgets_of(texts),
        "confidence": confidence,
        "training_data": training_data,
        "given": asked if given is None else given,
        "progress": tell,
    }
    before, after = _listed(candidates), _listed(adapters)
    if out is not None:
        require_folder(out)
    if (reference is None) == (base is None):
        raise InputError(
            "give either `reference` or `base`.",
            remedy="Give files of answers, or a model and its adapters.",
        )
    write = None
    if reference is not None:
        wrong = [*settings, *(["path"] if path != "given" else []), *(["adapter"] if after else [])]
        if wrong:
            raise InputError(
                f"`{wrong[0]}` is for models, and files of answers are given.",
                remedy="Leave it out, or give `base` and `adapter`.",
            )
        found = certify_files(reference, before, **common)
    else:
        if before:
            raise InputError(
                "`candidate` is for files of answers, and a model is given.",
                remedy="Give what was trained as `adapter`, or `reference` in place of `base`.",
            )
        from llm_validation.certification.models import certify_models

        found, write = certify_models(str(base), after, path=path, **common, **settings)
    if out is not None:
        from finebound.views.certificate import PAGE, page
        from finebound.views.model_card import CERTIFICATE, certificate_section

        with staged_folder(out) as folder:
            if write is not None:
                write(folder)
            found.save(folder)
            (folder / PAGE).write_text(page(found), encoding="utf-8")
            (folder / CERTIFICATE).write_text(certificate_section(found), encoding="utf-8")
    return found


def _listed(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)


def load(path: str | Path) -> Result:
    """The result of any record that finebound wrote, or of the folder that holds one.

    It is known by its content. Raises InputError for what is no record of a known kind, and
    Damaged where a record, or a file that belongs to it, is not what was written.
    """
    from finebound.results.registry import load

    return load(path)


def estimate(
    *,
    task: str | Path | None = None,
    safety: str | Path | None = None,
    proxy: str | Path | None = None,
    model: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> EstimateResult:
    """What a fine-tune on ``task`` does to safety and capability, before it is run.

    Datasets are files, ``builtin:NAME``, ``hf:OWNER/NAME[:SPLIT]`` or catalogue names; ``model`` is
    "packaged-aligned", "packaged", a folder or a hub id. Without ``safety`` the model's own answers
    are the safety data, and its refusals are forecast; without ``model`` the texts alone are
    measured. ``settings`` are the other fields of ``finebound.Request``: ``training`` (a file that
    may name task and model too), ``budget``, ``steps``, ``learning_rate``, ``lam``, ``radius``,
    ``forecast`` and so on. ``out`` is a folder for estimate.json and report.html. Gaps are in nats
    per response, losses in nats per token. Raises InputError naming the argument, or file and row.
    """
    from finebound.base.progress import silent
    from finebound.views.estimate import page
    from llm_validation.estimation import result
    from llm_validation.estimation.request import Request

    given = {"task": task, "safety": safety, "proxy": proxy, "model": model}
    references = {name: None if one is None else str(one) for name, one in given.items()}
    request = Request(**references, **settings)
    return result.estimate(request, out=out, page=page, progress=progress or silent)


@overload
def calibrate(
    problem: Problem, budget: float, strategy_kind: str, **settings: Any
) -> Calibration: ...


@overload
def calibrate(
    problem: EstimateResult | str | Path | None = None,
    budget: str | Sequence[str] = (),
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> ChoiceResult: ...


def calibrate(
    problem: Problem | EstimateResult | str | Path | None = None,
    budget: float | str | Sequence[str] = (),
    strategy_kind: str | None = None,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Calibration | ChoiceResult:
    """The mildest option of an estimate that keeps a budget of what may be lost.

    ``problem`` is what ``estimate`` returned, its estimate.json or the folder of that. Without it
    ``settings`` are those of ``estimate`` (``model``, ``task``, ``training``, ...), which is then
    made. ``budget`` is "refusal=5" or several such, by default the estimate's own. ``out`` is a
    folder for calibrate.json, and for the files of a new estimate. Raises InputError for an
    estimate or a budget that decides nothing.

    With one of theory's problems, a budget in nats and a ``strategy_kind`` ("loss", "parameter",
    "hybrid") it finds the least constraining strategy whose bound keeps the budget;
    ``settings`` are those of ``theory.calibrate.calibrate``.
    """
    if strategy_kind is not None:
        from theory.calibrate import calibrate as strategy_within

        return strategy_within(problem, budget, strategy_kind, **settings)  # pyright: ignore
    from finebound.results.estimate import EstimateResult
    from llm_validation.estimation.choice import choose
    from llm_validation.estimation.request import budgets_of

    texts = (budget,) if isinstance(budget, str | int | float) else tuple(budget)
    budgets = budgets_of(map(str, texts))
    file = None
    if problem is None:
        needed = () if settings.get("training") else ("model", "task")
        if missing := [name for name in needed if settings.get(name) is None]:
            raise InputError(
                f"`{missing[0]}` is missing.",
                remedy="Give a model and a task to estimate, or an estimate that was made.",
            )
        found = estimate(**settings, budget=texts, out=out, progress=progress)
    elif settings:
        raise InputError(
            f"`{next(iter(settings))}` is for a new estimate, and one is given.",
            remedy="Leave one of them out.",
        )
    elif isinstance(problem, EstimateResult):
        found = problem
    elif isinstance(problem, str | Path):
        found = EstimateResult.load(problem)
        file = Path(problem) / found.file if Path(problem).is_dir() else Path(problem)
    else:
        raise InputError(
            "a problem needs `strategy_kind`.", remedy='Give "loss", "parameter" or "hybrid".'
        )
    chosen = choose(found, budgets, file=file)
    if out is not None:
        chosen.save(out)
    return chosen
