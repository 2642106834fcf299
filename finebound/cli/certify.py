"""``finebound certify``: what a fine-tuned model may have lost of its safe answers, at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import UseAppendAction

from finebound.cli.gate_files import GateFiles
from finebound.cli.options import given_options, parse, say

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from finebound.results.certificate import CertificateResult

_OF_FILES = ("reference", "candidate")
_OF_MODELS = ("base", "adapter", "path", "probes", "rows", "temperature", "scales", "task", "seed")


@dataclass(frozen=True)
class Options(GateFiles):
    """A certificate that a fine-tuned model has not lost more than a budget of its safe answers.

    Answers made elsewhere: --reference are the answers of the model before the fine-tune,
    --candidate those after it, on the same probes. Rows have id or prompt, and safe (true, false),
    label (safe, unsafe) or response, which is then labelled; harmful: false marks a harmless
    look-alike, where the safe answer is to help.

    Models: --base is the model before the fine-tune and --adapter what was trained. Both answer the
    probes. --path scale shrinks one adapter and writes the largest scale that keeps the budget;
    --path checkpoints takes the checkpoints of a Trainer's folder.

    Candidates are tested in their order on the same probes, up to the first that fails; with the
    confidence all accepted ones keep every budget. Exit code 0: certified, 1: shown to break the
    budget, 3: not decided with so few probes, and how many would do. --plan says that beforehand.

    Example: finebound certify --reference before.jsonl --candidate after.jsonl --budget 0.05

    Example: finebound certify --base packaged-aligned --adapter my-adapter --path scale
             --budget refusal=5 --budget over-refusal=5 --out out

    Example: finebound certify --plan --budget 0.02 --expected 0.005
    """

    reference: Path | None = None
    """Answers of the model before the fine-tune."""
    candidate: UseAppendAction[tuple[Path, ...]] = ()
    """Answers of a model after it; give it once for each, in the order of the test."""
    base: str | None = None
    """The model before the fine-tune: packaged-aligned, packaged, a folder or a hub id."""
    adapter: UseAppendAction[tuple[Path, ...]] = ()
    """Folder of an adapter on that model, or of a Trainer's checkpoints; once for each."""
    budget: UseAppendAction[tuple[str, ...]] = ()
    """What may be lost: a share of all safe answers (0.05), or points of refusals and of answers to
    look-alikes (refusal=5, over-refusal=5)."""
    confidence: float = 0.95
    """Probability with which the certificate is right."""
    path: Literal["given", "scale", "checkpoints"] = "given"
    """The candidates: adapters as given, one adapter at several scales, or its checkpoints."""
    training_data: UseAppendAction[tuple[str, ...]] = ()
    """Data that a candidate was trained on; if they hold a probe, nothing is certified."""
    probes: str = "builtin:pairs"
    """Probes that the models are asked."""
    rows: int | None = None
    """How many of them, a seeded sample (default: all)."""
    temperature: float = 1.0
    """Temperature of the answers; 0 takes the most likely token."""
    scales: tuple[float, ...] = ()
    """Scales of --path scale, rising (default: 0, 0.1 and so on to 1)."""
    task: str | None = None
    """Task rows that no candidate was trained on: the accepted candidate that learnt most of them
    is chosen (default: the last accepted)."""
    plan: bool = False
    """Say how many probes the budget needs, and stop."""
    expected: float = 0.0
    """For --plan: the share of safe answers that is thought to be lost."""
    seed: int = 0
    """Seed of samples and drawn answers."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for certificate.json, report.html, model_card_section.md, and the scaled adapter."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="certify")
    from finebound.base.errors import InputError
    from finebound.base.records import require_folder

    if options.out is not None:
        require_folder(options.out)
    given = given_options(options, Options)
    of_tests = (*_OF_FILES, *_OF_MODELS, "training_data", "junit", "markdown")
    others = of_tests if options.plan else ("expected",)
    if surplus := [name for name in others if name in given]:
        flag = "--" + surplus[0].replace("_", "-")
        raise InputError(
            f"{flag} {'says nothing to' if options.plan else 'is for'} --plan.",
            remedy="Leave one of them out.",
        )
    if options.plan:
        return _plan(options)
    options.require()
    from finebound.base.progress import bar
    from finebound.results.gate import Gate, checks_of_certificate

    with bar() as progress:
        found = run(options, progress)
    options.write([Gate(name="certify", verb="certify", checks=checks_of_certificate(found))])
    if options.json:
        print(found.to_json())
        return found.exit_code
    _print(found, options.out)
    return found.exit_code


def run(options: Options, progress: Progress) -> CertificateResult:
    """The certificate of the options, written into their folder; notes on stderr."""
    from finebound.api import certify

    given = given_options(options, Options)
    found = certify(
        reference=options.reference,
        candidates=options.candidate,
        base=options.base,
        adapters=options.adapter,
        budget=options.budget,
        confidence=options.confidence,
        path=options.path,
        training_data=options.training_data,
        out=options.out,
        given=given,
        progress=progress,
        **{name: given[name] for name in _OF_MODELS[3:] if name in given},
    )
    say(found.notes)
    return found


def _plan(options: Options) -> int:
    from finebound.views.probe_plan import table
    from finebound.views.terminal import print_parts
    from llm_validation.certification.budgets import budgets_of
    from llm_validation.certification.planning import plan_probes

    found = plan_probes(budgets_of(options.budget), options.confidence, expected=options.expected)
    if options.out is not None:
        found.save(options.out)
    if options.json:
        print(found.to_json())
    else:
        print_parts([found.sentence, table(found)])
    return 0


def _print(found: CertificateResult, out: Path | None) -> None:
    from finebound.views.certificate import stored_table, table
    from finebound.views.terminal import print_parts

    stored = stored_table(found)
    assumed = [f"Assumed: {text}" for text in found.assumptions]
    print_parts([found.sentence, "", *([stored] if stored else []), table(found), *assumed])
    if out is not None:
        print_parts(
            [f"\nWritten: {out / found.file}, the page and the model card's section beside it"]
        )
