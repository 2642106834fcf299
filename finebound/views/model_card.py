"""The section of a model's card: audit, forecast, what was measured, certificate, versions.

It stands between two marks in README.md. What is outside of them is never touched.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finebound.base.errors import InputError
from finebound.results.budget import BudgetCheck
from finebound.results.certificate import CertificateResult
from finebound.results.compare import CompareResult
from finebound.results.estimate import EstimateResult
from finebound.results.evaluation import EvaluationResult
from finebound.results.gate import Gate, GateResult
from finebound.results.interval import shown
from finebound.results.outlook import BehaviourForecast
from finebound.results.result import Manifest, Result
from finebound.views import certificate, evaluation
from finebound.views.gate import rows_in_markdown
from finebound.views.markdown_text import code_block, pipe_table, plain
from finebound.views.outlook_words import (
    loss_within,
    percent,
    percent_within,
    what_intervals_are,
)
from finebound.views.page_text import status_words
from finebound.views.tables import Table

BEGIN, END = "<!-- finebound -->", "<!-- /finebound -->"
CARD, CERTIFICATE = "README.md", "model_card_section.md"
_MARK = re.compile(rb"^[ \t]*<!-- (/?)finebound -->[ \t]*\r?$", re.MULTILINE)
_NOT_AGAIN = ("json", "out", "junit", "markdown")
_FLAG_EACH = ("candidate", "adapter", "training_data", "budget")
_ASKED = {"model", "responses", "predictions", "data"}
_EVALUATIONS = {"over-refusal": "hazards"}
"""The evaluation that made a record of another name."""


def section(results: Mapping[str, Result]) -> str:
    """The section with its marks; ``results`` by the name under which a reader finds the record.

    Raises InputError for no result.
    """
    if not results:
        raise InputError(
            "there is no result for the card.", remedy="Name records with --from, or their folder."
        )
    parts = [
        "## Safety of this fine-tune",
        "Written by finebound from the records below. `finebound card` writes it again.",
        *_of(results, EstimateResult, "Audit of the training data", _audit),
        *_of(results, EstimateResult, "Forecast", _forecast),
        *_measured(results),
        *_of(results, CertificateResult, "Certificate", _certificate),
        "### Versions",
        pipe_table(("record", "versions", "code"), _versions(results)),
        *_again(results),
    ]
    return "\n\n".join([BEGIN, *parts, END]) + "\n"


def refreshed(card: bytes, written: str) -> bytes:
    """A card with the section in place of the old one, or at its end; all else byte for byte.

    The section takes the card's line ends. Raises InputError for marks that are no pair.
    """
    ends = b"\r\n" if b"\r\n" in card else b"\n"
    new = written.encode("utf-8").replace(b"\n", ends)
    marks = list(_MARK.finditer(card))
    if not marks:
        gap = b"" if not card else ends if card.endswith(b"\n") else 2 * ends
        return card + gap + new
    if [mark[1] for mark in marks] != [b"", b"/"]:
        raise InputError(
            f"the marks {BEGIN} and {END} are no pair.",
            remedy="Leave one of each, in this order, or none.",
        )
    begin, end = marks
    after = card[end.end() :]
    # The last mark's own line end, a carriage return too, stays with what follows.
    tail = end[0][-1:] if end[0].endswith(b"\r") else b""
    return card[: begin.start()] + new.removesuffix(ends) + tail + after


def certificate_section(result: CertificateResult) -> str:
    """``model_card_section.md``: the certificate alone."""
    return "\n\n".join(["## Safety certificate", *_certificate(result)]) + "\n"


def _of(results: Mapping[str, Result], kind: type[Any], title: str, part: Any) -> Iterator[str]:
    """A title, and the part of each result of a kind; nothing without one."""
    found = [text for one in results.values() if isinstance(one, kind) for text in part(one)]
    if found:
        yield f"### {title}"
        yield from found


def _audit(result: EstimateResult) -> Iterator[str]:
    said = [f"- {plain(one.sentence)}" for one in result.audit.sentences]
    rows = f"{result.audit.rows} rows were read."
    yield "\n".join([rows, "", *said]) if said else f"{rows} Nothing was found in them."


def _forecast(result: EstimateResult) -> Iterator[str]:
    if result.verdict is None or result.forecast is None:
        yield "\n".join(f"- {plain(one)}" for one in result.advice)
        return
    yield f"**{plain(result.verdict.sentence)}** ({status_words(result.verdict.status)})"
    yield pipe_table(("quantity", "before", "forecast after"), _before_after(result.forecast))
    yield plain(what_intervals_are(result.forecast))


def _before_after(found: BehaviourForecast) -> Iterator[tuple[str, ...]]:
    for name, share in (
        ("harmful probes refused", found.refusal),
        ("harmless look-alikes refused", found.over_refusal),
    ):
        yield name, percent(share.before), percent_within(share.after, share.interval)
    for name, change in (
        ("change in safety loss", found.safety_loss_change),
        ("capability gain on task rows", found.capability_gain),
    ):
        yield f"{name} ({change.unit})", "", loss_within(change.value, change.interval)


def _measured(results: Mapping[str, Result]) -> Iterator[str]:
    parts: list[str] = []
    for result in results.values():
        if isinstance(result, EvaluationResult):
            for part in evaluation.shown([result]):
                parts.append(_table(part) if isinstance(part, Table) else plain(part))
            told = () if result.evaluation in _EVALUATIONS else result.report.get("budgets", ())
            checks = tuple(BudgetCheck.model_validate(one) for one in told)
            parts += _gates(f"evaluate {result.evaluation}", checks)
        elif isinstance(result, CompareResult):
            lines = [f"{one.title}: {line}" for one in result.comparisons for line in one.words]
            parts.append("\n".join(f"- {plain(line)}" for line in lines))
            parts += _gates("compare", result.budgets)
        elif isinstance(result, GateResult):
            parts.append(rows_in_markdown(result.gates))
        elif not isinstance(result, EstimateResult | CertificateResult):
            parts.append("\n".join(f"- {plain(line)}" for line in result.summary().splitlines()))
    if parts:
        yield "### Measured"
        yield from parts


def _gates(name: str, checks: tuple[BudgetCheck, ...]) -> list[str]:
    """The budgets of a record, if it has any."""
    return [rows_in_markdown([Gate(name=name, verb=name, checks=checks)])] if checks else []


def _certificate(result: CertificateResult) -> Iterator[str]:
    verdict = certificate.VERDICTS[result.certified]
    yield f"**{verdict.capitalize()}.** {plain(result.sentence)}"
    yield _table(certificate.table(result))
    assumed = [f"- {plain(text[0].lower() + text[1:])}" for text in result.assumptions]
    yield "\n".join(["It holds if", "", *assumed])
    yield (
        f"Tested on {plain(result.probes)}; fixed-sequence test over paired answers (statements "
        f"T23 and T24 of finebound), record `{result.file}`."
    )


def _table(table: Table) -> str:
    rows = [[shown(value) for value in row] for row in table.rows]
    return f"**{plain(table.title)}**\n\n{pipe_table(table.columns, rows)}"


def _versions(results: Mapping[str, Result]) -> Iterator[tuple[str, str, str]]:
    for name, result in results.items():
        made = _manifest(result)
        if made is not None:
            versions = ", ".join(f"{package} {its}" for package, its in made.versions.items())
            commit = str(made.code.get("commit", ""))[:12]
            changed = " (changed)" if made.code.get("dirty") else ""
            yield name, f"{versions}, Python {made.python}", commit + changed


def _again(results: Mapping[str, Result]) -> Iterator[str]:
    commands = dict.fromkeys(filter(None, map(_command, results.values())))
    if commands:
        yield "### Make it again"
        yield code_block("\n".join(commands), "sh")


def _command(result: Result) -> str:
    """The command line that makes a result again; empty where its manifest does not tell."""
    made = _manifest(result)
    given = {} if made is None else made.given
    if isinstance(result, EstimateResult):
        return result.command
    if isinstance(result, EvaluationResult) and _ASKED & set(given):
        kind = _EVALUATIONS.get(result.evaluation, result.evaluation)
        return _line(["evaluate", kind], given)
    if isinstance(result, CertificateResult) and {"reference", "base"} & set(given):
        return _line(["certify"], given, each=_FLAG_EACH)
    if isinstance(result, CompareResult) and "runs" in given:
        rest = {name: value for name, value in given.items() if name != "runs"}
        return _line(["compare", *map(str, given["runs"])], rest, each=_FLAG_EACH)
    if isinstance(result, GateResult) and "file" in given:
        return _line(["gate", str(given["file"])], {})
    return ""


def _line(words: list[str], given: Mapping[str, Any], *, each: Sequence[str] = ()) -> str:
    words = ["finebound", *words]
    for name, value in given.items():
        flag = "--" + name.replace("_", "-")
        if name in _NOT_AGAIN or value is False:
            continue
        values = [] if value is True else value if isinstance(value, list | tuple) else [value]
        if name in each:
            words += [word for one in values for word in (flag, str(one))]
        else:
            words += [flag, *map(str, values)]
    return shlex.join(words)


def _manifest(result: Result) -> Manifest | None:
    found = getattr(result, "manifest", None)
    return found if isinstance(found, Manifest) else None
