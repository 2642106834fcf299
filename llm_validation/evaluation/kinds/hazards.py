"""``finebound evaluate hazards``: safe answers in eleven hazard categories, and over-refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError
from llm_validation.evaluation.asking import ask, load_asked, require_judge
from llm_validation.evaluation.options import (
    Budgets,
    Generation,
    Labels,
    Output,
    require_one_source,
)
from llm_validation.evaluation.registry import Evaluation, Work

if TYPE_CHECKING:
    from finebound.results.compare import MethodComparison
    from finebound.results.evaluation import EvaluationResult
    from llm_validation.evaluation.hazards.probes import ProbeSet

    Asked = tuple[ProbeSet, list[str | None], str]


@dataclass(frozen=True, kw_only=True)
class Options(Output, Budgets, Labels, Generation):
    """Safe answers in the eleven hazard categories, and harmless requests refused.

    --model answers the probes of --data: the built-in ones, a file of AdvBench, HarmBench,
    StrongREJECT, AILuminate or XSTest, the folder of HEx-PHI's category_1.csv ... files, or any
    file with prompt and perhaps category and harmful; also by name, as advbench or hf:owner/name.
    --responses judges answers made elsewhere: prompt and response, perhaps the probe's id, or what
    HarmBench, StrongREJECT, JailbreakBench, lm-eval, LLaMA-Factory, vLLM, inspect_ai and batches
    write. Each probe of --data must be answered once; without --data the file's own prompts are the
    probes, with its categories.

    By default a refusal is safe and help, even after a refusal, is not (--detector); --judge asks a
    model for the verdict. Echoes and degenerate answers are neither; errors are never safe, and
    stay in the denominator. Answers cut in their thoughts, or in a language that the rules do not
    read, are counted by name and in no share. Intervals are Wilson's, 95 %.

    --budget says how many answers to harmful requests may be unsafe (harmful-compliance=POINTS) or
    be an echo or degenerate (degenerate=POINTS), and how many harmless requests may be refused
    (over-refusal=POINTS). Exit code 0: kept, 1: broken, 3: not decided by so few probes. Its
    interval is Clopper and Pearson's, 95 %, with unknown answers for the worst in one end and for
    the best in the other.

    Example: finebound evaluate hazards --model packaged --rows 4 --out out

    Example: finebound evaluate hazards --responses lora.jsonl --data builtin --json

    Example: finebound evaluate hazards --responses lora.jsonl --data builtin \\
        --budget harmful-compliance=5 --budget over-refusal=10
    """

    responses: Path | None = None
    """File with prompt and response."""
    drop_unusable: bool = False
    """Leave out rows of the file that cannot be read, and count them by reason."""
    data: str | None = None
    """Probes: a file, HEx-PHI's folder, a set's name, or "builtin" (default with --model)."""
    base: Path | None = None
    """hazards.json of the base model: prints the differences to it, paired by probe."""
    rows: int | None = None
    """Probes to ask of each category, a seeded sample (default: all)."""
    system: str | None = None
    """System prompt to put before every probe."""


def evaluate(options: Options, work: Work) -> Evaluation:
    """Safe answers by category and over-refusal, one record each."""
    require_one_source(
        options.responses,
        options.model,
        example="`finebound evaluate hazards --model packaged --rows 4`",
    )
    if options.rows is not None and (options.rows < 1 or options.model is None):
        raise InputError(
            "`rows` is a number of probes to ask a model, at least 1.",
            remedy="Leave it out with `responses`.",
        )
    from llm_validation.evaluation.hazards.judging import judged
    from llm_validation.evaluation.hazards.scores import as_results, score
    from llm_validation.evaluation.refusal.labels import unknown_notes

    require_judge(options.judge)
    base = None if options.base is None else _read_base(options.base)
    if options.responses is None:
        probes, answers, label = _generated(options, work)
    else:
        probes, answers, label = _recorded(options.responses, options, work)
    outcomes = judged(
        probes,
        answers,
        work,
        detector=options.detector,
        by=options.judge,
        model=options.judge_model,
        cache=options.cache,
    )
    notes = unknown_notes([one.outcome for one in outcomes])
    work.notes += notes
    summary: dict[str, Any] = {
        **score(probes, outcomes).as_json(),
        "label": label,
        "detector": options.detector,
        "judge": options.judge,
        "source": probes.source,
        "left_out": dict(probes.left_out),
        "notes": notes,
    }
    results = as_results(probes, outcomes, answers, label=label, summary=summary)
    if base is not None:
        summary["difference"] = _to_base(base, results, options.seed).to_dict()
        results = [result.model_copy(update={"report": summary}) for result in results]
    return Evaluation(results, summary)


def _read_base(file: Path) -> EvaluationResult:
    from finebound.results.evaluation import EvaluationResult
    from llm_validation.evaluation.hazards.scores import EVALUATION

    base = EvaluationResult.load(file)
    if base.evaluation != EVALUATION:
        raise InputError(
            f"this is a record of {base.evaluation}.",
            remedy="Give the hazards.json that `finebound evaluate hazards --out` wrote.",
            file=file,
        )
    return base


def _generated(options: Options, work: Work) -> Asked:
    """The probes, an answer to each (None: failed), and the label."""
    from llm_validation.evaluation.hazards.probes import load_probes, sampled

    probes = load_probes(options.data or "builtin")
    if options.rows is not None:
        probes = sampled(probes, options.rows, seed=options.seed)
    loaded = load_asked(options, work)
    turns = [(("user", prompt),) for prompt in probes.prompts]
    ids = [probe.id for probe in probes.probes]
    found = ask(loaded, turns, options, work, ids=ids, doing="answering probes")
    return probes, [answer.text for answer in found], options.label or loaded.name


def _recorded(file: Path, options: Options, work: Work) -> Asked:
    from finebound.base.records import file_sha256
    from llm_validation.evaluation.hazards.probes import Probe, ProbeSet, load_probes
    from llm_validation.evaluation.hazards.recorded import beside_probes
    from llm_validation.evaluation.responses import item_ids, read_responses

    recorded = read_responses(file, drop_unusable=options.drop_unusable)
    work.inputs["responses"] = file_sha256(file)
    if options.data is None:
        if options.judge is not None and not any(item.prompt for item in recorded.items):
            raise InputError(
                "the file holds no prompts, and a judge reads them.",
                remedy="Add each row's prompt as 'prompt', or name the probes as `data`.",
                file=file,
            )
        probes = ProbeSet(
            file.stem,
            tuple(
                Probe(name, item.prompt, item.category or "all")
                for name, item in zip(item_ids(recorded), recorded.items, strict=True)
            ),
            recorded.source,
        )
    else:
        probes = load_probes(options.data)
        recorded = beside_probes(recorded, probes)
    work.notes += recorded.notes
    return probes, [item.response for item in recorded.items], options.label or file.stem


def _to_base(
    base: EvaluationResult, results: Sequence[EvaluationResult], seed: int
) -> MethodComparison:
    from llm_validation.evaluation.statistics.comparison import compare

    mine = [result for result in results if result.evaluation == base.evaluation]
    # Both may have the same label: a base and its own repetition.
    named = [(base, "base"), *((result, "this") for result in mine)]
    found = [result.model_copy(update={"label": label}) for result, label in named]
    return compare(found, base="base", seed=seed)
