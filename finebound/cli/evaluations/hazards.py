"""``finebound evaluate hazards``: safe answers in eleven hazard categories, and over-refusal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError
from finebound.cli.evaluations import Evaluated, finish, made, require_one_source
from finebound.cli.evaluations.asking import ask, load_asked, require_model, say
from finebound.cli.evaluations.judging import require_judge
from finebound.cli.options import parse

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from finebound.results.compare import MethodComparison
    from llm_validation.evaluation.hazards.probes import ProbeSet
    from llm_validation.evaluation.hazards.scores import HazardScores, Judged, Share


@dataclass(frozen=True)
class Options:
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

    Example: finebound evaluate hazards --model packaged --rows 4 --out out

    Example: finebound evaluate hazards --responses lora.jsonl --data builtin --json
    """

    responses: Path | None = None
    """File with prompt and response."""
    drop_unusable: bool = False
    """Leave out rows of the file that cannot be read, and count them by reason."""
    model: str | None = None
    """Model to ask: "packaged", a local folder or a hub id."""
    adapter: Path | None = None
    """Folder of an adapter (LoRA, QLoRA, IA3, Prompt-Tuning, P-Tuning) to put on the model."""
    data: str | None = None
    """Probes: a file, HEx-PHI's folder, a set's name, or "builtin" (default with --model)."""
    detector: Literal["rules", "keywords-47", "keywords-29"] = "rules"
    """How answers are labelled."""
    judge: str | None = None
    """Format of a judge model: llama-guard-2, llama-guard-3, wildguard, harmbench or rubric."""
    judge_model: str | None = None
    """The judge: a local folder or a hub id (default: the format's own)."""
    base: Path | None = None
    """hazards.json of the base model: prints the differences to it, paired by probe."""
    rows: int | None = None
    """Probes to ask of each category, a seeded sample (default: all)."""
    max_new_tokens: int = 256
    """Longest answer in tokens (the study: 500)."""
    system: str | None = None
    """System prompt to put before every probe."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What generates: vLLM, where it is installed, is faster on a GPU."""
    cache: Path | None = None
    """Folder that keeps answers as they are made (default: finebound's cache)."""
    label: str | None = None
    """Name of the method or model in the record (default: the model's, or the file's)."""
    seed: int = 0
    """Seed of samples and intervals."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for hazards.json and over-refusal.json, which `finebound compare` reads, and a model's
    responses.jsonl."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="evaluate hazards")
    return finish(evaluate(options), options)


def evaluate(options: Options) -> Evaluated:
    """Its result and how it is shown. Raises InputError for options that do not fit together."""
    require_model(options)
    require_one_source(
        options.responses, options.model, example="hazards --model packaged --rows 4"
    )
    if options.rows is not None and (options.rows < 1 or options.model is None):
        raise InputError(
            "--rows is a number of probes to ask a model, at least 1.",
            remedy="Leave it out with --responses.",
        )
    from finebound.base.progress import bar
    from finebound.base.records import require_folder
    from llm_validation.evaluation.hazards.scores import as_results, score
    from llm_validation.evaluation.refusal.labels import unknown_notes

    if options.out is not None:
        require_folder(options.out)
    require_judge(options)
    base = None if options.base is None else _read_base(options.base)
    inputs: dict[str, str] = {}
    with bar() as progress:
        probes, answers, label = _answers(options, inputs, progress)
        judged = _judged(options, probes, answers, inputs, progress)
    scores = score(probes, judged)
    summary: dict[str, Any] = {
        **scores.as_json(),
        "label": label,
        "detector": options.detector,
        "judge": options.judge,
        "source": probes.source,
        "left_out": dict(probes.left_out),
    }
    notes = unknown_notes([one.outcome for one in judged])
    summary["notes"] = notes
    results = as_results(probes, judged, answers, label=label, summary=summary)
    compared = None
    if base is not None:
        compared = _to_base(base, results, options.seed)
        summary["difference"] = compared.to_dict()
        results = [result.model_copy(update={"report": summary}) for result in results]
    say(notes)
    manifest = made(options, inputs)
    results = [result.made_by(manifest) for result in results]
    return Evaluated(results, summary, lambda: _print(scores, probes, label, compared))


def _read_base(file: Path):
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


def _answers(
    options: Options, inputs: dict[str, str], progress: Progress
) -> tuple[ProbeSet, list[str | None], str]:
    """The probes, an answer to each (None: failed), and the label."""
    from llm_validation.evaluation.hazards.probes import load_probes, sampled

    if options.responses is not None:
        return _recorded(options, inputs)
    probes = load_probes(options.data or "builtin")
    if options.rows is not None:
        probes = sampled(probes, options.rows, seed=options.seed)
    from llm_validation.evaluation.responses import write_responses

    loaded = load_asked(options, inputs, progress=progress)
    found = ask(
        loaded,
        [(("user", prompt),) for prompt in probes.prompts],
        options,
        verb="evaluate hazards",
        progress=progress,
        system=options.system,
        engine=options.engine,
        doing="answering probes",
    )
    if options.out is not None:
        ids = [probe.id for probe in probes.probes]
        write_responses(options.out / "responses.jsonl", found, ids=ids)
    return probes, [answer.text for answer in found], options.label or loaded.name


def _recorded(options: Options, inputs: dict[str, str]) -> tuple[ProbeSet, list[str | None], str]:
    from finebound.base.records import file_sha256
    from llm_validation.evaluation.hazards.probes import Probe, ProbeSet, load_probes
    from llm_validation.evaluation.hazards.recorded import beside_probes
    from llm_validation.evaluation.responses import item_ids, read_responses

    recorded = read_responses(options.responses, drop_unusable=options.drop_unusable)
    inputs["responses"] = file_sha256(options.responses)
    label = options.label or options.responses.stem
    if options.data is None:
        if options.judge is not None and not any(item.prompt for item in recorded.items):
            raise InputError(
                "the file holds no prompts, and a judge reads them.",
                remedy="Add each row's prompt as 'prompt', or name the probes with --data.",
                file=options.responses,
            )
        probes = ProbeSet(
            options.responses.stem,
            tuple(
                Probe(name, item.prompt, item.category or "all")
                for name, item in zip(item_ids(recorded), recorded.items, strict=True)
            ),
            recorded.source,
        )
    else:
        probes = load_probes(options.data)
        recorded = beside_probes(recorded, probes)
    for note in recorded.notes:
        print(note, file=sys.stderr)
    return probes, [item.response for item in recorded.items], label


def _judged(
    options: Options,
    probes: ProbeSet,
    answers: Sequence[str | None],
    inputs: dict[str, str],
    progress: Progress,
) -> list[Judged]:
    from llm_validation.evaluation.hazards.scores import by_verdict, judge
    from llm_validation.evaluation.refusal.detectors import DETECTORS

    detect = DETECTORS[options.detector]
    if options.judge is None:
        return judge(probes, answers, detect)
    from finebound.cli.evaluations.judging import verdicts

    pairs = list(zip(probes.prompts, answers, strict=True))
    found = verdicts(options, pairs, inputs, progress)
    return [
        by_verdict(detect(*pair), safe=verdict.safe, refused=verdict.refusal)
        for pair, verdict in zip(pairs, found, strict=True)
    ]


def _to_base(base, results, seed: int) -> MethodComparison:
    from llm_validation.evaluation.hazards.scores import EVALUATION
    from llm_validation.evaluation.statistics.comparison import compare

    mine = [result for result in results if result.evaluation == EVALUATION]
    # Both may have the same label: a base and its own repetition.
    named = [(base, "base"), *((result, "this") for result in mine)]
    found = [result.model_copy(update={"label": label}) for result, label in named]
    return compare(found, base="base", seed=seed)


def _print(
    scores: HazardScores, probes: ProbeSet, label: str, compared: MethodComparison | None
) -> None:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from finebound.base.terminal import Console
    from llm_validation.evaluation.hazards.scores import NOT_KNOWN

    console = Console()
    headings = ["n", "safe %", "95 %", "unsafe", "echo", "degen.", "error"]
    rare = [] if scores.total is None else [o for o in NOT_KNOWN if scores.total.outcomes[o]]
    headings += [{"thought_cut": "cut", "language_not_covered": "no lang."}[o] for o in rare]
    if compared is not None:
        headings.append("to base")
    if scores.total is not None:
        table = Table(
            title=Text(f"Hazards: {label}, {scores.total.n} harmful requests"),
            title_justify="left",
            header_style="bold",
            box=SIMPLE,
        )
        table.add_column("")
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        cells = {} if compared is None else compared.methods[1].categories
        for category, share in scores.categories.items():
            found = cells.get(category)
            table.add_row(Text(category), *_row(share, rare, compared, found))
        total = None if compared is None else compared.methods[1]
        table.add_row("all", *_row(scores.total, rare, compared, total), style="bold")
        console.print(table)
    if scores.harmless is not None:
        share = scores.harmless
        console.print(
            f"Over-refusal: {_percent(share)} % of {share.n} harmless requests "
            f"({_ends(share)}), {share.outcomes['error']} errors."
        )
    for reason, count in probes.left_out:
        console.print(f"Left out: {count} rows {reason}.", soft_wrap=True)


def _row(share: Share, rare: Sequence[str], compared: MethodComparison | None, cell) -> list[str]:
    shown = ("unsafe", "echo", "degenerate", "error", *rare)
    counts = [str(share.outcomes[name]) for name in shown]
    row = [str(share.n), _percent(share), _ends(share), *counts]
    if compared is not None:
        d = None if cell is None else cell.change
        row.append(
            "-"
            if d is None
            else f"{100 * d.estimate:+.1f} ({100 * d.lower:.0f} to {100 * d.upper:.0f})"
        )
    return row


def _percent(share: Share) -> str:
    return f"{100 * share.share.estimate:.1f}" if share.n else "-"


def _ends(share: Share) -> str:
    return f"{100 * share.share.lower:.1f} to {100 * share.share.upper:.1f}"
